//! The guest's serial line, watched: [`Console`].
//!
//! A thread reads whatever the guest writes, so QEMU never waits for us, and keeps it as plain text: carriage returns
//! and escape sequences of the line editor are left out. Waiting searches from where the last wait ended.

use std::{
    fmt,
    io::{Read, Write},
    process::ChildStdin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use ktest::console::{PANIC, PROMPT_END};

/// Receives every byte the guest writes, as it comes.
pub type Mirror = Box<dyn FnMut(&[u8]) + Send>;

/// How much of the transcript an error shows.
const TAIL: usize = 4000;

/// How long a panic report may take to be written before waiting gives up.
const PANIC_GRACE: Duration = Duration::from_secs(2);

/// The guest's serial line.
#[derive(Debug)]
pub struct Console {
    input: ChildStdin,
    shared: Arc<Shared>,
    /// Where the next wait begins to search; at most the length of the text, at a character's boundary.
    position: usize,
    prompt: String,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    text: String,
    filter: Filter,
    ended: bool,
    mirror: Option<Mirror>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("length", &self.text.len()).field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Console {
    /// Watches `output` and types into `input`.
    pub(super) fn new(input: ChildStdin, mut output: impl Read + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let watched = Arc::clone(&shared);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                watched.lock().take(buffer.get(..count).unwrap_or_default());
                watched.changed.notify_all();
            }
            watched.lock().ended = true;
            watched.changed.notify_all();
        });
        let prompt = format!("{}{PROMPT_END}", config::DEFAULT_HOSTNAME);
        Self { input, shared, position: 0, prompt }
    }

    /// Says which prompt to wait for: that of a router with this name.
    pub fn set_hostname(&mut self, hostname: &str) {
        self.prompt = format!("{hostname}{PROMPT_END}");
    }

    /// Waits for the prompt.
    ///
    /// # Errors
    /// As [`wait_for`](Self::wait_for).
    pub fn wait_prompt(&mut self, limit: Duration) -> Result<String> {
        self.wait_for(&self.prompt.clone(), limit)
    }

    /// Types `bytes`.
    ///
    /// # Errors
    /// When the guest is gone.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let sent = self.input.write_all(bytes).and_then(|()| self.input.flush());
        sent.map_err(|error| anyhow!("cannot write to the console: {error}{}", self.tail()))
    }

    /// Types a line.
    ///
    /// # Errors
    /// When the guest is gone.
    pub fn send_line(&mut self, line: &str) -> Result<()> {
        self.send(format!("{line}\r").as_bytes())
    }

    /// Waits until `pattern` is shown; returns what came up to and with it.
    ///
    /// # Errors
    /// After `limit`, when the guest ends, or soon after it panics; with the end of the transcript.
    pub fn wait_for(&mut self, pattern: &str, limit: Duration) -> Result<String> {
        self.wait_for_any(&[pattern], limit).map(|(_, text)| text)
    }

    /// Waits until one of `patterns` is shown; returns which, and what came up to and with it. Of several, the one
    /// shown first counts.
    ///
    /// # Errors
    /// As [`wait_for`](Self::wait_for).
    pub fn wait_for_any(&mut self, patterns: &[&str], limit: Duration) -> Result<(usize, String)> {
        let mut deadline = Instant::now() + limit;
        let mut panicked = false;
        let mut state = self.shared.lock();
        let why = loop {
            let new = state.text.get(self.position..).unwrap_or_default();
            let found = patterns.iter().enumerate().filter_map(|(which, p)| Some((new.find(p)?, which, p.len())));
            if let Some((start, which, length)) = found.min() {
                let text = new.get(..start + length).unwrap_or_default().to_owned();
                self.position += start + length;
                return Ok((which, text));
            }
            if state.ended {
                break "the machine ended".to_owned();
            }
            let now = Instant::now();
            if !panicked && new.contains(PANIC) {
                panicked = true;
                deadline = deadline.min(now + PANIC_GRACE);
            }
            let Some(left) = deadline.checked_duration_since(now).filter(|left| !left.is_zero()) else {
                break if panicked { "the kernel panicked".to_owned() } else { format!("not seen in {limit:?}") };
            };
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        drop(state);
        Err(anyhow!("waiting for {patterns:?}: {why}{}", self.tail()))
    }

    /// Gives the router's console a command and returns its output, without the echo and without the next prompt. What the router
    /// says of itself meanwhile ([`is_message`]) may stand before the echo, inside it, or between the lines of the output.
    ///
    /// # Errors
    /// As [`wait_for`](Self::wait_for).
    pub fn command(&mut self, line: &str, limit: Duration) -> Result<String> {
        self.skip();
        self.send_line(line)?;
        let mut echoed = None;
        while !echoed.is_some_and(|echoed: String| is_echo(echoed.trim_end_matches('\n'), line)) {
            echoed = Some(self.wait_for("\n", limit).with_context(|| format!("no echo of {line:?}"))?);
        }
        let output = self.wait_prompt(limit).with_context(|| format!("no end of the output of {line:?}"))?;
        Ok(output.strip_suffix(&self.prompt).unwrap_or(&output).to_owned())
    }

    /// Lets the next wait begin with the first thing the guest has shown.
    pub fn rewind(&mut self) {
        self.position = 0;
    }

    /// Lets later waits begin with what comes from now on.
    pub fn skip(&mut self) {
        self.position = self.shared.lock().text.len();
    }

    /// Returns everything shown so far.
    #[must_use]
    pub fn transcript(&self) -> String {
        self.shared.lock().text.clone()
    }

    /// Hands every byte from now on to `mirror` as well, or to nobody.
    pub fn set_mirror(&mut self, mirror: Option<Mirror>) {
        self.shared.lock().mirror = mirror;
    }

    /// Waits until the guest has closed the line, at most for `limit`.
    pub(super) fn wait_end(&self, limit: Duration) {
        let state = self.shared.lock();
        drop(self.shared.changed.wait_timeout_while(state, limit, |state| !state.ended));
    }

    /// Returns the end of the transcript, as errors show it.
    pub(super) fn tail(&self) -> String {
        let state = self.shared.lock();
        let start = state.text.len().saturating_sub(TAIL);
        let start = (start..=state.text.len()).find(|index| state.text.is_char_boundary(*index)).unwrap_or_default();
        format!("\n--- console ---\n{}\n---------------", state.text.get(start..).unwrap_or_default().trim_end())
    }
}

impl State {
    fn take(&mut self, bytes: &[u8]) {
        if let Some(mirror) = &mut self.mirror {
            mirror(bytes);
        }
        for byte in bytes {
            if let Some(character) = self.filter.next(*byte) {
                self.text.push(character);
            }
        }
    }
}

/// Returns whether a line is what the router says of itself: `[`, seconds and microseconds since boot, `]`.
#[must_use]
pub fn is_message(line: &str) -> bool {
    let stamp = line.strip_prefix('[').and_then(|rest| rest.split_once("] ")).map(|(stamp, _)| stamp.trim_start());
    let parts = stamp.and_then(|stamp| stamp.split_once('.'));
    parts.is_some_and(|(seconds, micros)| {
        seconds.parse::<u64>().is_ok() && micros.len() == 6 && micros.parse::<u32>().is_ok()
    })
}

/// Returns whether `shown` ends the echo of `typed`: all of it, or what is left of it after a message that came in the middle.
fn is_echo(shown: &str, typed: &str) -> bool {
    shown.ends_with(typed) || typed.ends_with(shown)
}

/// Leaves carriage returns and escape sequences (ECMA-48 5.4) out. The console writes ASCII; other bytes show as `?`.
#[derive(Clone, Copy, Debug, Default)]
enum Filter {
    #[default]
    Text,
    Escape,
    Sequence,
}

impl Filter {
    fn next(&mut self, byte: u8) -> Option<char> {
        match (*self, byte) {
            (_, 0x1b) => *self = Self::Escape,
            (Self::Escape, b'[') => *self = Self::Sequence,
            (Self::Escape, _) | (Self::Sequence, 0x40..=0x7e) => *self = Self::Text,
            (Self::Sequence, _) | (Self::Text, b'\r' | 0) => {}
            (Self::Text, 0x80..) => return Some('?'),
            (Self::Text, _) => return Some(char::from(byte)),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// Runs a shell script as the guest.
    fn script(text: &str) -> (Child, Console) {
        let mut child = Command::new("sh").args(["-c", text]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let child_mut = child.as_mut().unwrap();
        let (input, output) = (child_mut.stdin.take().unwrap(), child_mut.stdout.take().unwrap());
        (child.unwrap(), Console::new(input, output))
    }

    #[test]
    fn waits_find_what_comes_one_after_the_other() {
        let (mut child, mut console) = script("echo one; sleep 0.1; printf 'two\\r\\n\\033[Kthree\\n'");
        assert_eq!(console.wait_for("one", LIMIT).unwrap(), "one");
        assert_eq!(console.wait_for_any(&["three", "two"], LIMIT).unwrap(), (1, "\ntwo".to_owned()));
        assert_eq!(console.wait_for("three\n", LIMIT).unwrap(), "\nthree\n");
        let error = console.wait_for("one", LIMIT).unwrap_err().to_string();
        assert!(error.contains("the machine ended") && error.contains("three"), "{error}");
        child.wait().unwrap();
    }

    #[test]
    fn a_wait_ends_in_time_and_soon_after_a_panic() {
        let (mut child, mut console) = script("echo 'panic: out of cheese'; sleep 20");
        let start = Instant::now();
        let error = console.wait_for("never", Duration::from_secs(15)).unwrap_err().to_string();
        assert!(error.contains("the kernel panicked") && error.contains("cheese"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10));
        let error = console.wait_for("panic: ", Duration::from_millis(50));
        assert!(error.is_ok(), "a panic itself can be waited for");
        assert!(console.wait_for("x", Duration::from_millis(50)).unwrap_err().to_string().contains("not seen"));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_command_returns_its_output_alone() {
        // The script's terminal is a pipe, where nothing turns a carriage return into a line's end; tr does.
        let guest = r"printf 'r7> '; stdbuf -o0 tr '\r' '\n' | {
            read line; echo $line; echo answer; printf '\rr7> \033[K'; sleep 9; }";
        let (mut child, mut console) = script(guest);
        console.set_hostname("r7");
        console.wait_prompt(LIMIT).unwrap();
        assert_eq!(console.command("show arp", LIMIT).unwrap(), "answer\n");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn what_the_router_says_meanwhile_is_not_taken_for_the_echo() {
        let guest = r"printf 'r7> '; stdbuf -o0 tr '\r' '\n' | {
            read line; printf '[    1.000002] em0: up\nshow [    1.100003] em1: up\narp\nanswer\nr7> '; sleep 9; }";
        let (mut child, mut console) = script(guest);
        console.set_hostname("r7");
        console.wait_prompt(LIMIT).unwrap();
        assert_eq!(console.command("show arp", LIMIT).unwrap(), "answer\n");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_message("[    1.000002] em0: up") && is_message("[12345.000002] warning: em0: down"));
        assert!(!is_message("em0 up") && !is_message("[1] [2.000002] no") && !is_message("[    1.02] no"));
    }

    #[test]
    fn the_mirror_gets_the_bytes_as_they_are() {
        let (mut child, mut console) = script("read line; printf 'a\\r\\n'");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let copy = Arc::clone(&seen);
        console.set_mirror(Some(Box::new(move |bytes| copy.lock().unwrap().extend_from_slice(bytes))));
        console.send(b"\n").unwrap();
        console.wait_end(LIMIT);
        assert_eq!(*seen.lock().unwrap(), b"a\r\n");
        assert_eq!(console.transcript(), "a\n");
        child.wait().unwrap();
    }
}
