//! Crashes at once: several CPUs that trap or panic in the same microsecond, again and again, each report whole.
//!
//! Every round is announced by a line `#round N WHAT`; what the console shows between two of them is judged by the host.

use alloc::boxed::Box;
use core::{
    arch::asm,
    fmt::Write,
    hint,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use ksync::cpu::CpuId;
use machine::{boot::BootRecord, console, hooks, percpu, platform, smp, time};

use crate::{crew, harness, survive};

/// How long the others may take for a round, on a busy host.
const PATIENCE: Duration = Duration::from_secs(60);

static ROUND: AtomicU32 = AtomicU32::new(0);
static READY: AtomicU32 = AtomicU32::new(0);
static CRASHING: AtomicU32 = AtomicU32::new(0);
static TOGETHER: AtomicBool = AtomicBool::new(false);
static NOISE: AtomicBool = AtomicBool::new(false);
/// The others are at it.
static NOISY: AtomicBool = AtomicBool::new(false);

fn bring_up(record: &'static BootRecord) {
    let platform = match platform::bring_up(record) {
        Ok(platform) => platform,
        Err(error) => panic!("the platform could not be brought up: {error:?}"),
    };
    hooks::set_thread_name(|out| {
        meet();
        write!(out, "{} (irq{}: em{0})", percpu::current_cpu(), 16)
    });
    if let Err(error) = platform::start_cpus(platform, crew::enter) {
        panic!("no other processor could be started: {error:?}");
    }
}

/// Waits until `count` has been raised by every CPU.
fn wait_for_all(count: &AtomicU32) {
    let all = percpu::online().count() as u32;
    count.fetch_add(1, Ordering::AcqRel);
    crew::wait_until(PATIENCE, || count.load(Ordering::Acquire) >= all);
}

/// In the middle of a CPU's crash, where it asks for its thread's name, before it asks for the world: when [`TOGETHER`], all CPUs
/// get there before any goes on. However busy the host, they then crash within the same microsecond.
fn meet() {
    if TOGETHER.load(Ordering::Acquire) {
        wait_for_all(&CRASHING);
    }
}

/// Reads from an address that names round and CPU.
extern "C" fn trap_at_the_moment() {
    wait_for_all(&READY);
    let address = u64::from(ROUND.load(Ordering::Relaxed)) << 8 | u64::from(percpu::current_cpu().0) << 4 | 0xC;
    // SAFETY: nothing is mapped there, so this faults.
    unsafe { asm!("mov {0}, [{1}]", out(reg) _, in(reg) address) };
}

extern "C" fn panic_at_the_moment() {
    wait_for_all(&READY);
    panic!("round {} on cpu {}", ROUND.load(Ordering::Relaxed), percpu::current_cpu());
}

fn begin(round: u32, what: &str) {
    READY.store(0, Ordering::Relaxed);
    CRASHING.store(0, Ordering::Relaxed);
    ROUND.store(round, Ordering::Relaxed);
    console::print(format_args!("#round {round} {what}\n"));
    console::flush();
}

fn all_at_once(round: u32, what: &str, job: crew::Job) {
    begin(round, what);
    if let Err(error) = crew::everywhere(job, PATIENCE) {
        // Not a panic: this boot survives them.
        console::print(format_args!("#round failed: {error}\n"));
        harness::exit(ktest::ExitCode::Failed);
    }
}

fn repeat(times: u32, what: &str, job: crew::Job) {
    (0..times).for_each(|_| all_at_once(ROUND.load(Ordering::Relaxed) + 1, what, job));
}

/// Every CPU traps at once, fifty times; then traps and panics mixed; then panics only; then traps whose order is the host's
/// choice. Fewer times with more than two CPUs.
pub(crate) fn at_once(record: &'static BootRecord) -> ! {
    bring_up(record);
    survive::init();
    let [traps, mixed, panics, loose] = if percpu::online().count() == 2 { [50, 20, 10, 20] } else { [3, 2, 2, 2] };
    TOGETHER.store(true, Ordering::Release);
    repeat(traps, "traps", |_| survive::attempt(trap_at_the_moment));
    repeat(mixed, "mixed", |cpu| {
        let panics = (u32::from(cpu.0) + ROUND.load(Ordering::Relaxed)).is_multiple_of(2);
        survive::attempt(if panics { panic_at_the_moment } else { trap_at_the_moment });
    });
    repeat(panics, "panics", |_| survive::attempt(panic_at_the_moment));
    TOGETHER.store(false, Ordering::Release);
    repeat(loose, "loose", |_| survive::attempt(trap_at_the_moment));
    finish()
}

fn finish() -> ! {
    console::print(format_args!("#round over\n"));
    harness::exit(ktest::ExitCode::Passed)
}

/// Lines that the others write while this CPU crashes; numbered, so that the host sees a torn one.
fn make_noise(cpu: CpuId) {
    let mut number = 0;
    while NOISE.load(Ordering::Acquire) {
        console::print(format_args!("#noise {cpu} {number} the quick brown fox jumps over the lazy dog.\n"));
        number += 1;
        NOISY.store(true, Ordering::Release);
    }
}

/// Locks of the heap are taken all the time.
fn make_garbage(_: CpuId) {
    while NOISE.load(Ordering::Acquire) {
        hint::black_box((Box::new(1_u64), Box::new([0_u8; 100])));
        NOISY.store(true, Ordering::Release);
    }
}

/// Panics and traps while the others are in the middle of console output, then of heap operations.
pub(crate) fn amid(record: &'static BootRecord) -> ! {
    extern "C" fn trap() {
        // SAFETY: nothing is mapped there, so this faults.
        unsafe { asm!("mov {0}, [{1}]", out(reg) _, in(reg) 0x3C_u64) };
    }
    extern "C" fn panic() {
        panic!("amid");
    }
    bring_up(record);
    survive::init();
    for round in 1..=20_u32 {
        let (what, job): (_, crew::Job) = if round <= 12 { ("noise", make_noise) } else { ("garbage", make_garbage) };
        begin(round, what);
        NOISE.store(true, Ordering::Release);
        NOISY.store(false, Ordering::Release);
        crew::start(job);
        crew::wait_until(PATIENCE, || NOISY.load(Ordering::Acquire));
        // A moment of its own each time.
        time::delay(Duration::from_micros(700 + u64::from(round) * 37));
        survive::attempt(if round % 2 == 0 { trap } else { panic });
        NOISE.store(false, Ordering::Release);
        if !crew::wait_until(PATIENCE, crew::is_done) {
            console::print(format_args!("#round failed: the others did not go on\n"));
            harness::exit(ktest::ExitCode::Failed);
        }
        console::print(format_args!("\n"));
    }
    finish()
}

/// A trap after the others have been parked for a shutdown, one of them by NMI.
pub(crate) fn after_parking(record: &'static BootRecord) -> ! {
    bring_up(record);
    let parked = smp::park_others(Duration::from_secs(8));
    log::info!("{} parked, {} missing", parked.confirmed.len(), parked.missing.len());
    machine::panic::provoke_trap();
    unreachable!("a trap was survived")
}

/// A trap while another CPU parks the rest for a shutdown.
pub(crate) fn during_parking(record: &'static BootRecord) -> ! {
    bring_up(record);
    crew::start(|_| {
        READY.fetch_add(1, Ordering::AcqRel);
        ksync::irq::without_interrupts(machine::panic::provoke_trap);
    });
    crew::wait_until(PATIENCE, || READY.load(Ordering::Acquire) > 0);
    // The one that traps holds us or is parked by us; either way its report must come out.
    let _ = smp::park_others(Duration::from_secs(2));
    crew::wait_until(Duration::from_secs(5), || false);
    unreachable!("the report did not stop this processor")
}

/// The hook that stops DMA takes a lock which this CPU holds, and the one that dumps faults: the report is whole all the same.
pub(crate) fn hook_locks(record: &'static BootRecord) -> ! {
    static LOCK: ksync::SpinLock<u32> = ksync::SpinLock::new(0);
    bring_up(record);
    hooks::set_panic(|| *LOCK.lock() += 1);
    hooks::set_dump(|world| {
        fn fault() {
            // SAFETY: nothing is mapped there, so this faults.
            unsafe { asm!("mov {0}, [{1}]", out(reg) _, in(reg) 0x8_u64) };
        }
        // Guards nest: the inner one is left first, and the outer one still holds.
        let inner = world.guard(fault);
        let _ = writeln!(world.out(), "#inner guard: {inner:?}");
        fault();
    });
    let _held = LOCK.lock();
    panic!("with a lock held");
}

/// A report without a test exit: the machine restarts, and boots again into the same.
pub(crate) fn restart_after(record: &'static BootRecord) -> ! {
    bring_up(record);
    machine::panic::set_exit_code(0);
    machine::panic::set_reboot_wait_time(1);
    machine::panic::provoke_trap();
    unreachable!("a trap was survived")
}
