//! One visit of the debugger: take the world, stop the others, ask the debugger, do what it says.
//!
//! Context: exception handlers, interrupts off, NMI included.

use super::{
    Debugger, Reason, Resume, WORLD, World, breakpoints, debugger, me, nmi,
    step::{self, Then},
    stop::{Claim, Purpose},
};
use crate::{cpu, reset, trap::TrapFrame};

core::arch::global_asm!(
    ".pushsection .text.sluice_kdb, \"ax\", @progbits",
    // rdi: the reason's number; the breakpoint handler recognises the address behind the instruction.
    ".global sluice_kdb_raise",
    "sluice_kdb_raise:",
    "push rbp",
    "mov rbp, rsp",
    "int3",
    ".global sluice_kdb_raised",
    "sluice_kdb_raised:",
    "pop rbp",
    "ret",
    ".popsection",
);

unsafe extern "C" {
    fn sluice_kdb_raise(reason: u64);
    static sluice_kdb_raised: u8;
}

/// Enters the debugger from code: by an exception, so that all registers are there. Interrupts off.
pub(super) fn raise(reason: Reason) {
    // SAFETY: changes no register but those a call may change.
    unsafe { sluice_kdb_raise(reason as u64) };
}

fn raised(frame: &TrapFrame) -> Option<Reason> {
    let here = (&raw const sluice_kdb_raised).addr() as u64;
    let reason = || Reason::ALL.into_iter().find(|reason| *reason as u64 == frame.rdi);
    (frame.rip == here).then(reason).flatten()
}

/// A breakpoint exception; false if nobody wants it.
pub(crate) fn on_breakpoint(frame: &mut TrapFrame) -> bool {
    if let Some(reason) = raised(frame) {
        return run(frame, reason);
    }
    let instruction = frame.rip.wrapping_sub(1);
    if breakpoints::contains(instruction) {
        // Executed again when the world goes on: its own octet is back by then.
        frame.rip = instruction;
    }
    run(frame, Reason::Breakpoint)
}

/// A debug exception: the end of a step, or an `icebp`; false if nobody wants it.
pub(crate) fn on_debug(frame: &mut TrapFrame) -> bool {
    if WORLD.is_mine(me())
        && let Some(then) = step::end(frame, true)
    {
        match (then, debugger()) {
            (Then::Stop, Some(debugger)) => attend(frame, Reason::Step, debugger),
            _ => leave(),
        }
        return true;
    }
    run(frame, Reason::Breakpoint)
}

/// The stepped instruction took an exception instead: its frame must not show the step.
pub(crate) fn abandon_step(frame: &mut TrapFrame) {
    if WORLD.is_mine(me()) {
        let _ = step::end(frame, false);
    }
}

/// Takes the world and runs the debugger in it. False if there is none, or the world is this CPU's already: something went wrong
/// in the debugger itself.
pub(crate) fn run(frame: &mut TrapFrame, reason: Reason) -> bool {
    let Some(debugger) = debugger() else { return false };
    loop {
        match WORLD.claim(me(), Purpose::Debugger) {
            Claim::Won => break,
            Claim::Nested(_) => return false,
            Claim::Lost(_) => nmi::hold(frame),
        }
        // A breakpoint that is still there is hit again; an NMI to all CPUs was meant for whoever came first.
        if reason == Reason::Nmi || (reason == Reason::Breakpoint && breakpoints::contains(frame.rip)) {
            return true;
        }
    }
    nmi::stop_others();
    breakpoints::remove();
    attend(frame, reason, debugger);
    true
}

/// Asks the debugger, with the world stopped and the code as compiled; returns with `frame` ready to go on with.
fn attend(frame: &mut TrapFrame, mut reason: Reason, debugger: Debugger) {
    loop {
        let mut world = World::new(reason, frame, "");
        match debugger(&mut world) {
            Resume::Reset => reset::restart(),
            Resume::Halt => cpu::halt_forever(),
            Resume::Step if step::begin(frame, Then::Stop) => return,
            Resume::Step => reason = Reason::Step,
            // The instruction under a breakpoint is stepped first, then the breakpoint goes back.
            Resume::Continue if breakpoints::contains(frame.rip) && step::begin(frame, Then::Continue) => return,
            Resume::Continue => return leave(),
        }
    }
}

/// Lets everybody go on.
fn leave() {
    breakpoints::insert();
    nmi::resume_others();
}
