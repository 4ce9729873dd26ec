//! Nodes of a machine with several sockets: which processors, memory and PCI buses lie close together.
//!
//! All of it is a preference: where nothing is known, or there is one node only, everything is as close as everything else.
//! Context: thread at boot; [`node_of_cpu`] and [`node_of_bus`] any.

use ksync::cpu::CpuId;

use crate::{acpi::srat::Srat, frame, percpu, platform};

/// Firmware's table, if it describes more than one node.
fn table() -> Option<&'static Srat> {
    platform::platform().and_then(|platform| platform.nodes.as_ref()).filter(|srat| srat.nodes().len() > 1)
}

/// Says which nodes there are, if there is more than one.
pub(crate) fn announce(srat: &Srat) {
    let nodes = srat.nodes();
    if nodes.len() < 2 {
        return;
    }
    log::info!("numa: {} nodes", nodes.len());
    for node in nodes {
        let processors = srat.processors.iter().filter(|(_, of)| *of == node).count();
        let memory = srat.memory.iter().filter(|memory| memory.node == node);
        let octets: u64 = memory.map(|memory| memory.end - memory.start).sum();
        log::info!("numa: node {node}: {processors} processors, {} MiB", octets >> 20);
    }
}

/// The node of a processor; `None` where nothing is known.
#[must_use]
pub fn node_of_cpu(cpu: CpuId) -> Option<u32> {
    table()?.node_of(percpu::block(cpu).apic_id())
}

/// The node of a PCI root bus, by what firmware's bytecode says of its host bridge.
#[must_use]
pub fn node_of_bus(segment: u16, bus: u8) -> Option<u32> {
    table()?;
    let known = &platform::answers()?.proximity;
    known.iter().find(|near| (near.segment, near.bus) == (segment, bus)).map(|near| near.node)
}

/// The node whose memory an address is in; `None` where nothing is known.
#[must_use]
pub fn node_of_memory(address: u64) -> Option<u32> {
    table()?.node_at(address)
}

/// Has contiguous memory come from the largest range of `node` from now on, as long as there is room and nothing forbids it; from anywhere
/// if nothing is known of it.
pub fn prefer_memory_of(node: Option<u32>) {
    let range = node.and_then(|node| table()?.largest_of(node));
    let [start, end] = range.map_or([0, 0], |range| [range.start, range.end]);
    frame::prefer(start, end);
}
