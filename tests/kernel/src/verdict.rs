//! How a boot ended: [`Verdict`] and [`Report`].

use std::fmt;

use ktest::{Event, ExitCode};

/// How a boot ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every test that was planned ran and passed.
    Passed,
    /// These tests failed, and why.
    Failed(Vec<(String, String)>),
    /// The kernel panicked, in this test if in one.
    Panicked(Option<String>),
    /// The processor took an exception that nobody expected, in this test if in one.
    Faulted(Option<String>),
    /// The machine ran on, in this test if in one, until it was ended.
    TimedOut(Option<String>),
    /// The power went, or the machine was reset where a reset ends it.
    PoweredOff,
    /// QEMU ended otherwise, or with a verdict that its own report does not bear out.
    Unexplained(Option<i32>),
}

/// How a boot ended and what it showed.
#[derive(Clone, Debug)]
pub struct Report {
    /// How it ended.
    pub verdict: Verdict,
    /// The tests that passed, in order.
    pub passed: Vec<String>,
    /// Everything on the console.
    pub transcript: String,
}

impl Report {
    /// Judges a boot by QEMU's exit status (`None` if it did not end) and what the console showed.
    #[must_use]
    pub fn of(status: Option<Option<i32>>, transcript: String) -> Self {
        let (mut plan, mut done, mut running) = (None, None, None);
        let (mut passed, mut failed) = (Vec::new(), Vec::new());
        for event in transcript.lines().filter_map(Event::parse) {
            match event {
                Event::Plan(tests) => plan = Some(tests as usize),
                Event::Start(name) => running = Some(name.to_owned()),
                Event::Pass(name) => {
                    running = None;
                    passed.push(name.to_owned());
                }
                Event::Fail(name, why) => {
                    running = None;
                    failed.push((name.to_owned(), why.to_owned()));
                }
                Event::Done { passed, failed } => done = Some((passed as usize, failed as usize)),
            }
        }
        let whole = done == Some((passed.len(), failed.len())) && plan == Some(passed.len() + failed.len());
        let code = status.flatten();
        let verdict = match (status, code.and_then(ExitCode::of_qemu_status)) {
            (None, _) => Verdict::TimedOut(running),
            (_, Some(ExitCode::Passed)) if whole && failed.is_empty() && !passed.is_empty() => Verdict::Passed,
            (_, Some(ExitCode::Failed)) if whole && !failed.is_empty() => Verdict::Failed(failed),
            (_, Some(ExitCode::Panicked)) => Verdict::Panicked(running),
            (_, Some(ExitCode::Faulted)) => Verdict::Faulted(running),
            _ if code == Some(0) => Verdict::PoweredOff,
            _ => Verdict::Unexplained(code),
        };
        Self { verdict, passed, transcript }
    }

    /// Returns the rest of every line that begins with `start`, in order.
    pub fn lines_after<'a>(&'a self, start: &'a str) -> impl Iterator<Item = &'a str> {
        self.transcript.lines().filter_map(move |line| line.strip_prefix(start))
    }

    /// Asserts that the console showed each of these.
    ///
    /// # Panics
    /// When one is missing, with the transcript.
    pub fn shows(&self, texts: &[&str]) {
        for text in texts {
            assert!(self.transcript.contains(text), "{text:?} is missing: {self}");
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?} after {} tests", self.verdict, self.passed.len())?;
        write!(f, "--- console ---\n{}\n---------------", self.transcript.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: Option<i32>, transcript: &str) -> Verdict {
        Report::of(status.map(Some), transcript.to_owned()).verdict
    }

    fn status(code: ExitCode) -> Option<i32> {
        Some(code.qemu_status())
    }

    const GOOD: &str = "#ktest plan 1\n#ktest start a\n#ktest pass a\n#ktest done 1 0\n";

    #[test]
    fn success_needs_the_status_and_the_whole_report() {
        assert_eq!(verdict(status(ExitCode::Passed), GOOD), Verdict::Passed);
        assert_eq!(verdict(Some(1), GOOD), Verdict::Unexplained(Some(1)));
        assert_eq!(verdict(Some(0), GOOD), Verdict::PoweredOff);
        for cut in [0, 14, 40, 50] {
            let part = GOOD.get(..cut).unwrap();
            assert_eq!(verdict(status(ExitCode::Passed), part), Verdict::Unexplained(Some(33)), "{part}");
        }
        let more = GOOD.replace("plan 1", "plan 2");
        assert_eq!(verdict(status(ExitCode::Passed), &more), Verdict::Unexplained(Some(33)), "a test went missing");
        assert_eq!(
            verdict(status(ExitCode::Passed), "#ktest plan 0\n#ktest done 0 0\n"),
            Verdict::Unexplained(Some(33))
        );
    }

    #[test]
    fn a_failure_names_the_tests_and_their_reasons() {
        let text =
            "#ktest plan 2\n#ktest start a\n#ktest pass a\n#ktest start b\n#ktest fail b: 1: 2\n#ktest done 1 1\n";
        let failed = Verdict::Failed(vec![("b".into(), "1: 2".into())]);
        assert_eq!(verdict(status(ExitCode::Failed), text), failed);
        assert_eq!(verdict(status(ExitCode::Passed), text), Verdict::Unexplained(Some(33)));
        assert_eq!(verdict(status(ExitCode::Failed), GOOD), Verdict::Unexplained(Some(35)));
    }

    #[test]
    fn panic_fault_and_hang_name_the_test_they_happened_in() {
        let text = "#ktest plan 2\n#ktest start a\n#ktest pass a\n#ktest start b\nsome text";
        let b = Some("b".to_owned());
        assert_eq!(verdict(status(ExitCode::Panicked), text), Verdict::Panicked(b.clone()));
        assert_eq!(verdict(status(ExitCode::Faulted), text), Verdict::Faulted(b.clone()));
        assert_eq!(verdict(None, text), Verdict::TimedOut(b));
        assert_eq!(verdict(None, ""), Verdict::TimedOut(None));
        assert_eq!(Report::of(Some(None), String::new()).verdict, Verdict::Unexplained(None), "ended by a signal");
    }
}
