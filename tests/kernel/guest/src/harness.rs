//! Runs a list of tests and reports each over the serial line, in the protocol of the `ktest` crate.

use alloc::string::String;

use ktest::{Event, ExitCode};
use machine::{console, cpu};

/// What a test came to; the text says what was found instead of what its name promises.
pub(crate) type Outcome = Result<(), String>;

/// A named test.
pub(crate) struct Test {
    /// The promise.
    pub(crate) name: &'static str,
    /// Tries it.
    pub(crate) run: fn() -> Outcome,
}

/// Makes a list of tests out of functions; each is named after its function.
macro_rules! tests {
    ($($function:ident),+ $(,)?) => {
        &[$($crate::harness::Test { name: stringify!($function), run: $function }),+]
    };
}

/// Ends the test with the given text unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(alloc::format!($($text)+));
        }
    };
}

/// Runs the tests of all lists and ends the machine with the verdict.
pub(crate) fn run(lists: &[&[Test]]) -> ! {
    let all = || lists.iter().flat_map(|list| list.iter());
    say(&Event::Plan(all().count() as u32));
    let (mut passed, mut failed) = (0, 0);
    for test in all() {
        say(&Event::Start(test.name));
        match (test.run)() {
            Ok(()) => {
                passed += 1;
                say(&Event::Pass(test.name));
            }
            Err(why) => {
                failed += 1;
                say(&Event::Fail(test.name, &why));
            }
        }
    }
    say(&Event::Done { passed, failed });
    exit(if failed == 0 { ExitCode::Passed } else { ExitCode::Failed })
}

/// Ends QEMU after everything written has left.
pub(crate) fn exit(code: ExitCode) -> ! {
    console::flush();
    cpu::debug_exit(code as u32);
    panic!("this machine has no test exit");
}

fn say(event: &Event<'_>) {
    console::message(format_args!("{event}\n"));
}
