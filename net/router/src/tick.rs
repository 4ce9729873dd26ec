//! What time demands of a router, whatever comes: [`Worker::tick`], and how soon it is wanted again, [`Lull`].
//!
//! Neighbours are asked once a second and wait for a tick to be asked again, so ticks are close together while anything goes on. A router
//! that nobody sends anything has nothing to be early for, and each tick wakes its machine.

use core::time::Duration;

use ifnet::IfIndex;
use ksync::time::Instant;

use crate::{MAX_INTERFACES, Worker, WorkerCounters};

/// From one tick to the next while packets come.
const BUSY: Duration = Duration::from_millis(100);
/// The same in a lull.
const QUIET: Duration = Duration::from_secs(1);
/// How long there must have been no packet. Longer than a neighbour is waited for, so that one that stays silent is asked in time.
const LULL: Duration = Duration::from_secs(2);

/// Since when there has been no packet, as far as ticks have seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lull {
    packets: u64,
    since: Instant,
}

impl Lull {
    /// Notes that there have been so many packets until `now`; returns how soon to look again.
    fn next(&mut self, now: Instant, packets: u64) -> Duration {
        if packets != self.packets {
            *self = Self { packets, since: now };
        }
        if now.saturating_duration_since(self.since) > LULL { QUIET } else { BUSY }
    }
}

impl Worker {
    /// Does what time demands: looks at the links, asks again for silent neighbours, forgets old ones, frees replaced tables. Returns how
    /// soon it is to be called again, by the same thread: after a tenth of a second, or a second when no packet has come or been made lately.
    ///
    /// # Context
    /// Thread; allocates when a link has changed. Does not sleep.
    pub fn tick(&mut self, now: Instant) -> Duration {
        let router = self.router();
        let changes = router.look_at_links();
        self.pass(now, |pass| {
            for place in 0..u16::try_from(MAX_INTERFACES).unwrap_or(0) {
                let bit = 1_u64 << place;
                if changes.down & bit != 0 {
                    pass.flush_arp(Some(IfIndex(place)));
                }
                if changes.up & bit != 0 {
                    pass.announce(IfIndex(place));
                }
            }
            pass.poll_arp();
            pass.expire_pieces();
        });
        router.reclaim_soon();
        let packets = router.workers().map(WorkerCounters::packets).fold(0, u64::wrapping_add);
        self.lull.next(now, packets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_rare_only_while_nothing_comes() {
        let (mut lull, at) = (Lull::default(), Instant::from_millis);
        assert_eq!(lull.next(at(100), 7), BUSY);
        assert_eq!(lull.next(at(2000), 7), BUSY);
        assert_eq!(lull.next(at(2101), 7), QUIET);
        assert_eq!(lull.next(at(3000), 7), QUIET);
        assert_eq!(lull.next(at(4000), 8), BUSY, "one packet");
        assert_eq!(lull.next(at(6000), 8), BUSY);
        assert_eq!(lull.next(at(6001), 8), QUIET);
        // A clock that steps back only makes it look sooner.
        assert_eq!(lull.next(at(0), 8), BUSY);
    }
}
