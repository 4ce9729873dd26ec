//! Cards, memory and CPUs of the same node, on a machine with several sockets.
//!
//! Packet buffers and rings come from the node that most cards are on, and each card's interrupt goes to a CPU of its own node.
//! Context: the first thread.

use alloc::vec::Vec;

use e1000::Variant;
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

/// Has memory come from the node that most of the cards are on.
pub(crate) fn prefer_memory(cards: &[(PciDevice, &'static Variant)]) {
    let nodes: Vec<u32> = cards.iter().filter_map(|(device, _)| of_card(device)).collect();
    let count = |node: &u32| nodes.iter().filter(|of| *of == node).count();
    // Of several equal ones, the first card's.
    let Some(node) = nodes.iter().rev().copied().max_by_key(count) else { return };
    if numa::prefer_memory_of(node) {
        log::info!("numa: packet memory from node {node}: {} of {} cards are there", count(&node), cards.len());
    }
}

/// Returns the CPU for the `number`th line of a card on `node`: round robin over those that run there, and can be told by an interrupt.
pub(crate) fn cpu_for(number: usize, node: Option<u32>) -> CpuId {
    let reachable = || percpu::online().filter(|cpu| percpu::block(*cpu).apic_id() < NO_ROUTE);
    let near: Vec<CpuId> = reachable().filter(|cpu| node.is_some() && numa::node_of_cpu(*cpu) == node).collect();
    let chosen = if near.is_empty() { reachable().collect() } else { near };
    chosen.get(number % chosen.len().max(1)).copied().unwrap_or(CpuId::BOOT)
}
