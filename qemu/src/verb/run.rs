//! `run`: boots the router with the user's own configuration and wiring, or prints how.

use std::{
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use config::interface_name;
use sluice::{
    build::Builder,
    machine::{Machine, Nic, NicModel, Serial, Wire},
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
    /// Further static routes, a line each: PREFIX via ADDRESS, PREFIX blackhole or PREFIX unreachable
    #[arg(long, value_name = "FILE")]
    routes: Option<PathBuf>,
    #[command(flatten)]
    machine: MachineArguments,
    /// A network interface and its wire: stream:PATH, dgram:OWN-PATH,OTHER-PATH, tap:INTERFACE, user or none;
    /// the first is em0
    #[arg(long = "nic", value_name = "WIRE")]
    nics: Vec<Wire>,
    /// The model of the network interfaces
    #[arg(long, value_enum, default_value_t)]
    nic_model: NicModel,
    /// Shows the command lines instead of running them
    #[arg(long)]
    pub(super) print: bool,
    /// Further arguments for QEMU
    #[arg(last = true, value_name = "QEMU ARGUMENTS")]
    extra: Vec<String>,
}

/// What the arguments amount to.
pub(super) struct Plan {
    /// The machine; its serial port is still to be decided.
    pub(super) machine: Machine,
    /// Its disk image.
    pub(super) image: PathBuf,
    /// The kernel's file, with everything that debuggers want.
    pub(super) kernel: PathBuf,
}

/// Checks the configuration, makes this machine ready and builds the image.
pub(super) fn plan(arguments: &Arguments, workspace: &Workspace, progress: Progress) -> Result<Plan> {
    let (config, bytes) = super::read_config(&arguments.config)?;
    let bytes = super::with_routes(bytes, arguments.routes.as_deref())?;
    let present: Vec<String> = (0..arguments.nics.len()).map(interface_name).collect();
    config.check_interfaces(&present).map_err(|error| super::located(&arguments.config, &error))?;
    let firmware = arguments.machine.firmware;
    prepare::for_running(firmware, progress)?;
    let builder = Builder::new(workspace, progress)?;
    let kernel = builder.kernel()?;
    let image = builder.image(&kernel, &bytes)?;
    let mut machine = arguments.machine.machine();
    let nic = |wire: &Wire| Nic { model: arguments.nic_model, ..Nic::new(wire.clone()) };
    machine.nics = arguments.nics.iter().map(nic).collect();
    machine.extra.clone_from(&arguments.extra);
    Ok(Plan { machine, image, kernel })
}

/// Boots or prints.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let progress = Progress::new();
    let workspace = Workspace::find();
    let Plan { mut machine, image, .. } = plan(arguments, &workspace, progress)?;
    machine.serial = Serial::Terminal;
    let line = machine.arguments(&image)?;
    if arguments.print {
        println!("{}", shell_line(&prepare::qemu(), &line));
        return Ok(());
    }
    check_wires(arguments)?;
    progress.say("Starting the router; Ctrl-A X ends QEMU, `poweroff` the router.");
    let mut qemu = Command::new(prepare::qemu());
    qemu.args(line).env("TMPDIR", workspace.folder("tmp")?);
    Err(qemu.exec()).context("cannot start QEMU")
}

/// Returns the command line as one would type it.
pub(super) fn shell_line(program: &Path, arguments: &[OsString]) -> String {
    let words = arguments.iter().map(|word| quoted(word));
    [quoted(program.as_os_str())].into_iter().chain(words).collect::<Vec<_>>().join(" ")
}

/// Checks that every wire leads somewhere.
pub(super) fn check_wires(arguments: &Arguments) -> Result<()> {
    arguments.nics.iter().try_for_each(check_wire)
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
pub(super) fn quoted(word: &OsStr) -> String {
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
