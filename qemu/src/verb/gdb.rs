//! `gdb`: boots the router as `run` does, stopped at the kernel's first instruction, with gdb on this terminal.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::Path,
    process::{self, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use sluice::{gdb, machine::Serial, prepare, progress::Progress, workspace::Workspace};

use super::run::{self, Arguments};

/// How long QEMU may take to make its sockets.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Starts QEMU and becomes gdb, or prints how.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let progress = Progress::new();
    let workspace = Workspace::find();
    gdb::prepare(progress)?;
    let run::Plan { mut machine, image, kernel } = run::plan(arguments, &workspace, progress)?;
    let folder = workspace.folder(&format!("gdb/{}", process::id()))?;
    // QEMU and gdb run in the folder, so that the sockets' names are short enough for any socket.
    machine.serial = Serial::Socket("console".into());
    machine.debugger = Some("stub".into());
    let line = machine.arguments(&image.canonicalize()?)?;
    let script = folder.join("commands");
    fs::write(&script, gdb::symbols(&kernel)? + &gdb::to_the_entry(&kernel, "stub")?)
        .with_context(|| format!("cannot write {}", script.display()))?;
    if arguments.print {
        println!("cd {}", run::quoted(folder.as_os_str()));
        println!("{} &", run::shell_line(&prepare::qemu(), &line));
        println!("{} -q -x commands", gdb::GDB);
        return Ok(());
    }
    run::check_wires(arguments)?;
    start_qemu(Command::new(prepare::qemu()).args(line).env("TMPDIR", workspace.folder("tmp")?), &folder)?;
    progress.say(&format!(
        "The console is the socket {0}, and what it shows is in {0}.log (tail -f); gdb's `kill` or `quit` ends QEMU.",
        folder.join("console").display()
    ));
    let mut debugger = Command::new(gdb::GDB);
    Err(debugger.args(["-q", "-x", "commands"]).current_dir(&folder).exec()).context("cannot start gdb")
}

/// Starts QEMU in the background, such that it ends with this process, which becomes gdb, and waits for its stub.
fn start_qemu(qemu: &Command, folder: &Path) -> Result<()> {
    let mut command = match prepare::program("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(qemu.get_program()).args(qemu.get_args());
            command
        }
        // Without it, gdb's `quit` still ends QEMU.
        None => {
            let mut command = Command::new(qemu.get_program());
            command.args(qemu.get_args());
            command
        }
    };
    let complaints = folder.join("qemu.log");
    command.envs(qemu.get_envs().filter_map(|(name, value)| Some((name, value?))));
    // A group of its own keeps the terminal's Ctrl-C, which is gdb's, from ending it.
    command.current_dir(folder).process_group(0).stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(File::create(&complaints).with_context(|| format!("cannot write {}", complaints.display()))?);
    let mut child = command.spawn().context("cannot start QEMU")?;
    let deadline = Instant::now() + START_LIMIT;
    while !folder.join("stub").exists() {
        if let Some(status) = child.try_wait()? {
            bail!("QEMU ended with {status}: {}", fs::read_to_string(&complaints).unwrap_or_default().trim());
        }
        if Instant::now() > deadline {
            // It is of no use any more, and whether it could be ended changes nothing.
            let _ = child.kill();
            bail!("QEMU does not offer its stub");
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
