//! `check`: everything about the source that a program can judge. Each check is a file under `check`.

mod dependencies;
mod documents;
mod format;
mod lints;
mod model;
mod reboot;
mod tests_run;
mod unsafe_code;

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use sluice::{progress::Progress, workspace::Workspace};

/// What `check` takes.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Which checks to make; all but model checking and shutdowns, which take minutes, unless given
    #[arg(value_enum)]
    which: Vec<Check>,
    #[command(flatten)]
    models: model::Options,
    #[command(flatten)]
    reboot: reboot::Options,
}

/// The checks, in the order in which they are made: quick ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Check {
    /// Formatting, by rustfmt
    Fmt,
    /// Who may depend on whom
    Deps,
    /// Unsafe code only where it belongs, and how much of it
    Unsafe,
    /// Every test is run by `cargo test`
    Tests,
    /// Lints on the host and for the bare machine, warnings denied
    Clippy,
    /// Documents, with broken links denied
    Docs,
    /// Model checking of the synchronisation: every interleaving of the small cores
    Loom,
    /// Model checking of the whole router's shutdown: random schedules, replayable
    Shuttle,
    /// Shutdowns at random instants under traffic, in QEMU
    Reboot,
}

/// The checks that are made when none is named.
const DEFAULT: [Check; 6] = [Check::Fmt, Check::Deps, Check::Unsafe, Check::Tests, Check::Clippy, Check::Docs];

/// Makes the checks and reports all that fail.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let workspace = Workspace::find();
    let progress = Progress::new();
    let which = if arguments.which.is_empty() { &DEFAULT } else { arguments.which.as_slice() };
    let mut failed = 0;
    for check in which {
        if let Err(error) = make(*check, arguments, &workspace, progress) {
            progress.say(&format!("{error:#}"));
            failed += 1;
        }
    }
    if failed > 0 {
        bail!("{failed} of {} checks failed", which.len());
    }
    progress.say(&format!("{} checks passed", which.len()));
    Ok(())
}

fn make(check: Check, arguments: &Arguments, workspace: &Workspace, progress: Progress) -> Result<()> {
    let models = &arguments.models;
    match check {
        Check::Fmt => format::check(workspace, progress),
        Check::Deps => dependencies::check(workspace, progress),
        Check::Unsafe => unsafe_code::check(workspace, progress),
        Check::Tests => tests_run::check(workspace, progress),
        Check::Clippy => lints::check(workspace, progress),
        Check::Docs => documents::check(workspace, progress),
        Check::Loom => model::check(model::Checker::Loom, models, workspace, progress),
        Check::Shuttle => model::check(model::Checker::Shuttle, models, workspace, progress),
        Check::Reboot => reboot::check(&arguments.reboot, workspace, progress),
    }
}

/// Returns the cargo that runs this program, in the checkout.
fn host_cargo(workspace: &Workspace) -> std::process::Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = std::process::Command::new(cargo);
    command.current_dir(workspace.root());
    command
}

/// Returns the text of every source file under `folder`, and in its folders.
fn sources(folder: &Path) -> Result<Vec<String>> {
    let mut folders = vec![folder.to_path_buf()];
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                texts.push(fs::read_to_string(path)?);
            }
        }
    }
    Ok(texts)
}
