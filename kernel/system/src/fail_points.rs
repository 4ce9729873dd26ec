//! Faults on purpose: `debug.fail_point.NAME` makes a thread, a card or a CPU misbehave, so that what the kernel does then can be
//! seen on a whole machine.
//!
//! Off, a fail point costs one relaxed load in a pass of an interrupt thread and one in a register access. There is one
//! word for threads and one for devices: setting another fail point of the same kind replaces the first. The names
//! follow FreeBSD's `debug.fail_point` (fail(9)); the values are ours.
//!
//! Context: [`at_pass`] in an interrupt thread, [`Register`] any, the settings in thread context.

use alloc::{boxed::Box, format, string::String};
use core::hint;

use ksync::{
    atomic::{AtomicBool, AtomicU32, Ordering},
    cpu::CpuId,
    irq,
};

use crate::{
    knobs::{Access, Knob, switch},
    services,
    threads::{self, Class},
};

/// The value of a fail point that is not set.
const OFF: &str = "off";

/// What a fail point does, as a number; 0 is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
enum Fault {
    /// The card's interrupt thread spins for ever at its next pass, interrupts on.
    Spin = 1,
    /// The card's interrupt thread sleeps for ever at its next pass.
    Sleep = 2,
    /// The card ignores everything that would stop its DMA.
    IgnoreStop = 3,
    /// The card is gone: every register reads all ones.
    AllOnes = 4,
    /// The card's interrupt thread reads through a null pointer at its next pass.
    Trap = 5,
    /// The card's interrupts never arrive: each masks itself, as ever, and wakes nobody.
    LoseInterrupts = 6,
}

/// Which fault is set on which card.
struct Site {
    /// The fault in the upper half and the card's number in the lower; 0 while none is set.
    word: AtomicU32,
}

impl Site {
    const fn new() -> Self {
        Self { word: AtomicU32::new(0) }
    }

    const fn word(fault: Fault, card: u16) -> u32 {
        (fault as u32) << 16 | card as u32
    }

    /// Returns whether any fault is set.
    #[inline]
    fn is_set(&self) -> bool {
        // ORDERING: relaxed: a fault that is seen one pass later is as good.
        self.word.load(Ordering::Relaxed) != 0
    }

    /// Returns whether `fault` is set on `card`.
    fn has(&self, fault: Fault, card: u16) -> bool {
        self.word.load(Ordering::Relaxed) == Self::word(fault, card)
    }

    /// Returns the card that `fault` is set on.
    fn card(&self, fault: Fault) -> Option<u16> {
        let word = self.word.load(Ordering::Relaxed);
        (word >> 16 == fault as u32).then_some((word & 0xffff) as u16)
    }

    fn set(&self, fault: Fault, card: u16) {
        self.word.store(Self::word(fault, card), Ordering::Relaxed);
    }

    /// Clears `fault`, and leaves another alone.
    fn clear(&self, fault: Fault) {
        if self.card(fault).is_some() {
            self.word.store(0, Ordering::Relaxed);
        }
    }
}

static THREAD: Site = Site::new();
static DEVICE: Site = Site::new();
/// Cards (a bit each, the highest for all beyond) that were told to reset and ignored it.
static RESETTING: AtomicU32 = AtomicU32::new(0);
/// The CPU that was wedged, plus one.
static WEDGED_CPU: AtomicU32 = AtomicU32::new(0);
/// The router's tick looks at nothing.
static SKIPS_TICKS: AtomicBool = AtomicBool::new(false);
/// A wedged CPU has begun to spin.
static SPINS: AtomicBool = AtomicBool::new(false);

/// Where an interrupt thread may be made to fail: at the beginning of each pass for the card with this number.
#[inline]
pub(crate) fn at_pass(card: u16) {
    if THREAD.is_set() {
        wedge(card);
    }
}

/// Never returns if the card's thread is the one to fail.
#[cold]
fn wedge(card: u16) {
    if THREAD.has(Fault::Spin, card) {
        loop {
            hint::spin_loop();
        }
    }
    if THREAD.has(Fault::Trap, card) {
        machine::panic::provoke_trap();
    }
    if THREAD.has(Fault::Sleep, card) {
        loop {
            threads::park();
        }
    }
}

/// How a card's registers lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// What would stop its DMA has no effect, and is not acknowledged.
    IgnoresStop,
    /// Reads are all ones, writes go nowhere.
    Gone,
}

/// Returns how the registers of the card with this number lie. Any context.
#[inline]
pub(crate) fn lie(card: u16) -> Option<Lie> {
    if DEVICE.is_set() { lie_of(card) } else { None }
}

#[cold]
fn lie_of(card: u16) -> Option<Lie> {
    if DEVICE.has(Fault::IgnoreStop, card) {
        Some(Lie::IgnoresStop)
    } else if DEVICE.has(Fault::AllOnes, card) {
        Some(Lie::Gone)
    } else {
        None
    }
}

/// Returns whether an interrupt of the card with this number goes no further. Interrupt context.
#[inline]
pub(crate) fn loses_interrupt(card: u16) -> bool {
    DEVICE.is_set() && DEVICE.has(Fault::LoseInterrupts, card)
}

/// Returns whether the router looks at ARP and links only when it is told of a change. Thread context.
#[inline]
pub(crate) fn skips_ticks() -> bool {
    // ORDERING: relaxed: one tick later is as good.
    SKIPS_TICKS.load(Ordering::Relaxed)
}

fn bit(card: u16) -> u32 {
    1 << card.min(31)
}

/// Notes that a card was told to reset, and does not. Any context.
pub(crate) fn ignore_reset(card: u16) {
    RESETTING.fetch_or(bit(card), Ordering::Relaxed);
}

/// Returns whether a card was told to reset and still seems to be at it. Any context.
pub(crate) fn is_resetting(card: u16) -> bool {
    RESETTING.load(Ordering::Relaxed) & bit(card) != 0
}

/// The fail points.
pub(crate) const KNOBS: &[Knob] = &[
    Knob {
        name: "debug.fail_point.all_ones",
        description: "a card that is gone: its registers read all ones (em0, off)",
        get: || shown(&DEVICE, Fault::AllOnes),
        access: Access::Setting(|value| set(&DEVICE, Fault::AllOnes, value)),
    },
    Knob {
        name: "debug.fail_point.ignore_stop",
        description: "a card that does not stop its DMA when told to (em0, off)",
        get: || shown(&DEVICE, Fault::IgnoreStop),
        access: Access::Setting(|value| set(&DEVICE, Fault::IgnoreStop, value)),
    },
    Knob {
        name: "debug.fail_point.lose_interrupts",
        description: "a card whose interrupts are lost (em0, off)",
        get: || shown(&DEVICE, Fault::LoseInterrupts),
        access: Access::Setting(|value| set(&DEVICE, Fault::LoseInterrupts, value)),
    },
    Knob {
        name: "debug.fail_point.skip_ticks",
        description: "whether ARP and links are looked at only when a card says that its link has changed (0, 1)",
        get: || format!("{}", u8::from(skips_ticks())),
        access: Access::Setting(|value| switch(value).map(|skips| SKIPS_TICKS.store(skips, Ordering::Relaxed))),
    },
    Knob {
        name: "debug.fail_point.sleep_ithread",
        description: "a card whose interrupt thread sleeps for ever at its next pass (em0, off)",
        get: || shown(&THREAD, Fault::Sleep),
        access: Access::Setting(|value| set(&THREAD, Fault::Sleep, value)),
    },
    Knob {
        name: "debug.fail_point.trap_ithread",
        description: "a card whose interrupt thread takes a fatal trap at its next pass (em0, off)",
        get: || shown(&THREAD, Fault::Trap),
        access: Access::Setting(|value| set(&THREAD, Fault::Trap, value)),
    },
    Knob {
        name: "debug.fail_point.wedge_cpu",
        description: "a CPU that spins with interrupts off, for good (its number, off)",
        get: || match WEDGED_CPU.load(Ordering::Relaxed) {
            0 => OFF.into(),
            number => format!("{}", number - 1),
        },
        access: Access::Action(wedge_cpu),
    },
    Knob {
        name: "debug.fail_point.wedge_ithread",
        description: "a card whose interrupt thread spins for ever at its next pass (em0, off)",
        get: || shown(&THREAD, Fault::Spin),
        access: Access::Setting(|value| set(&THREAD, Fault::Spin, value)),
    },
];

fn shown(site: &Site, fault: Fault) -> String {
    site.card(fault).map_or_else(|| OFF.into(), |card| format!("{}", services::InterfaceName(card)))
}

/// Sets a fault on the card that `value` names, or clears it.
fn set(site: &Site, fault: Fault, value: &str) -> Result<(), String> {
    if value == OFF {
        site.clear(fault);
        return Ok(());
    }
    let found = services::ports().iter().position(|port| &*port.name == value);
    let number = found.and_then(|number| u16::try_from(number).ok());
    let Some((number, port)) = number.and_then(|number| Some((number, services::ports().get(usize::from(number))?)))
    else {
        return Err(format!("there is no card {value}"));
    };
    if fault == Fault::AllOnes {
        // A card that was pulled out does nothing any more; this one is told so before it falls silent.
        port.adapter.stop_blindly();
    }
    site.set(fault, number);
    log::warn!("{value}: fails on purpose from now on: {fault:?}");
    Ok(())
}

/// Has a CPU spin with interrupts off, from a thread of its own on it.
fn wedge_cpu(value: &str) -> Result<(), String> {
    if value == OFF && WEDGED_CPU.load(Ordering::Relaxed) == 0 {
        return Ok(());
    }
    let number = value.parse().map_err(|_| format!("{value:?} is not the number of a CPU"))?;
    let cpu = CpuId(number);
    if !machine::percpu::online().any(|online| online == cpu) {
        return Err(format!("there is no CPU {number}"));
    }
    if WEDGED_CPU.compare_exchange(0, u32::from(number) + 1, Ordering::Relaxed, Ordering::Relaxed).is_err() {
        return Err("one CPU is wedged already, for good".into());
    }
    log::warn!("CPU {number} fails on purpose from now on: spins with interrupts off");
    let body = || {
        let _off = irq::disable();
        SPINS.store(true, Ordering::Relaxed);
        loop {
            hint::spin_loop();
        }
    };
    if threads::spawn("wedge", Class::Callout, Some(cpu), Box::new(body)).is_none() {
        WEDGED_CPU.store(0, Ordering::Relaxed);
        return Err("no thread".into());
    }
    // From another CPU, say when it has happened; on this one nothing more will be said.
    while !SPINS.load(Ordering::Relaxed) {
        threads::yield_now();
    }
    Ok(())
}
