//! Filters of the receiver: own address, multicast hash table, promiscuous modes, VLANs.
//!
//! Key type: [`ReceiveFilter`] (what the operator wants), turned into register contents by pure functions. 13.5.1
//! (MTA), 13.5.2 and 13.5.3 (RAL, RAH), 13.5.4 (VFTA), 13.4.22 (RCTL.UPE, RCTL.MPE, RCTL.MO = 0, RCTL.VFE).

use alloc::vec::Vec;

use ksync::atomic::Ordering;
use wire::{MacAddr, VlanId};

use crate::{
    adapter::{Adapter, Phase},
    hardware,
    regs::{MTA_WORDS, RAH_AV, RECEIVE_ADDRESSES, Rctl, Reg, RegisterIo, VET_8021Q, VFTA_WORDS},
};

/// Which frames the receiver takes besides those to its own address and to everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiveFilter {
    /// Every frame on the wire.
    pub promiscuous: bool,
    /// Every multicast frame.
    pub all_multicast: bool,
    /// These groups. The hash table lets some others through as well; the network code judges for itself.
    pub groups: Vec<MacAddr>,
    /// The VLANs this port is in. With any, the device takes the tag off received frames and inserts it in those that are sent with one;
    /// of frames with a tag only those of these VLANs come through, and those whose tag has a priority and no VLAN. Without
    /// any, frames with a tag come as they are.
    pub vlans: Vec<VlanId>,
}

/// More groups than this switch multicast promiscuous mode on: the table would let nearly everything through.
pub const MAX_GROUPS: usize = 128;

impl ReceiveFilter {
    /// Returns the mode bits of RCTL.
    #[must_use]
    pub fn mode(&self) -> Rctl {
        let mut mode = Rctl::BAM;
        mode.set(Rctl::UPE, self.promiscuous);
        mode.set(Rctl::MPE, self.promiscuous || self.all_multicast || self.groups.len() > MAX_GROUPS);
        mode.set(Rctl::VFE, !self.vlans.is_empty());
        mode
    }

    /// Returns the VLAN table: a bit for each, that of the number 0 for tags without a VLAN (13.5.4).
    #[must_use]
    pub fn vlan_table(&self) -> [u32; VFTA_WORDS as usize] {
        let mut table = [0; VFTA_WORDS as usize];
        for number in self.vlans.iter().map(|vlan| vlan.get()).chain([0]) {
            if let Some(word) = table.get_mut(usize::from(number >> 5)) {
                *word |= 1 << (number & 31);
            }
        }
        table
    }

    /// Returns the multicast table.
    #[must_use]
    pub fn table(&self) -> [u32; MTA_WORDS as usize] {
        let mut table = [0; MTA_WORDS as usize];
        for group in self.groups.iter().take(MAX_GROUPS) {
            let (word, bit) = hash(*group);
            if let Some(word) = table.get_mut(usize::from(word)) {
                *word |= bit;
            }
        }
        table
    }
}

/// Returns word and bit of the multicast table that a group hashes to, for RCTL.MO = 0: bits 47:36 of the address as
/// it stands in a frame, the last octet being the most significant (13.5.1).
#[must_use]
pub const fn hash(group: MacAddr) -> (u8, u32) {
    let [.., fifth, sixth] = group.octets();
    let hash = (fifth >> 4) as u16 | (sixth as u16) << 4;
    let [word, _] = (hash >> 5).to_le_bytes();
    (word & (MTA_WORDS - 1), 1 << (hash & 31))
}

/// Writes the station address into entry 0 and invalidates the other entries.
pub(crate) fn write_addresses<R: RegisterIo>(regs: &R, mac: MacAddr) {
    let [a, b, c, d, e, f] = mac.octets();
    regs.write32(Reg::Ral(0), u32::from_le_bytes([a, b, c, d]));
    regs.write32(Reg::Rah(0), u32::from_le_bytes([e, f, 0, 0]) | RAH_AV);
    for entry in 1..RECEIVE_ADDRESSES {
        // High first: an entry is never valid with half an address in it.
        regs.write32(Reg::Rah(entry), 0);
        regs.write32(Reg::Ral(entry), 0);
    }
}

/// Writes the multicast table, and the VLAN table if there are VLANs.
pub(crate) fn write_tables<R: RegisterIo>(regs: &R, filter: &ReceiveFilter) {
    for (word, bits) in (0..MTA_WORDS).zip(filter.table()) {
        regs.write32(Reg::Mta(word), bits);
    }
    if !filter.vlans.is_empty() {
        regs.write32(Reg::Vet, VET_8021Q);
        for (word, bits) in (0..VFTA_WORDS).zip(filter.vlan_table()) {
            regs.write32(Reg::Vfta(word), bits);
        }
    }
}

impl<R: RegisterIo> Adapter<R> {
    /// Changes what the receiver lets through. With the first VLAN the device begins to take tags off and to insert them, and does so from
    /// then on: frames that are still in the ring may say that they want theirs.
    ///
    /// On QEMU each call stops reception for a second, because it writes RCTL: for the operator, not for traffic.
    ///
    /// # Context
    /// Thread, one caller at a time.
    pub fn set_filter(&self, filter: ReceiveFilter) {
        self.mode.store(filter.mode().bits(), Ordering::Relaxed);
        let begins_to_tag = !filter.vlans.is_empty() && !self.handles_tags();
        let mut current = self.receive_filter.lock();
        *current = filter;
        if matches!(self.phase(), Phase::Attached | Phase::Running) {
            write_tables(&self.regs, &current);
        }
        drop(current);
        if begins_to_tag {
            self.begin_tagging();
        }
        if self.phase() == Phase::Running {
            self.open_receive();
        }
    }

    /// Has the device handle tags; one that is not running, or is being reset, will when it is enabled. Under the transmit lock of queue 0,
    /// as every change of CTRL, see [`settle_flow`](Self::settle_flow) and [`enable`](Self::enable).
    fn begin_tagging(&self) {
        let senders = self.queues.of(0).tx.lock();
        if senders.is_some() && self.phase() == Phase::Running && !self.recovery_wanted() {
            hardware::enable_tags(&self.regs);
        }
        // ORDERING: release pairs with the acquire in `handles_tags`: who sends with a tag finds a device that inserts it.
        self.tagging.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    #[test]
    fn hash_takes_the_upper_twelve_bits_of_the_address() {
        // The manual's example address 12:34:56:78:9a:bc (13.5.1) hashes to 0xbc9.
        assert_eq!(hash(MacAddr([0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc])), (0x5e, 1 << 9));
        assert_eq!(hash(MacAddr([1, 0, 0x5e, 0, 0, 1])), (0, 1 << 16));
        assert_eq!(hash(MacAddr::BROADCAST), (127, 1 << 31));
    }

    #[test]
    fn groups_set_their_bits_and_no_others() {
        let groups = vec![MacAddr([1, 0, 0x5e, 0, 0, 1]), MacAddr([1, 0, 0x5e, 0, 0, 2])];
        let filter = ReceiveFilter { groups, ..ReceiveFilter::default() };
        let table = filter.table();
        assert_eq!(table[0], 1 << 16);
        assert_eq!(table[1], 1 << 0);
        assert_eq!(table.iter().map(|word| word.count_ones()).sum::<u32>(), 2);
        assert_eq!(filter.mode(), Rctl::BAM);
    }

    #[test]
    fn more_groups_than_the_table_is_good_for_mean_all_multicast() {
        let group = |n: u8| MacAddr([1, 0, 0x5e, 0, 0, n]);
        let filter = ReceiveFilter { groups: (0..129).map(group).collect(), ..ReceiveFilter::default() };
        assert_eq!(filter.mode(), Rctl::BAM | Rctl::MPE);
        let promiscuous = ReceiveFilter { promiscuous: true, ..ReceiveFilter::default() };
        assert_eq!(promiscuous.mode(), Rctl::BAM | Rctl::MPE | Rctl::UPE);
    }

    #[test]
    fn vlans_set_their_bits_in_the_table_and_switch_the_filter_on() {
        assert_eq!(ReceiveFilter::default().mode(), Rctl::BAM);
        let vlans = [1, 10, 4094].into_iter().filter_map(VlanId::new).collect();
        let filter = ReceiveFilter { vlans, ..ReceiveFilter::default() };
        assert_eq!(filter.mode(), Rctl::BAM | Rctl::VFE);
        let table = filter.vlan_table();
        assert_eq!((table[0], table[127]), (1 << 0 | 1 << 1 | 1 << 10, 1 << 30));
        assert_eq!(table.iter().map(|word| word.count_ones()).sum::<u32>(), 4);
    }
}
