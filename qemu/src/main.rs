//! `cargo run`: the one host program. Each verb is a file under `verb`; everything else is the library.

#![forbid(unsafe_code)]

mod verb;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Sluice, a router: builds it, boots it in QEMU, and shows that it forwards.
///
/// Without a verb: boots the router between two built-in hosts and lets them talk through it.
#[derive(Parser, Debug)]
#[command(version, about, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    demo: verb::demo::Arguments,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Boots the router with your own configuration and wiring, with its console on this terminal
    Run(verb::run::Arguments),
    /// As `run`, stopped at the kernel's first instruction, with gdb on this terminal
    Gdb(verb::run::Arguments),
    /// Writes a raw disk image with your configuration that boots by BIOS and by UEFI
    Image(verb::image::Arguments),
    /// Writes an image to a USB stick, and reads it back to be sure
    Flash(verb::flash::Arguments),
    /// Checks a crash dump in captured console output, names its addresses, and shows it
    Dump(verb::dump::Arguments),
    /// Measures the router, alone or side by side with others that do the same job
    Bench(verb::bench::Arguments),
    /// Checks the source: format, lints, dependencies, unsafe code, documents, model checking
    Check(verb::check::Arguments),
}

fn main() -> ExitCode {
    match dispatch(&CommandLine::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(line: &CommandLine) -> Result<()> {
    match &line.verb {
        None => verb::demo::run(&line.demo),
        Some(Verb::Run(arguments)) => verb::run::run(arguments),
        Some(Verb::Gdb(arguments)) => verb::gdb::run(arguments),
        Some(Verb::Image(arguments)) => verb::image::run(arguments),
        Some(Verb::Flash(arguments)) => verb::flash::run(arguments),
        Some(Verb::Dump(arguments)) => verb::dump::run(arguments),
        Some(Verb::Bench(arguments)) => verb::bench::run(arguments),
        Some(Verb::Check(arguments)) => verb::check::run(arguments),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_in_itself() {
        CommandLine::command().debug_assert();
    }
}
