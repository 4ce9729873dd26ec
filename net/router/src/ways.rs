//! What a worker remembers of the ways by gateways: [`Ways`].
//!
//! With many destinations each packet goes another way than the one before it, but there are far fewer gateways than destinations. What
//! was found for a next hop is kept as long as the snapshot, the neighbours and the second are the same: the last so that ARP learns once a
//! second which neighbours are in use. One worker's own; no lock, no atomic.

use alloc::{boxed::Box, vec, vec::Vec};

use forward::Rewrite;
use ksync::time::Instant;

/// Next hops remembered at most; a power of two.
const WAYS: usize = if cfg!(any(loom, shuttle)) { 8 } else { 1024 };

/// How packets to one gateway leave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// When it was found, in the counting of [`Ways::epoch`], and the index of the next hop: one number, for one comparison.
    name: u64,
    /// The interface.
    pub(crate) out: u16,
    /// Octets of the longest plain packet that goes.
    pub(crate) longest: u32,
    pub(crate) rewrite: Rewrite,
}

/// What everything known depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    snapshot: u64,
    neighbours: u32,
    second: u64,
}

/// The ways that are known.
#[derive(Debug)]
pub(crate) struct Ways {
    moment: Moment,
    /// Counts the moments. It wraps after more than a century of changes each second, if nothing else changes.
    epoch: u32,
    known: Box<[Known; WAYS]>,
}

impl Ways {
    /// Knows nothing.
    pub(crate) fn new() -> Self {
        let nothing = Known { name: 0, out: 0, longest: 0, rewrite: Rewrite::NONE };
        let moment = Moment { snapshot: 0, neighbours: 0, second: 0 };
        Self { moment, epoch: 1, known: boxed(nothing) }
    }

    /// Forgets everything if anything has changed that it depends on: the snapshot, the generation of the neighbours as read before any
    /// of them is looked up, the second.
    #[inline]
    pub(crate) fn refresh(&mut self, snapshot: u64, neighbours: u32, now: Instant) {
        // Nearly seconds: a shift is enough.
        let moment = Moment { snapshot, neighbours, second: now.as_nanos() >> 30 };
        if moment != self.moment {
            self.moment = moment;
            self.forget();
        }
    }

    /// Forgets everything.
    pub(crate) fn forget(&mut self) {
        self.epoch = self.epoch.checked_add(1).unwrap_or_else(|| {
            self.known.iter_mut().for_each(|known| known.name = 0);
            1
        });
    }

    /// Returns the way by a next hop, if it is known.
    #[inline]
    pub(crate) fn get(&self, hop: u16) -> Option<&Known> {
        let known = self.known.get(usize::from(hop) % WAYS)?;
        (known.name == self.name(hop)).then_some(known)
    }

    /// Remembers the way by a next hop, in place of another perhaps.
    pub(crate) fn put(&mut self, hop: u16, out: u16, longest: u32, rewrite: Rewrite) {
        let name = self.name(hop);
        if let Some(place) = self.known.get_mut(usize::from(hop) % WAYS) {
            *place = Known { name, out, longest, rewrite };
        }
    }

    /// Returns the name of a next hop in this epoch; never 0.
    #[inline]
    const fn name(&self, hop: u16) -> u64 {
        (self.epoch as u64) << 16 | hop as u64
    }
}

/// Allocates the places without having them on the stack.
fn boxed(nothing: Known) -> Box<[Known; WAYS]> {
    // As many as there are, so that the other arm is never taken.
    Vec::into_boxed_slice(vec![nothing; WAYS]).try_into().unwrap_or_else(|_| Box::new([nothing; WAYS]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_known_until_anything_changes_that_it_depends_on() {
        let mut ways = Ways::new();
        let second = |n: u64| Instant::from_nanos(n << 30);
        let changes = [(1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 2, 2), (2, 2, 1)];
        for (snapshot, neighbours, now) in changes {
            ways.refresh(snapshot, neighbours, second(now));
            assert!(ways.get(7).is_none(), "after a change to {snapshot} {neighbours} {now}");
            ways.put(7, 3, 1500, Rewrite::NONE);
            ways.refresh(snapshot, neighbours, second(now));
            assert_eq!(ways.get(7).map(|known| (known.out, known.longest)), Some((3, 1500)));
            assert!(ways.get(8).is_none());
        }
        ways.forget();
        assert!(ways.get(7).is_none());
    }

    #[test]
    fn next_hops_that_share_a_place_are_not_mixed_up() {
        let mut ways = Ways::new();
        let other = 7 + u16::try_from(WAYS).unwrap_or(0);
        ways.put(7, 1, 1500, Rewrite::NONE);
        ways.put(other, 2, 1400, Rewrite::NONE);
        assert!(ways.get(7).is_none());
        assert_eq!(ways.get(other).map(|known| known.out), Some(2));
        // Nothing is known at first, whatever the places hold.
        assert!(Ways::new().get(0).is_none());
    }

    #[test]
    fn the_count_of_moments_may_wrap() {
        let mut ways = Ways::new();
        ways.put(7, 1, 1500, Rewrite::NONE);
        ways.epoch = u32::MAX;
        ways.put(9, 1, 1500, Rewrite::NONE);
        ways.forget();
        assert!(ways.get(7).is_none() && ways.get(9).is_none());
    }
}
