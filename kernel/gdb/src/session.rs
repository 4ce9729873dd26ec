//! One gdb from its first packet to its last, over any number of stops: [`Session`].
//!
//! What has to be remembered between two stops is little: whether gdb waits for the machine to stop, and whether it named processes as
//! well as threads when it introduced itself. At a stop that gdb waits for, a new protocol machine is told both in the packets that gdb
//! itself once sent, with its answers discarded, and then reports the stop.

use core::convert::Infallible;

use gdbstub::{
    common::Signal,
    conn::Connection,
    stub::{DisconnectReason, GdbStubBuilder, MultiThreadStopReason, state_machine::GdbStubStateMachine},
};

use crate::{Line, Machine, Outcome, Why, stub::Stub};

/// Octets of a packet at most; gdb is told, and keeps to it.
const PACKET_SIZE: usize = 4096;

/// How gdb introduces itself, and what it says if it names processes.
const INTRODUCTION: &[u8] = b"qSupported";
const NAMES_PROCESSES: &[u8] = b"multiprocess+";

/// The debugger's end of a session with gdb.
#[derive(Debug)]
pub struct Session {
    packet: [u8; PACKET_SIZE],
    memory: Memory,
}

/// What is kept from one stop to the next.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    /// gdb has let the machine go on and waits for it to stop.
    is_waiting: bool,
    names_processes: bool,
    /// How much of the two texts the octets that came last have matched.
    matched: [usize; 2],
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl Session {
    /// A session without gdb.
    #[must_use]
    pub const fn new() -> Self {
        Self { packet: [0; PACKET_SIZE], memory: Memory { is_waiting: false, names_processes: false, matched: [0; 2] } }
    }

    /// Returns whether gdb waits for the machine to stop.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.memory.is_waiting
    }

    /// Serves gdb at a stop until it lets the machine go on, or nobody wants to wait for it any longer.
    pub fn attend<M: Machine>(&mut self, why: Why, machine: &mut M, line: &mut impl Line) -> Outcome {
        let mut stub = Stub::new(machine);
        let mut report = self.memory.is_waiting.then_some(why);
        self.memory.is_waiting = false;
        // Each round is a protocol machine: the next one begins when a packet arrived damaged.
        loop {
            match round(&mut self.packet, &mut self.memory, report.take(), &mut stub, line) {
                Some(outcome) => {
                    self.memory.is_waiting = matches!(outcome, Outcome::Continue | Outcome::Step);
                    return outcome;
                }
                None => line.send(b'-'),
            }
        }
    }
}

/// The line, with a mute for answers to packets that gdb did not send now.
struct Wire<'l, L> {
    line: &'l mut L,
    is_mute: bool,
}

impl<L: Line> Connection for Wire<'_, L> {
    type Error = Infallible;

    fn write(&mut self, byte: u8) -> Result<(), Infallible> {
        if !self.is_mute {
            self.line.send(byte);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Runs one protocol machine; `None` when it gave up over a damaged packet.
fn round<M: Machine, L: Line>(
    packet: &mut [u8],
    memory: &mut Memory,
    report: Option<Why>,
    stub: &mut Stub<'_, M>,
    line: &mut L,
) -> Option<Outcome> {
    let wire = Wire { line, is_mute: true };
    let plain = GdbStubBuilder::new(wire).with_packet_buffer(packet).build().ok()?;
    let mut gdb = plain.run_state_machine(stub).ok()?;
    if memory.names_processes {
        // It was understood when gdb sent it; if not now, gdb is treated as one that never did.
        memory.names_processes = false;
        gdb = replay(gdb, b"$qSupported:multiprocess+#c6", stub)?;
        memory.names_processes = true;
    }
    if report.is_some() {
        gdb = replay(gdb, b"$vCont;c#a8", stub)?;
    }
    let mut gdb = unmuted(gdb);
    if let Some(why) = report
        && let GdbStubStateMachine::Running(running) = gdb
    {
        gdb = running.report_stop(stub, stop_reason(why, stub.own())).ok()?;
    }
    loop {
        gdb = match gdb {
            GdbStubStateMachine::Idle(mut idle) => {
                let Some(octet) = idle.borrow_conn().line.receive() else { return Some(Outcome::Abandoned) };
                memory.learn(octet);
                idle.incoming_data(stub, octet).ok()?
            }
            GdbStubStateMachine::Running(_) => {
                return Some(if stub.wants_step() { Outcome::Step } else { Outcome::Continue });
            }
            // The machine stands still already.
            GdbStubStateMachine::CtrlCInterrupt(asked) => {
                asked.interrupt_handled(stub, None::<MultiThreadStopReason<u64>>).ok()?
            }
            GdbStubStateMachine::Disconnected(gone) => {
                *memory = Memory::default();
                return Some(match gone.get_reason() {
                    DisconnectReason::Kill => Outcome::Killed,
                    _ => Outcome::Detached,
                });
            }
        }
    }
}

type Gdb<'a, 'l, 'm, M, L> = GdbStubStateMachine<'a, Stub<'m, M>, Wire<'l, L>>;

/// Tells the protocol machine a packet that gdb sent at an earlier stop.
fn replay<'a, 'l, 'm, M: Machine, L: Line>(
    mut gdb: Gdb<'a, 'l, 'm, M, L>,
    packet: &[u8],
    stub: &mut Stub<'m, M>,
) -> Option<Gdb<'a, 'l, 'm, M, L>> {
    for octet in packet {
        let GdbStubStateMachine::Idle(idle) = gdb else { return None };
        gdb = idle.incoming_data(stub, *octet).ok()?;
    }
    Some(gdb)
}

fn unmuted<'a, 'l, 'm, M: Machine, L: Line>(mut gdb: Gdb<'a, 'l, 'm, M, L>) -> Gdb<'a, 'l, 'm, M, L> {
    match &mut gdb {
        GdbStubStateMachine::Idle(idle) => idle.borrow_conn().is_mute = false,
        GdbStubStateMachine::Running(running) => running.borrow_conn().is_mute = false,
        // Neither of the packets leads there.
        GdbStubStateMachine::CtrlCInterrupt(_) | GdbStubStateMachine::Disconnected(_) => {}
    }
    gdb
}

fn stop_reason(why: Why, tid: gdbstub::common::Tid) -> MultiThreadStopReason<u64> {
    let signal = match why {
        Why::Breakpoint => return MultiThreadStopReason::SwBreak(tid),
        Why::Step => Signal::SIGTRAP,
        Why::Interrupt => Signal::SIGINT,
        Why::BadAccess => Signal::SIGSEGV,
        Why::BadInstruction => Signal::SIGILL,
        Why::Panic => Signal::SIGABRT,
    };
    MultiThreadStopReason::SignalWithThread { tid, signal }
}

impl Memory {
    /// Notices in what arrives how gdb introduces itself.
    fn learn(&mut self, octet: u8) {
        for (matched, text) in self.matched.iter_mut().zip([INTRODUCTION, NAMES_PROCESSES]) {
            if *matched < text.len() {
                let goes_on = text.get(*matched) == Some(&octet);
                *matched = if goes_on { *matched + 1 } else { usize::from(text.first() == Some(&octet)) };
            }
        }
        match octet {
            b'$' => self.matched = [0; 2],
            b'#' if self.matched[0] == INTRODUCTION.len() => {
                self.names_processes = self.matched[1] == NAMES_PROCESSES.len();
            }
            _ => {}
        }
    }
}
