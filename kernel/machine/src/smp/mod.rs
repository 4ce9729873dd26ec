//! Starting the other processors: INIT, then start-up interrupts; one after another, each within a bound.
//!
//! [`start_all`] walks firmware's list, gives each processor a stack with a guard page, its descriptor tables, its local APIC and
//! timer, compares its time stamp counter with ours, and lets all of them into `entry` together. One that does not answer is named
//! by its APIC id, put back into INIT and left out; the machine runs without it.
//! Source: SDM volume 3, 9.4.4 (start-up protocol); MultiProcessor Specification 1.4, B.4.

mod trampoline;

use alloc::vec::Vec;
use core::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use ksync::{
    cpu::{CpuId, MAX_CPUS},
    irq::without_interrupts,
};
use trampoline::{Machine, Page};
use x86_64::registers::{
    control::{Cr0, Cr4},
    model_specific::Efer,
};

use crate::{
    acpi::madt::Processor,
    apic::{self, Ipi, Target},
    cpu,
    frame::{FrameError, RunRequest},
    gdt, idt, ipi,
    memory::PhysMemory,
    msr,
    paging::{self, Access, PagingError},
    percpu,
    stack::{KernelStack, StackError, THREAD_STACK_PAGES},
    time::{self, ClockSource, warp},
    timer,
};

/// Where a started processor goes.
pub type Entry = fn(CpuId) -> !;

/// No processor could be started at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmpError {
    /// No free page below 1 MiB.
    NoLowPage(FrameError),
    /// The page could not be mapped one to one.
    Identity(PagingError),
    /// The root table lies above 4 GiB, where a starting processor cannot name it.
    RootTooHigh,
}

/// Why one processor was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// It did not answer in time.
    Silent,
    /// The command could not be sent.
    Unreachable,
    /// It answered and failed to set itself up.
    Failed,
    /// It answered, and then its set-up did not end in time.
    Stuck,
    /// There is no memory for its stack.
    NoStack(StackError),
    /// The kernel has no number left for it ([`MAX_CPUS`]).
    TooMany,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Processors running, the bootstrap processor included.
    pub online: usize,
    /// Those left out, by APIC id.
    pub left_out: Vec<(u32, LeftOut)>,
    /// Largest step backwards of a time stamp counter seen, in counts.
    pub largest_warp: u64,
}

const IDLE: u32 = 0;
const STARTING: u32 = 1;
const ARRIVED: u32 = 2;
const READY: u32 = 3;
const FAILED: u32 = 4;

/// State of the processor being started; one at a time.
static STATE: AtomicU32 = AtomicU32::new(IDLE);
/// Lets all of them go.
static GO: AtomicBool = AtomicBool::new(false);
static ENTRY: AtomicUsize = AtomicUsize::new(0);
/// The bootstrap processor's page attribute table: a mapping must mean the same on every processor.
static PAT: AtomicU64 = AtomicU64::new(0);
/// What the started side of the clock check saw.
static STARTED_WARP: AtomicU64 = AtomicU64::new(0);

const IA32_PAT: u32 = 0x277;
/// The 10 ms of the protocol are for the external APICs of the 1990s; a processor that runs this kernel (it has POPCNT) is in INIT
/// at once.
const AFTER_INIT: Duration = Duration::from_micros(10);
/// Waits after each start-up interrupt. Two are the protocol; a processor that runs ignores the rest. They are for emulators on a
/// busy host: QEMU loses a start-up interrupt that arrives before the target's thread has got round to the INIT.
const AFTER_STARTUP: [Duration; 9] = [
    Duration::from_micros(200),
    Duration::from_micros(400),
    Duration::from_millis(1),
    Duration::from_millis(4),
    Duration::from_millis(20),
    Duration::from_millis(80),
    Duration::from_millis(400),
    Duration::from_millis(1_000),
    Duration::from_millis(1_500),
];
/// How long it may take to set itself up once it has arrived. Only a broken processor takes all of it; on a host with many more
/// runnable threads than cores, five seconds have been too few.
const SET_UP: Duration = Duration::from_secs(30);

/// Makes the executing processor number 0. Thread context at boot, once, after its APIC is enabled.
pub fn init_bsp() {
    percpu::name(CpuId::BOOT, apic::local().id());
    percpu::install(CpuId::BOOT);
    percpu::block(CpuId::BOOT).online.store(true, Ordering::Release);
}

/// Starts every enabled processor of `processors` but the executing one. Thread context at boot, once, clock and timer running.
/// On return the started processors are on their way into `entry`.
pub fn start_all(processors: &[Processor], entry: Entry) -> Result<Report, SmpError> {
    ENTRY.store(entry as usize, Ordering::Release);
    PAT.store(msr::read(IA32_PAT), Ordering::Release);
    let own = percpu::block(CpuId::BOOT).apic_id();
    let mut others = processors.iter().filter(|processor| processor.enabled && processor.apic_id != own).peekable();
    let mut report = Report { online: 1, ..Report::default() };
    if others.peek().is_none() {
        return Ok(report);
    }
    let machine = shared_registers()?;
    let low = RunRequest { max_addr: 0xF_FFFF, ..RunRequest::new(1) };
    let memory = PhysMemory::allocate(&low).map_err(SmpError::NoLowPage)?;
    // SAFETY: the page is ours, below 1 MiB by the request, and lives until the end of this function.
    let page = unsafe { Page::prepare(memory.phys().as_u64() as u32, memory.as_ptr()) };
    // SAFETY: as above; unmapped below.
    unsafe { paging::map_identity(page.physical(), Access::ReadExecute) }.map_err(SmpError::Identity)?;
    for processor in others {
        start_one(&page, &machine, processor.apic_id, &mut report);
    }
    if report.largest_warp > time::tsc_hz().unwrap_or(u64::MAX) / 1_000_000 {
        log::warn!("time: time stamp counters differ by {} counts", report.largest_warp);
        if time::distrust_tsc() && time::clock_source() == ClockSource::Hpet {
            timer::leave_deadline_mode();
        }
    }
    // SAFETY: every started processor has left the page; those left out are back in INIT.
    if let Err(error) = unsafe { paging::unmap(page.physical()) } {
        log::warn!("smp: start page stays mapped: {error:?}");
    }
    // ORDERING: release pairs with the acquire in `arrive`: whoever goes sees the tables without the start page (and reloads).
    GO.store(true, Ordering::Release);
    for number in 1..report.online {
        ipi::reschedule(CpuId(number as u16));
    }
    Ok(report)
}

fn shared_registers() -> Result<Machine, SmpError> {
    const LMA: u64 = 1 << 10;
    Ok(Machine {
        cr0: Cr0::read_raw() as u32,
        cr3: u32::try_from(paging::root_table().as_u64()).map_err(|_| SmpError::RootTooHigh)?,
        cr4: Cr4::read_raw(),
        efer: (Efer::read_raw() & !LMA) as u32,
    })
}

fn start_one(page: &Page, machine: &Machine, apic_id: u32, report: &mut Report) {
    let number = u16::try_from(report.online).ok().filter(|&number| usize::from(number) < MAX_CPUS);
    let Some(cpu) = number.map(CpuId) else {
        report.left_out.push((apic_id, LeftOut::TooMany));
        return;
    };
    let stack = match KernelStack::allocate(THREAD_STACK_PAGES) {
        Ok(stack) => stack,
        Err(error) => {
            report.left_out.push((apic_id, LeftOut::NoStack(error)));
            return;
        }
    };
    percpu::name(cpu, apic_id);
    page.set(machine, stack.top(), arrive, cpu.index());
    // ORDERING: release; the start-up interrupt follows, and x2APIC's command fences once more.
    STATE.store(STARTING, Ordering::Release);
    warp::EXCHANGE.open();
    match wake(page.vector(), apic_id) {
        Ok(()) => {
            core::mem::forget(stack);
            report.online += 1;
            report.largest_warp = report.largest_warp.max(STARTED_WARP.load(Ordering::Relaxed));
            percpu::block(cpu).online.store(true, Ordering::Release);
        }
        Err((reason, starter_may_run)) => {
            warp::EXCHANGE.close();
            let _ = send(Ipi::Init, apic_id);
            if starter_may_run {
                // It ran on this stack until INIT stopped it; nobody can say where it is now.
                core::mem::forget(stack);
            }
            percpu::name(cpu, percpu::NO_APIC_ID);
            log::error!("smp: processor with APIC id {apic_id} left out: {reason:?}");
            report.left_out.push((apic_id, reason));
        }
    }
}

fn send(ipi: Ipi, apic_id: u32) -> Result<(), LeftOut> {
    let sent = without_interrupts(|| {
        let apic = apic::local();
        apic.send(ipi, Target::One(apic_id)).and_then(|()| apic.wait_idle())
    });
    sent.map_err(|_| LeftOut::Unreachable)
}

fn wait_for(limit: Duration, done: impl Fn(u32) -> bool) -> bool {
    let end = time::now() + limit;
    while !done(STATE.load(Ordering::Acquire)) {
        if time::now() > end {
            return false;
        }
        core::hint::spin_loop();
    }
    true
}

/// Sends INIT and start-up interrupts and waits. The error says whether the processor may have begun to run.
fn wake(vector: u8, apic_id: u32) -> Result<(), (LeftOut, bool)> {
    send(Ipi::Init, apic_id).map_err(|reason| (reason, false))?;
    time::delay(AFTER_INIT);
    let arrived = |state| state != STARTING;
    for patience in AFTER_STARTUP {
        send(Ipi::Startup(vector), apic_id).map_err(|reason| (reason, true))?;
        if wait_for(patience, arrived) {
            break;
        }
    }
    if STATE.load(Ordering::Acquire) == STARTING {
        return Err((LeftOut::Silent, true));
    }
    let seen = warp::check_as_starter();
    if !wait_for(SET_UP, |state| state == READY || state == FAILED) {
        return Err((LeftOut::Stuck, true));
    }
    if STATE.load(Ordering::Acquire) == FAILED {
        return Err((LeftOut::Failed, true));
    }
    STARTED_WARP.fetch_max(seen.largest, Ordering::Relaxed);
    Ok(())
}

/// The first Rust code of a started processor: interrupts off, on its own stack, with the kernel's tables.
extern "C" fn arrive(number: usize) -> ! {
    let cpu = CpuId(number as u16);
    percpu::install(cpu);
    STATE.store(ARRIVED, Ordering::Release);
    // SAFETY: the register exists on every 64-bit processor, and the value is the one the bootstrap processor uses.
    unsafe { msr::write(IA32_PAT, PAT.load(Ordering::Acquire)) };
    cpu::enable_protections();
    let warp = warp::check_as_started();
    STARTED_WARP.fetch_max(warp.largest, Ordering::Relaxed);
    let ready = set_up(cpu);
    STATE.store(if ready { READY } else { FAILED }, Ordering::Release);
    if !ready {
        cpu::halt_forever();
    }
    // ORDERING: acquire pairs with the release in `start_all`.
    while !GO.load(Ordering::Acquire) {
        // Halted, not spinning: on a busy host every spinning processor delays the start of the next one.
        cpu::enable_interrupts_and_halt();
        cpu::disable_interrupts();
    }
    paging::flush_all();
    timer::init_cpu();
    let entry = ENTRY.load(Ordering::Acquire) as *const ();
    // SAFETY: `start_all` stored an `Entry` before it started anybody.
    let entry: Entry = unsafe { core::mem::transmute::<*const (), Entry>(entry) };
    entry(cpu)
}

fn set_up(cpu: CpuId) -> bool {
    if let Err(error) = gdt::init_cpu(cpu) {
        log::error!("smp: cpu {cpu}: {error:?}");
        return false;
    }
    idt::load();
    if let Err(error) = apic::init_ap() {
        log::error!("smp: cpu {cpu}: {error:?}");
        return false;
    }
    let (own, expected) = (apic::local().id(), percpu::block(cpu).apic_id());
    if own != expected {
        log::error!("smp: cpu {cpu} has APIC id {own}, was started as {expected}");
        return false;
    }
    true
}

/// Stops every other processor; see [`ipi::park_others`].
#[must_use]
pub fn park_others(limit: Duration) -> ipi::Parked {
    ipi::park_others(limit)
}
