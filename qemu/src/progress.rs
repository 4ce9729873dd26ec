//! What the user sees while something takes long: one moving line on a terminal, a few plain lines elsewhere.

use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader, IsTerminal},
    process::{Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a line tells that work goes on where no line can move.
const HEARTBEAT: Duration = Duration::from_secs(20);

/// How many lines of a failed command's output are kept for the report.
const KEPT_LINES: usize = 4000;

/// Tells, on the error stream, what is going on.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    terminal: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress {
    /// Makes a teller that suits the error stream.
    #[must_use]
    pub fn new() -> Self {
        Self { terminal: io::stderr().is_terminal() }
    }

    /// Says one thing.
    pub fn say(&self, text: &str) {
        eprintln!("{text}");
    }

    /// Starts a line that moves on a terminal and is not drawn elsewhere.
    #[must_use]
    pub fn line(&self, title: &str) -> ProgressBar {
        let target = if self.terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {wide_msg} {elapsed:>5}") {
            bar.set_style(style);
        }
        bar.set_prefix(title.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }

    /// Starts a bar for so many octets, which is not drawn where there is no terminal.
    #[must_use]
    pub fn bar(&self, title: &str, octets: u64) -> ProgressBar {
        let target = if self.terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(octets), target);
        let template = "{prefix} [{wide_bar}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(title.to_owned());
        bar
    }

    /// Runs `command` to its end, showing its latest line of output while it does.
    ///
    /// # Errors
    /// When it cannot be started or fails; then with all that it wrote.
    pub fn run(&self, title: &str, command: &mut Command) -> Result<()> {
        let started = Instant::now();
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let (sender, lines) = mpsc::channel();
        for stream in [child.stdout.take().map(reader), child.stderr.take().map(reader)].into_iter().flatten() {
            let sender = sender.clone();
            thread::spawn(move || forward_lines(stream, &sender));
        }
        drop(sender);
        let kept = self.follow(title, &lines, started);
        let status = child.wait().with_context(|| format!("cannot wait for {program}"))?;
        self.conclude(title, status, &kept, started)
    }

    /// Shows lines until both streams have ended and returns the last of them.
    fn follow(&self, title: &str, lines: &mpsc::Receiver<String>, started: Instant) -> VecDeque<String> {
        let bar = self.line(title);
        let mut kept = VecDeque::new();
        let mut spoken = started;
        loop {
            match lines.recv_timeout(Duration::from_secs(1)) {
                Ok(line) => {
                    bar.set_message(line.trim().to_owned());
                    if kept.len() == KEPT_LINES {
                        kept.pop_front();
                    }
                    kept.push_back(line);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if !self.terminal && spoken.elapsed() >= HEARTBEAT {
                spoken = Instant::now();
                let latest = kept.back().map_or("", |line| line.trim());
                self.say(&format!("{title} ... {} s: {latest}", started.elapsed().as_secs()));
            }
        }
        bar.finish_and_clear();
        kept
    }

    /// Says how it went; what took no time is not worth a line.
    fn conclude(&self, title: &str, status: ExitStatus, kept: &VecDeque<String>, started: Instant) -> Result<()> {
        if !status.success() {
            for line in kept.iter().filter(|line| !is_step(line)) {
                eprintln!("{line}");
            }
            bail!("{title}: failed ({status})");
        }
        if started.elapsed() >= Duration::from_secs(2) {
            self.say(&format!("{title} ... done in {:.1} s", started.elapsed().as_secs_f32()));
        }
        Ok(())
    }
}

fn reader(stream: impl io::Read + Send + 'static) -> Box<dyn BufRead + Send> {
    Box::new(BufReader::new(stream))
}

/// Returns whether the line is one of those that cargo writes for every package that went well.
fn is_step(line: &str) -> bool {
    let steps = ["Compiling ", "Checking ", "Downloading ", "Downloaded ", "Locking ", "Updating "];
    steps.iter().any(|step| line.trim_start().starts_with(step))
}

/// Sends each line on until the stream ends. Bytes that are no text are shown as such.
fn forward_lines(mut stream: Box<dyn BufRead + Send>, sender: &mpsc::Sender<String>) {
    let mut line = Vec::new();
    while let Ok(1..) = stream.read_until(b'\n', &mut line) {
        if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
            return;
        }
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_succeeds_is_no_error_and_one_that_fails_is() {
        let progress = Progress { terminal: false };
        progress.run("true", &mut Command::new("true")).unwrap();
        let error = progress.run("Doing it", Command::new("sh").args(["-c", "exit 3"])).unwrap_err();
        assert!(error.to_string().starts_with("Doing it: failed"), "{error}");
        assert!(progress.run("nothing", &mut Command::new("/nonexistent/program")).is_err());
    }
}
