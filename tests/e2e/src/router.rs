//! The kernel in a virtual machine: [`Router`].

use std::{
    path::PathBuf,
    sync::OnceLock,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use ktest::console::{PANIC, RUNNING};
use sluice::{build::Builder, guest::Guest, machine::Firmware, prepare, progress::Progress, workspace::Workspace};

use crate::Books;

/// How long anything may take that ought to be quick. Generous, because the machine may be busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Returns the checkout.
#[must_use]
pub fn workspace() -> &'static Workspace {
    static WORKSPACE: OnceLock<Workspace> = OnceLock::new();
    WORKSPACE.get_or_init(Workspace::find)
}

/// Returns the disk image of the kernel with the configuration file `config`, built if need be.
///
/// # Errors
/// When something is missing that cannot be installed, or does not build.
pub fn image(firmware: Firmware, config: &str) -> Result<PathBuf> {
    static BUILDER: OnceLock<Result<Builder, String>> = OnceLock::new();
    prepare::for_running(firmware, Progress::new())?;
    let made = BUILDER.get_or_init(|| Builder::new(workspace(), Progress::new()).map_err(|error| format!("{error:#}")));
    let builder = made.as_ref().map_err(|error| anyhow!("{error}"))?;
    builder.image(&builder.kernel_once()?, config.as_bytes(), firmware)
}

/// A router that has booted, or is about to end.
#[derive(Debug)]
pub struct Router {
    guest: Guest,
}

impl Router {
    /// Waits until the router in a virtual machine that was just started runs and its console asks for a command.
    ///
    /// # Errors
    /// When it does not boot; with the console's transcript.
    pub fn running(guest: Guest) -> Result<Self> {
        let mut router = Self { guest };
        router.wait_for_console()?;
        Ok(router)
    }

    /// Waits until the router runs, once more after a restart, and its console asks for a command.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn wait_for_console(&mut self) -> Result<()> {
        self.guest.wait_for(RUNNING, PATIENCE).context("the router does not come up")?;
        // The console is a thread of its own and may ask before or after that. An answer is never early.
        self.guest.console().send_line("show version")?;
        self.guest.wait_for(" CPUs, clock ", PATIENCE).context("the console does not answer")?;
        self.guest.console().wait_prompt(PATIENCE).context("the console does not ask for a command").map(drop)
    }

    /// Returns the virtual machine.
    pub fn guest(&mut self) -> &mut Guest {
        &mut self.guest
    }

    /// Returns everything the console has shown.
    pub fn transcript(&mut self) -> String {
        self.guest.console().transcript()
    }

    /// Gives a command and returns its output.
    ///
    /// # Errors
    /// When there is none in time.
    pub fn command(&mut self, line: &str) -> Result<String> {
        self.guest.command(line, PATIENCE)
    }

    /// Changes a setting and makes sure that it took.
    ///
    /// # Errors
    /// When it did not.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        self.command(&format!("sysctl {name}={value}"))?;
        let shown = self.command(&format!("sysctl {name}"))?;
        ensure!(shown.trim() == format!("{name}={value}"), "{name} was to be {value}; the router says {shown:?}");
        Ok(())
    }

    /// Returns the books as they stand; exact only when no packet is on its way.
    ///
    /// # Errors
    /// When the console does not show them.
    pub fn books(&mut self) -> Result<Books> {
        Books::parse(&self.command("show audit")?)
    }

    /// Returns the books once nothing moves any more and nothing is unexplained.
    ///
    /// # Errors
    /// When a frame stays unexplained, or the router does not come to rest.
    pub fn settled_books(&mut self) -> Result<Books> {
        let deadline = Instant::now() + PATIENCE;
        let mut last = self.books()?;
        loop {
            std::thread::sleep(Duration::from_millis(100));
            let books = self.books()?;
            if books == last && books.unexplained == 0 {
                return Ok(books);
            }
            ensure!(Instant::now() < deadline, "the books do not settle: {books:#?}");
            last = books;
        }
    }

    /// Waits until `predicate` holds for the output of a command.
    ///
    /// # Errors
    /// When it never does; with the last output.
    pub fn wait_until(&mut self, line: &str, predicate: impl Fn(&str) -> bool) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.command(line)?;
            if predicate(&output) {
                return Ok(output);
            }
            ensure!(Instant::now() < deadline, "{line}: this is not what was waited for:\n{output}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Ends the test: nothing is unexplained, and the router goes down in order, freeing everything, and ends QEMU.
    ///
    /// # Errors
    /// When anything of that is not so.
    pub fn finish(mut self) -> Result<()> {
        let books = self.settled_books()?;
        ensure!(books.unexplained == 0, "frames are unexplained: {books:#?}");
        self.power_off()
    }

    /// Switches the router off and looks at how it went.
    ///
    /// # Errors
    /// When a stage of the shutdown was forced, a resource was left, or QEMU did not end with status 0.
    pub fn power_off(mut self) -> Result<()> {
        self.guest.console().skip();
        self.guest.console().send_line("poweroff")?;
        self.ends_in_order().map(drop)
    }

    /// Waits until the router, told to by whatever, has switched itself off, and looks at how it went. Returns the transcript.
    ///
    /// # Errors
    /// As [`power_off`](Self::power_off).
    pub fn ends_in_order(&mut self) -> Result<String> {
        let status = self.guest.wait_exit(PATIENCE)?;
        let transcript = self.transcript();
        ensure!(status.success(), "QEMU ended with {status}\n{transcript}");
        check_shutdown(&transcript)?;
        Ok(transcript)
    }
}

/// Looks at what the console has shown of a shutdown, the last if there were several.
fn check_shutdown(transcript: &str) -> Result<()> {
    let shutdown = transcript.rfind("shutdown: claim...done").and_then(|start| transcript.get(start..));
    let Some(shutdown) = shutdown else { bail!("no shutdown was announced:\n{transcript}") };
    let stages = ["announce", "close ingress", "drain", "mask interrupts", "join threads", "stop DMA"];
    let stages = stages.into_iter().chain(["tear down DMA", "bus mastering off", "park CPUs", "exit"]);
    let mut wanted: Vec<String> = stages.map(|stage| format!("shutdown: {stage}...done")).collect();
    wanted.extend(["0 tags, 0 maps, 0 memories", "unexplained 0", "shutdown: clean"].map(str::to_owned));
    let mut position = 0;
    for text in &wanted {
        // The order matters for the stages; the rest is somewhere.
        let from = if text.ends_with("...done") { position } else { 0 };
        match shutdown.get(from..).unwrap_or_default().find(text) {
            Some(at) => position = position.max(from + at),
            None => bail!("the shutdown did not show {text:?}:\n{shutdown}"),
        }
    }
    ensure!(!transcript.contains(PANIC), "the kernel panicked:\n{transcript}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAN: &str = "\
shutdown: poweroff requested by a command, 2 devices, ends within 51 seconds
shutdown: claim...done (1 us)
shutdown: announce...done (1 us)
shutdown: close ingress...done (2 us)
shutdown: drain...done (2 us)
shutdown: mask interrupts...done (2 us)
shutdown: join threads...done (2 us)
shutdown: stop DMA...done (2 us)
shutdown: tear down DMA: 0 tags, 0 maps, 0 memories
shutdown: tear down DMA...done (2 us)
shutdown: bus mastering off...done (2 us)
shutdown: 1 other CPUs parked
shutdown: park CPUs...done (2 us)
shutdown: audit: total: received 1 = forwarded 1 + delivered 0; own 0 = sent 0 + delivered 0; unexplained 0
shutdown: exit...done (2 us)
shutdown: clean, 20 us
";

    #[test]
    fn a_clean_shutdown_is_taken_for_one() {
        check_shutdown(CLEAN).unwrap();
    }

    #[test]
    fn each_stage_and_each_promise_counts() {
        for line in CLEAN.lines().skip(1).filter(|line| !line.contains("other CPUs")) {
            assert!(check_shutdown(&CLEAN.replace(line, "")).is_err(), "{line}");
        }
        assert!(check_shutdown(&CLEAN.replace("drain...done", "drain...forced")).is_err());
        assert!(check_shutdown(&CLEAN.replace("0 maps", "3 maps")).is_err());
        assert!(check_shutdown(&CLEAN.replace("unexplained 0", "unexplained 1")).is_err());
        assert!(check_shutdown(&CLEAN.replace("clean", "forced")).is_err());
        assert!(check_shutdown(&format!("{PANIC}x\n{CLEAN}")).is_err());
    }

    #[test]
    fn stages_out_of_order_are_no_clean_shutdown() {
        let mut lines: Vec<&str> = CLEAN.lines().collect();
        lines.swap(5, 6);
        assert!(check_shutdown(&lines.join("\n")).is_err());
    }
}
