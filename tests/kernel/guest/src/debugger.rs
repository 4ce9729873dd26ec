//! The stopped world: a debugger that follows a script, on a machine whose other CPU does as it likes.

use core::{
    arch::asm,
    fmt::Write,
    hint,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use ksync::{SpinLock, cpu::CpuId, irq::without_interrupts};
use machine::{
    apic::{self, Ipi, Target},
    boot::BootRecord,
    console, cpu, irq,
    kdb::{self, BreakpointError, Caught, Reason, Resume, World},
    percpu, platform, time,
};

use crate::{
    crew,
    harness::{self, Outcome, Test},
};

const PATIENCE: Duration = Duration::from_secs(30);

const TESTS: &[Test] = tests![
    a_cpu_deaf_to_interrupts_stands_still_and_goes_on,
    a_view_that_faults_panics_or_wants_a_held_lock_is_an_error,
    guards_nest,
    memory_is_read_and_written_or_refused,
    a_breakpoint_shows_arguments_and_lets_go_on,
    a_breakpoint_stops_every_cpu_that_reaches_it,
    steps_pass_one_instruction_each,
    the_registers_to_go_on_with_can_be_changed,
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
    harness::run(&[TESTS])
}

static TICKS: AtomicU64 = AtomicU64::new(0);
static STOP: AtomicBool = AtomicBool::new(false);

/// Counts with interrupts off until told to stop.
fn count_deaf(_: CpuId) {
    without_interrupts(|| {
        while !STOP.load(Ordering::Acquire) {
            TICKS.fetch_add(1, Ordering::Relaxed);
        }
    });
}

fn start_counting() {
    STOP.store(false, Ordering::Release);
    TICKS.store(0, Ordering::Relaxed);
    crew::start(count_deaf);
    crew::wait_until(PATIENCE, || TICKS.load(Ordering::Relaxed) > 0);
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

static LOCK: SpinLock<u32> = SpinLock::new(0);
static HOLDS: AtomicBool = AtomicBool::new(false);

fn hold_the_lock(_: CpuId) {
    let mut guard = LOCK.lock();
    HOLDS.store(true, Ordering::Release);
    while !STOP.load(Ordering::Acquire) {
        hint::spin_loop();
    }
    *guard += 1;
}

/// Reads through a pointer that nothing is mapped at.
fn fault() -> u64 {
    let value: u64;
    // SAFETY: this faults, inside a guard.
    unsafe { asm!("mov {0}, [{1}]", out(reg) value, in(reg) 0x1234_u64) };
    value
}

fn a_view_that_faults_panics_or_wants_a_held_lock_is_an_error() -> Outcome {
    prepare(|world| {
        for _ in 0..50 {
            let caught = world.guard(fault);
            check(matches!(caught, Err(Caught::Fault { vector: 14, address: 0x1234, .. })));
            let caught = world.guard(|| panic!("the answer is {}", hint::black_box(42)));
            check(matches!(caught, Err::<(), _>(Caught::Panicked(text)) if text.as_str() == "the answer is 42"));
            let caught = world.guard(|| *LOCK.lock());
            check(caught == Err(Caught::Locked));
            check(world.guard(|| 7) == Ok(7));
        }
        Resume::Continue
    });
    STOP.store(false, Ordering::Release);
    HOLDS.store(false, Ordering::Release);
    crew::start(hold_the_lock);
    ensure!(crew::wait_until(PATIENCE, || HOLDS.load(Ordering::Acquire)), "nobody took the lock");
    kdb::enter(Reason::Command);
    stop_counting()?;
    ensure!(*LOCK.lock() > 0, "the holder lost its lock");
    *LOCK.lock() = 0;
    verdict(1)
}

fn guards_nest() -> Outcome {
    fn inner() -> Result<u64, Caught> {
        // A view may itself be made of guarded parts; the outer world is not at hand there.
        Ok(fault())
    }
    prepare(|world| {
        let outer = world.guard(|| {
            let depth = SEEN[0].fetch_add(1, Ordering::Relaxed);
            if depth == 0 { inner() } else { Ok(0) }
        });
        check(matches!(outer, Err(Caught::Fault { .. })));
        check(world.guard(|| SEEN[0].load(Ordering::Relaxed)) == Ok(1));
        Resume::Continue
    });
    kdb::enter(Reason::Command);
    verdict(1)
}

fn memory_is_read_and_written_or_refused() -> Outcome {
    static WORD: AtomicU64 = AtomicU64::new(0x0102_0304_0506_0708);
    prepare(|world| {
        let at = WORD.as_ptr().addr() as u64;
        let mut octets = [0; 8];
        check(world.read(at, &mut octets).is_ok() && octets == [8, 7, 6, 5, 4, 3, 2, 1]);
        check(world.read(at + 1, &mut octets[..2]).is_ok() && octets[..2] == [7, 6]);
        check(world.write(at, &[0xAA, 0xBB]).is_ok());
        check(WORD.load(Ordering::Relaxed) == 0x0102_0304_0506_BBAA);
        for nowhere in [0, 0x1000, 0x8000_0000_0000_0000, u64::MAX - 3, 0xFFFF_E7FF_0000_0000] {
            check(world.read(nowhere, &mut octets).is_err());
            check(world.write(nowhere, &[0]).is_err());
        }
        // Code: written although no mapping allows it, and as before afterwards.
        let code = target as extern "C" fn(u64) -> u64 as usize as u64;
        let mut before = [0; 4];
        check(world.read(code, &mut before).is_ok());
        check(world.write(code, &[0x90; 4]).is_ok());
        let mut now = [0; 4];
        check(world.read(code, &mut now).is_ok() && now == [0x90; 4]);
        check(world.write(code, &before).is_ok());
        Resume::Continue
    });
    kdb::enter(Reason::Command);
    // Write protection is on again.
    // SAFETY: the page is read-only, so nothing is changed.
    let written = unsafe { machine::trap::probe::write(target as extern "C" fn(u64) -> u64 as usize as u64, 0x90) };
    ensure!(written.is_err(), "code can be written afterwards");
    verdict(1)
}

/// What breakpoints are set on.
#[inline(never)]
extern "C" fn target(argument: u64) -> u64 {
    hint::black_box(argument) + 1
}

fn call_target(argument: u64) -> u64 {
    let function: extern "C" fn(u64) -> u64 = hint::black_box(target);
    function(argument)
}

fn target_address() -> u64 {
    target as extern "C" fn(u64) -> u64 as usize as u64
}

fn a_breakpoint_shows_arguments_and_lets_go_on() -> Outcome {
    prepare(|world| {
        match world.reason() {
            Reason::Command if world.breakpoints().next().is_none() => {
                check(world.set_breakpoint(target_address()).is_ok());
                check(world.set_breakpoint(target_address()) == Err(BreakpointError::Exists));
                check(world.set_breakpoint(0x10) == Err(BreakpointError::Unmapped));
            }
            Reason::Command => check(world.clear_breakpoint(target_address())),
            Reason::Breakpoint => {
                let argument = world.frame(world.cpu()).map_or(0, |frame| frame.rdi);
                SEEN[0].fetch_add(argument, Ordering::Relaxed);
                check(world.frame(world.cpu()).is_some_and(|frame| frame.rip == target_address()));
            }
            _ => check(false),
        }
        Resume::Continue
    });
    kdb::enter(Reason::Command);
    let sum: u64 = (1..=10).map(call_target).sum();
    ensure!(sum == 65, "the function with a breakpoint computes {sum}");
    ensure!(SEEN[0].load(Ordering::Relaxed) == 55, "arguments add up to {}", SEEN[0].load(Ordering::Relaxed));
    kdb::enter(Reason::Command);
    ensure!(call_target(1) == 2, "the function is broken");
    verdict(12)
}

fn a_breakpoint_stops_every_cpu_that_reaches_it() -> Outcome {
    const CALLS: u64 = 25;
    prepare(|world| {
        match world.reason() {
            Reason::Command if world.breakpoints().next().is_none() => {
                check(world.set_breakpoint(target_address()).is_ok());
            }
            Reason::Command => check(world.clear_breakpoint(target_address())),
            Reason::Breakpoint => {
                if let Some(seen) = SEEN.get(world.cpu().index()) {
                    seen.fetch_add(1, Ordering::Relaxed);
                }
            }
            _ => check(false),
        }
        Resume::Continue
    });
    kdb::enter(Reason::Command);
    crew::everywhere(|_| check((0..CALLS).all(|number| call_target(number) == number + 1)), PATIENCE)?;
    kdb::enter(Reason::Command);
    for cpu in percpu::online() {
        let seen = SEEN.get(cpu.index()).map_or(CALLS, |seen| seen.load(Ordering::Relaxed));
        ensure!(seen == CALLS, "processor {cpu} was stopped {seen} times");
    }
    verdict(2 + CALLS as u32 * percpu::online().count() as u32)
}

/// Instructions of known lengths, among them some that read or write the flags.
#[unsafe(naked)]
extern "C" fn stepped() -> u64 {
    core::arch::naked_asm!(
        "nop",
        "mov eax, 5",
        "pushfq",
        "pop rdx",
        "cli",
        "nop",
        "sti",
        "add eax, 2",
        "pushfq",
        "pop rcx",
        "ret"
    );
}

static LENGTHS: [u64; 10] = [1, 5, 1, 1, 1, 1, 1, 3, 1, 1];
static STEPS: AtomicUsize = AtomicUsize::new(0);

fn steps_pass_one_instruction_each() -> Outcome {
    prepare(|world| {
        let frame = world.frame(world.cpu()).cloned().unwrap_or_default();
        let start = stepped as extern "C" fn() -> u64 as usize as u64;
        match world.reason() {
            Reason::Command if world.breakpoints().next().is_none() => {
                STEPS.store(0, Ordering::Relaxed);
                check(world.set_breakpoint(start).is_ok());
                return Resume::Continue;
            }
            Reason::Breakpoint => {
                check(frame.rip == start && frame.interrupts_enabled());
                check(world.clear_breakpoint(start));
            }
            Reason::Step => {
                let step = STEPS.load(Ordering::Relaxed);
                let passed: u64 = LENGTHS.iter().take(step).sum();
                if frame.rip != start + passed && SEEN[0].load(Ordering::Relaxed) == 0 {
                    SEEN[0].store(frame.rip.wrapping_sub(start), Ordering::Relaxed);
                    SEEN[1].store(step as u64, Ordering::Relaxed);
                }
                check(frame.rip == start + passed);
                check(frame.rflags & 1 << 8 == 0);
                // Between `cli` (the fifth) and `sti` (the seventh) interrupts are off.
                check(frame.interrupts_enabled() == !(5..7).contains(&step));
                if step == 4 {
                    check(frame.rdx & (1 << 9 | 1 << 8) == 1 << 9);
                }
                if step == 10 {
                    check(frame.rax == 7 && frame.rcx & (1 << 9 | 1 << 8) == 1 << 9);
                    return Resume::Continue;
                }
            }
            _ => check(false),
        }
        STEPS.fetch_add(1, Ordering::Relaxed);
        Resume::Step
    });
    kdb::enter(Reason::Command);
    let result = stepped();
    let (offset, step) = (SEEN[0].load(Ordering::Relaxed), SEEN[1].load(Ordering::Relaxed));
    ensure!(offset == 0, "after step {step} the instruction at offset {offset:#x} is next");
    ensure!(result == 7, "the stepped function returns {result}");
    verdict(2 + 10)
}

fn the_registers_to_go_on_with_can_be_changed() -> Outcome {
    prepare(|world| {
        if world.reason() == Reason::Command && world.breakpoints().next().is_none() {
            check(world.set_breakpoint(target_address()).is_ok());
        } else if world.reason() == Reason::Breakpoint {
            let mut frame = world.frame(world.cpu()).cloned().unwrap_or_default();
            frame.rdi = 100;
            world.set_frame(frame);
            check(world.clear_breakpoint(target_address()));
        }
        Resume::Continue
    });
    kdb::enter(Reason::Command);
    let result = call_target(1);
    ensure!(result == 101, "the function was called with {}", result - 1);
    verdict(2)
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
