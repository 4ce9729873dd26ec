//! The neighbours of a host: [`Neighbours`] (RFC 826).

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use wire::MacAddr;

/// How often and how many times an address is asked for.
const RETRY: Duration = Duration::from_millis(250);
const TRIES: u8 = 12;

/// How many packets wait for an address at most.
const HELD: usize = 256;

#[derive(Debug)]
enum Entry {
    Known(MacAddr),
    Asked { tries: u8, next: Instant, held: Vec<Vec<u8>> },
}

/// Who has which address.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    entries: BTreeMap<Ipv4Addr, Entry>,
}

impl Neighbours {
    /// Returns the station address; if it is not known, asks for it from now on and holds `packet` until it is.
    pub(super) fn resolve(&mut self, address: Ipv4Addr, packet: Option<Vec<u8>>, now: Instant) -> Option<MacAddr> {
        let asked = || Entry::Asked { tries: 0, next: now, held: Vec::new() };
        match self.entries.entry(address).or_insert_with(asked) {
            Entry::Known(mac) => Some(*mac),
            Entry::Asked { held, .. } => {
                held.extend(packet.filter(|_| held.len() < HELD));
                None
            }
        }
    }

    /// Returns the station address if it is known.
    pub(super) fn get(&self, address: Ipv4Addr) -> Option<MacAddr> {
        match self.entries.get(&address) {
            Some(Entry::Known(mac)) => Some(*mac),
            _ => None,
        }
    }

    /// Returns whether an address was asked for in vain.
    pub(super) fn has_failed(&self, address: Ipv4Addr) -> bool {
        !self.entries.contains_key(&address)
    }

    /// Takes note of a station address and returns the packets that waited for it.
    pub(super) fn learn(&mut self, address: Ipv4Addr, mac: MacAddr) -> Vec<Vec<u8>> {
        match self.entries.insert(address, Entry::Known(mac)) {
            Some(Entry::Asked { held, .. }) => held,
            _ => Vec::new(),
        }
    }

    /// Forgets everything.
    pub(super) fn forget(&mut self) {
        self.entries.clear();
    }

    /// Returns the addresses to ask for now. Those asked for often enough are given up.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Ipv4Addr> {
        let mut due = Vec::new();
        self.entries.retain(|address, entry| {
            let Entry::Asked { tries, next, .. } = entry else { return true };
            if *next > now {
                return true;
            }
            *tries += 1;
            *next = now + RETRY;
            due.extend((*tries <= TRIES).then_some(*address));
            *tries <= TRIES
        });
        due
    }

    /// Returns when to look for due addresses again.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let due = self.entries.values().map(|entry| match entry {
            Entry::Known(_) => None,
            Entry::Asked { next, .. } => Some(*next),
        });
        due.flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    #[test]
    fn packets_wait_for_their_neighbour() {
        let now = Instant::now();
        let mut neighbours = Neighbours::default();
        assert_eq!(neighbours.resolve(A, Some(vec![1]), now), None);
        assert_eq!(neighbours.due(now), [A]);
        assert!(neighbours.due(now).is_empty());
        assert_eq!(neighbours.next_due(), Some(now + RETRY));
        assert_eq!(neighbours.learn(A, MacAddr([2; 6])), [vec![1]]);
        assert_eq!(neighbours.resolve(A, Some(vec![2]), now), Some(MacAddr([2; 6])));
    }

    #[test]
    fn a_neighbour_that_never_answers_is_given_up() {
        let mut now = Instant::now();
        let mut neighbours = Neighbours::default();
        neighbours.resolve(A, None, now);
        let mut asked = 0;
        while !neighbours.has_failed(A) {
            asked += neighbours.due(now).len();
            now += RETRY;
        }
        assert_eq!(asked, usize::from(TRIES));
    }
}
