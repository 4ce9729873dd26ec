//! A running virtual machine: [`Guest`], its [`console`](Console) and its [`Monitor`].
//!
//! A guest never outlives its handle: dropping it ends its QEMU, and the kernel ends QEMU should this process die
//! without dropping anything. Nothing waits without a limit.

mod console;
mod monitor;
mod run_folder;
mod spawn;

use std::{
    io::Read,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

pub use console::{Console, Mirror, is_message};
pub use monitor::Monitor;
pub use run_folder::RunFolder;

use crate::{
    machine::{Machine, Serial, Wire},
    prepare,
};

/// How long QEMU may take to start and to connect to its sockets. It takes no time, unless the host is busy.
const START_LIMIT: Duration = Duration::from_secs(120);

/// A virtual machine that is running, or was.
#[derive(Debug)]
pub struct Guest {
    child: Child,
    console: Console,
    monitor: Monitor,
    complaints: Arc<Mutex<String>>,
    folder: RunFolder,
    command_line: String,
    started: Instant,
}

impl Guest {
    /// Starts `machine` from `image`; its sockets are in `folder`, which goes with the guest.
    ///
    /// Serial line and monitor are set up here, whatever `machine` says of them.
    ///
    /// # Errors
    /// When QEMU does not start; with what it said.
    pub fn start(machine: &Machine, image: &Path, folder: RunFolder) -> Result<Self> {
        let listener = folder.listen("qmp")?;
        let mut machine = machine.clone();
        machine.serial = Serial::Bytes;
        machine.monitor = Some("qmp".into());
        // QEMU runs in the folder, so that however long its path is, that of a socket is short enough.
        for nic in &mut machine.nics {
            if let Wire::Stream(path) = &mut nic.wire {
                *path = folder.relative(path);
            }
        }
        let image = image.canonicalize().with_context(|| format!("there is no image {}", image.display()))?;
        let mut command = program(&machine);
        command.args(machine.arguments(&image)?).current_dir(folder.path()).env("TMPDIR", folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let command_line = format!("{command:?}");
        let started = Instant::now();
        let mut child = spawn::spawn(command).context("cannot start QEMU")?;
        let complaints = Arc::new(Mutex::new(String::new()));
        let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(errors)) = streams else { bail!("QEMU has no standard streams") };
        collect(errors, Arc::clone(&complaints));
        let console = Console::new(input, output);
        let connected = Monitor::accept(&listener, START_LIMIT, || !matches!(child.try_wait(), Ok(None)));
        match connected {
            Ok(monitor) => Ok(Self { child, console, monitor, complaints, folder, command_line, started }),
            Err(error) => {
                end(&mut child);
                thread::sleep(Duration::from_millis(50));
                let said = complaints.lock().unwrap_or_else(PoisonError::into_inner).trim().to_owned();
                Err(error.context(format!("QEMU did not start: {said}\n{command_line}")))
            }
        }
    }

    /// Returns the serial console.
    pub fn console(&mut self) -> &mut Console {
        &mut self.console
    }

    /// Returns QEMU's monitor.
    pub fn monitor(&mut self) -> &mut Monitor {
        &mut self.monitor
    }

    /// Returns the folder with the guest's sockets and captures.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the time since QEMU was started.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Returns QEMU's command line.
    #[must_use]
    pub fn command_line(&self) -> &str {
        &self.command_line
    }

    /// Returns the process id of QEMU, for statistics of its threads.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the console shows `pattern`; returns what came up to and with it.
    ///
    /// # Errors
    /// After `limit`, when QEMU ends, or soon after the kernel panics; with the end of the transcript.
    pub fn wait_for(&mut self, pattern: &str, limit: Duration) -> Result<String> {
        let waited = self.console.wait_for(pattern, limit);
        waited.map_err(|error| self.with_complaints(error))
    }

    /// Gives the router's console a command and returns its output without the prompt.
    ///
    /// # Errors
    /// As [`wait_for`](Self::wait_for).
    pub fn command(&mut self, line: &str, limit: Duration) -> Result<String> {
        let answer = self.console.command(line, limit);
        answer.map_err(|error| self.with_complaints(error))
    }

    /// Plugs the cable of an interface in or pulls it.
    ///
    /// # Errors
    /// When QEMU does not do it.
    pub fn set_link(&mut self, nic: usize, up: bool) -> Result<()> {
        let arguments = serde_json::json!({ "name": format!("nic{nic}"), "up": up });
        self.monitor.execute("set_link", arguments).map(drop)
    }

    /// Returns whether QEMU runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until QEMU ends by itself, as after a power-off.
    ///
    /// # Errors
    /// After `limit`; with the end of the transcript.
    pub fn wait_exit(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.console.wait_end(Duration::from_secs(5));
                return Ok(status);
            }
            if Instant::now() >= deadline {
                let error = anyhow::anyhow!("the machine still runs after {limit:?}{}", self.console.tail());
                return Err(self.with_complaints(error));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends QEMU now and returns everything the console has shown.
    #[must_use]
    pub fn stop(mut self) -> String {
        end(&mut self.child);
        self.console.wait_end(Duration::from_secs(5));
        self.console.transcript()
    }

    /// Adds what QEMU itself complained of.
    fn with_complaints(&self, error: anyhow::Error) -> anyhow::Error {
        let complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        if complaints.is_empty() { error } else { error.context(format!("QEMU says: {}", complaints.trim())) }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Returns QEMU, entered into the machine's network namespace. The process keeps its id, as nsenter (util-linux) becomes QEMU.
fn program(machine: &Machine) -> Command {
    let Some(namespace) = &machine.namespace else { return Command::new(prepare::qemu()) };
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{namespace}")).arg("--").arg(prepare::qemu());
    command
}

/// Ends this child and waits for it; one that has ended already is fine.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Collects a stream as text until it ends.
fn collect(mut stream: impl Read + Send + 'static, text: Arc<Mutex<String>>) {
    thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            let piece = String::from_utf8_lossy(buffer.get(..count).unwrap_or_default()).into_owned();
            text.lock().unwrap_or_else(PoisonError::into_inner).push_str(&piece);
        }
    });
}
