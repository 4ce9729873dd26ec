//! `bench`: measures the router, alone or side by side with others that do the same job. Each measurement is a file under `bench`.

mod fib;
mod instructions;
mod peers;
mod scale;
mod traffic;

use std::{fs, path::Path};

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use sluice::{
    bench::{Record, figures, table},
    machine::NicModel,
    progress::Progress,
};
use traffic::What;

/// Frames of each direction that are on their way while instructions are counted: so many that the router always finds a batch,
/// however fast it is beside the generator, and what it would do while it waits is not counted.
const BATCH_WINDOW: u32 = 1024;

/// What `bench` takes.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
#[group(skip)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    measurement: Option<Measurement>,
    #[command(flatten)]
    all: traffic::Arguments,
}

/// What can be measured.
#[derive(Subcommand, Debug)]
enum Measurement {
    /// Frames a second in a closed loop, and the highest rate without loss (RFC 2544, 26.1)
    Throughput(traffic::Arguments),
    /// What is forwarded of 1 to 8 times the rate without loss, both ways, and whether console and ARP answer meanwhile
    Overload(traffic::Arguments),
    /// The times of frames, one under way and at half of the rate without loss; and what an idle router costs
    Latency(traffic::Arguments),
    /// The router's memory, the size of its kernel, and its boot up to the first forwarded frame
    Footprint(traffic::Arguments),
    /// Instructions and register accesses of a forwarded packet, and where they go
    Instructions(instructions::Arguments),
    /// Longest-prefix match alone, on this machine: lookups beside other structures, changes while it is read
    Fib(fib::Arguments),
    /// Instructions of a forwarded packet against the number of routes, neighbours, interfaces and CPUs
    Scale(scale::Arguments),
}

/// Measures.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.measurement {
        None => traffic::run(What::All, &arguments.all),
        Some(Measurement::Throughput(arguments)) => traffic::run(What::Throughput, arguments),
        Some(Measurement::Overload(arguments)) => traffic::run(What::Overload, arguments),
        Some(Measurement::Latency(arguments)) => traffic::run(What::Latency, arguments),
        Some(Measurement::Footprint(arguments)) => traffic::run(What::Footprint, arguments),
        Some(Measurement::Instructions(arguments)) => instructions::run(arguments),
        Some(Measurement::Fib(arguments)) => fib::run(arguments),
        Some(Measurement::Scale(arguments)) => scale::run(arguments),
    }
}

/// Returns the name of a card in records, as the command line has it.
fn cards_name(cards: NicModel) -> String {
    cards.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// Shows records as a table, and leaves that and the plots beside them.
fn present(records: &[Record], out: &Path, progress: Progress) -> Result<()> {
    let text = table::of(records);
    println!("{text}");
    fs::write(out.join("table.txt"), &text).with_context(|| format!("cannot write to {}", out.display()))?;
    let plots = figures::draw(records, out)?;
    progress.say(&format!("Records, table and {} plots are in {}", plots.len(), out.display()));
    Ok(())
}
