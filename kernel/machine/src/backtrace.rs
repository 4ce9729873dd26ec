//! Where code is, and who called it: `#1 0xffff80000003a1c4 at e1000::tx::encap+0x80 (drivers/e1000/src/tx.rs:120)`.
//!
//! Everything that names a place in the code uses this: panic and trap reports, the debugger, the watchdog, dumps. Callers are
//! found by saved frame pointers, with guarded reads, at most [`MAX_STEPS`] of them; a chain that does not lead upwards is torn and
//! ends there. A frame of the trap stubs is crossed: its registers say where the interrupted code was, on whatever stack.
//!
//! Context: any, NMI and panic included; takes no lock and allocates nothing.

use core::{fmt, mem::offset_of};

use symbols::{Location, Symbol};

use crate::{
    boot, paging,
    trap::{self, TrapFrame, probe},
};

/// The most frames of a backtrace.
pub const MAX_STEPS: usize = 48;

/// A place in the code; shown as `0x... at symbol+0xoff (file:line)`, or with its place in the kernel's file where no symbol is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    address: u64,
    /// How far behind the instruction in question the address is.
    behind: u64,
}

/// One step of a backtrace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Code that was running, or that waits for what it called.
    Code(Place),
    /// The trap stubs: the code of the next step was interrupted.
    Trap {
        /// The vector.
        vector: u8,
        /// The interrupted code's instruction pointer.
        rip: u64,
        /// Its stack pointer.
        rsp: u64,
        /// Its frame pointer.
        rbp: u64,
    },
}

/// The steps of a backtrace, the innermost first.
#[derive(Clone, Debug)]
pub struct Steps<R> {
    read: R,
    next: Next,
    left: usize,
    is_stub: fn(u64) -> bool,
}

/// What the next step is made of.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// This place, whose function has this frame pointer.
    Place(Place, u64),
    /// This place, whose function has no frame yet, or no more: the address it returns to, and that caller's frame pointer.
    Bare(Place, u64, u64),
    /// The caller of the function with this frame pointer.
    Caller(u64),
    /// What was interrupted when the stubs called the function with this frame pointer.
    Interrupted(u64),
    /// The chain has ended.
    Nothing,
}

impl Place {
    /// The instruction at `address`, to be executed or having trapped.
    #[must_use]
    pub const fn at(address: u64) -> Self {
        Self { address, behind: 0 }
    }

    /// The call that returns to `address`. It may be the last instruction of its function, so that the address is not in there.
    #[must_use]
    pub const fn calling(address: u64) -> Self {
        Self { address, behind: 1 }
    }

    /// Returns the address, as it was given.
    #[must_use]
    pub const fn address(self) -> u64 {
        self.address
    }

    /// Returns the function, and how far the address is behind its beginning.
    #[must_use]
    pub fn symbol(self) -> Option<Symbol<'static>> {
        let symbol = boot::symbols()?.lookup(self.in_file())?;
        Some(Symbol { offset: symbol.offset + self.behind, ..symbol })
    }

    /// Returns the source line.
    #[must_use]
    pub fn line(self) -> Option<Location<'static>> {
        boot::symbols()?.line(self.in_file())
    }

    fn in_file(self) -> u64 {
        self.address.wrapping_sub(self.behind).wrapping_sub(boot::image_offset())
    }

    /// Writes `symbol+0xoff`, or `image 0x...` where none is known.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_symbol(self, out: &mut dyn fmt::Write) -> fmt::Result {
        match self.symbol() {
            Some(symbol) => write!(out, "{}+{:#x}", symbol.name, symbol.offset),
            None => write!(out, "image {:#x}", self.address.wrapping_sub(boot::image_offset())),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(symbol) = self.symbol() else {
            return write!(f, "{:#x} (image {:#x})", self.address, self.address.wrapping_sub(boot::image_offset()));
        };
        write!(f, "{:#x} at {}+{:#x}", self.address, symbol.name, symbol.offset)?;
        match self.line() {
            Some(line) => write!(f, " ({line})"),
            None => Ok(()),
        }
    }
}

/// Writes a numbered line for the code at `ip`, then one for each of its callers, found from its frame pointer.
///
/// # Errors
/// Those of `out`.
pub fn write(out: &mut dyn fmt::Write, ip: u64, frame_pointer: u64) -> fmt::Result {
    write_steps(out, steps(ip, frame_pointer))
}

/// As [`write()`], for code that was stopped anywhere: at the very beginning or end of a function, the return address is still, or
/// again, on top of the stack, and the frame pointer is the caller's.
///
/// # Errors
/// Those of `out`.
pub fn write_stopped(out: &mut dyn fmt::Write, ip: u64, stack_pointer: u64, frame_pointer: u64) -> fmt::Result {
    let place = Place::at(ip);
    let octet = |address: u64| probe::read(address).map_or(0, |word| word.to_le_bytes()[0]);
    let offset = place.symbol().map(|symbol| symbol.offset);
    let above = bare_return(offset, octet(ip.wrapping_sub(1)), octet(ip));
    let back = above.and_then(|above| read_stack(stack_pointer.checked_add(above)?));
    let next = match back {
        Some(back) => Next::Bare(place, back, frame_pointer),
        None => Next::Place(place, frame_pointer),
    };
    write_steps(out, from(next))
}

/// Returns how far above the stack pointer the return address lies where there is no frame: before and behind `push rbp` at the
/// beginning of a function, and at its `ret`. `before` and `at` are the octets of code around the instruction pointer.
fn bare_return(offset: Option<u64>, before: u8, at: u8) -> Option<u64> {
    const PUSH_RBP: u8 = 0x55;
    const RET: u8 = 0xC3;
    match (offset, before, at) {
        (Some(0), _, PUSH_RBP) | (_, _, RET) => Some(0),
        (Some(1), PUSH_RBP, _) => Some(8),
        _ => None,
    }
}

/// Writes a numbered line for each caller of the function whose frame pointer this is (see [`crate::cpu::frame_pointer`]).
///
/// # Errors
/// Those of `out`.
pub fn write_callers(out: &mut dyn fmt::Write, frame_pointer: u64) -> fmt::Result {
    write_steps(out, from(Next::Caller(frame_pointer)))
}

/// Returns the steps from the code at `ip` outwards.
pub fn steps(ip: u64, frame_pointer: u64) -> Steps<fn(u64) -> Option<u64>> {
    from(Next::Place(Place::at(ip), frame_pointer))
}

fn from(next: Next) -> Steps<fn(u64) -> Option<u64>> {
    Steps { read: read_stack, next, left: MAX_STEPS, is_stub: trap::is_stub }
}

fn write_steps(out: &mut dyn fmt::Write, steps: impl Iterator<Item = Step>) -> fmt::Result {
    let mut number = 0;
    for step in steps {
        match step {
            Step::Code(place) => {
                writeln!(out, "#{number} {place}")?;
                number += 1;
            }
            Step::Trap { vector, rip, rsp, rbp } => {
                match trap::number(vector) {
                    Some(number) => write!(out, "--- trap {number}")?,
                    None => write!(out, "--- interrupt, vector {vector}")?,
                }
                writeln!(out, ", rip = {rip:#x}, rsp = {rsp:#x}, rbp = {rbp:#x} ---")?;
            }
        }
    }
    Ok(())
}

/// Reads a word of some stack. A damaged frame pointer may point anywhere: never into the views of device registers, where a read
/// can have effects.
fn read_stack(address: u64) -> Option<u64> {
    let may_be_device = (paging::PHYSICAL_BASE..paging::STACK_BASE).contains(&address);
    let is_canonical_high = address >= paging::LOADER_START && address.is_multiple_of(8);
    if may_be_device || !is_canonical_high {
        return None;
    }
    probe::read(address).ok()
}

impl<R: FnMut(u64) -> Option<u64>> Steps<R> {
    fn caller(&mut self, frame_pointer: u64) -> Option<Step> {
        let next = (self.read)(frame_pointer)?;
        let back = (self.read)(frame_pointer.checked_add(8)?)?;
        self.next = if (self.is_stub)(back) {
            Next::Interrupted(frame_pointer)
        } else if next > frame_pointer {
            Next::Caller(next)
        } else {
            // Stacks grow down, so each caller's frame lies higher; anything else is a torn chain.
            Next::Nothing
        };
        (back != 0).then_some(Step::Code(Place::calling(back)))
    }

    fn interrupted(&mut self, frame_pointer: u64) -> Option<Step> {
        // The called function pushed the frame pointer below the return address, and that lies below the saved registers.
        let frame = frame_pointer.checked_add(16)?;
        let mut word = |offset: usize| (self.read)(frame.checked_add(offset as u64)?);
        let rip = word(offset_of!(TrapFrame, rip))?;
        let rsp = word(offset_of!(TrapFrame, rsp))?;
        let rbp = word(offset_of!(TrapFrame, rbp))?;
        let vector = u8::try_from(word(offset_of!(TrapFrame, vector))?).ok()?;
        self.next = Next::Place(Place::at(rip), rbp);
        Some(Step::Trap { vector, rip, rsp, rbp })
    }
}

impl<R: FnMut(u64) -> Option<u64>> Iterator for Steps<R> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        self.left = self.left.checked_sub(1)?;
        match core::mem::replace(&mut self.next, Next::Nothing) {
            Next::Place(place, frame_pointer) => {
                self.next = Next::Caller(frame_pointer);
                Some(Step::Code(place))
            }
            Next::Bare(place, back, frame_pointer) => {
                self.next = Next::Place(Place::calling(back), frame_pointer);
                Some(Step::Code(place))
            }
            Next::Caller(frame_pointer) => self.caller(frame_pointer),
            Next::Interrupted(frame_pointer) => self.interrupted(frame_pointer),
            Next::Nothing => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, string::String, vec::Vec};

    use super::{MAX_STEPS, Next, Place, Step, Steps, bare_return, write_steps};

    const STUB: u64 = 0x5000;

    fn steps(memory: &[(u64, u64)], next: Next) -> Vec<Step> {
        let memory: BTreeMap<u64, u64> = memory.iter().copied().collect();
        let read = move |address| memory.get(&address).copied();
        Steps { read, next, left: MAX_STEPS, is_stub: |address| address == STUB }.collect()
    }

    fn calls(addresses: &[u64]) -> Vec<Step> {
        addresses.iter().map(|address| Step::Code(Place::calling(*address))).collect()
    }

    #[test]
    fn callers_are_followed_up_to_the_end_of_the_stack() {
        let memory = [(0x100, 0x140), (0x108, 0x1111), (0x140, 0x180), (0x148, 0x2222), (0x180, 0), (0x188, 0)];
        assert_eq!(steps(&memory, Next::Caller(0x100)), calls(&[0x1111, 0x2222]));
        let with_place = steps(&memory, Next::Place(Place::at(0x9999), 0x100));
        assert_eq!(with_place[0], Step::Code(Place::at(0x9999)));
        assert_eq!(with_place[1..], calls(&[0x1111, 0x2222]));
    }

    #[test]
    fn a_function_without_a_frame_yet_or_any_more_does_not_hide_its_caller() {
        let memory = [(0x100, 0x140), (0x108, 0x2222), (0x140, 0), (0x148, 0)];
        let all = steps(&memory, Next::Bare(Place::at(0x9999), 0x1111, 0x100));
        assert_eq!(all[0], Step::Code(Place::at(0x9999)));
        assert_eq!(all[1..], calls(&[0x1111, 0x2222]));
        assert_eq!(bare_return(Some(0), 0xCC, 0x55), Some(0), "before push rbp");
        assert_eq!(bare_return(Some(1), 0x55, 0x48), Some(8), "behind it");
        assert_eq!(bare_return(Some(99), 0x5D, 0xC3), Some(0), "at ret");
        assert_eq!(bare_return(Some(0), 0, 0x5D), None, "a label within a function");
        assert_eq!(bare_return(Some(7), 0x55, 0x48), None);
        assert_eq!(bare_return(None, 0x55, 0x55), None);
    }

    #[test]
    fn a_torn_chain_ends_where_it_does_not_lead_upwards_or_cannot_be_read() {
        assert_eq!(steps(&[], Next::Caller(0x100)), []);
        assert_eq!(steps(&[], Next::Caller(u64::MAX)), []);
        assert_eq!(steps(&[(0x100, 0x100), (0x108, 0x1111)], Next::Caller(0x100)), calls(&[0x1111]));
        assert_eq!(steps(&[(0x100, 0x80), (0x108, 0x1111), (0x80, 0x100)], Next::Caller(0x100)), calls(&[0x1111]));
        assert_eq!(steps(&[(0x100, 0x140), (0x108, 0x1111)], Next::Caller(0x100)), calls(&[0x1111]));
        assert_eq!(steps(&[(0x100, 0x140)], Next::Caller(0x100)), []);
    }

    #[test]
    fn an_endless_chain_is_cut() {
        let memory: Vec<(u64, u64)> =
            (0..1000).map(|n| (n * 8, if n % 2 == 0 { n * 8 + 16 } else { 0x1111 })).collect();
        assert_eq!(steps(&memory, Next::Caller(0)).len(), MAX_STEPS);
    }

    /// A handler at 0x100 that the stubs called, above whose frame are the registers of code on a stack further down.
    fn interrupted(vector: u64) -> Vec<(u64, u64)> {
        let frame = 0x110;
        let registers = [(8, 0x40), (15, vector), (17, 0x3333), (20, 0x30)];
        let registers = registers.map(|(index, value)| (frame + index * 8, value));
        [[(0x100, 0x40), (0x108, STUB), (0x40, 0), (0x48, 0x4444)].to_vec(), registers.to_vec()].concat()
    }

    #[test]
    fn a_trap_is_crossed_to_what_it_interrupted_on_whatever_stack() {
        let found = steps(&interrupted(14), Next::Caller(0x100));
        let trap = Step::Trap { vector: 14, rip: 0x3333, rsp: 0x30, rbp: 0x40 };
        let wanted = [calls(&[STUB]), [trap, Step::Code(Place::at(0x3333))].to_vec(), calls(&[0x4444])].concat();
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_trap_frame_that_cannot_be_one_ends_the_chain() {
        assert_eq!(steps(&interrupted(256), Next::Caller(0x100)), calls(&[STUB]));
        let mut cut = interrupted(14);
        cut.pop();
        assert_eq!(steps(&cut, Next::Caller(0x100)), calls(&[STUB]));
    }

    #[test]
    fn the_text_numbers_code_and_marks_traps() {
        let text = |vector| {
            let mut text = String::new();
            write_steps(&mut text, steps(&interrupted(vector), Next::Caller(0x100)).into_iter()).unwrap();
            text
        };
        let wanted = "#0 0x5000 (image 0x5000)\n--- trap 12, rip = 0x3333, rsp = 0x30, rbp = 0x40 ---\n\
                      #1 0x3333 (image 0x3333)\n#2 0x4444 (image 0x4444)\n";
        assert_eq!(text(14), wanted);
        assert!(text(0x31).contains("--- interrupt, vector 49, rip = 0x3333, rsp = 0x30, rbp = 0x40 ---\n"));
    }
}
