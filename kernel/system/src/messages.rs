//! How a card's interrupts reach the machine: by a message for each queue, by one message, or by its pin; the best that works.
//!
//! Key type: [`Wiring`]. Context: the first thread, at attach, before the card may do DMA, and therefore before it can send a message.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use e1000::{Delivery, Variant, Vector};
use ksync::atomic::{AtomicBool, AtomicU8, Ordering};
use machine::{
    irq::{self, IrqLine},
    pci_config::PciConfig,
    platform,
};
use pci::{Bars, Function, MsiX, PciDevice};

use crate::{
    knobs::{self, Access, Knob},
    nodes,
};

static MSI_X: AtomicBool = AtomicBool::new(true);
static MSI: AtomicBool = AtomicBool::new(true);
/// Queues that a card gets at most; 0 for as many as there are CPUs.
static QUEUES: AtomicU8 = AtomicU8::new(0);

/// What can be tuned at boot.
pub(crate) const KNOBS: &[Knob] = &[
    Knob {
        name: "hw.em.num_queues",
        description: "queues of a card in each direction, as far as it has them (1 or 2; 0: one for each CPU); read at boot",
        get: || QUEUES.load(Ordering::Relaxed).to_string(),
        access: Access::Tunable(|text| {
            let number = knobs::number(text, 0, u32::from(e1000::regs::QUEUES))?;
            QUEUES.store(u8::try_from(number).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }),
    },
    Knob {
        name: "hw.pci.enable_msi",
        description: "a card without several messages sends one instead of using its pin; read at boot",
        get: || u8::from(MSI.load(Ordering::Relaxed)).to_string(),
        access: Access::Tunable(|text| knobs::switch(text).map(|on| MSI.store(on, Ordering::Relaxed))),
    },
    Knob {
        name: "hw.pci.enable_msix",
        description: "a card sends a message for each of its queues, if it can; read at boot",
        get: || u8::from(MSI_X.load(Ordering::Relaxed)).to_string(),
        access: Access::Tunable(|text| knobs::switch(text).map(|on| MSI_X.store(on, Ordering::Relaxed))),
    },
];

/// The interrupts of one card.
#[derive(Debug)]
pub(crate) struct Wiring {
    pub(crate) delivery: Delivery,
    pub(crate) queues: u8,
    /// Each interrupt, with what it is about if that is less than everything.
    pub(crate) lines: Vec<(Option<Vector>, IrqLine)>,
}

impl Wiring {
    /// Returns how it is done, for the log.
    pub(crate) fn describe(&self) -> String {
        let numbers: Vec<String> = self.lines.iter().map(|(_, line)| line.irq.to_string()).collect();
        let numbers = numbers.join(", ");
        match (self.delivery, self.lines.as_slice()) {
            (Delivery::PerQueue, _) => format!("MSI-X, irq {numbers}, {} queues", self.queues),
            (Delivery::Single, [(_, line)]) if irq::is_masked(line.irq).is_none() => format!("MSI, irq {numbers}"),
            (Delivery::Single, _) => format!("INTx, irq {numbers}"),
        }
    }
}

/// Wires the interrupts of card `number`; what does not work is said, and the next best tried.
///
/// # Errors
/// Why not even the pin works.
pub(crate) fn wire(
    name: &str,
    number: usize,
    (device, bars): (&PciDevice, &Bars),
    variant: &Variant,
) -> Result<Wiring, String> {
    if MSI_X.load(Ordering::Relaxed) && variant.messages > 0 {
        match several(number, (device, bars), variant) {
            Ok(wiring) => return Ok(wiring),
            Err(why) => log::warn!("{name}: no MSI-X: {why}"),
        }
    }
    if MSI.load(Ordering::Relaxed) {
        match one(number, device) {
            Ok(Some(wiring)) => return Ok(wiring),
            Ok(None) => {}
            Err(why) => log::warn!("{name}: no MSI: {why}"),
        }
    }
    let line = pin(number, device)?;
    Ok(Wiring { delivery: Delivery::Single, queues: 1, lines: [(None, line)].into() })
}

/// Returns how many queues a card of this kind gets in each direction, if nothing is wrong with its messages.
pub(crate) fn queues(variant: &Variant) -> u8 {
    if !MSI_X.load(Ordering::Relaxed) || variant.messages == 0 {
        return 1;
    }
    let wanted = match QUEUES.load(Ordering::Relaxed) {
        0 => u8::try_from(machine::percpu::online().count()).unwrap_or(u8::MAX),
        queues => queues,
    };
    wanted.clamp(1, variant.queues)
}

/// A message for each queue and direction, and one for the rest.
fn several(number: usize, (device, bars): (&PciDevice, &Bars), variant: &Variant) -> Result<Wiring, String> {
    let function = device.function(&PciConfig);
    let table = function.msi_x().map_err(|error| error.to_string())?.ok_or("there is no table of messages")?;
    if table.entries < u16::from(variant.messages) {
        return Err(format!("the table has {} entries", table.entries));
    }
    let queues = queues(variant);
    let mut lines = Vec::new();
    for vector in Vector::all(queues) {
        let queue = match vector {
            Vector::Rx(queue) | Vector::Tx(queue) => queue,
            Vector::Other => 0,
        };
        let cpu = nodes::cpu_for(number * usize::from(queues) + usize::from(queue), nodes::of_card(device));
        match irq::allocate_vector(cpu) {
            Ok(line) => lines.push((Some(vector), line)),
            Err(error) => {
                give_back(&lines);
                return Err(format!("{vector}: {error:?}"));
            }
        }
    }
    match write_table(&function, bars, &table, &lines) {
        Ok(()) => Ok(Wiring { delivery: Delivery::PerQueue, queues, lines }),
        Err(why) => {
            give_back(&lines);
            Err(why)
        }
    }
}

fn give_back(lines: &[(Option<Vector>, IrqLine)]) {
    lines.iter().for_each(|(_, line)| irq::release(*line));
}

/// Writes the messages into the card's table and switches them on.
fn write_table(
    function: &Function<'_, PciConfig>,
    bars: &Bars,
    table: &MsiX,
    lines: &[(Option<Vector>, IrqLine)],
) -> Result<(), String> {
    let (address, size) = bars.memory(table.bar).map_err(|error| error.to_string())?;
    let octets = u32::from(table.entries) * MsiX::ENTRY;
    let end = u64::from(table.table) + u64::from(octets);
    if end > size {
        return Err("its table lies outside its window".into());
    }
    let start = address + u64::from(table.table);
    let window = machine::device_registers(start, octets as usize).ok_or("its table cannot be mapped")?;
    for (vector, line) in lines {
        let entry = vector.map_or(0, Vector::message);
        let (address, data) = irq::message(line).ok_or("the CPU's APIC id needs interrupt remapping")?;
        let place = usize::from(entry) * MsiX::ENTRY as usize;
        let [low, high] = [address & 0xffff_ffff, address >> 32].map(|half| u32::try_from(half).unwrap_or(0));
        for (offset, value) in [(12, MsiX::MASKED), (0, low), (4, high), (8, data), (12, 0)] {
            window.write32(place + offset, value);
        }
        if window.read32(place) != low {
            return Err("its table does not take what is written".into());
        }
    }
    function.enable_msi_x(table).map_err(|error| error.to_string())?;
    // Not there on parts older than PCI 2.3; a function that sends messages leaves its pin alone anyway.
    let _ = function.set_intx_disabled(true);
    Ok(())
}

/// One message for everything; `None` if the card has none.
fn one(number: usize, device: &PciDevice) -> Result<Option<Wiring>, String> {
    let function = device.function(&PciConfig);
    let Some(msi) = function.msi().map_err(|error| error.to_string())? else { return Ok(None) };
    let line =
        irq::allocate_vector(nodes::cpu_for(number, nodes::of_card(device))).map_err(|error| format!("{error:?}"))?;
    let enabled = match irq::message(&line) {
        None => Err("the CPU's APIC id needs interrupt remapping".into()),
        Some((address, data)) => {
            let data = u16::try_from(data).unwrap_or(0);
            function.enable_msi(&msi, address, data).map_err(|error| error.to_string())
        }
    };
    if let Err(why) = enabled {
        irq::release(line);
        return Err(why);
    }
    let _ = function.set_intx_disabled(true);
    Ok(Some(Wiring { delivery: Delivery::Single, queues: 1, lines: [(None, line)].into() }))
}

/// The card's pin, routed to the next CPU in turn unless the line is routed already.
fn pin(number: usize, device: &PciDevice) -> Result<IrqLine, String> {
    let route = platform::pci_route(device.address).ok_or("firmware does not say where its interrupt arrives")?;
    let cpu = nodes::cpu_for(number, nodes::of_card(device));
    irq::route_gsi(route.gsi, route.signal, cpu).map_err(|error| format!("interrupt line {}: {error:?}", route.gsi))
}
