//! Cuts physically contiguous runs into the segments a tag allows.
//!
//! Key type: [`Cutter`]. Pure; the property tests hold it against a naive octet-by-octet reference.

use alloc::vec::Vec;

use crate::{BusAddr, Constraints, DmaError, DmaPlatform, PAGE_SIZE, Segment};

/// Collects the segments of one load.
pub(crate) struct Cutter<'a> {
    constraints: &'a Constraints,
    /// Never longer than `constraints.nsegments`, which is its capacity.
    segments: &'a mut Vec<Segment>,
    /// Longest segment after which another may start: `maxsegsz`, rounded down to keep the next start aligned.
    cut: u64,
}

impl<'a> Cutter<'a> {
    pub(crate) fn new(constraints: &'a Constraints, segments: &'a mut Vec<Segment>) -> Self {
        segments.clear();
        let longest = u64::from(constraints.maxsegsz);
        let rounded = longest - longest % constraints.alignment;
        let cut = if rounded == 0 { longest } else { rounded };
        Self { constraints, segments, cut }
    }

    /// Adds `len` octets at physical address `start`; continues the last segment where that is allowed.
    pub(crate) fn push(&mut self, mut start: u64, mut len: u64) -> Result<(), DmaError> {
        while len != 0 {
            let to_boundary = match self.constraints.boundary {
                0 => u64::MAX,
                boundary => boundary - start % boundary,
            };
            let room = self.room_behind_last(start);
            let take = if room == 0 {
                let take = len.min(self.cut).min(to_boundary);
                self.begin(start, take)?;
                take
            } else {
                let take = len.min(room).min(to_boundary);
                self.grow_last(take);
                take
            };
            start += take;
            len -= take;
        }
        Ok(())
    }

    /// Returns how far the last segment may grow if `start` is right behind it; 0 if it is not, or it is complete.
    fn room_behind_last(&self, start: u64) -> u64 {
        let Some(last) = self.segments.last() else { return 0 };
        let adjacent = last.addr.as_u64() + u64::from(last.len) == start;
        let at_boundary = self.constraints.boundary != 0 && start.is_multiple_of(self.constraints.boundary);
        if adjacent && !at_boundary { self.cut.saturating_sub(u64::from(last.len)) } else { 0 }
    }

    fn begin(&mut self, start: u64, len: u64) -> Result<(), DmaError> {
        // A start that no bounce can mend: `maxsegsz` is below the alignment and a run had to be cut.
        let aligned = start.is_multiple_of(self.constraints.alignment);
        if self.segments.len() >= self.constraints.nsegments || !aligned {
            return Err(DmaError::TooManySegments);
        }
        let len = u32::try_from(len).map_err(|_| DmaError::TooLarge)?;
        self.segments.push(Segment { addr: BusAddr::from_raw(start), len });
        Ok(())
    }

    fn grow_last(&mut self, by: u64) {
        if let (Some(last), Ok(by)) = (self.segments.last_mut(), u32::try_from(by)) {
            last.len += by;
        }
    }
}

/// Walks over the physically contiguous runs of `len` octets at `ptr`, page by page.
pub(crate) fn for_each_run(
    platform: &dyn DmaPlatform,
    ptr: *const u8,
    len: usize,
    mut visit: impl FnMut(u64, u64) -> Result<(), DmaError>,
) -> Result<(), DmaError> {
    let mut done = 0;
    while done < len {
        let at = ptr.wrapping_add(done);
        let take = (PAGE_SIZE - at.addr() % PAGE_SIZE).min(len - done);
        let phys = platform.phys_of(at).ok_or(DmaError::NoBusAddress)?;
        visit(phys.as_u64(), take as u64)?;
        done += take;
    }
    Ok(())
}

/// Says whether a piece has to be bounced: some octet is out of reach, or the piece (or a break within it, which matters
/// for alignments beyond a page) starts at an address that is not aligned.
pub(crate) fn needs_bounce(
    platform: &dyn DmaPlatform,
    constraints: &Constraints,
    ptr: *const u8,
    len: usize,
) -> Result<bool, DmaError> {
    let mut bounce = false;
    let mut expected = None;
    for_each_run(platform, ptr, len, |start, run| {
        let end = start.checked_add(run - 1).ok_or(DmaError::NoBusAddress)?;
        let contiguous = expected == Some(start);
        bounce |= end > constraints.lowaddr || (!contiguous && !start.is_multiple_of(constraints.alignment));
        expected = end.checked_add(1);
        Ok(())
    })?;
    Ok(bounce)
}
