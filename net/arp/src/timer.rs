//! What time brings: retries, giving up, ageing ([`ArpTable::poll`]).
//!
//! Source: RFC 1122 2.3.2.1 (flush out-of-date entries; no more than one request a second), RFC 1812 3.3.2 (Host Unreachable).
//! Context: any thread, normally one that runs several times a second.

use core::net::Ipv4Addr;

use ifnet::IfIndex;
use ksync::time::Instant;
use pktbuf::PacketBuf;
use wire::MacAddr;

use crate::{
    ArpTable, Release, Request,
    entry::{Entry, State},
    table::Inner,
};

/// How often a known address is checked before it is forgotten (RFC 1122 2.3.2.1 (2)).
const PROBES: u8 = 3;
/// Entries looked at in one go with the lock held.
const CHUNK: usize = 128;

/// Something to be done because time has passed.
#[derive(Debug)]
#[must_use = "requests and packets are inside"]
pub enum ArpAction {
    /// Send a request.
    Request(Request),
    /// Fetch and send packets that are held (whoever was to do it has not come back).
    Release(Release),
    /// The neighbour did not answer: answer the held packet with Host Unreachable and drop it
    /// ([`ifnet::DropReason::ArpUnresolved`]).
    Unreachable {
        /// The packet, as it was when held.
        packet: PacketBuf,
        /// The interface the neighbour was looked for on.
        out: IfIndex,
        /// The neighbour.
        neighbour: Ipv4Addr,
    },
}

/// What one look at an entry led to.
enum Look {
    /// Do this, then look at the entry again.
    Act(ArpAction),
    /// Nothing more to do here for now.
    Done,
}

impl ArpTable {
    /// Returns the next thing that is due, or `None` when the table has been gone through once.
    ///
    /// Meant for `while let Some(action) = table.poll(now)`, a few times a second. The lock is given up between actions
    /// and now and then, so that packets of unknown neighbours do not wait for the whole sweep.
    pub fn poll(&self, now: Instant) -> Option<ArpAction> {
        loop {
            let mut inner = self.inner.lock();
            for _ in 0..CHUNK {
                if inner.cursor >= inner.store.reach() {
                    inner.cursor = 0;
                    inner.store.draw_in();
                    return None;
                }
                match self.look(&mut inner, now) {
                    Look::Act(action) => return Some(action),
                    Look::Done => inner.cursor += 1,
                }
            }
        }
    }

    fn look(&self, inner: &mut Inner, now: Instant) -> Look {
        let at = inner.cursor;
        let Some(entry) = inner.store.get(at).copied() else {
            return Look::Done;
        };
        match entry.state {
            State::Asking { tries, next } if now >= next => self.ask_again(inner, now, &entry, tries),
            State::Silent { until } => self.fall_silent(inner, now, &entry, until),
            State::Releasing { since, .. } if now >= since + self.config.retry => self.resume(inner, now, &entry),
            State::Known { mac, confirmed } if now >= confirmed + self.config.max_age => {
                // An address that nobody uses is simply forgotten.
                let tries = if self.index.take_used(entry.key) { 0 } else { PROBES };
                self.check(inner, now, &entry, (mac, confirmed, tries))
            }
            State::Probing { mac, confirmed, tries, next } if now >= next => {
                self.check(inner, now, &entry, (mac, confirmed, tries))
            }
            _ => Look::Done,
        }
    }

    /// Repeats the request, or gives up.
    fn ask_again(&self, inner: &mut Inner, now: Instant, entry: &Entry, tries: u8) -> Look {
        let at = inner.cursor;
        if tries >= self.config.max_tries {
            let until = now + self.config.negative;
            inner.statistics.timeouts += 1;
            inner.store.set_state(at, State::Silent { until });
            return self.fall_silent(inner, now, entry, until);
        }
        inner.store.set_state(at, State::Asking { tries: tries + 1, next: now + self.config.retry });
        Self::request(inner, entry, MacAddr::BROADCAST)
    }

    /// Gives out what is held for one who did not answer, and forgets it when its time is up.
    fn fall_silent(&self, inner: &mut Inner, now: Instant, entry: &Entry, until: Instant) -> Look {
        let at = inner.cursor;
        if let Some(packet) = inner.pop_held(at) {
            return Look::Act(ArpAction::Unreachable { packet, out: entry.out, neighbour: entry.ip });
        }
        if now >= until {
            self.forget(inner);
        }
        Look::Done
    }

    /// Asks a known neighbour whether its address is still right, or forgets it.
    fn check(&self, inner: &mut Inner, now: Instant, entry: &Entry, known: (MacAddr, Instant, u8)) -> Look {
        let (mac, confirmed, tries) = known;
        if tries >= PROBES {
            self.forget(inner);
            return Look::Done;
        }
        let probing = State::Probing { mac, confirmed, tries: tries + 1, next: now + self.config.retry };
        let at = inner.cursor;
        inner.store.set_state(at, probing);
        Self::request(inner, entry, mac)
    }

    /// Offers a release again whose first taker did not finish it.
    fn resume(&self, inner: &mut Inner, now: Instant, entry: &Entry) -> Look {
        let at = inner.cursor;
        let State::Releasing { mac, confirmed, .. } = entry.state else {
            return Look::Done;
        };
        if inner.publish_if_released(at, &self.index) {
            return Look::Done;
        }
        inner.store.set_state(at, State::Releasing { mac, confirmed, since: now });
        Look::Act(ArpAction::Release(Release { out: entry.out, neighbour: entry.ip }))
    }

    fn forget(&self, inner: &mut Inner) {
        let at = inner.cursor;
        inner.store.remove(at, &self.index);
        inner.statistics.expired += 1;
    }

    fn request(inner: &mut Inner, entry: &Entry, to: MacAddr) -> Look {
        inner.statistics.requests_sent += 1;
        Look::Act(ArpAction::Request(Request { out: entry.out, target: entry.ip, to }))
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::ArpConfig;

    #[test]
    fn a_sweep_forgets_who_is_silent_and_the_next_ones_look_no_further_than_who_is_left() {
        let table = ArpTable::new(ArpConfig { max_entries: 256, max_unresolved: 256, ..ArpConfig::default() });
        let reach = || table.inner.lock().store.reach();
        {
            let inner = &mut *table.inner.lock();
            for n in 0..200 {
                let until = Instant::from_nanos(if n == 40 { 2 } else { 1 });
                let (whom, mut evicted) = ((IfIndex(0), Ipv4Addr::from_bits(n)), 0);
                let now = Instant::from_nanos(0);
                assert!(inner.store.insert(whom, State::Silent { until }, now, &table.index, &mut evicted).is_some());
            }
        }
        assert_eq!(reach(), 200);
        let sweep = |now| assert!(table.poll(Instant::from_nanos(now)).is_none(), "nothing is held");
        sweep(0);
        assert_eq!((table.statistics().entries, reach()), (200, 200));
        for _ in 0..4 {
            sweep(1);
        }
        assert_eq!((table.statistics().entries, reach()), (1, 41));
        sweep(2);
        assert_eq!((table.statistics().entries, reach()), (0, 0));
    }
}
