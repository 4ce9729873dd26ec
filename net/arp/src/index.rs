//! The lock-free side of the table: from (interface, address) to the neighbour's MAC address.
//!
//! A fixed array of [`Slot`]s; a key lives in one of the few slots that follow its hash. Each slot is a sequence lock: the one
//! writer (who holds the table's lock) makes the sequence odd, changes the slot, and makes it even again. A reader that
//! meets a change answers "unknown", which sends its packet to the locked side: readers never wait and never see half a change.
//! Context: [`Index::lookup`] anywhere; the rest under the table's lock.

use alloc::{boxed::Box, vec::Vec};
use core::net::Ipv4Addr;

use ksync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use wire::MacAddr;

/// In how many slots a key may live.
const WINDOW: usize = 8;
/// The key of an empty slot; keys of neighbours have bit 63 set.
const EMPTY: u64 = 0;

/// A neighbour's name in one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u64);

impl Key {
    #[inline]
    pub(crate) fn new(interface: u16, ip: Ipv4Addr) -> Self {
        Self(1 << 63 | u64::from(interface) << 32 | u64::from(ip.to_bits()))
    }

    /// Mixes the key with a secret so that nobody outside can aim at one place of the table: multiplication by a secret odd number,
    /// whose upper bits spread any set of keys well.
    #[inline]
    pub(crate) fn hash(self, seed: u64) -> usize {
        let odd = (seed ^ 0x9e37_79b9_7f4a_7c15) | 1;
        let [.., a, b, c, d] = self.0.wrapping_mul(odd).to_le_bytes();
        u32::from_le_bytes([a, b, c, d]) as usize
    }
}

#[repr(align(32))]
struct Slot {
    /// Odd while the writer changes the slot.
    sequence: AtomicU32,
    /// Set by readers; a hint for ageing, with no order to anything.
    used: AtomicU32,
    key: AtomicU64,
    mac: AtomicU64,
}

impl Slot {
    fn new() -> Self {
        Self {
            sequence: AtomicU32::new(0),
            used: AtomicU32::new(0),
            key: AtomicU64::new(EMPTY),
            mac: AtomicU64::new(0),
        }
    }

    /// Returns the MAC address if the slot holds `key` and did not change while we looked.
    #[inline]
    fn read(&self, key: Key) -> Option<MacAddr> {
        // ORDERING: acquire pairs with the release store at the end of `write`: an even sequence shows the contents it stands for.
        let before = self.sequence.load(Ordering::Acquire);
        if self.key.load(Ordering::Relaxed) != key.0 {
            return None;
        }
        let mac = self.mac.load(Ordering::Relaxed);
        // ORDERING: pairs with the release fence in `write`: if one of the loads above saw a value of a later change, the load
        // below sees that change's odd sequence or a later one.
        fence(Ordering::Acquire);
        let after = self.sequence.load(Ordering::Relaxed);
        (before == after && before & 1 == 0).then(|| MacAddr::from_bits(mac))
    }

    /// Changes the slot. Only under the table's lock.
    fn write(&self, key: u64, mac: u64) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        // ORDERING: pairs with the acquire fence in `read`, see there.
        fence(Ordering::Release);
        self.key.store(key, Ordering::Relaxed);
        self.mac.store(mac, Ordering::Relaxed);
        // ORDERING: pairs with the first load of `read`.
        self.sequence.store(sequence.wrapping_add(2), Ordering::Release);
    }
}

/// The array of slots.
pub(crate) struct Index {
    slots: Box<[Slot]>,
    /// The number of slots less one; that number is a power of two.
    mask: usize,
    seed: u64,
    /// Counts the changes.
    generation: AtomicU32,
}

impl Index {
    /// Allocates room for `entries` neighbours at half load.
    pub(crate) fn new(entries: usize, seed: u64) -> Self {
        let count = (entries.max(1) * 2).next_power_of_two();
        let slots: Vec<Slot> = (0..count).map(|_| Slot::new()).collect();
        Self { slots: slots.into_boxed_slice(), mask: count - 1, seed, generation: AtomicU32::new(0) }
    }

    /// Returns a number that is another one after every change: what was looked up since it was read may be kept while it stays.
    #[inline]
    pub(crate) fn generation(&self) -> u32 {
        // ORDERING: acquire pairs with the release in `changed`: who sees the number sees the change it counts.
        self.generation.load(Ordering::Acquire)
    }

    /// Counts a change that has been made. Only under the table's lock.
    fn changed(&self) {
        let generation = self.generation.load(Ordering::Relaxed);
        // ORDERING: release, behind the change: pairs with the acquire in `generation`.
        self.generation.store(generation.wrapping_add(1), Ordering::Release);
    }

    /// Returns the published address of a neighbour and remembers that it was asked for.
    #[inline]
    pub(crate) fn lookup(&self, key: Key) -> Option<MacAddr> {
        for slot in self.window(key) {
            if let Some(mac) = slot.read(key) {
                // Written only when it changes something, so that the line stays shared between CPUs.
                if slot.used.load(Ordering::Relaxed) == 0 {
                    slot.used.store(1, Ordering::Relaxed);
                }
                return Some(mac);
            }
        }
        None
    }

    /// Publishes or changes an address. If all slots of the key are taken nothing happens: the neighbour's packets then take
    /// the locked side, which is slower and no less right.
    pub(crate) fn publish(&self, key: Key, mac: MacAddr) {
        let free = || self.window(key).find(|slot| slot.key.load(Ordering::Relaxed) == EMPTY);
        if let Some(slot) = self.holder(key).or_else(free) {
            slot.write(key.0, mac.to_bits());
        }
        self.changed();
    }

    /// Takes an address back.
    pub(crate) fn withdraw(&self, key: Key) {
        if let Some(slot) = self.holder(key) {
            slot.write(EMPTY, 0);
            slot.used.store(0, Ordering::Relaxed);
        }
        self.changed();
    }

    /// Returns whether anybody asked for the neighbour since the last call.
    pub(crate) fn take_used(&self, key: Key) -> bool {
        self.holder(key).is_some_and(|slot| {
            let used = slot.used.load(Ordering::Relaxed) != 0;
            slot.used.store(0, Ordering::Relaxed);
            used
        })
    }

    /// Returns the slot that holds `key`. Only under the table's lock.
    fn holder(&self, key: Key) -> Option<&Slot> {
        self.window(key).find(|slot| slot.key.load(Ordering::Relaxed) == key.0)
    }

    /// Returns the slots in which `key` may live, each once.
    fn window(&self, key: Key) -> impl Iterator<Item = &Slot> {
        let first = key.hash(self.seed);
        let count = WINDOW.min(self.slots.len());
        (0..count).filter_map(move |i| self.slots.get(first.wrapping_add(i) & self.mask))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ksync::model::{check, spawn};

    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const B: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

    fn mac(n: u8) -> MacAddr {
        MacAddr([2, 0, 0, 0, 0, n])
    }

    /// Two slots, so that both keys compete for the same ones.
    fn small() -> Index {
        Index::new(1, 0)
    }

    #[test]
    fn a_reader_never_sees_the_address_of_another_neighbour() {
        check(|| {
            let index = Arc::new(small());
            index.publish(Key::new(0, A), mac(1));
            let writer = {
                let index = Arc::clone(&index);
                spawn(move || {
                    index.withdraw(Key::new(0, A));
                    index.publish(Key::new(0, B), mac(2));
                })
            };
            assert!([None, Some(mac(1))].contains(&index.lookup(Key::new(0, A))));
            assert!([None, Some(mac(2))].contains(&index.lookup(Key::new(0, B))));
            writer.join().expect("the writer ends");
            assert_eq!(index.lookup(Key::new(0, A)), None);
            assert_eq!(index.lookup(Key::new(0, B)), Some(mac(2)));
        });
    }

    #[test]
    fn a_reader_sees_the_old_or_the_new_address_of_a_neighbour_that_moves() {
        check(|| {
            let index = Arc::new(small());
            index.publish(Key::new(3, A), mac(1));
            let writer = {
                let index = Arc::clone(&index);
                spawn(move || index.publish(Key::new(3, A), mac(2)))
            };
            assert!([None, Some(mac(1)), Some(mac(2))].contains(&index.lookup(Key::new(3, A))));
            writer.join().expect("the writer ends");
            assert_eq!(index.lookup(Key::new(3, A)), Some(mac(2)));
        });
    }

    #[cfg(not(any(loom, shuttle)))]
    #[test]
    fn the_same_address_on_two_interfaces_is_two_neighbours() {
        let index = Index::new(16, 7);
        index.publish(Key::new(0, A), mac(1));
        index.publish(Key::new(1, A), mac(2));
        assert_eq!(index.lookup(Key::new(0, A)), Some(mac(1)));
        assert_eq!(index.lookup(Key::new(1, A)), Some(mac(2)));
        assert_eq!(index.lookup(Key::new(2, A)), None);
    }

    #[cfg(not(any(loom, shuttle)))]
    #[test]
    fn use_is_noted_by_lookup_and_cleared_by_asking() {
        let index = Index::new(16, 7);
        let key = Key::new(0, A);
        index.publish(key, mac(1));
        assert!(!index.take_used(key));
        assert!(index.lookup(key).is_some());
        assert!(index.take_used(key));
        assert!(!index.take_used(key));
    }
}
