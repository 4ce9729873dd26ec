//! Breakpoints, steps and registers.

use core::{
    hint,
    sync::atomic::{AtomicUsize, Ordering},
};

use machine::{
    kdb::{self, BreakpointError, Reason, Resume},
    percpu,
};

use super::{PATIENCE, SEEN, check, prepare, verdict};
use crate::{
    crew,
    harness::{Outcome, Test},
};

pub(super) const TESTS: &[Test] = tests![
    a_breakpoint_shows_arguments_and_lets_go_on,
    a_breakpoint_stops_every_cpu_that_reaches_it,
    steps_pass_one_instruction_each,
    the_registers_to_go_on_with_can_be_changed,
];

/// What breakpoints are set on.
#[inline(never)]
pub(super) extern "C" fn target(argument: u64) -> u64 {
    hint::black_box(argument) + 1
}

fn call_target(argument: u64) -> u64 {
    let function: extern "C" fn(u64) -> u64 = hint::black_box(target);
    function(argument)
}

fn target_address() -> u64 {
    target as extern "C" fn(u64) -> u64 as usize as u64
}

fn a_breakpoint_shows_arguments_and_lets_go_on() -> Outcome {
    prepare(|world| {
        match world.reason() {
            Reason::Command if world.breakpoints().next().is_none() => {
                check(world.set_breakpoint(target_address()).is_ok());
                check(world.set_breakpoint(target_address()) == Err(BreakpointError::Exists));
                check(world.set_breakpoint(0x10) == Err(BreakpointError::Unmapped));
            }
            Reason::Command => check(world.clear_breakpoint(target_address())),
            Reason::Breakpoint => {
                let argument = world.frame(world.cpu()).map_or(0, |frame| frame.rdi);
                SEEN[0].fetch_add(argument, Ordering::Relaxed);
                check(world.frame(world.cpu()).is_some_and(|frame| frame.rip == target_address()));
            }
            _ => check(false),
        }
        Resume::Continue
    });
    kdb::enter(Reason::Command);
    let sum: u64 = (1..=10).map(call_target).sum();
    ensure!(sum == 65, "the function with a breakpoint computes {sum}");
    ensure!(SEEN[0].load(Ordering::Relaxed) == 55, "arguments add up to {}", SEEN[0].load(Ordering::Relaxed));
    kdb::enter(Reason::Command);
    ensure!(call_target(1) == 2, "the function is broken");
    verdict(12)
}

fn a_breakpoint_stops_every_cpu_that_reaches_it() -> Outcome {
    const CALLS: u64 = 25;
    prepare(|world| {
        match world.reason() {
            Reason::Command if world.breakpoints().next().is_none() => {
                check(world.set_breakpoint(target_address()).is_ok());
            }
            Reason::Command => check(world.clear_breakpoint(target_address())),
            Reason::Breakpoint => {
                if let Some(seen) = SEEN.get(world.cpu().index()) {
                    seen.fetch_add(1, Ordering::Relaxed);
                }
            }
            _ => check(false),
        }
        Resume::Continue
    });
    kdb::enter(Reason::Command);
    crew::everywhere(|_| check((0..CALLS).all(|number| call_target(number) == number + 1)), PATIENCE)?;
    kdb::enter(Reason::Command);
    for cpu in percpu::online() {
        let seen = SEEN.get(cpu.index()).map_or(CALLS, |seen| seen.load(Ordering::Relaxed));
        ensure!(seen == CALLS, "processor {cpu} was stopped {seen} times");
    }
    verdict(2 + CALLS as u32 * percpu::online().count() as u32)
}

/// Instructions of known lengths, among them some that read or write the flags.
#[unsafe(naked)]
extern "C" fn stepped() -> u64 {
    core::arch::naked_asm!(
        "nop",
        "mov eax, 5",
        "pushfq",
        "pop rdx",
        "cli",
        "nop",
        "sti",
        "add eax, 2",
        "pushfq",
        "pop rcx",
        "ret"
    );
}

static LENGTHS: [u64; 10] = [1, 5, 1, 1, 1, 1, 1, 3, 1, 1];
static STEPS: AtomicUsize = AtomicUsize::new(0);

fn steps_pass_one_instruction_each() -> Outcome {
    prepare(|world| {
        let frame = world.frame(world.cpu()).cloned().unwrap_or_default();
        let start = stepped as extern "C" fn() -> u64 as usize as u64;
        match world.reason() {
            Reason::Command if world.breakpoints().next().is_none() => {
                STEPS.store(0, Ordering::Relaxed);
                check(world.set_breakpoint(start).is_ok());
                return Resume::Continue;
            }
            Reason::Breakpoint => {
                check(frame.rip == start && frame.interrupts_enabled());
                check(world.clear_breakpoint(start));
            }
            Reason::Step => {
                let step = STEPS.load(Ordering::Relaxed);
                let passed: u64 = LENGTHS.iter().take(step).sum();
                if frame.rip != start + passed && SEEN[0].load(Ordering::Relaxed) == 0 {
                    SEEN[0].store(frame.rip.wrapping_sub(start), Ordering::Relaxed);
                    SEEN[1].store(step as u64, Ordering::Relaxed);
                }
                check(frame.rip == start + passed);
                check(frame.rflags & 1 << 8 == 0);
                // Between `cli` (the fifth) and `sti` (the seventh) interrupts are off.
                check(frame.interrupts_enabled() != (5..7).contains(&step));
                if step == 4 {
                    check(frame.rdx & (1 << 9 | 1 << 8) == 1 << 9);
                }
                if step == 10 {
                    check(frame.rax == 7 && frame.rcx & (1 << 9 | 1 << 8) == 1 << 9);
                    return Resume::Continue;
                }
            }
            _ => check(false),
        }
        STEPS.fetch_add(1, Ordering::Relaxed);
        Resume::Step
    });
    kdb::enter(Reason::Command);
    let result = stepped();
    let (offset, step) = (SEEN[0].load(Ordering::Relaxed), SEEN[1].load(Ordering::Relaxed));
    ensure!(offset == 0, "after step {step} the instruction at offset {offset:#x} is next");
    ensure!(result == 7, "the stepped function returns {result}");
    verdict(2 + 10)
}

fn the_registers_to_go_on_with_can_be_changed() -> Outcome {
    prepare(|world| {
        if world.reason() == Reason::Command && world.breakpoints().next().is_none() {
            check(world.set_breakpoint(target_address()).is_ok());
        } else if world.reason() == Reason::Breakpoint {
            let mut frame = world.frame(world.cpu()).cloned().unwrap_or_default();
            frame.rdi = 100;
            world.set_frame(frame);
            check(world.clear_breakpoint(target_address()));
        }
        Resume::Continue
    });
    kdb::enter(Reason::Command);
    let result = call_target(1);
    ensure!(result == 101, "the function was called with {}", result - 1);
    verdict(2)
}
