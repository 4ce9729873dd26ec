//! The verbs of the command line, one file each, and what several of them share.

pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod dump;
pub(crate) mod flash;
pub(crate) mod gdb;
pub(crate) mod image;
pub(crate) mod run;

use std::{fs, path::Path};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use config::{Config, ConfigError};
use sluice::machine::{Accelerator, Board, Disk, Firmware, Machine};

/// The machine, as several verbs take it.
#[derive(Args, Clone, Debug)]
pub(crate) struct MachineArguments {
    /// The number of processors
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    smp: u32,
    /// The board
    #[arg(long, value_name = "BOARD", value_enum, default_value_t)]
    machine: Board,
    /// The firmware that starts the image
    #[arg(long, value_enum, default_value_t)]
    pub(crate) firmware: Firmware,
    /// Connects the image as a USB stick instead of as a hard disk
    #[arg(long)]
    usb: bool,
    /// The memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(64..))]
    memory: u32,
    /// What executes the guest's instructions (the best that works here, unless given)
    #[arg(long, value_enum)]
    accel: Option<Accelerator>,
}

impl MachineArguments {
    /// Returns the machine without its network interfaces.
    pub(crate) fn machine(&self) -> Machine {
        Machine {
            board: self.machine,
            firmware: self.firmware,
            disk: if self.usb { Disk::UsbStick } else { Disk::Drive },
            smp: self.smp,
            memory: self.memory,
            accelerator: self.accel,
            ..Machine::default()
        }
    }
}

/// Reads and checks a configuration; an error names file, line and column as compilers do.
pub(crate) fn read_config(path: &Path) -> Result<(Config, Vec<u8>)> {
    let bytes = fs::read(path).with_context(|| format!("cannot read the configuration {}", path.display()))?;
    let config = Config::parse_bytes(&bytes).map_err(|error| located(path, &error))?;
    Ok((config, bytes))
}

/// Reads a file of routes, if one is given, and puts them behind a configuration; an error names the file.
pub(crate) fn with_routes(configuration: Vec<u8>, path: Option<&Path>) -> Result<Vec<u8>> {
    let Some(path) = path else { return Ok(configuration) };
    let text = fs::read_to_string(path).with_context(|| format!("cannot read the routes {}", path.display()))?;
    let routes = config::routes::parse(&text).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    Ok(config::routes::attach(&configuration, &routes))
}

/// Puts the file's name before an error in it.
pub(crate) fn located(path: &Path, error: &ConfigError) -> anyhow::Error {
    anyhow!("{}:{}:{}: {}", path.display(), error.line, error.column, error.message)
}
