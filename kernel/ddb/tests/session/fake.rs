//! A machine made up for the tests: a page of memory, three threads, two CPUs, a handful of symbols.

use std::{
    collections::VecDeque,
    fmt::{self, Write},
    ops::ControlFlow,
};

use cli::View;
use ddb::{
    Console, Faulted, Found, Location, MAX_BREAKS, Outcome, Reason, Refusal, Registers, Session, Symbol, Target,
    ThreadLine, Whom,
};

/// Where the page lies.
pub(crate) const PAGE: u64 = 0xffff_8000_0000_1000;
pub(crate) const PAGE_SIZE: usize = 4096;
/// Where the code is said to be.
pub(crate) const INPUT: u64 = 0xffff_ffff_8000_0100;

const SYMBOLS: [(&str, u64); 4] = [
    ("router::forward::input", INPUT),
    ("<e1000::Adapter<R> as ifnet::Interface>::transmit", INPUT + 0x100),
    ("router::arp::resolve", INPUT + 0x200),
    ("netisr::arp::resolve", INPUT + 0x300),
];
const END: u64 = INPUT + 0x400;

pub(crate) struct Machine {
    pub(crate) memory: Vec<u8>,
    pub(crate) reason: Reason,
    pub(crate) breaks: Vec<Option<u64>>,
    /// Views under this lock cannot be had.
    pub(crate) locked: Option<View>,
    pub(crate) threads: u32,
    pub(crate) gdb: Option<Outcome>,
    pub(crate) dumped: u32,
}

impl Default for Machine {
    fn default() -> Self {
        let mut memory: Vec<u8> = (0..=255).cycle().take(PAGE_SIZE).collect();
        memory[0x100..0x108].copy_from_slice(b"db\x01>\0end");
        memory[0x200..0x208].copy_from_slice(&(INPUT + 0x1c).to_le_bytes());
        Self {
            memory,
            reason: Reason::Asked("manual escape to debugger"),
            breaks: vec![None; MAX_BREAKS],
            locked: None,
            threads: 3,
            gdb: None,
            dumped: 0,
        }
    }
}

impl Target for Machine {
    fn reason(&self) -> Reason {
        self.reason
    }

    fn cpu(&self) -> u16 {
        1
    }

    fn registers(&self, cpu: u16) -> Option<Registers> {
        let at = |name: &str| Registers::NAMES.iter().position(|own| *own == name).unwrap();
        let mut registers = Registers::default();
        registers.0[at("rip")] = INPUT + u64::from(cpu) * 4;
        registers.0[at("rsp")] = PAGE + 0x200;
        registers.0[at("rflags")] = 0x202;
        (cpu < 2).then_some(registers)
    }

    fn thread(&self, out: &mut dyn Write) -> fmt::Result {
        out.write_str("7 (irq11: em0)")
    }

    fn read(&mut self, address: u64, out: &mut [u8]) -> Result<(), Faulted> {
        let start = usize::try_from(address.wrapping_sub(PAGE)).map_err(|_| Faulted)?;
        let end = start.checked_add(out.len()).ok_or(Faulted)?;
        out.copy_from_slice(self.memory.get(start..end).ok_or(Faulted)?);
        Ok(())
    }

    fn symbol(&self, address: u64) -> Option<Symbol> {
        let (name, start) = SYMBOLS.into_iter().rfind(|(_, start)| *start <= address && address < END)?;
        Some(Symbol::new(name, address - start))
    }

    fn find(&self, name: &str) -> Found {
        let exact = SYMBOLS.iter().find(|(own, _)| *own == name);
        let mut ends = SYMBOLS.iter().filter(|(own, _)| own.ends_with(&format!("::{name}")));
        match (exact, ends.next(), ends.count()) {
            (Some((_, address)), ..) | (None, Some((_, address)), 0) => Found::One(*address),
            (None, None, _) => Found::Nothing,
            (None, Some(_), more) => Found::Many(more + 1),
        }
    }

    fn location(&self, address: u64) -> Option<Location<'_>> {
        let line = u32::try_from(address.wrapping_sub(INPUT) / 4 + 10).ok()?;
        self.symbol(address).map(|_| Location { file: "net/router/src/forward.rs", line })
    }

    fn threads(&mut self, visit: &mut dyn FnMut(&ThreadLine<'_>) -> ControlFlow<()>) -> Result<(), Refusal> {
        for id in 0..self.threads {
            let (state, waits_for) = if id == 0 { ("running", "") } else { ("sleeping", "token") };
            let name = format!("thread{id}");
            let line = ThreadLine { id, cpu: 1, priority: "intr", state, waits_for, name: &name, current: id == 0 };
            if visit(&line).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn trace(&mut self, whom: Whom, out: &mut dyn Write) -> Result<(), Refusal> {
        match whom {
            Whom::Here => writeln!(out, "#0 here")?,
            Whom::Cpu(cpu) if cpu < 2 => writeln!(out, "#0 on cpu {cpu}")?,
            Whom::Thread(1) => return Err(Refusal::Faulted),
            Whom::Thread(id) if id < self.threads => writeln!(out, "#0 in thread {id}")?,
            Whom::Cpu(_) | Whom::Thread(_) => return Err(Refusal::Because("no such thread or CPU")),
        }
        Ok(())
    }

    fn view(&mut self, view: View, out: &mut dyn Write) -> Result<(), Refusal> {
        if self.locked == Some(view) {
            return Err(Refusal::Locked);
        }
        match view {
            View::Log => (0..10_000).try_for_each(|line| writeln!(out, "message {line}"))?,
            view => writeln!(out, "the view {view:?}")?,
        }
        Ok(())
    }

    fn set_break(&mut self, address: u64) -> Result<(), Refusal> {
        if self.symbol(address).is_none() {
            return Err(Refusal::Because("not code"));
        }
        if self.breaks.contains(&Some(address)) {
            return Err(Refusal::Because("there is one already"));
        }
        let free = self.breaks.iter_mut().find(|place| place.is_none());
        *free.ok_or(Refusal::Because("all breakpoints are in use"))? = Some(address);
        Ok(())
    }

    fn clear_break(&mut self, address: u64) -> Result<(), Refusal> {
        let place = self.breaks.iter_mut().find(|place| **place == Some(address));
        *place.ok_or(Refusal::Because("no breakpoint there"))? = None;
        Ok(())
    }

    fn break_at(&self, index: usize) -> Option<u64> {
        *self.breaks.get(index)?
    }

    fn dump(&mut self, range: Option<(u32, u32)>, out: &mut dyn Write) -> Result<(), Refusal> {
        self.dumped += 1;
        Ok(writeln!(out, "dump: {range:?}")?)
    }

    fn gdb(&mut self, out: &mut dyn Write) -> Result<Option<Outcome>, Refusal> {
        writeln!(out, "gdb has the machine")?;
        Ok(self.gdb)
    }
}

/// A terminal: what is typed, and what has been shown.
#[derive(Default)]
pub(crate) struct Terminal {
    pub(crate) keys: VecDeque<u8>,
    pub(crate) shown: String,
}

impl Terminal {
    pub(crate) fn typing(keys: &str) -> Self {
        Self { keys: keys.bytes().collect(), shown: String::new() }
    }
}

impl Write for Terminal {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.shown.push_str(text);
        Ok(())
    }
}

impl Console for Terminal {
    fn try_read_key(&mut self) -> Option<u8> {
        self.keys.pop_front()
    }
}

/// A debugger at work on a machine.
#[derive(Default)]
pub(crate) struct Rig {
    pub(crate) machine: Machine,
    pub(crate) session: Session,
}

impl Rig {
    /// Does one line; returns what it shows.
    pub(crate) fn line(&mut self, line: &str) -> String {
        let (shown, outcome) = self.ends(line);
        assert_eq!(outcome, None, "{line:?} let the machine go");
        shown
    }

    /// Does one line; returns what it shows and how the machine goes on.
    pub(crate) fn ends(&mut self, line: &str) -> (String, Option<Outcome>) {
        let mut terminal = Terminal::default();
        let outcome = self.session.execute(line, &mut self.machine, &mut terminal);
        assert!(terminal.shown.is_empty() || terminal.shown.ends_with('\n'), "{line:?}: {}", terminal.shown);
        (terminal.shown, outcome)
    }

    /// Types into the debugger until it lets the machine go.
    pub(crate) fn run(&mut self, keys: &str) -> (String, Outcome, Terminal) {
        let mut terminal = Terminal::typing(keys);
        let outcome = self.session.run(&mut self.machine, &mut terminal);
        (std::mem::take(&mut terminal.shown), outcome, terminal)
    }
}
