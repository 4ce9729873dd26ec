//! The debugger on this machine: `ddb` over the stopped world.
//!
//! The machine layer stops the world, for a breakpoint, a key sequence, an NMI, a trap or a command, and calls the hook that
//! [`install`] has set. [`mod@target`] is the world as the debugger's language wants it, [`mod@code`] names places in the code,
//! and [`mod@gdb`] is the other debugger.
//!
//! Context: as said; the hook runs with the world stopped, interrupts off, possibly in an NMI.

mod code;
pub(crate) mod gdb;
mod target;

use alloc::{format, string::String};
use core::fmt::{self, Write};

use ddb::{Console, Outcome, Session};
use ksync::SpinLock;
use machine::{
    debug_port,
    kdb::{self, Resume, World},
};
use shutdown::Exit;

use crate::{
    knobs::{Access, Knob},
    power, watchdog,
};
use target::Stopped;

/// Protects: what the debugger remembers from one stop to the next; held: while it runs, by the world's owner, who only tries.
static SESSION: SpinLock<Session> = SpinLock::new(Session::new());

/// `debug.kdb.enter`, as FreeBSD has it.
pub(crate) const KNOBS: &[Knob] = &[Knob {
    name: "debug.kdb.enter",
    description: "1 enters the debugger",
    get: || "0".into(),
    access: Access::Action(enter_if_one),
}];

/// Lets the machine enter the debugger from now on.
pub(crate) fn install() {
    debug_port::init();
    kdb::set_debugger(attend);
}

/// Enters the debugger; returns when it lets the machine go on.
///
/// # Context
/// Thread.
pub(crate) fn enter() {
    kdb::enter(kdb::Reason::Command);
}

fn enter_if_one(value: &str) -> Result<(), String> {
    match value.trim() {
        "1" => {
            enter();
            Ok(())
        }
        other => Err(format!("{other}: only 1 does something")),
    }
}

/// The stopped world's console.
struct Terminal<W> {
    out: W,
    keys: fn() -> Option<u8>,
}

impl<W: Write> Write for Terminal<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.out.write_str(text)
    }
}

impl<W: Write> Console for Terminal<W> {
    fn try_read_key(&mut self) -> Option<u8> {
        (self.keys)()
    }
}

/// Runs the debugger in a stopped world: the machine's hook. A person may take any time.
fn attend(world: &mut World<'_>) -> Resume {
    watchdog::hardware::pause();
    let resume = serve(world);
    if matches!(resume, Resume::Continue | Resume::Step) {
        watchdog::hardware::resume();
    }
    resume
}

fn serve(world: &mut World<'_>) -> Resume {
    if gdb::is_wanted()
        && let Some(resume) = gdb::serve(world)
    {
        return resume;
    }
    let fatal = world.reason().is_fatal();
    let outcome = {
        // Held by an attendance that went wrong itself, it is not to be trusted: the machine's report comes next.
        let Some(mut session) = SESSION.try_lock() else { return Resume::Continue };
        let mut terminal = Terminal { out: world.out(), keys: world.keys() };
        session.run(&mut Stopped::new(world), &mut terminal)
    };
    match outcome {
        Outcome::Continue => Resume::Continue,
        Outcome::Step => Resume::Step,
        Outcome::Halt => Resume::Halt,
        Outcome::Reset => Resume::Reset,
        // In order as soon as threads run again; which they will not after a trap.
        Outcome::Reboot if !fatal => {
            power::request_soon(Exit::Reboot);
            Resume::Continue
        }
        Outcome::Reboot => Resume::Reset,
        // As in FreeBSD: the report shows where the machine stood, and the debugger above it.
        Outcome::Panic => panic!("from debugger"),
    }
}
