//! The table: finding a neighbour, holding packets for it, letting them go in order.
//!
//! Key types: [`ArpTable`], [`Resolution`], [`Request`], [`Release`]. Context: threads (an ithread is one); every call is
//! short, none blocks. Source: RFC 1122 2.3.2.

use alloc::vec::Vec;
use core::{fmt, net::Ipv4Addr};

use ifnet::{DropReason, IfIndex};
use ksync::{Held, SpinLock, time::Instant};
use pktbuf::{PacketBatch, PacketBuf};
use wire::MacAddr;

use crate::{
    ArpConfig, ArpEntry, ArpStatistics,
    entry::State,
    hold::HoldPlaces,
    index::{Index, Key},
    store::Store,
};

/// An ARP request that should be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the neighbour will not answer a request that is not sent"]
pub struct Request {
    /// Where.
    pub out: IfIndex,
    /// Whose address is wanted.
    pub target: Ipv4Addr,
    /// To whom: everybody, or the neighbour itself when a known address is checked (RFC 1122 2.3.2.1 (2)).
    pub to: MacAddr,
}

/// A neighbour whose address has become known while packets were held for it. Fetch and send them with [`ArpTable::release`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "held packets have to be fetched and sent"]
pub struct Release {
    /// Where.
    pub out: IfIndex,
    /// The neighbour's IP address.
    pub neighbour: Ipv4Addr,
}

/// What becomes of a packet for a neighbour.
#[derive(Debug)]
#[must_use = "the packet is inside, or packets pushed out by it"]
pub enum Resolution {
    /// Send it to this address.
    Send(MacAddr, PacketBuf),
    /// The packet is held.
    Held {
        /// Ask for the neighbour.
        request: Option<Request>,
        /// A packet (an older one, or this one) for which there is no room, and why.
        dropped: Option<(PacketBuf, DropReason)>,
    },
    /// The packet cannot go: [`DropReason::ArpNegative`] (answer Host Unreachable), [`DropReason::ArpTableFull`] or
    /// [`DropReason::ShuttingDown`].
    Refused(PacketBuf, DropReason),
}

/// Everything behind the lock.
pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) holds: HoldPlaces,
    pub(crate) statistics: ArpStatistics,
    /// The last defences of own addresses: where, which, when. Oldest overwritten first.
    pub(crate) defences: [Option<(IfIndex, Ipv4Addr, Instant)>; 8],
    /// Where the sweep of [`ArpTable::poll`] goes on.
    pub(crate) cursor: usize,
    /// Set at shutdown: nothing is held any more.
    closed: bool,
}

/// The neighbours of all interfaces.
pub struct ArpTable {
    pub(crate) config: ArpConfig,
    pub(crate) index: Index,
    /// Protects: entries, hold queues, counters. Held across: nothing but their own bookkeeping.
    pub(crate) inner: SpinLock<Inner>,
}

impl ArpTable {
    /// Creates an empty table and allocates all its memory: about 150 octets per entry and 48 per held packet.
    ///
    /// # Context
    /// Thread; allocates.
    #[must_use]
    pub fn new(config: ArpConfig) -> Self {
        let max_hold = config.max_hold.max(1);
        let config = ArpConfig { max_hold, max_tries: config.max_tries.max(1), ..config };
        let inner = Inner {
            store: Store::new(config.max_entries, config.max_unresolved, config.seed),
            holds: HoldPlaces::new(config.max_held),
            statistics: ArpStatistics::default(),
            defences: [None; 8],
            cursor: 0,
            closed: false,
        };
        Self { config, index: Index::new(config.max_entries, config.seed), inner: SpinLock::new(inner) }
    }

    /// Returns the address of a known neighbour.
    ///
    /// # Context
    /// Any thread, any number at once. Takes no lock and never waits. `None` says nothing about the neighbour: ask
    /// [`resolve`](Self::resolve).
    #[inline]
    #[must_use]
    pub fn lookup(&self, out: IfIndex, neighbour: Ipv4Addr) -> Option<MacAddr> {
        self.index.lookup(Key::new(out.0, neighbour))
    }

    /// Returns a number that is another one after every change of what [`lookup`](Self::lookup) answers: an answer may be kept while it
    /// stays what it was before it was asked for. Who keeps answers has to ask again now and then (a second is short enough), or the
    /// neighbour is taken for unused.
    ///
    /// # Context
    /// Any thread.
    #[inline]
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.index.generation()
    }

    /// Finds the address for `packet`, or holds the packet until the neighbour has told it.
    ///
    /// # Context
    /// Any thread. Takes the table's lock only if the neighbour is not known.
    pub fn resolve(&self, now: Instant, out: IfIndex, neighbour: Ipv4Addr, packet: PacketBuf) -> Resolution {
        match self.lookup(out, neighbour) {
            Some(mac) => Resolution::Send(mac, packet),
            None => self.resolve_locked(now, (out, neighbour), packet),
        }
    }

    #[cold]
    fn resolve_locked(&self, now: Instant, name: (IfIndex, Ipv4Addr), packet: PacketBuf) -> Resolution {
        let mut inner = self.inner.lock();
        if inner.closed {
            return Resolution::Refused(packet, DropReason::ShuttingDown);
        }
        let asking = State::Asking { tries: 1, next: now + self.config.retry };
        let request = Request { out: name.0, target: name.1, to: MacAddr::BROADCAST };
        let Some(at) = inner.store.find(Key::new(name.0.0, name.1)) else {
            let Some(at) = inner.insert(name, asking, now, &self.index) else {
                inner.statistics.table_full += 1;
                return Resolution::Refused(packet, DropReason::ArpTableFull);
            };
            inner.statistics.requests_sent += 1;
            return Resolution::Held { request: Some(request), dropped: inner.hold(at, packet, self.config.max_hold) };
        };
        match inner.store.get(at).map_or(State::Free, |entry| entry.state) {
            State::Known { mac, .. } | State::Probing { mac, .. } => Resolution::Send(mac, packet),
            State::Silent { until } if now < until => Resolution::Refused(packet, DropReason::ArpNegative),
            State::Silent { .. } => {
                inner.store.set_state(at, asking);
                inner.statistics.requests_sent += 1;
                Resolution::Held { request: Some(request), dropped: inner.hold(at, packet, self.config.max_hold) }
            }
            State::Asking { .. } | State::Releasing { .. } | State::Free => {
                Resolution::Held { request: None, dropped: inner.hold(at, packet, self.config.max_hold) }
            }
        }
    }

    /// Moves packets held for a neighbour whose address is known by now into `packets`, oldest first, and returns that address.
    ///
    /// Calling again says that the interface has taken everything moved so far: when nothing more is held, `None` is
    /// returned, the address is published, and later packets pass without being held. That is what keeps the order, so
    /// send before calling again:
    /// `while let Some(mac) = table.release(now, out, neighbour, &mut packets) { /* send them all */ }`.
    /// The packets are as they were when held. With no room in `packets` nothing changes and `None` is returned.
    pub fn release(
        &self,
        now: Instant,
        out: IfIndex,
        neighbour: Ipv4Addr,
        packets: &mut PacketBatch,
    ) -> Option<MacAddr> {
        let mut inner = self.inner.lock();
        let at = inner.store.find(Key::new(out.0, neighbour))?;
        let entry = *inner.store.get(at)?;
        let State::Releasing { mac, confirmed, .. } = entry.state else {
            return None;
        };
        if packets.is_full() || inner.publish_if_released(at, &self.index) {
            return None;
        }
        inner.store.set_state(at, State::Releasing { mac, confirmed, since: now });
        inner.move_held(at, packets);
        Some(mac)
    }

    /// Stops holding packets, for shutdown: from now on, packets for unknown neighbours are refused.
    pub fn close(&self) {
        self.inner.lock().closed = true;
    }

    /// Forgets the neighbours of one interface, or all, and gives their held packets out into `packets`
    /// (drop reason: [`DropReason::ArpFlushed`]).
    ///
    /// Returns whether there is more: then `packets` is full, and the caller empties it and calls again.
    #[must_use = "there may be more held packets"]
    pub fn flush(&self, interface: Option<IfIndex>, packets: &mut PacketBatch) -> bool {
        let mut inner = self.inner.lock();
        for at in 0..inner.store.reach() {
            let Some(entry) = inner.store.get(at).copied() else {
                break;
            };
            if entry.state == State::Free || interface.is_some_and(|only| only != entry.out) {
                continue;
            }
            inner.move_held(at, packets);
            if inner.store.get(at).is_some_and(|entry| !entry.hold.is_empty()) {
                return true;
            }
            inner.store.remove(at, &self.index);
        }
        false
    }

    /// Returns how many packets are held: a term of the conservation law.
    #[must_use]
    pub fn held(&self) -> usize {
        self.inner.lock().holds.used()
    }

    /// Returns the counters.
    #[must_use]
    pub fn statistics(&self) -> ArpStatistics {
        let inner = self.inner.lock();
        ArpStatistics {
            entries: inner.store.len(),
            unresolved: inner.store.unresolved(),
            held: inner.holds.used(),
            ..inner.statistics
        }
    }

    /// Returns the first neighbour in place `from` or behind it, with its place, so that a view can go through all of them without
    /// memory of its own.
    ///
    /// # Errors
    /// [`Held`] if the table is locked by a CPU that has been stopped.
    ///
    /// # Context
    /// Any, also the debugger in a world that stands still.
    pub fn entry(&self, from: usize, now: Instant) -> Result<Option<(usize, ArpEntry)>, Held> {
        let inner = self.inner.look()?;
        let shown = |at: usize| inner.store.get(at)?.show(now).map(|entry| (at, entry));
        Ok((from..inner.store.places()).find_map(shown))
    }

    /// Returns whether somebody holds the table's lock. Any context.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.inner.is_held()
    }

    /// Returns all neighbours, for `show arp`, in no particular order.
    ///
    /// # Context
    /// Thread; allocates (before it takes the lock). For consoles, not for the data path.
    #[must_use]
    pub fn entries(&self, now: Instant) -> Vec<ArpEntry> {
        let mut shown = Vec::with_capacity(self.config.max_entries);
        let inner = self.inner.lock();
        let neighbours = (0..inner.store.places()).filter_map(|at| inner.store.get(at)?.show(now));
        shown.extend(neighbours.take(self.config.max_entries));
        shown
    }
}

impl Inner {
    /// Enters a new neighbour.
    pub(crate) fn insert(
        &mut self,
        name: (IfIndex, Ipv4Addr),
        state: State,
        now: Instant,
        index: &Index,
    ) -> Option<usize> {
        self.store.insert(name, state, now, index, &mut self.statistics.evicted)
    }

    /// Takes the oldest packet held for a neighbour.
    pub(crate) fn pop_held(&mut self, at: usize) -> Option<PacketBuf> {
        self.holds.pop(self.store.hold(at)?)
    }

    /// Holds a packet for a neighbour and returns one that had to make room, or found none (RFC 1122 2.3.2.2: the latest stays).
    fn hold(&mut self, at: usize, packet: PacketBuf, limit: usize) -> Option<(PacketBuf, DropReason)> {
        let Some(queue) = self.store.hold(at) else {
            return Some((packet, DropReason::ArpHoldOverflow));
        };
        let mut replaced = None;
        if queue.len() >= limit {
            replaced = self.holds.pop(queue).map(|oldest| (oldest, DropReason::ArpHoldReplaced));
        }
        if let Err(packet) = self.holds.push(queue, packet) {
            // All places are taken. The neighbour's own oldest makes room for its latest; without one there is no room.
            let Some(oldest) = self.holds.pop(queue) else {
                return Some((packet, DropReason::ArpHoldOverflow));
            };
            replaced = Some((oldest, DropReason::ArpHoldReplaced));
            if let Err(packet) = self.holds.push(queue, packet) {
                return Some((packet, DropReason::ArpHoldOverflow));
            }
        }
        self.statistics.hold_replaced += u64::from(replaced.is_some());
        replaced
    }

    /// Moves as many held packets of a neighbour as there is room for.
    fn move_held(&mut self, at: usize, packets: &mut PacketBatch) {
        while !packets.is_full() {
            let Some(packet) = self.pop_held(at) else {
                return;
            };
            // There is room, as just seen.
            let _ = packets.push(packet);
        }
    }

    /// Publishes the address of a neighbour in `Releasing` for which nothing is held. Returns whether it did.
    pub(crate) fn publish_if_released(&mut self, at: usize, index: &Index) -> bool {
        let Some(entry) = self.store.get(at).copied() else {
            return false;
        };
        let State::Releasing { mac, confirmed, .. } = entry.state else {
            return false;
        };
        if entry.hold.is_empty() {
            self.store.set_state(at, State::Known { mac, confirmed });
            index.publish(entry.key, mac);
        }
        entry.hold.is_empty()
    }
}

impl fmt::Debug for ArpTable {
    /// Does not lock.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArpTable").field("config", &self.config).finish_non_exhaustive()
    }
}
