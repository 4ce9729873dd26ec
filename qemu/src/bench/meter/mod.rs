//! Counts what a guest executes, whatever it is: [`Meter`], its [snapshots](Snapshot), and whose [`Code`] it was.
//!
//! The counting is done by the plugin in `qemu/plugin`, which is built here and loaded into QEMU. A meter is made before the
//! guest starts, goes into its [`PluginLoad`], and is asked for a snapshot whenever one is wanted: what lies between two of them
//! is what that time has cost, without the boot before.

mod code;
mod profile;
mod snapshot;
mod stage;

use std::{
    env,
    io::{BufRead, BufReader, ErrorKind, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
pub use code::{Code, Frame, Place};
pub use profile::{By, Profile, Row};
pub use snapshot::{Block, Register, Snapshot};
pub use stage::IDLE;

use super::PluginLoad;
use crate::{build, guest::RunFolder, progress::Progress, workspace::Workspace};

/// The name of the socket in its folder.
const SOCKET: &str = "meter";

/// How long the plugin may take to connect once QEMU has been started, and to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// What counts in one guest.
#[derive(Debug)]
pub struct Meter {
    library: PathBuf,
    folder: RunFolder,
    listener: UnixListener,
    counts_registers: bool,
    stream: Option<BufReader<UnixStream>>,
}

impl Meter {
    /// Builds the plugin and prepares for a guest that is about to start. To count accesses to device registers makes the guest
    /// a good deal slower.
    ///
    /// # Errors
    /// When the plugin does not build, or there is no socket to be had.
    pub fn new(workspace: &Workspace, counts_registers: bool, progress: Progress) -> Result<Self> {
        let library = build_plugin(workspace, progress)?;
        let folder = RunFolder::new(workspace)?;
        let listener = folder.listen(SOCKET)?;
        listener.set_nonblocking(true).context("cannot use a socket")?;
        Ok(Self { library, folder, listener, counts_registers, stream: None })
    }

    /// Returns how QEMU loads the plugin.
    #[must_use]
    pub fn load(&self) -> PluginLoad {
        let socket = format!("socket={}", self.folder.join(SOCKET).display());
        let registers = format!("registers={}", if self.counts_registers { "on" } else { "off" });
        PluginLoad { library: self.library.clone(), arguments: vec![socket, registers] }
    }

    /// Keeps the numbers of this moment for [`read`](Self::read). It takes a millisecond, and the guest runs on.
    ///
    /// # Errors
    /// When the plugin is not there.
    pub fn mark(&mut self) -> Result<()> {
        self.ask("mark\n")?;
        let answer = self.line()?;
        ensure!(answer == "marked\n", "the plugin says {answer:?}");
        Ok(())
    }

    /// Returns everything counted between the guest's start and a [`mark`](Self::mark), of which the oldest comes first.
    ///
    /// # Errors
    /// When the plugin is not there, or says something that cannot be understood.
    pub fn read(&mut self) -> Result<Snapshot> {
        self.ask("read\n")?;
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            if line == "end\n" {
                return Snapshot::parse(lines.iter().map(String::as_str));
            }
            lines.push(line);
        }
    }

    /// Returns what was counted between the two oldest marks.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn between(&mut self) -> Result<Snapshot> {
        let earlier = self.read()?;
        Ok(self.read()?.since(&earlier))
    }

    fn ask(&mut self, request: &str) -> Result<()> {
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => BufReader::new(accept(&self.listener).context("the plugin does not connect")?),
        };
        let stream = self.stream.insert(stream);
        stream.get_mut().write_all(request.as_bytes()).context("the plugin is gone")
    }

    fn line(&mut self) -> Result<String> {
        let stream = self.stream.as_mut().context("the plugin is not connected")?;
        let mut line = String::new();
        let count = stream.read_line(&mut line).context("the plugin does not answer")?;
        ensure!(count > 0, "the plugin is gone");
        Ok(line)
    }
}

/// Waits for the plugin, which connects before the guest's first instruction.
fn accept(listener: &UnixListener) -> Result<UnixStream> {
    let deadline = Instant::now() + ANSWER_LIMIT;
    let stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {}
            Err(error) => return Err(error.into()),
        }
        thread::sleep(Duration::from_millis(5));
    };
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.set_write_timeout(Some(ANSWER_LIMIT))?;
    Ok(stream)
}

/// Builds the plugin with the cargo that runs this program, in a target folder of its own; returns the library.
fn build_plugin(workspace: &Workspace, progress: Progress) -> Result<PathBuf> {
    let _lock = build::lock(workspace)?;
    let folder = workspace.target("plugin");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--package", "tcg_meter", "--release", "--target-dir"]).arg(&folder);
    progress.run("Building the plugin for QEMU", cargo.current_dir(workspace.root()))?;
    Ok(folder.join("release").join("libtcg_meter.so"))
}
