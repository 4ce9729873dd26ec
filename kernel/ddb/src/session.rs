//! The loop at the prompt, and what each command does.

use core::{
    fmt::{self, Write},
    ops::ControlFlow,
};

use arrayvec::ArrayVec;
use cli::{Input, LineEditor};

use crate::{
    Console, Error, Outcome, Reason, Refusal, Target, Whom,
    examine::{self, Manner, Place},
    expression::{self, Scope},
    output::{Output, Typed},
    show,
    target::MAX_BREAKS,
    words::{self, Command, Shown},
};

/// Lines the prompt remembers.
const HISTORY: usize = 16;
/// Threads `alltrace` goes through at most.
const MAX_THREADS: usize = 512;

/// What an empty line does again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeat {
    Nothing,
    Examine,
    Step,
}

/// What the debugger remembers from one line, and from one stop, to the next.
///
/// About 5 KiB: a static, behind a lock that is only tried.
#[derive(Debug)]
pub struct Session {
    editor: LineEditor<HISTORY>,
    typed: Typed,
    /// The address that was looked at last.
    dot: u64,
    /// The address behind it.
    next: u64,
    manner: Manner,
    repeat: Repeat,
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl Session {
    /// Returns a session that remembers nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            editor: LineEditor::new("db> "),
            typed: Typed::new(),
            dot: 0,
            next: 0,
            manner: Manner::new(),
            repeat: Repeat::Nothing,
        }
    }

    /// Says where the machine stands and does what is typed, until a command lets it go.
    ///
    /// # Context
    /// The CPU that owns the stopped world; spins for keys.
    pub fn run(&mut self, target: &mut dyn Target, console: &mut dyn Console) -> Outcome {
        if target.reason() != Reason::Step {
            self.repeat = Repeat::Nothing;
        }
        if let Some(registers) = target.registers(target.cpu()) {
            (self.dot, self.next) = (registers.rip(), registers.rip());
        }
        // Whatever cannot be written has no reader; the keys still count.
        let _ = banner(target, console);
        let _ = self.editor.redraw(console);
        loop {
            let Some(key) = self.typed.pop().or_else(|| console.try_read_key()) else {
                core::hint::spin_loop();
                continue;
            };
            match self.editor.push(key, console) {
                Ok(Some(Input::Line)) => {
                    // The editor is used again before the line is done with.
                    let mut line = [0; cli::LINE_MAX];
                    let entered = self.editor.entered().as_bytes();
                    let count = entered.len().min(line.len());
                    line[..count].copy_from_slice(&entered[..count]);
                    let line = core::str::from_utf8(&line[..count]).unwrap_or_default();
                    if let Some(outcome) = self.execute(line, target, console) {
                        return outcome;
                    }
                }
                Ok(Some(Input::Interrupt)) => self.repeat = Repeat::Nothing,
                Ok(None) | Err(_) => continue,
            }
            let _ = self.editor.redraw(console);
        }
    }

    /// Does one line; returns how the machine goes on if the line says so.
    pub fn execute(&mut self, line: &str, target: &mut dyn Target, console: &mut dyn Console) -> Option<Outcome> {
        let mut typed = core::mem::replace(&mut self.typed, Typed::new());
        let mut out = Output::new(console, &mut typed);
        let outcome = match self.perform(line.trim(), target, &mut out) {
            Ok(outcome) => outcome,
            // The listing has said so itself.
            Err(Error::Refused(Refusal::Stopped)) => None,
            Err(error) => {
                let _ = writeln!(out, "{error}");
                None
            }
        };
        out.finish();
        self.typed = typed;
        outcome
    }

    fn perform<'t>(
        &mut self,
        line: &'t str,
        target: &mut dyn Target,
        out: &mut Output<'_>,
    ) -> Result<Option<Outcome>, Error<'t>> {
        if line.is_empty() {
            return self.again(target, out);
        }
        self.repeat = Repeat::Nothing;
        let (word, modifiers, arguments) = split(line);
        let command = match Command::named(word) {
            Ok(command) => command,
            Err(wrong) if wrong.several => {
                words::candidates(word, false, out)?;
                return Ok(None);
            }
            Err(_) => return Err(Error::UnknownCommand(word)),
        };
        if let Some(modifiers) = modifiers.filter(|_| command != Command::Examine) {
            return Err(Error::Modifier(modifiers));
        }
        match command {
            Command::Examine => self.examine(modifiers, arguments, target, out)?,
            Command::Trace => trace(arguments, target, out)?,
            Command::Show => self.show(arguments, target, out)?,
            Command::List => self.list(arguments, target, out)?,
            Command::Break => self.set_break(arguments, target, out)?,
            Command::Delete => self.delete(arguments, target, out)?,
            Command::Dump => dump(arguments, target, out)?,
            _ if !arguments.is_empty() => return Err(Error::Usage(command.usage())),
            Command::AllTrace => trace_all(target, out)?,
            Command::Ps => show::threads(target, out)?,
            Command::Help => words::help(out)?,
            Command::Gdb => return Ok(target.gdb(out)?),
            Command::Continue => return Ok(Some(Outcome::Continue)),
            Command::Step => return self.step(target),
            Command::Reset => return Ok(Some(Outcome::Reset)),
            Command::Reboot => return Ok(Some(Outcome::Reboot)),
            Command::Halt => return Ok(Some(Outcome::Halt)),
            Command::Panic => return Ok(Some(Outcome::Panic)),
        }
        Ok(None)
    }

    /// Does what an empty line does.
    fn again(&mut self, target: &mut dyn Target, out: &mut Output<'_>) -> Result<Option<Outcome>, Error<'static>> {
        match self.repeat {
            Repeat::Nothing => Ok(None),
            Repeat::Step => self.step(target),
            Repeat::Examine => {
                self.look(self.next, target, out)?;
                Ok(None)
            }
        }
    }

    fn step(&mut self, target: &dyn Target) -> Result<Option<Outcome>, Error<'static>> {
        if let Reason::Fatal(_) = target.reason() {
            return Err(Refusal::Because("the machine cannot go on from here; reset restarts it").into());
        }
        self.repeat = Repeat::Step;
        Ok(Some(Outcome::Step))
    }

    fn examine<'t>(
        &mut self,
        modifiers: Option<&'t str>,
        arguments: &'t str,
        target: &mut dyn Target,
        out: &mut Output<'_>,
    ) -> Result<(), Error<'t>> {
        self.manner = self.manner.change(modifiers.unwrap_or_default())?;
        let mut address = self.next;
        if !arguments.is_empty() {
            let (value, rest) = expression::evaluate_part(arguments, &mut Scope::new(target, self.dot))?;
            if let Some(digits) = rest.strip_prefix(',') {
                self.manner.count = examine::count(digits.trim())?;
            }
            address = value;
        }
        self.look(address, target, out)
    }

    /// Shows memory, and remembers where that was.
    fn look(&mut self, address: u64, target: &mut dyn Target, out: &mut Output<'_>) -> Result<(), Error<'static>> {
        self.dot = address;
        self.next = examine::examine(target, self.manner, address, out)?;
        self.repeat = Repeat::Examine;
        Ok(())
    }

    fn address<'t>(&mut self, text: &'t str, target: &mut dyn Target) -> Result<u64, Error<'t>> {
        let address = expression::evaluate(text, &mut Scope::new(target, self.dot))?;
        self.dot = address;
        Ok(address)
    }

    fn list<'t>(&mut self, text: &'t str, target: &mut dyn Target, out: &mut Output<'_>) -> Result<(), Error<'t>> {
        let address = self.address(if text.is_empty() { "$rip" } else { text }, target)?;
        Ok(show::location(target, address, out)?)
    }

    fn set_break<'t>(&mut self, text: &'t str, target: &mut dyn Target, out: &mut Output<'_>) -> Result<(), Error<'t>> {
        if text.is_empty() {
            return Err(Error::Usage(Command::Break.usage()));
        }
        let address = self.address(text, target)?;
        target.set_break(address)?;
        writeln!(out, "breakpoint at {}", Place(address, target.symbol(address)))?;
        Ok(())
    }

    fn delete<'t>(&mut self, text: &'t str, target: &mut dyn Target, out: &mut Output<'_>) -> Result<(), Error<'t>> {
        if text.is_empty() {
            return Err(Error::Usage(Command::Delete.usage()));
        }
        let all: ArrayVec<u64, MAX_BREAKS> = (0..MAX_BREAKS).filter_map(|number| target.break_at(number)).collect();
        if text == "all" {
            for address in &all {
                target.clear_break(*address)?;
            }
            writeln!(out, "{} removed", all.len())?;
            return Ok(());
        }
        let by_number = text.parse().ok().and_then(|number| target.break_at(number));
        let address = match by_number {
            Some(address) => address,
            None => self.address(text, target)?,
        };
        target.clear_break(address)?;
        writeln!(out, "removed: {}", Place(address, target.symbol(address)))?;
        Ok(())
    }

    fn show<'t>(&mut self, arguments: &'t str, target: &mut dyn Target, out: &mut Output<'_>) -> Result<(), Error<'t>> {
        let (word, rest) = arguments.split_once(char::is_whitespace).unwrap_or((arguments, ""));
        let rest = rest.trim();
        if word.is_empty() {
            return Err(Error::Usage(Command::Show.usage()));
        }
        match Shown::named(word) {
            Ok(Shown::Symbol) => show::symbol(target, rest, self.dot, out),
            Ok(Shown::Registers) => {
                let number = rest.strip_prefix("cpu").unwrap_or(rest).trim();
                let cpu = if number.is_empty() { Ok(target.cpu()) } else { number.parse() };
                let cpu = cpu.map_err(|_| Error::Usage("show registers [cpu N]"))?;
                show::registers(target, cpu, out)
            }
            Ok(_) if !rest.is_empty() => Err(Error::Usage(Command::Show.usage())),
            Ok(Shown::Breaks) => Ok(show::breaks(target, out)?),
            Ok(Shown::View(view)) => Ok(target.view(view, out)?),
            Err(wrong) if wrong.several => Ok(words::candidates(word, true, out)?),
            Err(_) => Err(Error::UnknownView(word)),
        }
    }
}

/// Splits a line into the command, what stands behind its `/`, and the rest.
fn split(line: &str) -> (&str, Option<&str>, &str) {
    let end = line.find(|c: char| c.is_whitespace() || c == '/').unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    let rest = rest.trim_start();
    match rest.strip_prefix('/') {
        None => (word, None, rest),
        Some(rest) => {
            let (modifiers, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            (word, Some(modifiers), rest.trim_start())
        }
    }
}

/// Says why and where the machine stands.
fn banner(target: &mut dyn Target, out: &mut dyn Write) -> fmt::Result {
    let reason = target.reason();
    if let Reason::Asked(why) | Reason::Fatal(why) = reason {
        writeln!(out, "KDB: enter: {why}")?;
    }
    write!(out, "[ cpu {} thread ", target.cpu())?;
    target.thread(out)?;
    writeln!(out, " ]")?;
    let at = if reason == Reason::Breakpoint { "Breakpoint" } else { "Stopped" };
    match target.registers(target.cpu()) {
        Some(registers) => {
            write!(out, "{at} at ")?;
            show::location(target, registers.rip(), out)
        }
        None => writeln!(out, "{at}; the registers are not known"),
    }
}

fn trace(arguments: &str, target: &mut dyn Target, out: &mut dyn Write) -> Result<(), Error<'static>> {
    let (word, number) = arguments.split_once(char::is_whitespace).unwrap_or(("thread", arguments));
    let usage = Error::Usage(Command::Trace.usage());
    let whom = match (word, number.trim()) {
        (_, "") => Whom::Here,
        ("thread", id) => Whom::Thread(id.parse().map_err(|_| usage)?),
        ("cpu", cpu) => Whom::Cpu(cpu.parse().map_err(|_| usage)?),
        _ => return Err(usage),
    };
    Ok(target.trace(whom, out)?)
}

fn dump(arguments: &str, target: &mut dyn Target, out: &mut dyn Write) -> Result<(), Error<'static>> {
    if arguments.is_empty() {
        return Ok(target.dump(None, out)?);
    }
    let range = cli::dump_range(arguments).map_err(|_| Error::Usage(Command::Dump.usage()))?;
    Ok(target.dump(Some(range), out)?)
}

fn trace_all(target: &mut dyn Target, out: &mut dyn Write) -> Result<(), Error<'static>> {
    let mut ids: ArrayVec<u32, MAX_THREADS> = ArrayVec::new();
    target.threads(&mut |thread| match ids.try_push(thread.id) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    })?;
    for id in ids {
        writeln!(out, "\nTracing thread {id}")?;
        match target.trace(Whom::Thread(id), out) {
            Ok(()) => {}
            Err(Refusal::Stopped) => return Err(Refusal::Stopped.into()),
            Err(refusal) => writeln!(out, "{refusal}")?,
        }
    }
    Ok(())
}
