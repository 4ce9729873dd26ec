//! What a device can and cannot address.
//!
//! Key type: [`Constraints`]. A plain value.

use crate::DmaError;

/// The constraint set of a tag. [`Constraints::ANY`] constrains nothing; state what differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constraints {
    /// Alignment of the start of every segment and memory, in octets; a power of two.
    pub alignment: u64,
    /// No segment crosses a multiple of this address; a power of two, or 0 for no such limit.
    pub boundary: u64,
    /// The last bus address that the device can reach.
    pub lowaddr: u64,
    /// Octets of one load, at most.
    pub maxsize: usize,
    /// Segments of one load, at most.
    pub nsegments: usize,
    /// Octets of one segment, at most.
    pub maxsegsz: u32,
}

impl Constraints {
    /// No constraint at all, but that a map describes at most 64 segments.
    pub const ANY: Self =
        Self { alignment: 1, boundary: 0, lowaddr: u64::MAX, maxsize: usize::MAX, nsegments: 64, maxsegsz: u32::MAX };

    /// Returns the constraints under which both `self` and `other` hold.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let boundary = match (self.boundary, other.boundary) {
            (0, limit) | (limit, 0) => limit,
            (ours, theirs) => ours.min(theirs),
        };
        Self {
            alignment: self.alignment.max(other.alignment),
            boundary,
            lowaddr: self.lowaddr.min(other.lowaddr),
            maxsize: self.maxsize.min(other.maxsize),
            nsegments: self.nsegments.min(other.nsegments),
            maxsegsz: self.maxsegsz.min(other.maxsegsz),
        }
    }

    /// Checks that the constraints can be satisfied at all.
    ///
    /// # Errors
    /// [`DmaError::InvalidConstraints`].
    pub fn validate(&self) -> Result<(), DmaError> {
        let boundary_holds = self.boundary == 0 || (self.boundary.is_power_of_two() && self.boundary >= self.alignment);
        let sizes_hold = self.maxsize != 0 && self.nsegments != 0 && self.maxsegsz != 0;
        if self.alignment.is_power_of_two() && boundary_holds && sizes_hold {
            Ok(())
        } else {
            Err(DmaError::InvalidConstraints)
        }
    }
}

impl Default for Constraints {
    fn default() -> Self {
        Self::ANY
    }
}
