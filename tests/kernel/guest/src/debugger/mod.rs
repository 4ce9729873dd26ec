//! The stopped world: a debugger that follows a script, on a machine whose other CPU does as it likes.

mod breaks;
mod views;

use core::{
    fmt::Write,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use ksync::{SpinLock, cpu::CpuId, irq::without_interrupts};
use machine::{
    apic::{self, Ipi, Target},
    boot::BootRecord,
    console, cpu, irq,
    kdb::{self, Reason, Resume, World},
    percpu, platform, time,
};

use crate::{
    crew,
    harness::{self, Outcome, Test},
};

const PATIENCE: Duration = Duration::from_secs(30);

const TESTS: &[Test] = tests![
    a_cpu_deaf_to_interrupts_stands_still_and_goes_on,
    an_nmi_while_the_debugger_runs_on_an_nmi_stack_harms_nothing,
    the_world_can_be_stopped_from_two_cpus_at_once,
];

/// A visit of the debugger.
type Script = fn(&mut World<'_>) -> Resume;

static SCRIPT: SpinLock<Script> = SpinLock::new(|_| Resume::Continue);
static VISITS: AtomicU32 = AtomicU32::new(0);
/// What a script found wrong: the line of its check.
static WRONG: AtomicU32 = AtomicU32::new(0);
/// Words for scripts to leave results in.
static SEEN: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

fn debugger(world: &mut World<'_>) -> Resume {
    VISITS.fetch_add(1, Ordering::Relaxed);
    let script = world.guard(|| *SCRIPT.lock());
    script.map_or(Resume::Continue, |script| script(world))
}

#[track_caller]
fn check(holds: bool) {
    if !holds {
        WRONG.store(core::panic::Location::caller().line(), Ordering::Relaxed);
    }
}

fn prepare(script: Script) {
    *SCRIPT.lock() = script;
    VISITS.store(0, Ordering::Relaxed);
    WRONG.store(0, Ordering::Relaxed);
    SEEN.iter().for_each(|word| word.store(0, Ordering::Relaxed));
}

/// The script's verdict.
fn verdict(visits: u32) -> Outcome {
    let (found, wrong) = (VISITS.load(Ordering::Relaxed), WRONG.load(Ordering::Relaxed));
    ensure!(wrong == 0, "the check in line {wrong} failed");
    ensure!(found == visits, "{found} visits of the debugger instead of {visits}");
    Ok(())
}

fn bring_up(record: &'static BootRecord) {
    let platform = match platform::bring_up(record) {
        Ok(platform) => platform,
        Err(error) => panic!("the platform could not be brought up: {error:?}"),
    };
    if let Err(error) = platform::start_cpus(platform, crew::enter) {
        panic!("no other processor could be started: {error:?}");
    }
    kdb::set_debugger(debugger);
}

/// Runs the tests.
pub(crate) fn run(record: &'static BootRecord) -> ! {
    bring_up(record);
    harness::run(&[TESTS, views::TESTS, breaks::TESTS])
}

static TICKS: AtomicU64 = AtomicU64::new(0);
static STOP: AtomicBool = AtomicBool::new(false);
/// CPUs that count.
static DEAF: AtomicU32 = AtomicU32::new(0);

/// Counts with interrupts off until told to stop.
fn count_deaf(_: CpuId) {
    without_interrupts(|| {
        DEAF.fetch_add(1, Ordering::AcqRel);
        while !STOP.load(Ordering::Acquire) {
            TICKS.fetch_add(1, Ordering::Relaxed);
        }
    });
}

fn start_counting() {
    STOP.store(false, Ordering::Release);
    TICKS.store(0, Ordering::Relaxed);
    DEAF.store(0, Ordering::Relaxed);
    crew::start(count_deaf);
    let all = crew::others().count() as u32;
    crew::wait_until(PATIENCE, || DEAF.load(Ordering::Acquire) == all && TICKS.load(Ordering::Relaxed) > 0);
}

fn stop_counting() -> Outcome {
    STOP.store(true, Ordering::Release);
    ensure!(crew::wait_until(PATIENCE, crew::is_done), "the other processors do not go on");
    Ok(())
}

fn a_cpu_deaf_to_interrupts_stands_still_and_goes_on() -> Outcome {
    prepare(|world| {
        check(world.reason() == Reason::Command && world.missing().next().is_none());
        let before = TICKS.load(Ordering::Relaxed);
        time::delay(Duration::from_millis(20));
        check(TICKS.load(Ordering::Relaxed) == before);
        for other in percpu::online().filter(|cpu| *cpu != world.cpu()) {
            let deaf = world.frame(other).map(|frame| frame.interrupts_enabled());
            check(deaf == Some(false));
        }
        check(world.frame(world.cpu()).is_some_and(|frame| frame.rip != 0 && frame.rsp != 0));
        let _ = writeln!(world.out(), "#debugger writes");
        Resume::Continue
    });
    start_counting();
    for _ in 0..20 {
        let before = TICKS.load(Ordering::Relaxed);
        kdb::enter(Reason::Command);
        ensure!(crew::wait_until(PATIENCE, || TICKS.load(Ordering::Relaxed) > before), "it does not go on");
    }
    stop_counting()?;
    verdict(20)
}

fn interrupt_self_by_nmi() {
    let own = percpu::block(percpu::current_cpu()).apic_id();
    let _ = without_interrupts(|| apic::local().send(Ipi::Nmi, Target::One(own)));
}

fn an_nmi_while_the_debugger_runs_on_an_nmi_stack_harms_nothing() -> Outcome {
    prepare(|world| {
        check(world.reason() == Reason::Nmi);
        let before = (kdb::ignored_nmis(), world.frame(world.cpu()).cloned());
        for _ in 0..10 {
            // The fault's return lets the next NMI through, onto whatever stack the processor was told.
            let mut octet = [0];
            check(world.read(0x1234, &mut octet).is_err());
            interrupt_self_by_nmi();
            time::delay(Duration::from_millis(1));
        }
        check(kdb::ignored_nmis() >= before.0 + 9);
        check(world.frame(world.cpu()).cloned() == before.1);
        Resume::Continue
    });
    for _ in 0..3 {
        // For a moment after a stop, an NMI is taken for a leftover of it.
        time::delay(Duration::from_millis(150));
        interrupt_self_by_nmi();
    }
    verdict(3)
}

fn the_world_can_be_stopped_from_two_cpus_at_once() -> Outcome {
    const TIMES: u32 = 40;
    prepare(|world| {
        let inside = SEEN[0].fetch_add(1, Ordering::Relaxed);
        check(inside == 0 && world.missing().next().is_none());
        SEEN[0].fetch_sub(1, Ordering::Relaxed);
        Resume::Continue
    });
    crew::everywhere(|_| (0..TIMES).for_each(|_| kdb::enter(Reason::Command)), PATIENCE)?;
    verdict(TIMES * percpu::online().count() as u32)
}

/// Waits for a debugger's visits from outside: NMI, the key sequence, a BREAK; each is said in one line.
pub(crate) fn entries(record: &'static BootRecord) -> ! {
    bring_up(record);
    *SCRIPT.lock() = |world| {
        let reason = world.reason();
        let _ = writeln!(world.out(), "#debugger entered: {reason}, {} missing", world.missing().count());
        Resume::Continue
    };
    let (gsi, signal) = platform::platform().map_or((4, machine::ioapic::Signal::ISA), |found| found.madt.isa(4));
    let routed = irq::route_gsi(gsi, signal, CpuId::BOOT)
        .and_then(|line| irq::set_handler(&line, |_| console::on_serial_interrupt(), 0).map(|()| line));
    match routed {
        Ok(line) => irq::unmask(line.irq),
        Err(error) => panic!("no serial interrupt: {error:?}"),
    }
    console::enable_input_interrupt();
    // The other processors are wedged: deaf, and for ever.
    STOP.store(false, Ordering::Release);
    crew::start(count_deaf);
    log::info!("waiting for the debugger");
    loop {
        cpu::enable_interrupts_and_halt();
        while let Some(octet) = console::try_read() {
            if octet == b'q' {
                harness::exit(ktest::ExitCode::Passed);
            }
        }
    }
}
