//! The stopped world as the debugger's language wants it.
//!
//! What reads more than registers and single words runs under the world's guard, so that damaged memory, or a lock that a stopped CPU holds,
//! ends the answer and not the debugger.

use core::{
    fmt::{self, Write},
    ops::ControlFlow,
};

use arrayvec::ArrayString;
use cli::View;
use ddb::{Faulted, Found, Location, Outcome, Reason, Refusal, Registers, Symbol, Target, ThreadLine, Whom};
use ksync::cpu::CpuId;
use machine::{
    debug_port,
    kdb::{BreakpointError, Caught, Reason as Why, Resume, World},
    paging, percpu,
    trap::TrapFrame,
};
use sched::{Priority, ThreadState};

use super::{
    code::{self, Start},
    gdb,
};
use crate::{
    dump,
    threads::{self, ThreadLook},
    views,
};

/// The world, for the time of one stop.
pub(super) struct Stopped<'w, 'a> {
    world: &'w mut World<'a>,
}

impl<'w, 'a> Stopped<'w, 'a> {
    pub(super) fn new(world: &'w mut World<'a>) -> Self {
        Self { world }
    }

    /// Runs what writes an answer; what goes wrong in it becomes a refusal, with the details written.
    fn guarded(
        &mut self,
        out: &mut dyn Write,
        answer: impl FnOnce(&mut dyn Write) -> fmt::Result,
    ) -> Result<(), Refusal> {
        match self.world.guard(|| answer(out)) {
            Ok(written) => Ok(written?),
            Err(Caught::Locked) => Err(Refusal::Locked),
            Err(caught) => {
                writeln!(out, "\n{caught}")?;
                Err(Refusal::Faulted)
            }
        }
    }

    fn frame_of(&self, cpu: u16) -> Result<&TrapFrame, Refusal> {
        let known = percpu::online().any(|online| online.0 == cpu);
        let frame = self.world.frame(CpuId(cpu)).filter(|_| known);
        frame.ok_or(Refusal::Because("no such CPU, or it did not stop"))
    }

    /// Returns where a backtrace of `whom` begins.
    fn start_of(&self, whom: Whom) -> Result<Start, Refusal> {
        let look = match whom {
            Whom::Here => return self.start_on(self.cpu()),
            Whom::Cpu(cpu) => return self.start_on(cpu),
            Whom::Thread(id) => find(id)?,
        };
        match (look.context.saved(), look.cpu) {
            (Some(place), _) => {
                let (instruction, frame_pointer) = (place.instruction, place.frame_pointer);
                Ok(Start { instruction, frame_pointer, stack_pointer: None })
            }
            (None, Some(cpu)) if look.state == Some(ThreadState::Running) => self.start_on(cpu.0),
            _ => Err(Refusal::Because("the thread is being switched to or from")),
        }
    }

    fn start_on(&self, cpu: u16) -> Result<Start, Refusal> {
        let frame = self.frame_of(cpu)?;
        Ok(Start { instruction: frame.rip, frame_pointer: frame.rbp, stack_pointer: Some(frame.rsp) })
    }
}

/// Finds a thread by its number.
fn find(id: u32) -> Result<ThreadLook, Refusal> {
    for look in threads::all() {
        let look = look.map_err(|_| Refusal::Locked)?;
        if look.id.0 == id {
            return Ok(look);
        }
    }
    Err(Refusal::Because("no such thread"))
}

/// What a thread that does not run waits for, as far as its priority and state tell.
fn waits_for(look: &ThreadLook) -> &'static str {
    match (look.state, look.priority) {
        (Some(ThreadState::Sleeping), _) => "time",
        (Some(ThreadState::Parked), Priority::Interrupt) => "interrupt",
        (Some(ThreadState::Parked), Priority::Netisr) => "packets",
        (Some(ThreadState::Parked), _) => "wakeup",
        (Some(ThreadState::Ready), _) => "cpu",
        _ => "",
    }
}

/// A word of a table.
fn word(shown: impl fmt::Display) -> ArrayString<16> {
    let mut word = ArrayString::new();
    // What does not fit is cut; none of these words is that long.
    let _ = write!(word, "{shown}");
    word
}

fn registers(frame: &TrapFrame) -> Registers {
    // In the order of `Registers::NAMES`.
    Registers([
        frame.cs,
        frame.ss,
        frame.rax,
        frame.rcx,
        frame.rdx,
        frame.rbx,
        frame.rsp,
        frame.rbp,
        frame.rsi,
        frame.rdi,
        frame.r8,
        frame.r9,
        frame.r10,
        frame.r11,
        frame.r12,
        frame.r13,
        frame.r14,
        frame.r15,
        frame.rip,
        frame.rflags,
    ])
}

impl Target for Stopped<'_, '_> {
    fn reason(&self) -> Reason {
        match self.world.reason() {
            Why::Breakpoint => Reason::Breakpoint,
            Why::Step => Reason::Step,
            Why::Trap => Reason::Fatal("trap"),
            Why::Panic => Reason::Fatal("panic"),
            Why::Command | Why::BreakSequence => Reason::Asked("manual escape to debugger"),
            Why::Nmi => Reason::Asked("non-maskable interrupt"),
            Why::Watchdog => Reason::Asked("watchdog"),
        }
    }

    fn cpu(&self) -> u16 {
        self.world.cpu().0
    }

    fn registers(&self, cpu: u16) -> Option<Registers> {
        self.frame_of(cpu).ok().map(registers)
    }

    fn thread(&self, out: &mut dyn Write) -> fmt::Result {
        threads::write_name_on(self.world.cpu(), out)
    }

    fn read(&mut self, address: u64, out: &mut [u8]) -> Result<(), Faulted> {
        self.world.read(address, out).map_err(|_| Faulted)
    }

    fn symbol(&self, address: u64) -> Option<Symbol> {
        code::symbol(address)
    }

    fn find(&self, name: &str) -> Found {
        code::find(name)
    }

    fn location(&self, address: u64) -> Option<Location<'_>> {
        code::location(address)
    }

    fn threads(&mut self, visit: &mut dyn FnMut(&ThreadLine<'_>) -> ControlFlow<()>) -> Result<(), Refusal> {
        let current = self.cpu();
        for look in threads::all() {
            let look = look.map_err(|_| Refusal::Locked)?;
            let running = look.state == Some(ThreadState::Running);
            let line = ThreadLine {
                id: look.id.0,
                cpu: look.cpu.map_or(u16::MAX, |cpu| cpu.0),
                priority: &word(look.priority),
                state: &look.state.map_or_else(|| word("locked"), word),
                waits_for: waits_for(&look),
                name: look.name.as_deref().unwrap_or("?"),
                current: running && look.cpu.is_some_and(|cpu| cpu.0 == current),
            };
            if visit(&line).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn trace(&mut self, whom: Whom, out: &mut dyn Write) -> Result<(), Refusal> {
        let start = self.start_of(whom)?;
        self.guarded(out, |out| code::backtrace(out, start))
    }

    fn view(&mut self, view: View, out: &mut dyn Write) -> Result<(), Refusal> {
        self.guarded(out, |out| views::show(view, out))
    }

    fn set_break(&mut self, address: u64) -> Result<(), Refusal> {
        if !paging::is_executable(address) {
            return Err(Refusal::Because("there is no code there"));
        }
        self.world.set_breakpoint(address).map_err(|error| {
            Refusal::Because(match error {
                BreakpointError::Full => "all breakpoints are in use",
                BreakpointError::Exists => "there is a breakpoint already",
                BreakpointError::Unmapped => "nothing is mapped there",
                BreakpointError::Own => "the debugger is entered through this code",
            })
        })
    }

    fn clear_break(&mut self, address: u64) -> Result<(), Refusal> {
        if self.world.clear_breakpoint(address) { Ok(()) } else { Err(Refusal::Because("no breakpoint there")) }
    }

    fn break_at(&self, index: usize) -> Option<u64> {
        self.world.breakpoints().nth(index)
    }

    fn dump(&mut self, range: Option<(u32, u32)>, out: &mut dyn Write) -> Result<(), Refusal> {
        let Some((first, last)) = range else {
            let sent = dump::take(self.world);
            return Ok(writeln!(out, "dump: {sent}")?);
        };
        match dump::send_again(self.world, first, last) {
            (0, _) => Err(Refusal::Because("no dump in memory has these lines; `dump` makes one")),
            (lines, took) => Ok(writeln!(out, "dump: {lines} lines sent again in {} ms", took.as_millis())?),
        }
    }

    fn gdb(&mut self, _: &mut dyn Write) -> Result<Option<Outcome>, Refusal> {
        if debug_port::port().is_none() {
            return Err(Refusal::Because("no second serial line"));
        }
        Ok(gdb::serve(self.world).map(|resume| match resume {
            Resume::Continue => Outcome::Continue,
            Resume::Step => Outcome::Step,
            Resume::Reset => Outcome::Reset,
            Resume::Halt => Outcome::Halt,
        }))
    }
}
