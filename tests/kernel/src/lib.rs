//! The host half of the kernel's tests: builds the guest in `guest/`, boots it in QEMU and judges how it ended.
//!
//! [`boot`] starts a scenario of the guest and [`finish`] waits for its end; [`run`] does both. A boot ends in a
//! [`Verdict`], which tells a failed test from a panic, a fault, a power-off and a machine that does not end at all.

#![forbid(unsafe_code)]

mod verdict;

use std::{
    path::PathBuf,
    sync::OnceLock,
    time::{Duration, Instant},
};

use anyhow::Result;
use sluice::{
    build::Builder,
    guest::{Guest, RunFolder},
    machine::{Accelerator, Board, Firmware, Machine},
    prepare,
    progress::Progress,
    workspace::Workspace,
};
pub use verdict::{Report, Verdict};

/// How long a boot may take, on a busy host and with many processors.
pub const LIMIT: Duration = Duration::from_secs(120);

/// The package of the guest.
const GUEST: &str = "ktest-kernel";

/// Returns a small machine that can end QEMU, on which the tests are the same wherever they run.
#[must_use]
pub fn machine(board: Board, firmware: Firmware, smp: u32) -> Machine {
    let accelerator = Some(Accelerator::Tcg);
    Machine { board, firmware, smp, memory: 128, accelerator, debug_exit: true, ..Machine::default() }
}

/// Starts `scenario` on `machine`.
///
/// # Errors
/// When the guest cannot be built or QEMU does not start.
pub fn boot(scenario: &str, machine: &Machine) -> Result<Guest> {
    let workspace = Workspace::find();
    let (builder, kernel) = guest()?;
    prepare::for_running(machine.firmware, Progress::new())?;
    let image = builder.image(&kernel, scenario.as_bytes())?;
    Guest::start(machine, &image, RunFolder::new(&workspace)?)
}

/// Boots `scenario` of a guest with nothing attached but what `make` makes of its symbol table, and judges its end.
///
/// # Errors
/// When the guest cannot be built or QEMU does not start.
pub fn run_attached(scenario: &str, machine: &Machine, make: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Result<Report> {
    let (builder, kernel) = guest()?;
    prepare::for_running(machine.firmware, Progress::new())?;
    let attached = make(builder.symbols(&kernel)?);
    let image = builder.image_with_attached(&kernel, scenario.as_bytes(), attached)?;
    Ok(finish(Guest::start(machine, &image, RunFolder::new(&Workspace::find())?)?, LIMIT))
}

/// Builds the guest, once for each process.
fn guest() -> Result<(Builder, PathBuf)> {
    static BUILT: OnceLock<Result<(Builder, PathBuf), String>> = OnceLock::new();
    let build = || {
        let builder = Builder::new(&Workspace::find(), Progress::new())?;
        let kernel = builder.bare_program(GUEST)?;
        Ok((builder, kernel))
    };
    let built = BUILT.get_or_init(|| build().map_err(|error: anyhow::Error| format!("{error:#}")));
    built.clone().map_err(anyhow::Error::msg)
}

/// Waits for the end of a boot, at most for `limit`, and judges it.
#[must_use]
pub fn finish(mut guest: Guest, limit: Duration) -> Report {
    let status = guest.wait_exit(limit).ok();
    Report::of(status.map(|status| status.code()), guest.stop())
}

/// Boots `scenario` on `machine` and judges its end; says how long it took.
///
/// # Panics
/// When it cannot be booted at all.
#[must_use]
pub fn run(scenario: &str, machine: &Machine) -> Report {
    let started = Instant::now();
    let guest = boot(scenario, machine).unwrap_or_else(|error| panic!("{scenario} does not start: {error:#}"));
    let report = finish(guest, LIMIT);
    let (board, firmware) = (machine.board, machine.firmware);
    eprintln!("{scenario} on {board:?}, {firmware:?}, {} processors: {:?}", machine.smp, started.elapsed());
    report
}

/// Boots `scenario` on `machine`, every test of which has to pass, and returns the report.
///
/// # Panics
/// When one does not, with what the console showed.
#[must_use]
pub fn passes(scenario: &str, machine: &Machine) -> Report {
    let report = run(scenario, machine);
    assert_eq!(report.verdict, Verdict::Passed, "{report}");
    report
}
