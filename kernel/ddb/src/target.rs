//! What the debugger needs from the machine it looks at.

use core::{
    fmt::{self, Write},
    ops::ControlFlow,
};

use arrayvec::ArrayString;
use cli::View;

use crate::error::Refusal;

/// Breakpoints there can be at once.
pub const MAX_BREAKS: usize = 16;

/// The console, polled: the machine's interrupts do not arrive while it stands still.
pub trait Console: Write {
    /// Returns a typed octet if there is one; never waits.
    fn try_read_key(&mut self) -> Option<u8>;
}

/// How the machine goes on when the debugger is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As if nothing had happened; after a fatal trap, with what follows one.
    Continue,
    /// By one instruction on this CPU, then it stands still again.
    Step,
    /// Reset at once.
    Reset,
    /// Through the orderly shutdown if the machine can still run, else by reset.
    Reboot,
    /// Halted, for good.
    Halt,
    /// With a panic.
    Panic,
}

/// Why the machine stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Somebody wanted it to; the text completes `KDB: enter: `.
    Asked(&'static str),
    /// It ran into a breakpoint.
    Breakpoint,
    /// It has made its one step.
    Step,
    /// It cannot go on: a trap or a panic, which the text names.
    Fatal(&'static str),
}

/// An address that cannot be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faulted;

/// Octets of a symbol's name that are shown; a longer one is cut.
const MAX_NAME: usize = 160;

/// The symbol at or below an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its name.
    name: ArrayString<MAX_NAME>,
    /// How far behind it the address lies.
    pub offset: u64,
}

impl Symbol {
    /// Returns the symbol of this name, so far behind which the address lies.
    pub fn new(name: impl fmt::Display, offset: u64) -> Self {
        let mut cut = Cut(ArrayString::new());
        // An error says that the name was cut.
        let _ = write!(cut, "{name}");
        Self { name: cut.0, offset }
    }
}

/// Takes what there is room for.
struct Cut(ArrayString<MAX_NAME>);

impl Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.0.try_push(c)).map_err(|_| fmt::Error)
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.offset == 0 { Ok(()) } else { write!(f, "+{:#x}", self.offset) }
    }
}

/// Where in the source an address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location<'a> {
    /// The file.
    pub file: &'a str,
    /// The line, from 1.
    pub line: u32,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// This address.
    One(u64),
    /// So many symbols could be meant.
    Many(usize),
    /// Nothing.
    Nothing,
}

/// Whose backtrace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// What this CPU was doing.
    Here,
    /// What that CPU was doing.
    Cpu(u16),
    /// That thread, running or not.
    Thread(u32),
}

/// The registers of one CPU, in the order of `show registers`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers(pub [u64; Registers::NAMES.len()]);

impl Registers {
    /// Their names, as the manual has them and without a `$`.
    pub const NAMES: [&str; 20] = [
        "cs", "ss", "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
        "r14", "r15", "rip", "rflags",
    ];

    /// Returns a register by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u64> {
        let name = if name == "eflags" { "rflags" } else { name };
        self.iter().find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    /// Returns the instruction pointer.
    #[must_use]
    pub fn rip(&self) -> u64 {
        self.get("rip").unwrap_or_default()
    }

    /// Returns all registers with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Self::NAMES.into_iter().zip(self.0)
    }
}

/// One line of `ps`.
#[derive(Clone, Copy, Debug)]
pub struct ThreadLine<'a> {
    /// The number by which `trace` finds it.
    pub id: u32,
    /// The CPU it runs on or ran on last.
    pub cpu: u16,
    /// What goes first.
    pub priority: &'a str,
    /// What it is doing.
    pub state: &'a str,
    /// What it waits for, empty if it does not.
    pub waits_for: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Whether it runs on the debugger's CPU.
    pub current: bool,
}

/// A machine that stands still.
///
/// # Context
/// The CPU that owns the stopped world. No method waits for a lock that a stopped CPU may hold, and none faults: what cannot be had
/// is a [`Refusal`]. Writing to `out` fails when the user has had enough; methods pass that on as [`Refusal::Stopped`].
pub trait Target {
    /// Says why the machine stands still.
    fn reason(&self) -> Reason;
    /// Returns the CPU the debugger runs on.
    fn cpu(&self) -> u16;
    /// Returns the registers of a CPU as they were when it was stopped; `None` if they are not known.
    fn registers(&self, cpu: u16) -> Option<Registers>;
    /// Writes the number and name of the thread on this CPU.
    ///
    /// # Errors
    /// Those of `out`.
    fn thread(&self, out: &mut dyn Write) -> fmt::Result;

    /// Reads memory.
    ///
    /// # Errors
    /// [`Faulted`] if any octet of it is not mapped.
    fn read(&mut self, address: u64, out: &mut [u8]) -> Result<(), Faulted>;

    /// Returns the symbol an address lies in.
    fn symbol(&self, address: u64) -> Option<Symbol>;
    /// Returns the address of a symbol.
    fn find(&self, name: &str) -> Found;
    /// Returns the source line an address comes from.
    fn location(&self, address: u64) -> Option<Location<'_>>;

    /// Calls `visit` with each thread, oldest first, until it breaks.
    ///
    /// # Errors
    /// [`Refusal`] if the list cannot be walked.
    fn threads(&mut self, visit: &mut dyn FnMut(&ThreadLine<'_>) -> ControlFlow<()>) -> Result<(), Refusal>;
    /// Writes a backtrace, one frame a line.
    ///
    /// # Errors
    /// [`Refusal`] if there is no such thread or CPU, or its registers are not known.
    fn trace(&mut self, whom: Whom, out: &mut dyn Write) -> Result<(), Refusal>;
    /// Writes one of the views that the running console has, too.
    ///
    /// # Errors
    /// [`Refusal`] if it cannot be had now.
    fn view(&mut self, view: View, out: &mut dyn Write) -> Result<(), Refusal>;

    /// Sets a breakpoint.
    ///
    /// # Errors
    /// [`Refusal`] if there are [`MAX_BREAKS`], there is one already, or the address is not code.
    fn set_break(&mut self, address: u64) -> Result<(), Refusal>;
    /// Removes a breakpoint.
    ///
    /// # Errors
    /// [`Refusal`] if there is none.
    fn clear_break(&mut self, address: u64) -> Result<(), Refusal>;
    /// Returns the address of the breakpoint in place `index`, below [`MAX_BREAKS`].
    fn break_at(&self, index: usize) -> Option<u64>;

    /// Sends a crash dump over the serial line: a new one, or the lines in `range` of the last.
    ///
    /// # Errors
    /// [`Refusal`] if there is none to be had.
    fn dump(&mut self, range: Option<(u32, u32)>, out: &mut dyn Write) -> Result<(), Refusal>;
    /// Hands over to a remote debugger; returns how the machine goes on if that debugger decided it.
    ///
    /// # Errors
    /// [`Refusal`] if there is no line to it.
    fn gdb(&mut self, out: &mut dyn Write) -> Result<Option<Outcome>, Refusal>;
}
