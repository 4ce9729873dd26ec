//! Ending the machine: the shutdown thread, and what the sequencer asks of this machine and its cards.
//!
//! [`request`] may be called by anybody; one thread walks the ladder ([`run`]), bound to the boot CPU, holding no lock
//! that an interrupt thread takes. [`card`] is a port as the sequencer sees it, [`plant`] everything around the ports.

mod card;
mod plant;

use alloc::{boxed::Box, vec::Vec};
use core::{
    fmt::{self, Write},
    time::Duration,
};

use ksync::{
    Once,
    atomic::{AtomicU32, Ordering},
};
use machine::{console, cpu, ipi, keyboard, pstore, reset, time};
use shutdown::{Budgets, Claim, Claimed, Exit, Finished, Ladder, Past, Teardown, past};

use crate::{
    services,
    threads::{self, Thread},
    watchdog,
};
use card::Card;
use plant::Machine;

static CLAIM: Claim = Claim::new();
static SEQUENCER: Once<Thread> = Once::new();
/// Through what the first request came.
static WHY: Once<&'static str> = Once::new();

/// How often a halted machine looks for a key.
const KEY_POLL: Duration = Duration::from_millis(20);
/// How long the other CPUs have to obey an NMI.
const NMI_LIMIT: Duration = Duration::from_millis(100);

/// Asks for the end of the machine, through `why` (a command, a key, a button); a second request merges with the first.
///
/// # Context
/// Any; does not block: the shutdown thread does the work.
pub(crate) fn request(exit: Exit, why: &'static str) {
    WHY.call_once(|| why);
    match CLAIM.request(exit) {
        Claimed::Owner => log::info!("shutdown: {} requested by {why}", exit.as_str()),
        Claimed::Merged(strongest) => log::info!("shutdown: already under way, ends in {}", strongest.as_str()),
        Claimed::TooLate(settled) => log::info!("shutdown: too late for that, ends in {}", settled.as_str()),
    }
    if let Some(thread) = SEQUENCER.get() {
        threads::unpark(thread);
    }
}

/// What [`request_soon`] asked for, an [`Exit`]; 0 for nothing.
static SOON: AtomicU32 = AtomicU32::new(0);

/// Asks for the end of the machine as soon as callouts run: for the debugger, which must not wake a thread in a stopped world.
///
/// # Context
/// Any, a stopped world included.
pub(crate) fn request_soon(exit: Exit) {
    // ORDERING: relaxed; nothing is published through it.
    SOON.store(exit as u32, Ordering::Relaxed);
}

/// Requests what [`request_soon`] asked for. Called at least once a second by the callouts.
pub(crate) fn request_due() {
    if SOON.load(Ordering::Relaxed) == 0 {
        return;
    }
    let soon = SOON.swap(0, Ordering::Relaxed);
    let asked = [Exit::Halt, Exit::Reboot, Exit::PowerOff].into_iter().find(|exit| *exit as u32 == soon);
    if let Some(exit) = asked {
        request(exit, "the debugger");
    }
}

/// What a panic does after its report: stops the other CPUs by NMI, then every card's DMA. Takes no lock, waits for nothing
/// without a bound.
pub(crate) fn panicked() {
    watchdog::hardware::crash();
    let during = CLAIM.strongest().filter(|exit| *exit != Exit::Panic).map(Exit::as_str);
    let _ = CLAIM.request(Exit::Panic);
    // The ladder's writer falls silent; its record goes on with this.
    let mut record = pstore::writer(pstore::Kind::Transcript);
    let _ = write!(record, "{}", past::panic_mark(during));
    record.finish();
    ipi::stop_others_by_nmi(NMI_LIMIT);
    services::ports().iter().for_each(|port| port.adapter.stop_blindly());
}

/// Waits for a request and walks the ladder. The body of the shutdown thread.
pub(crate) fn run() -> ! {
    SEQUENCER.call_once(threads::current);
    CLAIM.attend();
    let owner = loop {
        match CLAIM.begin() {
            Some(owner) => break owner,
            None => threads::park(),
        }
    };
    let machine = Machine::new();
    let devices: Vec<Box<dyn Teardown>> =
        services::ports().iter().map(|port| Box::new(Card::new(port)) as Box<dyn Teardown>).collect();
    let why = WHY.get().copied().unwrap_or("nobody");
    let finished = Ladder::claim(owner, why, &machine, devices, Budgets::default()).walk();
    end(&finished)
}

/// Returns how the run before this one ended, as far as it left a record.
fn previous() -> Option<Past<'static>> {
    pstore::previous().transcript.map(|record| Past::new(record.text))
}

/// Logs how the run before this one ended. Context: boot.
pub(crate) fn log_previous() {
    let summary = previous().and_then(|past| past.summary());
    match (summary, pstore::run()) {
        (Some(summary), _) => log::info!("previous shutdown: {summary}"),
        // The region was there, and nobody had written to it: a reset that no shutdown made.
        (None, Some(run)) if run > 1 => log::warn!("previous shutdown: none; the machine was reset"),
        (None, _) => {}
    }
}

/// Writes the transcript of the run before this one, and of this one's shutdown if one has begun.
///
/// # Errors
/// Those of `out`.
///
/// # Context
/// As [`show`].
pub(crate) fn show_all(out: &mut dyn Write) -> fmt::Result {
    match previous() {
        Some(past) => write!(out, "previous shutdown: {past}")?,
        None => writeln!(out, "no record of a previous shutdown")?,
    }
    show(out)
}

/// Writes how far a shutdown has come: who asked for what, and what the ladder has said so far.
///
/// # Errors
/// Those of `out`.
///
/// # Context
/// Thread, or the debugger in a stopped world.
fn show(out: &mut dyn Write) -> fmt::Result {
    let Some(exit) = CLAIM.strongest() else { return writeln!(out, "no shutdown has been asked for") };
    writeln!(out, "{} asked for by {}", exit.as_str(), WHY.get().copied().unwrap_or("nobody"))?;
    match plant::TRANSCRIPT.look() {
        Ok(transcript) if transcript.is_empty() => writeln!(out, "the ladder has not begun"),
        // Copied, so that the lock is not held while it is written.
        Ok(transcript) => {
            let copy = *transcript;
            drop(transcript);
            out.write_str(&copy)
        }
        Err(_) => writeln!(out, "the transcript is locked by a CPU that was stopped"),
    }
}

/// Ends the machine. Nothing else runs any more.
fn end(finished: &Finished) -> ! {
    // A machine that is to stay off, or halted, is not reset; nor is whatever comes after a restart, which may not know of it.
    watchdog::hardware::pause();
    match finished.exit {
        Exit::Halt => {
            console::message(format_args!("The operating system has halted.\nPlease press any key to reboot.\n"));
            console::flush_alone();
            wait_for_key();
            restart()
        }
        Exit::Reboot => restart(),
        Exit::PowerOff | Exit::Panic => {
            console::message(format_args!("Powering off...\n"));
            console::flush_alone();
            let error = reset::power_off();
            console::message(format_args!("power off failed ({error:?}); it is safe to switch off the machine\n"));
            console::flush_alone();
        }
    }
    cpu::halt_forever()
}

fn restart() -> ! {
    console::message(format_args!("Rebooting...\n"));
    console::flush_alone();
    reset::restart()
}

/// Waits for a key on the serial line or the keyboard, whatever was typed before forgotten. Nothing else runs: interrupts are
/// off, so that neither does the console's thread.
fn wait_for_key() {
    cpu::disable_interrupts();
    // The rest of the line that asked for the halt may still be on its way.
    time::delay(KEY_POLL * 10);
    let typed = || {
        keyboard::on_interrupt();
        console::try_read().is_some()
    };
    while typed() {}
    while !typed() {
        time::delay(KEY_POLL);
    }
}
