//! The one host program: run, image, check.

//! Placeholder while the workspace is laid out.
