//! Cards, memory and CPUs of the same node, on a machine with several sockets.
//!
//! A card's packet buffers and rings come from its own node (see [`pools`](crate::pools)), and its interrupts go to a CPU there.
//! Context: the first thread.

use alloc::vec::Vec;

use ithread::spread;
use ksync::cpu::CpuId;
use machine::{numa, percpu};
use pci::PciDevice;

/// APIC ids from this one on cannot be named in a line's route, nor in a message, without interrupt remapping.
const NO_ROUTE: u32 = 0xff;

/// The node a card is on, if firmware says.
pub(crate) fn of_card(device: &PciDevice) -> Option<u32> {
    let root = device.root_interrupt.map_or(device.address.bus(), |root| root.bus);
    numa::node_of_bus(device.address.segment(), root)
}

/// Returns the CPU for the `number`th interrupt of all, of a card on `node`: in turn ([`spread::place`]) those that run there, and can be
/// told by an interrupt.
pub(crate) fn cpu_for(number: usize, node: Option<u32>) -> CpuId {
    let reachable = || percpu::online().filter(|cpu| percpu::block(*cpu).apic_id() < NO_ROUTE);
    let near: Vec<CpuId> = reachable().filter(|cpu| node.is_some() && numa::node_of_cpu(*cpu) == node).collect();
    let chosen = if near.is_empty() { reachable().collect() } else { near };
    chosen.get(spread::place(number, chosen.len())).copied().unwrap_or(CpuId::BOOT)
}
