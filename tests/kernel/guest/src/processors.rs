//! Several processors: each is itself, answers, keeps time, and writes whole lines.

use alloc::{boxed::Box, vec::Vec};
use core::time::Duration;

use ksync::{
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    cpu::{CpuId, MAX_CPUS},
    irq::without_interrupts,
    time::Instant,
};
use machine::{acpi::madt::Processor, boot::BootRecord, console, cpu, ipi, percpu, platform, smp, time, timer};

use crate::{
    access, crew,
    harness::{self, Outcome, Test},
};

/// How long sixteen processors on a busy host may take for one job.
const PATIENCE: Duration = Duration::from_secs(60);

const TESTS: &[Test] = tests![
    every_processor_of_the_tables_runs_and_knows_itself,
    every_processor_answers_an_interrupt,
    every_processor_can_interrupt_every_other,
    every_processor_takes_ticks_of_its_own_timer_and_none_early,
    the_last_deadline_counts_and_a_disarmed_timer_is_silent,
    no_processor_sees_time_run_backwards,
    a_flush_reaches_every_processor,
    every_processor_protects_code_and_data,
    processors_allocate_at_once_and_keep_what_is_theirs,
    no_line_is_torn_when_all_processors_write,
    every_processor_parks_even_a_deaf_one,
];

static WRONG: AtomicU32 = AtomicU32::new(0);
static COUNT: AtomicU32 = AtomicU32::new(0);

fn wrong_if(condition: bool) {
    WRONG.fetch_add(u32::from(condition), Ordering::Relaxed);
}

/// Starts all processors and runs the tests.
pub(crate) fn run(record: &'static BootRecord) -> ! {
    let platform = match platform::bring_up(record) {
        Ok(platform) => platform,
        Err(error) => panic!("the platform could not be brought up: {error:?}"),
    };
    if let Err(error) = platform::start_cpus(platform, crew::enter) {
        panic!("no other processor could be started: {error:?}");
    }
    harness::run(&[TESTS])
}

fn every_processor_of_the_tables_runs_and_knows_itself() -> Outcome {
    let listed = platform::platform().map_or(0, |found| found.madt.processors.iter().filter(|one| one.enabled).count());
    ensure!(percpu::online().count() == listed, "{} of {listed} run", percpu::online().count());
    crew::everywhere(
        |own| {
            wrong_if(percpu::current_cpu() != own || percpu::block(own).apic_id() != cpu::apic_id());
            COUNT.fetch_add(1, Ordering::Relaxed);
        },
        PATIENCE,
    )?;
    let (ran, wrong) = (COUNT.load(Ordering::Relaxed), WRONG.load(Ordering::Relaxed));
    ensure!(ran as usize == listed && wrong == 0, "{ran} of {listed} ran, {wrong} mistook themselves for another");
    let mut ids: Vec<u32> = percpu::online().map(|cpu| percpu::block(cpu).apic_id()).collect();
    ids.sort_unstable();
    ids.dedup();
    ensure!(ids.len() == listed, "{listed} processors have only {} APIC ids", ids.len());
    Ok(())
}

fn every_processor_answers_an_interrupt() -> Outcome {
    for cpu in percpu::online() {
        for _ in 0..10 {
            let before = ipi::received(cpu);
            ipi::reschedule(cpu);
            let answered = crew::wait_until(PATIENCE, || ipi::received(cpu) > before);
            ensure!(answered, "processor {cpu} is silent");
        }
    }
    Ok(())
}

static SENDER: AtomicU32 = AtomicU32::new(0);

fn every_processor_can_interrupt_every_other() -> Outcome {
    WRONG.store(0, Ordering::Relaxed);
    for sender in percpu::online() {
        SENDER.store(u32::from(sender.0), Ordering::Relaxed);
        crew::everywhere(send_if_asked, PATIENCE)?;
    }
    let unanswered = WRONG.load(Ordering::Relaxed);
    ensure!(unanswered == 0, "{unanswered} interrupts did not arrive");
    Ok(())
}

/// Interrupts each other processor three times. The one interrupt that announced this job may still be on its way there, so
/// that at least two of the three answers are to us.
fn send_if_asked(own: CpuId) {
    if u32::from(own.0) != SENDER.load(Ordering::Relaxed) {
        return;
    }
    for other in percpu::online().filter(|cpu| *cpu != own) {
        for _ in 0..3 {
            let before = ipi::received(other);
            ipi::reschedule(other);
            wrong_if(!crew::wait_until(PATIENCE, || ipi::received(other) > before));
        }
    }
}

static FIRED: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];
static EARLIEST: AtomicU64 = AtomicU64::new(0);

fn note_expiry(now: Instant) {
    if let Some(fired) = FIRED.get(percpu::current_cpu().index()) {
        fired.store(now.as_nanos(), Ordering::Relaxed);
    }
}

fn every_processor_takes_ticks_of_its_own_timer_and_none_early() -> Outcome {
    WRONG.store(0, Ordering::Relaxed);
    timer::set_hook(note_expiry);
    crew::everywhere(take_ticks, PATIENCE)?;
    let (missing, early) = (WRONG.load(Ordering::Relaxed), EARLIEST.load(Ordering::Relaxed));
    ensure!(missing == 0, "{missing} ticks did not come");
    ensure!(early == 0, "a tick came {early} ns before its deadline");
    Ok(())
}

fn take_ticks(own: CpuId) {
    for round in 1..=5 {
        let before = timer::expiries(own);
        let deadline = without_interrupts(|| {
            let deadline = time::now() + Duration::from_millis(2 * round);
            timer::arm(deadline);
            deadline
        });
        wrong_if(!crew::wait_until(PATIENCE / 6, || timer::expiries(own) > before));
        let fired = FIRED.get(own.index()).map_or(0, |fired| fired.load(Ordering::Relaxed));
        EARLIEST.fetch_max(deadline.as_nanos().saturating_sub(fired), Ordering::Relaxed);
    }
}

fn the_last_deadline_counts_and_a_disarmed_timer_is_silent() -> Outcome {
    let own = percpu::current_cpu();
    let before = timer::expiries(own);
    let milliseconds = Duration::from_millis;
    without_interrupts(|| {
        timer::arm(time::now() + milliseconds(60));
        timer::arm(time::now() + milliseconds(5));
    });
    time::delay(milliseconds(120));
    let after = timer::expiries(own);
    ensure!(after == before + 1, "{} expiries of one deadline", after - before);
    without_interrupts(|| {
        timer::arm(time::now() + milliseconds(60));
        timer::disarm();
    });
    time::delay(milliseconds(120));
    ensure!(timer::expiries(own) == after, "a disarmed timer expired");
    Ok(())
}

static LATEST: AtomicU64 = AtomicU64::new(0);
static LARGEST_STEP_BACK: AtomicU64 = AtomicU64::new(0);

fn no_processor_sees_time_run_backwards() -> Outcome {
    crew::everywhere(
        |_| {
            for _ in 0..20_000 {
                // ORDERING: the strongest, so that a reading which is larger was surely taken before ours.
                let latest = LATEST.load(Ordering::SeqCst);
                let now = time::now().as_nanos();
                LARGEST_STEP_BACK.fetch_max(latest.saturating_sub(now), Ordering::Relaxed);
                LATEST.fetch_max(now, Ordering::SeqCst);
            }
        },
        PATIENCE,
    )?;
    let back = LARGEST_STEP_BACK.load(Ordering::Relaxed);
    ensure!(back == 0, "a processor's clock was {back} ns behind what another had read by {:?}", time::clock_source());
    Ok(())
}

fn a_flush_reaches_every_processor() -> Outcome {
    let before: Vec<u64> = crew::others().map(ipi::received).collect();
    for _ in 0..5 {
        ensure!(ipi::flush_everywhere(PATIENCE), "a processor did not flush");
    }
    for (cpu, before) in crew::others().zip(before) {
        let taken = ipi::received(cpu) - before;
        ensure!(taken >= 5, "processor {cpu} took {taken} interrupts for 5 flushes");
    }
    Ok(())
}

fn every_processor_protects_code_and_data() -> Outcome {
    WRONG.store(0, Ordering::Relaxed);
    crew::everywhere(
        |_| {
            wrong_if(access::code_can_be_called_and_not_written().is_err());
            wrong_if(access::data_can_be_written_and_not_executed().is_err());
            wrong_if(access::addresses_that_mean_nothing_fault().is_err());
        },
        PATIENCE,
    )?;
    let wrong = WRONG.load(Ordering::Relaxed);
    ensure!(wrong == 0, "{wrong} protections are missing on some processor");
    Ok(())
}

fn processors_allocate_at_once_and_keep_what_is_theirs() -> Outcome {
    WRONG.store(0, Ordering::Relaxed);
    let before = machine::heap::usage().used;
    crew::everywhere(
        |own| {
            let mark = own.0 as u8;
            for round in 1..=40_usize {
                let boxes: Vec<Box<[u8]>> =
                    (1..=8).map(|size| core::iter::repeat_n(mark, size * round).collect()).collect();
                wrong_if(boxes.iter().any(|one| one.iter().any(|octet| *octet != mark)));
            }
        },
        PATIENCE,
    )?;
    let (wrong, after) = (WRONG.load(Ordering::Relaxed), machine::heap::usage().used);
    ensure!(wrong == 0, "memory was given out twice in {wrong} rounds");
    ensure!(after == before, "{before} octets in use became {after}");
    Ok(())
}

/// A text of a length of its own, written letter by letter.
struct Tail {
    cpu: u16,
    number: u16,
}

impl core::fmt::Display for Tail {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for index in 0..(self.number * 7 + self.cpu) % 60 {
            let letter = b'a' + ((self.cpu + self.number + index) % 26) as u8;
            write!(f, "{}", char::from(letter))?;
        }
        Ok(())
    }
}

/// Lines each processor writes; the host knows the number, and what they look like.
const LINES: u16 = 200;

fn no_line_is_torn_when_all_processors_write() -> Outcome {
    let before = console::dropped_octets();
    crew::everywhere(
        |own| {
            for number in 0..LINES {
                console::print(format_args!("#line {own} {number} {}.\n", Tail { cpu: own.0, number }));
            }
        },
        PATIENCE,
    )?;
    let dropped = console::dropped_octets() - before;
    ensure!(dropped == 0, "{dropped} octets were dropped");
    Ok(())
}

static DEAF: AtomicBool = AtomicBool::new(false);

fn every_processor_parks_even_a_deaf_one() -> Outcome {
    let last = crew::others().last();
    crew::start(|own| {
        if crew::others().all(|other| other < own) {
            cpu::disable_interrupts();
            DEAF.store(true, Ordering::Release);
            loop {
                core::hint::spin_loop();
            }
        }
    });
    let is_deaf = last.is_none() || crew::wait_until(PATIENCE, || DEAF.load(Ordering::Acquire));
    ensure!(is_deaf, "the last processor did not become deaf");
    let parked = smp::park_others(Duration::from_secs(8));
    let mut expected: Vec<u32> = crew::others().map(|cpu| percpu::block(cpu).apic_id()).collect();
    expected.sort_unstable();
    let mut confirmed = parked.confirmed;
    confirmed.sort_unstable();
    ensure!(parked.missing.is_empty() && confirmed == expected, "{confirmed:?} parked, {:?} did not", parked.missing);
    Ok(())
}

/// An APIC id that QEMU gives to no processor of ours.
const ABSENT: u32 = 200;
static REPORT: ksync::Once<smp::Report> = ksync::Once::new();

/// Firmware lists a processor that is not there, before the ones that are.
pub(crate) fn with_an_absent_one(record: &'static BootRecord) -> ! {
    let platform = match platform::bring_up(record) {
        Ok(platform) => platform,
        Err(error) => panic!("the platform could not be brought up: {error:?}"),
    };
    let mut listed = platform.madt.processors.clone();
    listed.insert(0, Processor { apic_id: ABSENT, enabled: true });
    match smp::start_all(&listed, crew::enter) {
        Ok(report) => REPORT.call_once(|| report),
        Err(error) => panic!("no other processor could be started: {error:?}"),
    };
    harness::run(&[tests![
        the_absent_processor_is_named_and_left_out,
        every_processor_of_the_tables_runs_and_knows_itself
    ]])
}

fn the_absent_processor_is_named_and_left_out() -> Outcome {
    let Some(report) = REPORT.get() else { return Err("no report".into()) };
    ensure!(report.left_out == [(ABSENT, smp::LeftOut::Silent)], "left out: {:?}", report.left_out);
    ensure!(report.online == percpu::online().count(), "{} online", report.online);
    Ok(())
}
