//! Whole-router tests: traffic through a booted router.

//! Placeholder while the workspace is laid out.
