//! The self-test: what a machine is asked before it is trusted, and what a person with a stick sends back.
//!
//! Switched on by `kern.selftest` in the configuration. Each card is looped back before it is attached; the rest is asked by a
//! thread of its own once everything runs: processors, their timers and interrupts to each other, the clock against another
//! clock, memory, and the interrupt of each vector of each card. Every answer is a line of the log, on screen and serial
//! line, and `show selftest` says them again; in the end all of them, and the log, go to the [stick] that the machine was
//! booted from. The router works meanwhile.
//!
//! [stick]: crate::stick
//!
//! Key functions: [`note`], [`start`]. Context: threads.

use alloc::{boxed::Box, format, string::String, sync::Arc, vec::Vec};
use core::{
    fmt::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use cli::View;
use ksync::{SpinLock, cpu::CpuId, time::Instant};
use machine::{
    cpu,
    frame::{self, FRAME_SIZE, RunRequest},
    heap, ipi,
    memory::PhysMemory,
    percpu, time, timer,
};
use pci::PciDevice;
use wire::checksum;

use crate::{
    Wires,
    knobs::{self, Access, Knob},
    port::{Interrupt, Port},
    services,
    stick::Search,
    threads::{self, Class},
    views,
};

const MIB: usize = 1 << 20;
/// Frames of a MiB.
const FRAMES: usize = MIB >> FRAME_SIZE.trailing_zeros();
/// Memory that is left to everybody else during the test of memory, and the most that is tested.
const RESERVE: usize = 16 * MIB;
const MOST: usize = 1024 * MIB;
/// For how long a processor's thread sleeps, and within what its answer is expected.
const NAP: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(5);
/// For how long the clocks are compared, and by how many parts in a thousand they may differ.
const COMPARED: Duration = Duration::from_millis(100);
const TOLERANCE: u32 = 20;
/// How often each interrupt is asked for.
const ROUNDS: u32 = 3;
/// Octets of which each processor makes a sum.
const SUMMED: usize = 65_536;

/// Switches the test on.
pub(crate) const KNOBS: &[Knob] = &[Knob {
    name: "kern.selftest",
    description: "test processors, timers, interrupts, memory and cards at boot; read at boot",
    get: || format!("{}", u8::from(is_wanted())),
    access: Access::Tunable(|text| knobs::switch(text).map(|on| WANTED.store(on, Ordering::Relaxed))),
}];

static WANTED: AtomicBool = AtomicBool::new(false);

/// What one check has said.
#[derive(Clone)]
struct Answer {
    passed: bool,
    text: Arc<str>,
}

/// Protects: every line that was said, in order; held across: appending one, or copying all.
static LINES: SpinLock<Vec<String>> = SpinLock::new(Vec::new());
/// Protects: what became of the stick; held across: one copy.
static STICK: SpinLock<Option<Arc<str>>> = SpinLock::new(None);
/// Protects: the answers so far, in order; held across: appending one, or copying one.
static ANSWERS: SpinLock<Vec<Answer>> = SpinLock::new(Vec::new());
static OVER: AtomicBool = AtomicBool::new(false);

/// Returns whether the machine is to be tested.
pub(crate) fn is_wanted() -> bool {
    WANTED.load(Ordering::Relaxed)
}

/// Notes and says the answer of a check.
pub(crate) fn note(what: &str, answer: Result<String, String>) {
    let passed = answer.is_ok();
    let text: Arc<str> = match &answer {
        Ok(found) => format!("{what}: ok, {found}").into(),
        Err(reason) => format!("{what}: FAILED: {reason}").into(),
    };
    say(passed, format!("selftest: {text}"));
    ANSWERS.lock().push(Answer { passed, text });
}

/// Says a line, and keeps it for the stick.
fn say(is_good: bool, line: String) {
    if is_good {
        log::info!("{line}");
    } else {
        log::error!("{line}");
    }
    LINES.lock().push(line);
}

/// Starts the test, if it is wanted. `devices` is what there is on the bus.
pub(crate) fn start(wires: &Wires, devices: &[PciDevice]) {
    if !is_wanted() {
        return;
    }
    let search = Search::new(wires, devices);
    let body = move || {
        run();
        leave(search);
    };
    if threads::spawn("selftest", Class::Normal, Some(CpuId::BOOT), Box::new(body)).is_none() {
        log::error!("selftest: no thread");
    }
}

/// Leaves what was said on the stick, and behind it the whole log, in a thread that a shutdown waits for: it does DMA. Not a check of its own: a machine that was booted
/// from something else is none the worse.
fn leave(search: Search) {
    let mut text = LINES.lock().join("\n");
    text += "\n\nEverything that was said since the start:\n\n";
    // What can be written to a String is written.
    let _ = views::show(View::Log, &mut text);
    let body = move || {
        let (is_good, line) = match search.leave(&text) {
            Ok(place) => (true, format!("result written to {} of the stick ({place})", fat::stick::RESULT)),
            Err(reason) => (false, format!("result not written to a stick: {reason}")),
        };
        let line: Arc<str> = line.into();
        *STICK.lock() = Some(Arc::clone(&line));
        if is_good {
            log::info!("selftest: {line}");
        } else {
            log::warn!("selftest: {line}");
        }
    };
    if services::spawn("selftest stick", Class::Normal, CpuId::BOOT, body).is_none() {
        log::warn!("selftest: result not written to a stick: the machine is shutting down");
    }
}

/// Writes `show selftest`.
pub(crate) fn show(out: &mut dyn Write) -> fmt::Result {
    if !is_wanted() {
        return writeln!(out, "not asked for: kern.selftest = 1 in [sysctl] of the configuration does");
    }
    let mut failed = 0;
    for place in 0.. {
        let Ok(answers) = ANSWERS.look() else { return writeln!(out, "locked by a CPU that was stopped") };
        let Some(answer) = answers.get(place).cloned() else { break };
        drop(answers);
        failed += usize::from(!answer.passed);
        writeln!(out, "{}", answer.text)?;
    }
    match (OVER.load(Ordering::Relaxed), failed) {
        (false, _) => writeln!(out, "not over yet"),
        (true, 0) => writeln!(out, "all passed"),
        (true, _) => writeln!(out, "{failed} FAILED"),
    }?;
    let Ok(stick) = STICK.look() else { return Ok(()) };
    let line = stick.clone();
    drop(stick);
    line.map_or(Ok(()), |line| writeln!(out, "{line}"))
}

fn run() {
    let memory = frame::usage().total / FRAMES;
    let cpus: Vec<CpuId> = percpu::online().collect();
    let brand = cpu::brand().unwrap_or_else(|| "unnamed processor".into());
    let version = env!("CARGO_PKG_VERSION");
    say(true, format!("selftest: Sluice {version} on {}, {} CPUs, {memory} MiB", brand.trim(), cpus.len()));
    let sum = sum();
    for cpu in cpus {
        note(&format!("cpu {cpu}"), processor(cpu, sum));
    }
    note("clock", clock());
    note("memory", memory_test());
    if services::ports().is_empty() {
        note("cards", Err("none that this router drives".into()));
    }
    for port in services::ports() {
        for interrupt in &port.interrupts {
            note(&port.name_of(interrupt), vector(port, interrupt));
        }
    }
    let (all, failed) = {
        let answers = ANSWERS.lock();
        (answers.len(), answers.iter().filter(|answer| !answer.passed).count())
    };
    OVER.store(true, Ordering::Relaxed);
    if failed == 0 {
        say(true, format!("selftest: over: all {all} checks passed"));
    } else {
        say(false, format!("selftest: over: {failed} of {all} checks FAILED"));
    }
}

/// Waits until `done`; says how long that took.
fn wait(limit: Duration, mut done: impl FnMut() -> bool) -> Option<Duration> {
    let begin = time::now();
    loop {
        let waited = time::now().saturating_duration_since(begin);
        if done() {
            return Some(waited);
        }
        if waited >= limit {
            return None;
        }
        threads::sleep(Duration::from_millis(1));
    }
}

/// Something to reckon that every processor has to agree on.
fn sum() -> u16 {
    let octets: Vec<u8> = (0..SUMMED).map(|n| (n * n / 7).to_le_bytes()[0]).collect();
    checksum::of(&octets)
}

/// Has a processor run a thread that reckons, sleeps and looks at the clock; interrupts it, and has it interrupt this one.
fn processor(cpu: CpuId, sum: u16) -> Result<String, String> {
    let apic_id = percpu::block(cpu).apic_id();
    // Straight to the processor: a thread may find it awake, and then nobody interrupts it.
    let before = ipi::received(cpu);
    ipi::reschedule(cpu);
    wait(PATIENCE, || ipi::received(cpu) > before).ok_or("takes no interrupt from another processor")?;
    let asked = time::now();
    let said: Arc<SpinLock<Option<Result<Duration, String>>>> = Arc::default();
    let place = Arc::clone(&said);
    let body = Box::new(move || {
        let answer = on_processor(cpu, sum, asked);
        *place.lock() = Some(answer);
    });
    threads::spawn("selftest cpu", Class::Normal, Some(cpu), body).ok_or("no thread")?;
    wait(PATIENCE, || said.lock().is_some()).ok_or("runs no thread, or its timer does not wake it")?;
    let late = said.lock().take().unwrap_or_else(|| Err("no answer".into()))?;
    if time::now() < asked + NAP {
        return Err("clock behind that of the boot processor".into());
    }
    Ok(format!("APIC id {apic_id}, interrupts both ways, timer {} us late", late.as_micros()))
}

/// The part that runs there. Returns how late the timer was.
fn on_processor(cpu: CpuId, expected: u16, asked: Instant) -> Result<Duration, String> {
    if percpu::current_cpu() != cpu {
        return Err(format!("a thread for it runs on cpu {}", percpu::current_cpu()));
    }
    if sum() != expected {
        return Err("reckons differently".into());
    }
    let (expiries, began) = (timer::expiries(cpu), time::now());
    if began < asked {
        return Err(format!("its clock is {} ns behind", asked.saturating_duration_since(began).as_nanos()));
    }
    threads::sleep(NAP);
    let slept = time::now().saturating_duration_since(began);
    if slept < NAP || timer::expiries(cpu) == expiries {
        return Err(format!("slept {} us of {} without its timer", slept.as_micros(), NAP.as_micros()));
    }
    let before = ipi::received(CpuId::BOOT);
    ipi::reschedule(CpuId::BOOT);
    wait(PATIENCE, || ipi::received(CpuId::BOOT) > before).ok_or("its interrupts do not arrive")?;
    Ok(slept.saturating_sub(NAP))
}

/// Compares the clock with the HPET.
fn clock() -> Result<String, String> {
    let invariant = if time::is_invariant() { "invariant" } else { "not promised invariant" };
    let Some((by_clock, by_hpet)) = time::compare(COMPARED) else {
        return Ok(format!("{:?}, {invariant}; no second clock to compare with", time::clock_source()));
    };
    let differ = by_clock.abs_diff(by_hpet);
    let text = format!(
        "{:?}, {invariant}; {} us by it are {} us by the HPET",
        time::clock_source(),
        by_clock.as_micros(),
        by_hpet.as_micros()
    );
    if differ * 1000 > by_hpet * TOLERANCE { Err(text) } else { Ok(text) }
}

/// Fills free memory with words that depend on their place, twice, each bit once set and once clear, and reads them back.
fn memory_test() -> Result<String, String> {
    let free = frame::usage().free * (MIB / FRAMES);
    let wanted = free.saturating_sub(RESERVE).min(MOST) / MIB;
    let mut blocks: Vec<PhysMemory> = heap::try_vec(wanted).map_err(|_| "no room for the list")?;
    while blocks.len() < wanted {
        match PhysMemory::allocate_uncleared(&RunRequest::octets(MIB)) {
            Ok(block) => blocks.push(block),
            // What is left is in smaller pieces.
            Err(_) => break,
        }
    }
    if blocks.is_empty() {
        return Err(format!("{} KiB free: nothing to test", free / 1024));
    }
    for seed in [0, u64::MAX] {
        for block in &mut blocks {
            block.fill(seed);
            threads::yield_now();
        }
        for block in &blocks {
            let bad = |bad: machine::memory::BadWord| format!("at {:#x} bits {:#x}", bad.address.as_u64(), bad.bits);
            block.check(seed).map_err(bad)?;
            if block.check(!seed).is_ok() {
                return Err("does not tell one pattern from another".into());
            }
            threads::yield_now();
        }
    }
    Ok(format!("{} of {} free MiB", blocks.len(), free / MIB))
}

/// Has a card send an interrupt, and sees its thread make a pass.
fn vector(port: &Port, interrupt: &Interrupt) -> Result<String, String> {
    let mut longest = Duration::ZERO;
    for round in 0..ROUNDS {
        let (passes, _) = interrupt.event.progress();
        let before = interrupt.provoke(&port.adapter);
        let came = || interrupt.event.statistics().scheduled > before && interrupt.event.progress().0 > passes;
        let took = wait(PATIENCE, came);
        longest = longest.max(took.ok_or_else(|| {
            format!("{}: interrupt {} of {ROUNDS} did not come", interrupt.event.description(), round + 1)
        })?);
    }
    let cpu = interrupt.line.cpu;
    Ok(format!(
        "{} on cpu {cpu}, {ROUNDS} interrupts, each within {} ms",
        interrupt.event.description(),
        longest.as_millis() + 1
    ))
}
