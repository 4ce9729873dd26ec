//! Looking at a stopped world: what goes wrong in a view, and memory.

use core::{
    arch::asm,
    hint,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use ksync::{SpinLock, cpu::CpuId};
use machine::kdb::{self, Caught, Reason, Resume};

use super::{PATIENCE, STOP, breaks::target, check, prepare, stop_counting, verdict};
use crate::{
    crew,
    harness::{Outcome, Test},
};

pub(super) const TESTS: &[Test] =
    tests![a_view_that_faults_panics_or_wants_a_held_lock_is_an_error, memory_is_read_and_written_or_refused,];

static LOCK: SpinLock<u32> = SpinLock::new(0);
static HOLDS: AtomicBool = AtomicBool::new(false);

fn hold_the_lock(_: CpuId) {
    let mut guard = LOCK.lock();
    HOLDS.store(true, Ordering::Release);
    while !STOP.load(Ordering::Acquire) {
        hint::spin_loop();
    }
    *guard += 1;
}

/// Reads through a pointer that nothing is mapped at.
fn fault() -> u64 {
    let value: u64;
    // SAFETY: this faults, inside a guard.
    unsafe { asm!("mov {0}, [{1}]", out(reg) value, in(reg) 0x1234_u64) };
    value
}

fn a_view_that_faults_panics_or_wants_a_held_lock_is_an_error() -> Outcome {
    prepare(|world| {
        for _ in 0..50 {
            let caught = world.guard(fault);
            check(matches!(caught, Err(Caught::Fault { vector: 14, address: 0x1234, .. })));
            let caught = world.guard(|| panic!("the answer is {}", hint::black_box(42)));
            check(matches!(caught, Err::<(), _>(Caught::Panicked(text)) if text.as_str() == "the answer is 42"));
            let caught = world.guard(|| *LOCK.lock());
            check(caught == Err(Caught::Locked));
            check(world.guard(|| 7) == Ok(7));
        }
        Resume::Continue
    });
    STOP.store(false, Ordering::Release);
    HOLDS.store(false, Ordering::Release);
    crew::start(hold_the_lock);
    ensure!(crew::wait_until(PATIENCE, || HOLDS.load(Ordering::Acquire)), "nobody took the lock");
    kdb::enter(Reason::Command);
    stop_counting()?;
    ensure!(*LOCK.lock() > 0, "the holder lost its lock");
    *LOCK.lock() = 0;
    verdict(1)
}

fn memory_is_read_and_written_or_refused() -> Outcome {
    static WORD: AtomicU64 = AtomicU64::new(0x0102_0304_0506_0708);
    prepare(|world| {
        let at = WORD.as_ptr().addr() as u64;
        let mut octets = [0; 8];
        check(world.read(at, &mut octets).is_ok() && octets == [8, 7, 6, 5, 4, 3, 2, 1]);
        check(world.read(at + 1, &mut octets[..2]).is_ok() && octets[..2] == [7, 6]);
        check(world.write(at, &[0xAA, 0xBB]).is_ok());
        check(WORD.load(Ordering::Relaxed) == 0x0102_0304_0506_BBAA);
        for nowhere in [0, 0x1000, 0x8000_0000_0000_0000, u64::MAX - 3, 0xFFFF_E7FF_0000_0000] {
            check(world.read(nowhere, &mut octets).is_err());
            check(world.write(nowhere, &[0]).is_err());
        }
        // Code: written although no mapping allows it, and as before afterwards.
        let code = target as extern "C" fn(u64) -> u64 as usize as u64;
        let mut before = [0; 4];
        check(world.read(code, &mut before).is_ok());
        check(world.write(code, &[0x90; 4]).is_ok());
        let mut now = [0; 4];
        check(world.read(code, &mut now).is_ok() && now == [0x90; 4]);
        check(world.write(code, &before).is_ok());
        Resume::Continue
    });
    kdb::enter(Reason::Command);
    // Write protection is on again.
    // SAFETY: the page is read-only, so nothing is changed.
    let written = unsafe { machine::trap::probe::write(target as extern "C" fn(u64) -> u64 as usize as u64, 0x90) };
    ensure!(written.is_err(), "code can be written afterwards");
    verdict(1)
}
