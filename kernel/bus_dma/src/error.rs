//! What can go wrong, and what is still live.
//!
//! Key types: [`DmaError`], [`Busy`]. Plain values.

use core::fmt;

/// Why an operation of this crate was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DmaError {
    /// An alignment or boundary is not a power of two, the boundary is below the alignment, or a size or the number of
    /// segments is zero.
    InvalidConstraints,
    /// No memory that satisfies the constraints; for a load: no bounce pages now (a load that does not wait).
    NoMemory,
    /// The platform handed out memory that breaks the constraints it was given. The memory was given back.
    BrokenPlatform,
    /// Larger than the tag's `maxsize` (or `maxsegsz`, for memory), or than the whole bounce pool.
    TooLarge,
    /// Needs more segments than the tag's `nsegments`.
    TooManySegments,
    /// Not a single octet to load.
    Empty,
    /// Part of the buffer is not mapped to any physical address.
    NoBusAddress,
    /// The device cannot reach the buffer, and the tag has no bounce pool whose pages would do.
    CannotBounce,
    /// The map is loaded already.
    AlreadyLoaded,
    /// The map waits for bounce pages.
    InProgress,
}

impl fmt::Display for DmaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidConstraints => "invalid constraints",
            Self::NoMemory => "no memory within the constraints",
            Self::BrokenPlatform => "the platform's memory breaks the constraints",
            Self::TooLarge => "too large for the tag",
            Self::TooManySegments => "too many segments",
            Self::Empty => "nothing to load",
            Self::NoBusAddress => "memory without a bus address",
            Self::CannotBounce => "out of the device's reach and no bounce pages",
            Self::AlreadyLoaded => "the map is loaded",
            Self::InProgress => "the map waits for bounce pages",
        })
    }
}

impl core::error::Error for DmaError {}

/// What is live and keeps a tag or map from being destroyed. At least one count is not zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Busy {
    /// Maps that exist.
    pub maps: u32,
    /// Maps among them that are loaded: a device may own their buffers.
    pub loaded: u32,
    /// Maps among them that wait for bounce pages.
    pub waiting: u32,
    /// Pieces of DMA memory that exist.
    pub memories: u32,
    /// Child tags that exist.
    pub children: u32,
    /// Buffers and memories that were dropped while a device could own them, and were leaked.
    pub quarantined: u32,
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.maps, "maps"),
            (self.loaded, "loaded"),
            (self.waiting, "waiting"),
            (self.memories, "memories"),
            (self.children, "child tags"),
            (self.quarantined, "quarantined"),
        ];
        f.write_str("busy:")?;
        for (count, what) in parts.iter().filter(|(count, _)| *count != 0) {
            write!(f, " {count} {what}")?;
        }
        Ok(())
    }
}

impl core::error::Error for Busy {}
