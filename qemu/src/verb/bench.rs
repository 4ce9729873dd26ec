//! `bench`: measures the router, alone or beside others. Each measurement is a file under `bench`.

mod instructions;

use anyhow::Result;
use clap::{Args, Subcommand};

/// What `bench` takes.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    measurement: Measurement,
}

/// What can be measured.
#[derive(Subcommand, Debug)]
enum Measurement {
    /// Instructions and register accesses of a forwarded packet, and where they go
    Instructions(instructions::Arguments),
}

/// Measures.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.measurement {
        Measurement::Instructions(arguments) => instructions::run(arguments),
    }
}
