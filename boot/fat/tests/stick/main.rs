//! A stick as the image tool makes it, and disks that are not the one.

mod disk;
mod finding;
mod writing;
