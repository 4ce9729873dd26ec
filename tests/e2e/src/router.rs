//! The kernel in a virtual machine: [`Router`].

use std::{
    path::PathBuf,
    sync::OnceLock,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use ktest::console::RUNNING;
use sluice::{
    build::Builder,
    guest::{Guest, is_message},
    machine::Firmware,
    prepare,
    progress::Progress,
    shutdown::Shutdown,
    workspace::Workspace,
};

use crate::Books;

/// How long anything may take that ought to be quick. Generous, because the machine may be busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Commands whose output consists of messages.
const SHOW_MESSAGES: [&str; 4] = ["show log", "dmesg", "show crash", "show shutdown"];

/// Returns the checkout.
#[must_use]
pub fn workspace() -> &'static Workspace {
    static WORKSPACE: OnceLock<Workspace> = OnceLock::new();
    WORKSPACE.get_or_init(Workspace::find)
}

/// Returns the builder of this checkout.
fn builder() -> Result<&'static Builder> {
    static BUILDER: OnceLock<Result<Builder, String>> = OnceLock::new();
    let made = BUILDER.get_or_init(|| Builder::new(workspace(), Progress::new()).map_err(|error| format!("{error:#}")));
    made.as_ref().map_err(|error| anyhow!("{error}"))
}

/// Returns the disk image of the kernel with the configuration file `config`, built if need be, on a host made ready for `firmware`.
///
/// # Errors
/// When something is missing that cannot be installed, or does not build.
pub fn image(firmware: Firmware, config: &str) -> Result<PathBuf> {
    image_of(firmware, config.as_bytes())
}

/// As [`image`], of a configuration file with routes packed behind it.
///
/// # Errors
/// As [`image`].
pub fn image_of(firmware: Firmware, config: &[u8]) -> Result<PathBuf> {
    prepare::for_running(firmware, Progress::new())?;
    let builder = builder()?;
    builder.image(&builder.kernel_once()?, config)
}

/// Returns the kernel's file, with everything that debuggers want, built if need be.
///
/// # Errors
/// As [`image`].
pub fn kernel() -> Result<PathBuf> {
    builder()?.kernel_once()
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

    /// Waits for a text behind octet `from` of the transcript, whatever the kernel panics of meanwhile; returns what came.
    ///
    /// # Errors
    /// When it is not shown in time.
    pub fn wait_past_panic(&mut self, from: usize, pattern: &str) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let transcript = self.transcript();
            let new = transcript.get(from..).unwrap_or_default();
            if new.contains(pattern) {
                return Ok(new.to_owned());
            }
            ensure!(Instant::now() < deadline, "{pattern:?} was not shown:\n{new}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Gives a command and returns its output, without what the router says of itself meanwhile: that may come at any time, such as the
    /// word of the first packet forwarded. Of a command that shows the router's messages, everything.
    ///
    /// # Errors
    /// When there is none in time.
    pub fn command(&mut self, line: &str) -> Result<String> {
        let output = self.guest.command(line, PATIENCE)?;
        if SHOW_MESSAGES.contains(&line) {
            return Ok(output);
        }
        Ok(output.split_inclusive('\n').filter(|line| !is_message(line)).collect())
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
        Shutdown::parse(&transcript).and_then(|shutdown| shutdown.check_clean()).with_context(|| transcript.clone())?;
        Ok(transcript)
    }
}
