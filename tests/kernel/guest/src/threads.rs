//! Switching between stacks.

use alloc::format;

use ksync::{
    Once,
    atomic::{AtomicU32, Ordering},
};
use machine::{
    cpu,
    thread::{self, ThreadContext},
};

use crate::harness::{Outcome, Test};

pub(crate) const TESTS: &[Test] =
    tests![threads_take_turns_and_keep_what_they_hold, a_stack_comes_back_from_a_thread_that_never_ran];

static BOOT: Once<&'static ThreadContext> = Once::new();
static OTHER: Once<&'static ThreadContext> = Once::new();
static TURNS: AtomicU32 = AtomicU32::new(0);

/// Counts its turns in a variable on its own stack, and tells the count to the boot thread.
extern "C" fn counting(step: usize) -> ! {
    let mut turns = 0;
    loop {
        turns += step as u32;
        TURNS.store(turns, Ordering::Relaxed);
        if let (Some(other), Some(boot)) = (OTHER.get(), BOOT.get()) {
            thread::switch(other, boot);
        }
    }
}

fn threads_take_turns_and_keep_what_they_hold() -> Outcome {
    cpu::disable_interrupts();
    let boot = *BOOT.call_once(ThreadContext::boot);
    let other = ThreadContext::create(counting, 3).map_err(|error| format!("{error:?}"))?;
    let other = *OTHER.call_once(|| other);
    for turn in 1..=1000_u32 {
        thread::switch(boot, other);
        let turns = TURNS.load(Ordering::Relaxed);
        ensure!(turns == 3 * turn, "after {turn} turns the thread has counted {turns}");
    }
    Ok(())
}

fn a_stack_comes_back_from_a_thread_that_never_ran() -> Outcome {
    for _ in 0..200 {
        let never = ThreadContext::create(counting, 0).map_err(|error| format!("{error:?}"))?;
        never.release();
    }
    Ok(())
}
