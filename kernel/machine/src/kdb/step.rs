//! One instruction at a time: the trap flag, with the other CPUs stopped and interrupts held back.
//!
//! The stepped instruction runs with interrupts off, so that no handler runs in a stopped world; afterwards the flag is what the
//! instruction would have left. Two instructions are done for the processor: `hlt` would wait for ever, so it is passed
//! over, which is what a spurious wake-up does; and the trap after `sti` comes one instruction late on some
//! processors (QEMU's among them), because of its shadow. The rules are pure ([`Step`]), host-tested. Source: Intel SDM volume 3, 17.3.1.4.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::trap::{TrapFrame, probe};

const TRAP_FLAG: u64 = 1 << 8;
const INTERRUPT_FLAG: u64 = 1 << 9;

const HLT: u8 = 0xF4;
const STI: u8 = 0xFB;
const PUSHFQ: u8 = 0x9C;

/// What is done when the step is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Breakpoints go back in place and everybody goes on.
    Continue,
    /// The debugger is entered again.
    Stop,
}

/// A step under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    then: Then,
    opcode: u8,
    /// The interrupted code had interrupts on.
    interrupts: bool,
}

impl Step {
    /// As one word, never 0.
    const fn pack(self) -> u64 {
        1 | (self.then as u64) << 1 | (self.interrupts as u64) << 2 | (self.opcode as u64) << 8
    }

    const fn unpack(word: u64) -> Option<Self> {
        let then = if word & 2 == 0 { Then::Continue } else { Then::Stop };
        let step = Self { then, opcode: (word >> 8) as u8, interrupts: word & 4 != 0 };
        if word & 1 == 0 { None } else { Some(step) }
    }

    /// The flags to go on with after the instruction left `flags`.
    const fn flags_after(self, flags: u64) -> u64 {
        let flags = flags & !TRAP_FLAG;
        // cli, popfq and iretq say themselves whether interrupts are on.
        let decides = matches!(self.opcode, 0xFA | 0x9D | 0xCF);
        if self.interrupts && !decides { flags | INTERRUPT_FLAG } else { flags }
    }

    /// What `pushfq` would have pushed, had nobody stepped it.
    const fn pushed_flags(self, pushed: u64) -> u64 {
        let pushed = pushed & !TRAP_FLAG;
        if self.interrupts { pushed | INTERRUPT_FLAG } else { pushed }
    }
}

/// The step under way, packed; 0 without one. ORDERING: relaxed throughout, only the owner of the world touches it.
static STEP: AtomicU64 = AtomicU64::new(0);

/// Prepares `frame` to execute one instruction; answers whether it will trap again. False: the instruction was passed over, and
/// the step is done.
pub(super) fn begin(frame: &mut TrapFrame, then: Then) -> bool {
    let mut octets = [0; 2];
    let _ = probe::read_octets(frame.rip, &mut octets);
    if matches!(octets[0], HLT | STI) {
        frame.rip += 1;
        frame.rflags |= if octets[0] == STI { INTERRUPT_FLAG } else { 0 };
        return false;
    }
    // `iretq` is 48 CF: the prefix is looked through.
    let opcode = if octets == [0x48, 0xCF] { octets[1] } else { octets[0] };
    let step = Step { then, opcode, interrupts: frame.interrupts_enabled() };
    STEP.store(step.pack(), Ordering::Relaxed);
    frame.rflags = (frame.rflags | TRAP_FLAG) & !INTERRUPT_FLAG;
    true
}

/// Ends the step under way, if there is one: restores the flags and says what comes next. `trapped`: the instruction was executed.
pub(super) fn end(frame: &mut TrapFrame, trapped: bool) -> Option<Then> {
    let step = Step::unpack(STEP.swap(0, Ordering::Relaxed))?;
    frame.rflags = step.flags_after(frame.rflags);
    if step.opcode == PUSHFQ && trapped {
        let mut pushed = [0; 8];
        if probe::read_octets(frame.rsp, &mut pushed).is_ok() {
            let pushed = step.pushed_flags(u64::from_le_bytes(pushed));
            let _ = super::breakpoints::write(frame.rsp, &pushed.to_le_bytes());
        }
    }
    Some(step.then)
}

#[cfg(test)]
mod tests {
    use super::{INTERRUPT_FLAG, Step, TRAP_FLAG, Then};

    fn step(opcode: u8, interrupts: bool) -> Step {
        Step { then: Then::Stop, opcode, interrupts }
    }

    #[test]
    fn a_step_survives_its_word() {
        for then in [Then::Continue, Then::Stop] {
            for interrupts in [false, true] {
                let step = Step { then, opcode: 0x9C, interrupts };
                assert_eq!(Step::unpack(step.pack()), Some(step));
            }
        }
        assert_eq!(Step::unpack(0), None);
    }

    #[test]
    fn interrupts_come_back_unless_the_instruction_decided() {
        let nop = 0x90;
        assert_eq!(step(nop, true).flags_after(TRAP_FLAG | 2), INTERRUPT_FLAG | 2);
        assert_eq!(step(nop, false).flags_after(TRAP_FLAG | 2), 2);
        assert_eq!(step(0xFA, true).flags_after(TRAP_FLAG | 2), 2, "cli");
        assert_eq!(step(0x9D, false).flags_after(TRAP_FLAG | INTERRUPT_FLAG | 2), INTERRUPT_FLAG | 2, "popfq");
    }

    #[test]
    fn pushed_flags_do_not_show_the_debugger() {
        assert_eq!(step(0x9C, true).pushed_flags(TRAP_FLAG | 2), INTERRUPT_FLAG | 2);
        assert_eq!(step(0x9C, false).pushed_flags(TRAP_FLAG | 2), 2);
    }
}
