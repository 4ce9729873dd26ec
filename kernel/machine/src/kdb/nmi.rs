//! The stopped world on this machine: who is asked by NMI, who answers, and what an NMI means.
//!
//! An NMI is a stop request (the world belongs to another CPU), a leftover of one, a park request of the shutdown ladder, or
//! somebody's finger on the button. Context: any, NMI included; nothing here takes a lock or waits without a bound.

use core::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use ksync::{cpu::CpuId, time::Instant};

use super::{
    WORLD, me,
    stop::{Claim, Purpose},
};
use crate::{
    apic, console, cpu, gdt, ipi, panic, percpu, time,
    trap::{self, TrapFrame},
};

/// How long the other CPUs have to confirm. An NMI is taken within microseconds; on an emulator, when the host gives the CPU's
/// thread time.
pub(crate) const STOP_LIMIT: Duration = Duration::from_millis(500);
/// Looks at the other CPUs before the wait ends on a machine whose clock does not run yet.
const STOP_LOOKS: u32 = 200_000_000;
/// When a CPU is asked again: one NMI is lost if it arrives while an exception handler is about to end, which defers to the handler.
const ASK_AGAIN: Duration = Duration::from_millis(5);
/// How long after the world goes on an NMI counts as a leftover of the stop.
const LEFTOVER: Duration = Duration::from_millis(100);

/// NMIs that arrived at the owner of the world, or too late.
static IGNORED: AtomicU64 = AtomicU64::new(0);

/// NMIs that meant nothing: a second press while the debugger runs, or a stop request that came too late.
#[must_use]
pub fn ignored() -> u64 {
    IGNORED.load(Ordering::Relaxed)
}

/// The other CPUs that run the kernel and are not parked by a shutdown (those run nothing any more).
pub(super) fn others(own: CpuId) -> impl Iterator<Item = CpuId> {
    percpu::online().filter(move |&cpu| cpu != own && !percpu::block(cpu).parked.load(Ordering::Acquire))
}

/// The other CPUs that have not confirmed the present stop.
pub(crate) fn missing(own: CpuId) -> impl Iterator<Item = CpuId> {
    others(own).filter(|&cpu| !WORLD.is_held(cpu))
}

/// Asks every other CPU to stop and waits for their confirmation, at most [`STOP_LIMIT`]. The owner of the world calls it; again,
/// it asks only those that are missing. Returns how many are.
pub(crate) fn stop_others() -> usize {
    let own = me();
    if !apic::ready() || missing(own).next().is_none() {
        return 0;
    }
    console::hush();
    let end = time::now() + STOP_LIMIT;
    let mut ask_again = Instant::ZERO;
    for _ in 0..STOP_LOOKS {
        let now = time::now();
        if missing(own).next().is_none() || now > end {
            break;
        }
        if now >= ask_again {
            for cpu in missing(own) {
                apic::local().send_nmi_from_anywhere(percpu::block(cpu).apic_id());
            }
            ask_again = now + ASK_AGAIN;
        }
        core::hint::spin_loop();
    }
    missing(own).count()
}

/// Stops every other CPU for a report, if no other CPU is doing that; returns how many are missing.
pub(crate) fn stop_for_good() -> usize {
    match WORLD.claim(me(), Purpose::Report) {
        Claim::Lost(_) => 0,
        Claim::Won | Claim::Nested(_) => stop_others(),
    }
}

/// Lets everybody go on.
pub(crate) fn resume_others() {
    let own = me();
    console::speak();
    WORLD.release(own, percpu::online(), (time::now() + LEFTOVER).as_nanos());
}

/// Waits if the world belongs to another CPU, with `frame` as this CPU's registers.
pub(crate) fn hold(frame: &TrapFrame) {
    WORLD.hold(me(), frame, || {
        if !panic::is_survivable() {
            cpu::halt_forever();
        }
    });
}

/// Decides what an NMI is; answers whether it has been dealt with. False: nobody asked for it.
pub(crate) fn arrived(frame: &mut TrapFrame) -> bool {
    let own = me();
    gdt::turn_nmi_stack(own, core::ptr::from_mut(frame).addr() as u64, frame.rsp);
    match WORLD.owner() {
        Some((owner, _)) if owner != own => {
            // A CPU that is about to report a trap of its own must come to write it down; it looks at the world itself.
            // The NMI itself counts as one.
            if percpu::this_block().exceptions() <= 1 && !trap::is_entering_exception(frame.rip) {
                hold(frame);
            }
            true
        }
        Some(_) => ignore(),
        None if ipi::is_parking() => ipi::park_here(),
        None if WORLD.is_leftover(own, time::now().as_nanos()) => ignore(),
        None => super::session::run(frame, super::Reason::Nmi),
    }
}

fn ignore() -> bool {
    // ORDERING: a statistic.
    IGNORED.fetch_add(1, Ordering::Relaxed);
    true
}
