//! `run`: boots the router with the user's own configuration and wiring, or prints how.

use std::{ffi::OsStr, os::unix::process::CommandExt, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};
use clap::Args;
use config::interface_name;
use sluice::{
    build::Builder,
    machine::{Nic, NicModel, Serial, Wire},
    prepare,
    progress::Progress,
    workspace::Workspace,
};

use super::MachineArguments;

/// What `run` takes.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The router's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    machine: MachineArguments,
    /// A network interface and its wire: stream:PATH, dgram:OWN-PATH,OTHER-PATH, tap:INTERFACE, user or none;
    /// the first is em0
    #[arg(long = "nic", value_name = "WIRE")]
    nics: Vec<Wire>,
    /// The model of the network interfaces
    #[arg(long, value_enum, default_value_t)]
    nic_model: NicModel,
    /// Shows QEMU's command line instead of running it
    #[arg(long)]
    print: bool,
    /// Further arguments for QEMU
    #[arg(last = true, value_name = "QEMU ARGUMENTS")]
    extra: Vec<String>,
}

/// Boots or prints.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let (config, bytes) = super::read_config(&arguments.config)?;
    let present: Vec<String> = (0..arguments.nics.len()).map(interface_name).collect();
    config.check_interfaces(&present).map_err(|error| super::located(&arguments.config, &error))?;
    let progress = Progress::new();
    let workspace = Workspace::find();
    let firmware = arguments.machine.firmware;
    prepare::for_running(firmware, progress)?;
    let builder = Builder::new(&workspace, progress)?;
    let image = builder.image(&builder.kernel()?, &bytes, firmware)?;

    let mut machine = arguments.machine.machine();
    let nic = |wire: &Wire| Nic { model: arguments.nic_model, ..Nic::new(wire.clone()) };
    machine.nics = arguments.nics.iter().map(nic).collect();
    machine.serial = Serial::Terminal;
    machine.extra.clone_from(&arguments.extra);
    let line = machine.arguments(&image)?;
    if arguments.print {
        let words = line.iter().map(|word| quoted(word));
        println!("{}", [prepare::qemu().display().to_string()].into_iter().chain(words).collect::<Vec<_>>().join(" "));
        return Ok(());
    }
    for wire in &arguments.nics {
        check_wire(wire)?;
    }
    progress.say("Starting the router; Ctrl-A X ends QEMU, `poweroff` the router.");
    let mut qemu = Command::new(prepare::qemu());
    qemu.args(line).env("TMPDIR", workspace.folder("tmp")?);
    Err(qemu.exec()).context("cannot start QEMU")
}

/// Says in one line what QEMU would say in several, or not at all.
fn check_wire(wire: &Wire) -> Result<()> {
    match wire {
        Wire::Stream(path) => {
            ensure!(path.exists(), "nobody listens on {} yet; start that end first", path.display());
        }
        Wire::Tap(name) => {
            let is_there = PathBuf::from("/sys/class/net").join(name).exists();
            ensure!(is_there, "there is no tap interface {name}; make it with: sudo ip tuntap add {name} mode tap");
        }
        _ => {}
    }
    Ok(())
}

/// Quotes a word for a shell, if it needs that.
fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+:,./@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_when_a_shell_would_read_them_otherwise() {
        assert_eq!(quoted(OsStr::new("addr=0x04,romfile=")), "addr=0x04,romfile=");
        assert_eq!(quoted(OsStr::new("a b")), "'a b'");
        assert_eq!(quoted(OsStr::new("it's")), "'it'\\''s'");
        assert_eq!(quoted(OsStr::new("")), "''");
    }
}
