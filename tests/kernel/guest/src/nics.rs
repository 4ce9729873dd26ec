//! Interrupt lines, proven with the interrupts of network interfaces: three e1000 in slots 4, 5 and 8, two processors.
//!
//! A card raises its pin when a cause is set by hand (ICS) and enabled (IMS), and drops it when the causes are read (ICR).
//! Source: Intel PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual, 13.4.17 to 13.4.21.

use alloc::{format, vec::Vec};
use core::time::Duration;

use ksync::{
    Once,
    atomic::{AtomicU32, Ordering},
    cpu::CpuId,
};
use machine::{
    acpi::Route,
    boot::BootRecord,
    irq::{self, IrqLine},
    mmio::MmioWindow,
    pci_config::PciConfig,
    percpu, platform, time,
};
use pci::PciAddress;

use crate::{
    crew,
    harness::{self, Outcome},
};

const ICR: usize = 0xC0;
const ICS: usize = 0xC8;
const IMS: usize = 0xD0;
const IMC: usize = 0xD8;
/// Link status change: a cause that nothing else raises here.
const CAUSE: u32 = 1 << 2;

const VENDOR: u16 = 0x8086;
const DEVICE: u16 = 0x100E;
/// The cards, by slot; 4 and 8 share a line on both boards.
const SLOTS: [u8; 3] = [4, 5, 8];

const PATIENCE: Duration = Duration::from_secs(20);
/// How long nothing must happen before we believe that nothing happens.
const SILENCE: Duration = Duration::from_millis(50);

/// A card and its registers.
struct Card {
    address: PciAddress,
    window: MmioWindow,
    route: Route,
}

static CARDS: Once<Vec<Card>> = Once::new();
/// Interrupts that each card answered for, and the processor that took the last.
static TAKEN: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];
static TAKEN_BY: [AtomicU32; 3] = [const { AtomicU32::new(u32::MAX) }; 3];

/// Finds the cards and runs the tests.
pub(crate) fn run(record: &'static BootRecord) -> ! {
    let platform = match platform::bring_up(record) {
        Ok(platform) => platform,
        Err(error) => panic!("the platform could not be brought up: {error:?}"),
    };
    if let Err(error) = platform::start_cpus(platform, crew::enter) {
        panic!("no other processor could be started: {error:?}");
    }
    harness::run(&[tests![
        firmware_routes_every_card,
        an_interrupt_arrives_on_the_line_and_at_the_processor_it_was_routed_to,
        cards_on_one_line_share_it,
        a_masked_line_waits_and_delivers_when_unmasked,
        a_line_that_nobody_handles_is_counted_and_masked,
        messages_have_vectors_of_their_own,
    ]])
}

fn cards() -> &'static [Card] {
    CARDS.get().map_or(&[], Vec::as_slice)
}

fn firmware_routes_every_card() -> Outcome {
    let found = pci::enumerate(&PciConfig, 0, &[0]);
    ensure!(found.faults.is_empty(), "{:?}", found.faults);
    let mut cards = Vec::new();
    for device in found.devices.iter().filter(|device| device.is(VENDOR, DEVICE)) {
        let function = device.function(&PciConfig);
        let (base, _) = function.memory_bar(0).map_err(|error| format!("{error:?}"))?;
        function.enable_memory().map_err(|error| format!("{error:?}"))?;
        let Some(window) = machine::device_registers(base, 0x1000) else { return Err("no registers".into()) };
        let Some(route) = platform::pci_route(device.address) else {
            return Err(format!("{} has no route", device.address));
        };
        log::info!("card {} at line {} {:?}", device.address, route.gsi, route.signal);
        window.write32(IMC, u32::MAX);
        cards.push(Card { address: device.address, window, route });
    }
    let answers = platform::answers().map_or(0, |answers| answers.routing.buses.len());
    ensure!(answers > 0, "the routes are not from firmware's bytecode");
    let slots: Vec<u8> = cards.iter().map(|card| card.address.device()).collect();
    ensure!(slots == SLOTS, "cards in slots {slots:?}");
    let [first, second, third] = cards.as_slice() else { return Err(format!("{} cards", cards.len())) };
    ensure!(
        first.route == third.route,
        "slots that share a pin have lines {} and {}",
        first.route.gsi,
        third.route.gsi
    );
    ensure!(first.route.gsi != second.route.gsi, "two pins share line {}", first.route.gsi);
    CARDS.call_once(|| cards);
    Ok(())
}

/// The handler of every card: the argument is the bits of those on its line.
fn take(members: usize) {
    for (index, card) in cards().iter().enumerate().filter(|(index, _)| members & (1 << index) != 0) {
        if card.window.read32(ICR) & CAUSE != 0
            && let (Some(taken), Some(by)) = (TAKEN.get(index), TAKEN_BY.get(index))
        {
            by.store(u32::from(percpu::current_cpu().0), Ordering::Relaxed);
            taken.fetch_add(1, Ordering::Release);
        }
    }
}

fn taken() -> [u32; 3] {
    [0, 1, 2].map(|index: usize| TAKEN.get(index).map_or(0, |count| count.load(Ordering::Acquire)))
}

fn raise(card: usize) {
    if let Some(card) = cards().get(card) {
        card.window.write32(IMS, CAUSE);
        card.window.write32(ICS, CAUSE);
    }
}

fn line(card: usize, cpu: CpuId) -> Result<IrqLine, alloc::string::String> {
    let Some(card) = cards().get(card) else { return Err(format!("no card {card}")) };
    irq::route_gsi(card.route.gsi, card.route.signal, cpu).map_err(|error| format!("{error:?}"))
}

/// The first and third card's line goes to the first processor, the second's to the second.
fn an_interrupt_arrives_on_the_line_and_at_the_processor_it_was_routed_to() -> Outcome {
    for (card, members, cpu) in [(0, 0b101, CpuId(0)), (1, 0b010, CpuId(1))] {
        let line = line(card, cpu)?;
        ensure!(line.cpu == cpu && irq::is_masked(line.irq) == Some(true), "{line:?} is not ready");
        irq::set_handler(&line, take, members).map_err(|error| format!("{error:?}"))?;
        irq::unmask(line.irq);
        for _ in 0..20 {
            let before = taken();
            raise(card);
            let arrived = crew::wait_until(PATIENCE, || taken() != before);
            ensure!(arrived, "nothing arrived from card {card} on {line:?}");
            let mut expected = before;
            expected[card] += 1;
            ensure!(taken() == expected, "{before:?} became {:?} for one interrupt of card {card}", taken());
            let by = TAKEN_BY[card].load(Ordering::Relaxed);
            ensure!(by == u32::from(cpu.0), "card {card} interrupted processor {by}, not {cpu}");
        }
    }
    Ok(())
}

fn cards_on_one_line_share_it() -> Outcome {
    let (first, third) = (line(0, CpuId(0))?, line(2, CpuId(1))?);
    ensure!(first == third, "the second routing made {third:?} of {first:?}");
    let before = taken();
    raise(2);
    raise(0);
    let both = || taken()[0] > before[0] && taken()[2] > before[2];
    ensure!(crew::wait_until(PATIENCE, both), "{before:?} became {:?}", taken());
    Ok(())
}

fn a_masked_line_waits_and_delivers_when_unmasked() -> Outcome {
    let line = line(1, CpuId(1))?;
    irq::mask(line.irq);
    let before = taken();
    raise(1);
    time::delay(SILENCE);
    ensure!(taken() == before, "a masked line delivered");
    irq::unmask(line.irq);
    ensure!(crew::wait_until(PATIENCE, || taken()[1] == before[1] + 1), "what was raised meanwhile was lost");
    ensure!(crew::wait_until(PATIENCE, || !irq::in_flight(line.irq)), "the line was never acknowledged");
    Ok(())
}

/// The line of the second card loses its handler while the card goes on: one delivery, then silence.
fn a_line_that_nobody_handles_is_counted_and_masked() -> Outcome {
    irq::release(line(1, CpuId(1))?);
    let line = line(1, CpuId(0))?;
    irq::unmask(line.irq);
    let before = (taken(), irq::strays());
    raise(1);
    let masked = crew::wait_until(PATIENCE, || irq::is_masked(line.irq) == Some(true));
    ensure!(masked, "an interrupt that nobody takes comes for ever");
    time::delay(SILENCE);
    let strays = irq::strays() - before.1;
    ensure!(strays == 1 && taken() == before.0, "{strays} strays, {:?} became {:?}", before.0, taken());
    if let Some(card) = cards().get(1) {
        card.window.write32(IMC, u32::MAX);
        // Reading lowers the pin; what was raised is known.
        let _ = card.window.read32(ICR);
    }
    irq::release(line);
    Ok(())
}

fn messages_have_vectors_of_their_own() -> Outcome {
    let mut seen: Vec<u8> = irq::lines().iter().map(|count| count.line.vector).collect();
    for cpu in [CpuId(0), CpuId(1)] {
        let line = irq::allocate_vector(cpu).map_err(|error| format!("{error:?}"))?;
        ensure!(!seen.contains(&line.vector), "vector {:#x} was given out twice", line.vector);
        seen.push(line.vector);
        let expected = 0xFEE0_0000 | u64::from(percpu::block(cpu).apic_id()) << 12;
        ensure!(irq::message(&line) == Some((expected, line.vector.into())), "{:x?}", irq::message(&line));
    }
    ensure!(irq::allocate_vector(CpuId(63)).is_err(), "an absent processor got a vector");
    Ok(())
}
