//! What happened on a CPU, written down before anybody prints: a trap or a panic, in a block of its own that needs no heap.
//!
//! Each CPU records its own incident first and only then asks for the world, so that a CPU which loses has nothing left to do but
//! wait: the winner prints every incident, in the order of arrival. Context: any, interrupts off.

use core::{
    cell::UnsafeCell,
    fmt::{self, Write},
    panic::PanicInfo,
    sync::atomic::{AtomicU32, Ordering},
};

use ksync::{
    cpu::{CpuId, MAX_CPUS},
    time::Instant,
};

use crate::{
    cpu, gdt, hooks, stack,
    text::Text,
    time,
    trap::{TrapFrame, TrapReport, vector},
};

/// Longest message that is kept whole.
const MESSAGE_SIZE: usize = 512;

/// An incident.
#[derive(Debug)]
pub(super) struct Incident {
    /// A panic; else a trap.
    pub(super) is_panic: bool,
    pub(super) cpu: CpuId,
    pub(super) apic_id: u32,
    /// The running thread: `42 (irq31: em3)`.
    pub(super) thread: Text<48>,
    pub(super) frame: TrapFrame,
    /// CR2, for page and double faults.
    fault_address: u64,
    stack_overflow: bool,
    /// A panic's message, or a trap's description.
    pub(super) message: Text<MESSAGE_SIZE>,
    /// Source file and line of a panic.
    place: Text<128>,
    /// What went wrong while this was written down.
    pub(super) nested: Text<160>,
    pub(super) at: Instant,
}

impl Incident {
    const fn empty() -> Self {
        Self {
            is_panic: false,
            cpu: CpuId::BOOT,
            apic_id: 0,
            thread: Text::new(),
            frame: TrapFrame::empty(),
            fault_address: 0,
            stack_overflow: false,
            message: Text::new(),
            place: Text::new(),
            nested: Text::new(),
            at: Instant::ZERO,
        }
    }

    fn report(&self) -> TrapReport<'_> {
        TrapReport {
            frame: &self.frame,
            cpu: self.cpu.0,
            apic_id: self.apic_id,
            fault_address: self.fault_address,
            stack_overflow: self.stack_overflow,
            thread: self.thread.as_str(),
            code_segment: gdt::code_descriptor(),
        }
    }
}

impl fmt::Display for Incident {
    /// Everything but the backtrace.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_panic {
            self.report().fmt(f)?;
        }
        writeln!(f, "panic: {}", self.message.as_str())?;
        if self.is_panic {
            if !self.place.as_str().is_empty() {
                writeln!(f, "at {}", self.place.as_str())?;
            }
            writeln!(f, "cpuid = {}; apic id = {:02x}", self.cpu, self.apic_id)?;
            writeln!(f, "current process         = {}", self.thread.as_str())?;
        } else {
            writeln!(f, "cpuid = {}", self.cpu)?;
        }
        if !self.nested.as_str().is_empty() {
            writeln!(f, "panic while reporting a panic: {}", self.nested.as_str())?;
        }
        writeln!(f, "time = {}", self.at.as_secs())
    }
}

const EMPTY: u32 = 0;
const RECORDING: u32 = 1;
const RECORDED: u32 = 2;

/// A CPU's incident.
struct Slot {
    state: AtomicU32,
    /// Its number in the order of arrival at another CPU's report, from 1; 0 for none.
    arrival: AtomicU32,
    incident: UnsafeCell<Incident>,
}

// SAFETY: the incident is written by its CPU, alone, before it arrives (release) or owns the report; after that it is only read,
// by the owner (acquire), until the slots are cleared with all CPUs idle.
unsafe impl Sync for Slot {}

static SLOTS: [Slot; MAX_CPUS] = [const {
    Slot { state: AtomicU32::new(EMPTY), arrival: AtomicU32::new(0), incident: UnsafeCell::new(Incident::empty()) }
}; MAX_CPUS];
static ARRIVALS: AtomicU32 = AtomicU32::new(0);

fn slot(cpu: CpuId) -> &'static Slot {
    &SLOTS[cpu.index() % MAX_CPUS]
}

/// Begins this CPU's incident; `None` if it has one: something went wrong while that was written down or printed.
fn begin(cpu: CpuId) -> Option<&'static mut Incident> {
    let slot = slot(cpu);
    // ORDERING: relaxed; this CPU only.
    if slot.state.compare_exchange(EMPTY, RECORDING, Ordering::Relaxed, Ordering::Relaxed).is_err() {
        return None;
    }
    // SAFETY: this CPU's own slot, which was empty: nobody else looks at it before it arrives, and there is no second borrow.
    let incident = unsafe { &mut *slot.incident.get() };
    *incident = Incident::empty();
    incident.cpu = cpu;
    incident.apic_id = cpu::apic_id();
    incident.at = time::now();
    Some(incident)
}

/// Ends the recording: the thread's name last, because it is asked for above and that may go wrong.
fn end(cpu: CpuId, incident: &mut Incident) {
    // A longer name is cut.
    let _ = hooks::thread_name(&mut incident.thread);
    slot(cpu).state.store(RECORDED, Ordering::Relaxed);
}

/// Writes down a fatal exception; false if this CPU has an incident already.
pub(super) fn record_trap(cpu: CpuId, frame: &TrapFrame, fault_address: u64) -> bool {
    let Some(incident) = begin(cpu) else { return false };
    incident.frame = frame.clone();
    incident.fault_address = fault_address;
    // A stack overflow usually arrives as a double fault: the processor could not push the page fault's frame.
    let may_be_guard = [vector::PAGE_FAULT, vector::DOUBLE_FAULT].contains(&(frame.vector as u8));
    incident.stack_overflow = may_be_guard && stack::is_guard(fault_address);
    let description = incident.report().description();
    let _ = incident.message.write_str(description);
    end(cpu, incident);
    true
}

/// Writes down a panic; false if this CPU has an incident already.
pub(super) fn record_panic(cpu: CpuId, info: &PanicInfo<'_>, frame: &TrapFrame) -> bool {
    let Some(incident) = begin(cpu) else { return false };
    incident.is_panic = true;
    incident.frame = frame.clone();
    if let Some(place) = info.location() {
        let _ = write!(incident.place, "{place}");
    }
    // A longer message is cut.
    let _ = write!(incident.message, "{}", info.message());
    end(cpu, incident);
    true
}

/// Notes what went wrong while this CPU's incident was written down.
pub(super) fn record_nested(cpu: CpuId, what: &dyn fmt::Display) {
    // SAFETY: this CPU's own slot; the function that was writing it has been interrupted for good, so its borrow is dead.
    let incident = unsafe { &mut *slot(cpu).incident.get() };
    if incident.nested.as_str().is_empty() {
        let _ = write!(incident.nested, "{what}");
    }
    slot(cpu).state.store(RECORDED, Ordering::Relaxed);
}

/// Whether this CPU has an incident that is written down.
pub(super) fn is_recorded(cpu: CpuId) -> bool {
    slot(cpu).state.load(Ordering::Relaxed) == RECORDED
}

/// Joins the queue behind another CPU's report.
pub(super) fn arrive(cpu: CpuId) {
    let number = ARRIVALS.fetch_add(1, Ordering::AcqRel) + 1;
    // ORDERING: release pairs with the acquire in `arrived`: the incident is complete.
    slot(cpu).arrival.store(number, Ordering::Release);
}

/// The incident that arrived as number `number`, once it is complete.
pub(super) fn arrived(number: u32) -> Option<&'static Incident> {
    // ORDERING: acquire pairs with the release in `arrive`.
    let slot = SLOTS.iter().find(|slot| slot.arrival.load(Ordering::Acquire) == number)?;
    // SAFETY: it has arrived, so nobody writes it.
    Some(unsafe { &*slot.incident.get() })
}

/// This CPU's own incident, for the owner of the report.
pub(super) fn own(cpu: CpuId) -> &'static Incident {
    // SAFETY: the CPU itself asks, after it was written down.
    unsafe { &*slot(cpu).incident.get() }
}

/// Forgets everything, for the next report of a test.
///
/// # Context
/// The owner of the report, every other CPU held.
pub(super) fn clear() {
    ARRIVALS.store(0, Ordering::Relaxed);
    for slot in &SLOTS {
        slot.arrival.store(0, Ordering::Relaxed);
        slot.state.store(EMPTY, Ordering::Relaxed);
    }
}
