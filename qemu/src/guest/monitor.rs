//! QEMU's machine protocol: [`Monitor`].
//!
//! One JSON object a line (QEMU documentation, "QMP"): a greeting, then an answer for each command, with events in
//! between, which are passed over.

use std::{
    io::{BufRead, BufReader, ErrorKind, Write},
    os::unix::net::{UnixListener, UnixStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

/// How long QEMU may take to answer. It answers between two slices of emulation, so at once unless the host is busy.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// A connection to QEMU's monitor.
#[derive(Debug)]
pub struct Monitor {
    stream: BufReader<UnixStream>,
}

impl Monitor {
    /// Waits for QEMU to connect; `is_over` tells that it never will.
    pub(super) fn accept(listener: &UnixListener, limit: Duration, mut is_over: impl FnMut() -> bool) -> Result<Self> {
        let deadline = Instant::now() + limit;
        listener.set_nonblocking(true)?;
        let stream = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            if is_over() {
                bail!("it ended at once");
            }
            if Instant::now() >= deadline {
                bail!("it did not connect within {limit:?}");
            }
            thread::sleep(Duration::from_millis(5));
        };
        Self::greet(stream)
    }

    fn greet(stream: UnixStream) -> Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.set_write_timeout(Some(ANSWER_LIMIT))?;
        let mut monitor = Self { stream: BufReader::new(stream) };
        let greeting = monitor.read()?;
        if greeting.get("QMP").is_none() {
            bail!("this is no monitor of QEMU: {greeting}");
        }
        monitor.execute("qmp_capabilities", json!({}))?;
        Ok(monitor)
    }

    /// Executes a command of the machine protocol and returns what it returns.
    ///
    /// # Errors
    /// When QEMU refuses the command or is gone.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let request = json!({ "execute": command, "arguments": arguments });
        self.stream.get_mut().write_all(format!("{request}\n").as_bytes()).context("QEMU's monitor is gone")?;
        loop {
            let mut answer = self.read()?;
            if let Some(error) = answer.get("error") {
                return Err(anyhow!("QEMU refuses {command}: {}", error.get("desc").unwrap_or(error)));
            }
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
        }
    }

    /// Executes a line of QEMU's monitor for people, such as `info pic`, and returns its text.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub fn human(&mut self, line: &str) -> Result<String> {
        let text = self.execute("human-monitor-command", json!({ "command-line": line }))?;
        Ok(text.as_str().unwrap_or_default().replace('\r', ""))
    }

    /// Returns the ids of the threads that execute the guest's processors, in their order.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub fn vcpu_threads(&mut self) -> Result<Vec<u32>> {
        let answer = self.execute("query-cpus-fast", json!({}))?;
        let threads = answer.as_array().map(Vec::as_slice).unwrap_or_default().iter();
        let ids = threads.map(|processor| u32::try_from(processor.get("thread-id")?.as_u64()?).ok());
        ids.collect::<Option<_>>().with_context(|| format!("these are no processors: {answer}"))
    }

    /// Gives every processor a non-maskable interrupt.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub fn inject_nmi(&mut self) -> Result<()> {
        self.execute("inject-nmi", json!({})).map(drop)
    }

    /// Stops the processors until [`resume`](Self::resume).
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub fn pause(&mut self) -> Result<()> {
        self.execute("stop", json!({})).map(drop)
    }

    /// Lets the processors run on.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub fn resume(&mut self) -> Result<()> {
        self.execute("cont", json!({})).map(drop)
    }

    /// Ends QEMU.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub fn quit(&mut self) -> Result<()> {
        self.execute("quit", json!({})).map(drop)
    }

    fn read(&mut self) -> Result<Value> {
        let mut line = String::new();
        let count = self.stream.read_line(&mut line).context("QEMU's monitor does not answer")?;
        if count == 0 {
            bail!("QEMU closed its monitor");
        }
        serde_json::from_str(&line).with_context(|| format!("QEMU's monitor wrote {line:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays QEMU with the given lines, each after one request.
    fn qemu<const N: usize>(lines: [&'static str; N]) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        thread::spawn(move || {
            let mut requests = BufReader::new(theirs.try_clone().unwrap());
            let mut theirs = theirs;
            for line in lines {
                theirs.write_all(line.as_bytes()).unwrap();
                let mut request = String::new();
                requests.read_line(&mut request).unwrap();
            }
        });
        ours
    }

    const GREETING: &str = "{\"QMP\": {}}\n";
    const EMPTY: &str = "{\"return\": {}}\n";

    #[test]
    fn answers_are_told_from_events_and_refusals() {
        let event_then_answer = "{\"event\": \"STOP\"}\n{\"return\": \"pins\\r\\n\"}\n";
        let refusal = "{\"error\": {\"class\": \"X\", \"desc\": \"no such link\"}}\n";
        let mut monitor = Monitor::greet(qemu([GREETING, EMPTY, event_then_answer, refusal])).unwrap();
        assert_eq!(monitor.human("info pic").unwrap(), "pins\n");
        let error = monitor.execute("set_link", json!({})).unwrap_err().to_string();
        assert!(error.contains("set_link") && error.contains("no such link"), "{error}");
        assert!(monitor.pause().is_err(), "a closed monitor is an error");
    }

    #[test]
    fn processors_are_threads() {
        let processors = "{\"return\": [{\"cpu-index\": 0, \"thread-id\": 7}, {\"cpu-index\": 1, \"thread-id\": 9}]}\n";
        let mut monitor = Monitor::greet(qemu([GREETING, EMPTY, processors, "{\"return\": [{}]}\n"])).unwrap();
        assert_eq!(monitor.vcpu_threads().unwrap(), [7, 9]);
        assert!(monitor.vcpu_threads().is_err());
    }

    #[test]
    fn something_else_on_the_socket_is_refused() {
        assert!(Monitor::greet(qemu(["{\"hello\": 1}\n"])).is_err());
        assert!(Monitor::greet(qemu(["no json\n"])).is_err());
    }
}
