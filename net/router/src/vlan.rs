//! VLANs (IEEE 802.1Q): interfaces of their own that share a port.
//!
//! Key type: [`VlanInterface`]. On the way in, the port's driver has taken the tag off and told its number; the frames of a VLAN
//! become frames of its interface, by the table of the snapshot, before anything else is asked of them. On the way out
//! the interface hands its batch to the port, which inserts the tag. Carrier and station address are the port's.

use alloc::{string::String, sync::Arc, vec::Vec};
use core::fmt;

use ifnet::{DropReason, IfIndex, IfStatistics, Interface, TxOutcome, TxRefusal};
use ksync::counter::SharedCounter;
use pktbuf::{Arrival, LinkCast, PacketBatch, PacketBuf, PoolCache};
use wire::{MacAddr, VlanId};

use crate::worker::Pass;

/// A VLAN of a port.
///
/// # Context
/// As its port.
pub struct VlanInterface {
    name: String,
    id: VlanId,
    port: Arc<dyn Interface>,
    /// Counted once for many frames, by several threads if the port has several queues.
    rx_packets: SharedCounter,
    rx_octets: SharedCounter,
    tx_packets: SharedCounter,
    tx_octets: SharedCounter,
    tx_ring_full: SharedCounter,
}

impl VlanInterface {
    pub(crate) fn new(name: &str, id: VlanId, port: Arc<dyn Interface>) -> Self {
        let [rx_packets, rx_octets, tx_packets, tx_octets, tx_ring_full] = [(); 5].map(|()| SharedCounter::new());
        Self { name: name.into(), id, port, rx_packets, rx_octets, tx_packets, tx_octets, tx_ring_full }
    }

    /// Counts frames that came with the tag.
    fn receive(&self, frames: usize, octets: usize) {
        self.rx_packets.add(frames as u64);
        self.rx_octets.add(octets as u64);
    }
}

impl VlanInterface {
    fn send(&self, batch: &mut PacketBatch, more: bool, cache: &mut PoolCache) -> TxOutcome {
        let octets = |batch: &PacketBatch| batch.iter().map(PacketBuf::len).sum::<usize>();
        let before = octets(batch);
        let outcome = self.port.transmit_tagged(self.id, batch, more, cache);
        self.tx_packets.add(u64::from(outcome.accepted));
        self.tx_octets.add((before - octets(batch)) as u64);
        if outcome.refused == Some(TxRefusal::RingFull) {
            self.tx_ring_full.add(batch.len() as u64);
        }
        outcome
    }
}

impl Interface for VlanInterface {
    fn name(&self) -> &str {
        &self.name
    }

    fn mac(&self) -> MacAddr {
        self.port.mac()
    }

    fn mtu(&self) -> u16 {
        self.port.mtu()
    }

    fn link_up(&self) -> bool {
        self.port.link_up()
    }

    fn running(&self) -> bool {
        self.port.running()
    }

    fn transmit(&self, batch: &mut PacketBatch, cache: &mut PoolCache) -> TxOutcome {
        self.send(batch, false, cache)
    }

    fn transmit_more(&self, batch: &mut PacketBatch, cache: &mut PoolCache) -> TxOutcome {
        self.send(batch, true, cache)
    }

    fn ring_doorbell(&self, lane: usize) {
        self.port.ring_doorbell(lane);
    }

    fn vlan(&self) -> Option<(VlanId, &str)> {
        Some((self.id, self.port.name()))
    }

    /// What the port's device counts is the port's alone.
    fn statistics(&self) -> IfStatistics {
        IfStatistics {
            rx_packets: self.rx_packets.get(),
            rx_octets: self.rx_octets.get(),
            tx_packets: self.tx_packets.get(),
            tx_octets: self.tx_octets.get(),
            tx_ring_full: self.tx_ring_full.get(),
            ..IfStatistics::default()
        }
    }
}

impl fmt::Debug for VlanInterface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VlanInterface").field("name", &self.name).field("id", &self.id).finish_non_exhaustive()
    }
}

/// The VLANs of a snapshot, to be found by port and number.
#[derive(Debug, Default)]
pub(crate) struct Vlans(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    /// The port and the number.
    key: u32,
    index: u16,
    interface: Arc<VlanInterface>,
}

/// Returns the key of a VLAN; one number, for one comparison.
const fn key(port: u16, number: u16) -> u32 {
    (port as u32) << 16 | number as u32
}

impl Vlans {
    /// Makes the table of these: each with its port's index and its own.
    pub(crate) fn new(vlans: impl Iterator<Item = (u16, u16, Arc<VlanInterface>)>) -> Self {
        let entry = |(port, index, interface): (_, _, Arc<VlanInterface>)| {
            let key = key(port, interface.id.get());
            Entry { key, index, interface }
        };
        let mut entries: Vec<Entry> = vlans.map(entry).collect();
        entries.sort_unstable_by_key(|entry| entry.key);
        Self(entries)
    }

    fn find(&self, from: Arrival) -> Option<&Entry> {
        let key = key(from.rx_if()?, from.vlan());
        let place = self.0.binary_search_by_key(&key, |entry| entry.key).ok()?;
        self.0.get(place)
    }
}

impl Pass<'_> {
    /// Makes the frames at the front of a batch, as many as came `from` one port with one tag, those of the VLAN's interface; returns
    /// its index and how many they are. Those of a VLAN that is not configured are dropped.
    #[inline(never)]
    pub(crate) fn admit_tagged(&mut self, packets: &mut PacketBatch, from: Arrival) -> Option<(IfIndex, usize)> {
        let Some(entry) = self.snapshot.vlans.find(from) else {
            while let Some(packet) = packets.pop() {
                if packet.arrival() != from {
                    // There is room: it has just come from there.
                    let _ = packets.push_front(packet);
                    break;
                }
                self.refuse_tagged(packet);
            }
            return None;
        };
        // To whom it is addressed is judged anew where that matters.
        let now_from = Arrival::interface(entry.index, LinkCast::Unicast);
        let (mut frames, mut octets) = (0, 0);
        for packet in packets.iter_mut().take_while(|packet| packet.arrival() == from) {
            packet.set_arrival(now_from);
            frames += 1;
            octets += packet.len();
        }
        entry.interface.receive(frames, octets);
        Some((IfIndex(entry.index), frames))
    }

    /// The same for one packet, if it came with a tag.
    pub(crate) fn admit(&mut self, mut packet: PacketBuf) -> Option<PacketBuf> {
        if packet.vlan() == 0 {
            return Some(packet);
        }
        let Some(entry) = self.snapshot.vlans.find(packet.arrival()) else {
            self.refuse_tagged(packet);
            return None;
        };
        packet.set_arrival(Arrival::interface(entry.index, LinkCast::Unicast));
        entry.interface.receive(1, packet.len());
        Some(packet)
    }

    /// Drops a frame with the tag of a VLAN that is not configured; it counts as its port's.
    #[cold]
    fn refuse_tagged(&mut self, packet: PacketBuf) {
        self.core.counters.receive(&packet);
        let reason = if self.snapshot.closed { DropReason::ShuttingDown } else { DropReason::EthVlanUnknown };
        self.discard(packet, reason);
    }
}
