//! gdb with the kernel's symbols: through QEMU's stub, as `cargo run -- gdb` starts it, and through the kernel's own on the second
//! serial port.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use e2e::{Bench, PATIENCE, image, kernel, workspace};
use sluice::{
    gdb,
    guest::{Guest, RunFolder},
    host::FlowSpec,
    machine::{Firmware, Machine},
    progress::Progress,
};

/// A gdb at work on a list of commands.
struct Debugger {
    child: Child,
    shown: PathBuf,
}

impl Debugger {
    fn start(folder: &Path, commands: &str) -> Result<Self> {
        let (script, shown) = (folder.join("commands"), folder.join("gdb.out"));
        fs::write(&script, commands)?;
        let out = fs::File::create(&shown)?;
        let mut command = Command::new(gdb::GDB);
        // Settings of whoever runs this are none of our business.
        command.args(["-nx", "-batch", "-x", "commands"]).current_dir(folder).stdin(Stdio::null());
        let child = command.stderr(out.try_clone()?).stdout(out).spawn()?;
        Ok(Self { child, shown })
    }

    fn shown(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.shown)?).into_owned())
    }

    /// Waits for its end and returns what it has shown.
    fn finish(mut self) -> Result<String> {
        let deadline = Instant::now() + 2 * PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                bail!("gdb does not come to its end: {}", self.shown()?);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.shown()
    }

    /// What Ctrl-C is at a terminal.
    fn interrupt(&self) -> Result<()> {
        let status = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status()?;
        ensure!(status.success(), "gdb cannot be interrupted");
        Ok(())
    }
}

impl Drop for Debugger {
    fn drop(&mut self) {
        // It has ended, or the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asserts that some line of a backtrace names the function and its file.
fn is_called_from(shown: &str, function: &str, file: &str) -> Result<()> {
    let named = |line: &str| line.starts_with('#') && line.contains(function) && line.contains(file);
    ensure!(shown.lines().any(named), "no {function} in {file}: {shown}");
    Ok(())
}

#[test]
fn gdb_stops_at_the_entry_and_in_a_function_and_names_its_callers() -> Result<()> {
    gdb::prepare(Progress::new())?;
    let (image, kernel) = (image(Firmware::Bios, "")?, kernel()?);
    let machine = Machine { debugger: Some("stub".into()), smp: 1, restarts: false, ..Machine::default() };
    let mut guest = Guest::start(&machine, &image, RunFolder::new(workspace())?)?;
    let commands = [
        gdb::symbols(&kernel)?,
        gdb::to_the_entry(&kernel, "stub")?,
        "info symbol $pc\nbreak calibrate::run\ncontinue\nbacktrace\nkill\n".into(),
    ];
    let shown = Debugger::start(guest.folder(), &commands.concat())?.finish()?;
    ensure!(shown.contains("_start in section .text"), "the entry was not reached: {shown}");
    is_called_from(&shown, "run (", "kernel/machine/src/time/calibrate.rs:")?;
    is_called_from(&shown, "bring_up (", "kernel/machine/src/platform.rs:")?;
    is_called_from(&shown, "boot (", "kernel/kmain/src/main.rs:")?;
    guest.wait_exit(PATIENCE).context("gdb's kill does not end QEMU")?;
    Ok(())
}

#[test]
fn gdb_on_the_second_serial_port_breaks_steps_interrupts_and_lets_go() -> Result<()> {
    gdb::prepare(Progress::new())?;
    let mut plan = Bench::of(2);
    plan.machine.second_serial = Some("com2".into());
    let mut bench = plan.boot_warm()?;
    let (symbols, folder) = (gdb::symbols(&kernel()?)?, bench.router.guest().folder().to_owned());

    // From the console's debugger.
    bench.router.guest().console().send_line("sysctl debug.kdb.enter=1")?;
    bench.router.guest().wait_for("db> ", PATIENCE)?;
    bench.router.guest().console().send_line("gdb")?;
    bench.router.guest().wait_for("gdb: waiting on the second serial port", PATIENCE)?;
    // An error ends the list of commands, and gdb detaches by itself.
    let script = "target remote com2\nbacktrace\ninfo threads\ntbreak worker.rs:tick\ncontinue\nbacktrace\n\
                  x/i $pc\nstepi\nx/i $pc\nx/bx 8\n";
    let shown = Debugger::start(&folder, &(symbols.clone() + script))?.finish()?;
    is_called_from(&shown, "enter_if_one (", "kernel/system/src/debugger/mod.rs:")?;
    for cpu in ["cpu 0, ", "cpu 1, "] {
        ensure!(shown.contains(cpu), "{cpu} is no thread: {shown}");
    }
    ensure!(shown.contains("Cannot access memory at address 0x8"), "a null pointer is readable: {shown}");
    is_called_from(&shown, "tick (", "net/router/src/")?;
    let instructions: Vec<&str> = shown.lines().filter_map(|line| line.strip_prefix("=> ")).collect();
    let stepped = matches!(instructions[..], [before, after] if before.contains("tick") && before != after);
    ensure!(stepped, "one step does not lead to another instruction: {shown}");
    bench.router.guest().wait_for("gdb: detached", PATIENCE)?;
    // The prompt may have come before that message, from another CPU: that the console answers is what counts.
    bench.router.command("show version")?;

    // As the debugger that every stop enters, and from outside while the router forwards.
    bench.router.set("debug.kdb.current", "gdb")?;
    bench.router.guest().console().send_line("sysctl debug.kdb.enter=1")?;
    bench.router.guest().wait_for("gdb: waiting on the second serial port", PATIENCE)?;
    let script = "target remote com2\ncontinue\nbacktrace\ndetach\n";
    let debugger = Debugger::start(&folder, &(symbols + script))?;
    bench.router.guest().console().wait_prompt(PATIENCE).context("gdb does not let the router go on")?;
    debugger.interrupt()?;
    let shown = debugger.finish()?;
    ensure!(shown.contains("received signal SIGINT"), "the router was not interrupted: {shown}");
    is_called_from(&shown, "poll (", "kernel/system/src/debugger/gdb.rs:")?;
    bench.router.guest().wait_for("gdb: detached", PATIENCE)?;

    let flow = FlowSpec { packets: Some(200), ..FlowSpec::new(bench.host(0), bench.host(1)) };
    bench.run_perfectly([flow], PATIENCE)?;
    bench.finish()
}
