//! The neighbours themselves: a fixed array with a hash chain per bucket, and the rules of who has to go when it is full.
//!
//! Context: under the table's lock only. Nothing here allocates after [`Store::new`], and no call looks at more than a bounded
//! number of entries, because interrupts are off meanwhile.

use alloc::{boxed::Box, vec, vec::Vec};
use core::{net::Ipv4Addr, time::Duration};

use ifnet::IfIndex;
use ksync::time::Instant;

use crate::{
    entry::{Entry, State},
    hold::HoldQueue,
    index::{Index, Key},
};

/// No place.
const NONE: u16 = u16::MAX;
/// How many entries one search for a victim looks at.
const LOOKS: usize = 64;
/// A neighbour that answered this recently is not evicted.
const MIN_STAY: Duration = Duration::from_secs(60);

/// All neighbours.
pub(crate) struct Store {
    entries: Box<[Entry]>,
    /// First place of each hash chain; the length is a power of two.
    chains: Box<[u16]>,
    free: u16,
    len: usize,
    /// From this place on there is nobody.
    reach: usize,
    unresolved: usize,
    max_unresolved: usize,
    seed: u64,
    /// Places that fell silent, oldest first, as a ring that forgets its oldest: hints only, checked before use.
    silent: Box<[u16]>,
    /// Where the ring's next place goes, and how many places it has.
    silent_next: usize,
    silent_len: usize,
    /// Where the last search for a victim ended.
    hand: usize,
}

impl Store {
    /// Allocates room for `count` neighbours, at most 32,768.
    pub(crate) fn new(count: usize, max_unresolved: usize, seed: u64) -> Self {
        let count = u16::try_from(count.clamp(1, 0x8000)).unwrap_or(1);
        let key = Key::new(0, Ipv4Addr::UNSPECIFIED);
        let free = |next| Entry {
            key,
            out: IfIndex(0),
            ip: Ipv4Addr::UNSPECIFIED,
            state: State::Free,
            hold: HoldQueue::EMPTY,
            next,
        };
        let entries: Vec<Entry> = (1..=count).map(|next| free(if next < count { next } else { NONE })).collect();
        Self {
            entries: entries.into_boxed_slice(),
            chains: vec![NONE; usize::from(count).next_power_of_two()].into_boxed_slice(),
            free: 0,
            len: 0,
            reach: 0,
            unresolved: 0,
            max_unresolved,
            seed,
            silent: vec![NONE; max_unresolved.clamp(1, usize::from(count))].into_boxed_slice(),
            silent_next: 0,
            silent_len: 0,
            hand: 0,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn unresolved(&self) -> usize {
        self.unresolved
    }

    /// Returns how many places there are, free ones included.
    pub(crate) const fn places(&self) -> usize {
        self.entries.len()
    }

    /// Returns how many places have to be looked at to see every neighbour: few where there are few, unless there were many.
    pub(crate) const fn reach(&self) -> usize {
        self.reach
    }

    /// Takes free places at the end out of [`reach`](Self::reach), a bounded number of them.
    pub(crate) fn draw_in(&mut self) {
        for _ in 0..LOOKS {
            let last = self.reach.checked_sub(1).and_then(|last| self.entries.get(last));
            if last.is_none_or(|entry| entry.state != State::Free) {
                break;
            }
            self.reach -= 1;
        }
    }

    /// Returns what is in a place.
    pub(crate) fn get(&self, at: usize) -> Option<&Entry> {
        self.entries.get(at)
    }

    /// Returns a neighbour's place.
    pub(crate) fn find(&self, key: Key) -> Option<usize> {
        let mut at = usize::from(*self.chains.get(self.bucket(key))?);
        while let Some(entry) = self.entries.get(at) {
            if entry.key == key {
                return Some(at);
            }
            at = usize::from(entry.next);
        }
        None
    }

    /// Lends a neighbour's hold queue.
    pub(crate) fn hold(&mut self, at: usize) -> Option<&mut HoldQueue> {
        self.entries.get_mut(at).map(|entry| &mut entry.hold)
    }

    /// Moves a neighbour to another state (never to or from `Free`).
    pub(crate) fn set_state(&mut self, at: usize, state: State) {
        if let Some(entry) = self.entries.get_mut(at) {
            self.unresolved -= usize::from(entry.state.is_unresolved());
            self.unresolved += usize::from(state.is_unresolved());
            entry.state = state;
        }
        if matches!(state, State::Silent { .. }) {
            self.note_silent(at);
        }
    }

    /// Enters a neighbour that is not in the table yet, and returns its place.
    ///
    /// `None` if its class is full and nobody in it can be spared. `evicted` counts who had to go.
    pub(crate) fn insert(
        &mut self,
        (out, ip): (IfIndex, Ipv4Addr),
        state: State,
        now: Instant,
        index: &Index,
        evicted: &mut u64,
    ) -> Option<usize> {
        let quota_full = state.is_unresolved() && self.unresolved >= self.max_unresolved;
        if quota_full || self.free == NONE {
            let victim = self.victim(now, index, !quota_full)?;
            self.remove(victim, index);
            *evicted += 1;
        }
        let at = self.free;
        let key = Key::new(out.0, ip);
        let bucket = self.bucket(key);
        let chain = self.chains.get_mut(bucket)?;
        let entry = self.entries.get_mut(usize::from(at))?;
        self.free = entry.next;
        *entry = Entry { key, out, ip, state, hold: HoldQueue::EMPTY, next: *chain };
        *chain = at;
        self.len += 1;
        self.reach = self.reach.max(usize::from(at) + 1);
        self.unresolved += usize::from(state.is_unresolved());
        Some(usize::from(at))
    }

    /// Forgets a neighbour, whose hold queue must be empty, and takes its address back.
    pub(crate) fn remove(&mut self, at: usize, index: &Index) {
        let Some(entry) = self.entries.get(at).copied() else {
            return;
        };
        if entry.state == State::Free {
            return;
        }
        debug_assert!(entry.hold.is_empty(), "held packets would be lost");
        index.withdraw(entry.key);
        self.unlink(at, entry);
        self.unresolved -= usize::from(entry.state.is_unresolved());
        self.len -= 1;
        if let (Some(place), Ok(id)) = (self.entries.get_mut(at), u16::try_from(at)) {
            place.state = State::Free;
            place.next = self.free;
            self.free = id;
        }
    }

    /// Takes an entry out of its hash chain.
    fn unlink(&mut self, at: usize, entry: Entry) {
        let bucket = self.bucket(entry.key);
        let Some(first) = self.chains.get_mut(bucket) else {
            return;
        };
        if usize::from(*first) == at {
            *first = entry.next;
            return;
        }
        let mut before = usize::from(*first);
        while let Some(previous) = self.entries.get_mut(before) {
            if usize::from(previous.next) == at {
                previous.next = entry.next;
                return;
            }
            before = usize::from(previous.next);
        }
    }

    /// Finds somebody to forget: one who did not answer, else (if allowed) the longest silent of the ones nobody sends to.
    fn victim(&mut self, now: Instant, index: &Index, known_too: bool) -> Option<usize> {
        if let Some(at) = self.oldest_silent() {
            return Some(at);
        }
        let mut idle: Option<(Instant, usize)> = None;
        for _ in 0..LOOKS.min(self.entries.len()) {
            self.hand = (self.hand + 1) % self.entries.len();
            let entry = self.entries.get(self.hand)?;
            match entry.state {
                State::Silent { .. } if entry.hold.is_empty() => return Some(self.hand),
                State::Known { confirmed, .. }
                    if known_too
                        && now >= confirmed + MIN_STAY
                        && idle.is_none_or(|(oldest, _)| confirmed < oldest)
                        && !index.take_used(entry.key) =>
                {
                    idle = Some((confirmed, self.hand));
                }
                _ => {}
            }
        }
        idle.map(|(_, at)| at)
    }

    /// Remembers that the neighbour in a place fell silent.
    fn note_silent(&mut self, at: usize) {
        if let (Some(place), Ok(id)) = (self.silent.get_mut(self.silent_next), u16::try_from(at)) {
            *place = id;
            self.silent_next = (self.silent_next + 1) % self.silent.len();
            self.silent_len = (self.silent_len + 1).min(self.silent.len());
        }
    }

    /// Returns the neighbour that fell silent first and still is, and for which nothing is held.
    fn oldest_silent(&mut self) -> Option<usize> {
        let size = self.silent.len();
        for _ in 0..LOOKS.min(self.silent_len) {
            let oldest = (self.silent_next + size - self.silent_len) % size;
            let at = usize::from(*self.silent.get(oldest)?);
            self.silent_len -= 1;
            let entry = self.entries.get(at)?;
            if matches!(entry.state, State::Silent { .. }) && entry.hold.is_empty() {
                return Some(at);
            }
        }
        None
    }

    fn bucket(&self, key: Key) -> usize {
        key.hash(self.seed) & (self.chains.len() - 1)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_beyond_the_reach_which_follows_those_who_are_left() {
        let now = Instant::from_nanos(0);
        let (index, mut evicted) = (Index::new(256, 7), 0);
        let mut store = Store::new(256, 256, 7);
        assert_eq!(store.reach(), 0);
        let state = State::Silent { until: now };
        let places: Vec<usize> = (0..200)
            .filter_map(|n| {
                let whom = (IfIndex(0), Ipv4Addr::from_bits(n));
                store.insert(whom, state, now, &index, &mut evicted)
            })
            .collect();
        assert_eq!((places.len(), store.reach()), (200, 200));
        // From the end, from the beginning, and one in the middle last.
        for &at in places.iter().rev().take(50).chain(places.iter().take(149)) {
            store.remove(at, &index);
            store.draw_in();
            let occupied = |at: &usize| store.get(*at).is_some_and(|entry| entry.state != State::Free);
            assert!((0..store.places()).filter(occupied).all(|at| at < store.reach()));
        }
        assert_eq!((store.len(), store.reach()), (1, 150));
        store.remove(149, &index);
        for left in [86, 22, 0, 0] {
            store.draw_in();
            assert_eq!(store.reach(), left, "a bounded number at a time");
        }
        assert!(store.insert((IfIndex(0), Ipv4Addr::LOCALHOST), state, now, &index, &mut evicted).is_some());
        assert!((0..store.places()).all(|at| at < store.reach() || store.get(at).unwrap().state == State::Free));
        assert_eq!(evicted, 0);
    }
}
