//! Interrupts between processors: reschedule, park, flush translations. What an NMI means is decided in [`crate::kdb`].
//!
//! A parked processor confirms by itself: it sets its own flag and never runs anything again. [`park_others`] names by APIC id
//! whoever did not confirm. Context: as each function says.

use core::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use alloc::vec::Vec;

use ksync::{Once, cpu::CpuId, irq::without_interrupts};

use crate::{
    apic::{self, Ipi, SendError, Target},
    cpu,
    irq::{self, vectors},
    kdb, paging,
    percpu::{self, CpuBlock},
    time,
};

/// Set once; from then on every park interrupt or NMI stops its processor.
static PARKING: AtomicBool = AtomicBool::new(false);
static RESCHEDULE_HOOK: Once<fn()> = Once::new();
/// Processors that have yet to flush, one bit each.
static FLUSH_PENDING: AtomicU64 = AtomicU64::new(0);
/// One flush at a time.
static FLUSH_BUSY: AtomicBool = AtomicBool::new(false);

/// Registers the vectors. Thread context at boot, once.
pub fn init() {
    irq::set_system_handler(vectors::RESCHEDULE, |_| {
        CpuBlock::bump(&percpu::this_block().ipis);
        if let Some(hook) = RESCHEDULE_HOOK.get() {
            hook();
        }
    });
    irq::set_system_handler(vectors::PARK, |_| park_if_asked());
    irq::set_system_handler(vectors::FLUSH, |_| {
        CpuBlock::bump(&percpu::this_block().ipis);
        flush_if_asked();
    });
    irq::set_system_handler(apic::SPURIOUS_VECTOR, |_| {});
    irq::set_system_handler(apic::ERROR_VECTOR, |_| {
        let errors = irq::take_apic_errors();
        log::warn!("apic: cpu {} reports errors {errors:#04x}", percpu::current_cpu());
    });
}

/// What the reschedule interrupt runs, in interrupt context; the first call wins. Without one it only ends a halt.
pub fn set_reschedule_hook(hook: fn()) {
    RESCHEDULE_HOOK.call_once(|| hook);
}

fn send(ipi: Ipi, target: Target) -> Result<(), SendError> {
    without_interrupts(|| apic::local().send(ipi, target))
}

/// Makes a processor look at its run queue. Any context but NMI.
pub fn reschedule(cpu: CpuId) {
    let id = percpu::block(cpu).apic_id();
    if id == percpu::NO_APIC_ID {
        return;
    }
    if let Err(error) = send(Ipi::Fixed(vectors::RESCHEDULE), Target::One(id)) {
        log::error!("ipi: cpu {cpu} cannot be reached: {error:?}");
    }
}

/// Interprocessor interrupts a processor has taken.
#[must_use]
pub fn received(cpu: CpuId) -> u64 {
    percpu::block(cpu).ipis.load(Ordering::Relaxed)
}

/// Stops this processor for good if a park was asked for. Interrupt or NMI context.
fn park_if_asked() {
    if PARKING.load(Ordering::Acquire) {
        park_here();
    }
}

/// Confirms and stops. Any context; never returns.
pub fn park_here() -> ! {
    // ORDERING: release pairs with the acquire in `missing`: what this processor did before it parked is done.
    percpu::this_block().parked.store(true, Ordering::Release);
    cpu::halt_forever()
}

/// Whether the shutdown ladder parks processors: then an NMI is its request.
pub(crate) fn is_parking() -> bool {
    // ORDERING: acquire pairs with the store in `park_others`.
    PARKING.load(Ordering::Acquire)
}

fn missing(own: CpuId) -> impl Iterator<Item = CpuId> {
    // ORDERING: acquire pairs with the release in `park_here`.
    percpu::online().filter(move |&cpu| cpu != own && !percpu::block(cpu).parked.load(Ordering::Acquire))
}

fn wait_for_parking(own: CpuId, limit: Duration) {
    let end = time::now() + limit;
    while missing(own).next().is_some() && time::now() < end {
        core::hint::spin_loop();
    }
}

/// The outcome of [`park_others`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// APIC ids of the processors that confirmed.
    pub confirmed: Vec<u32>,
    /// APIC ids of the processors that confirmed neither the interrupt nor the NMI.
    pub missing: Vec<u32>,
}

/// Stops every other processor: by interrupt, then by NMI for those still missing after half of `limit`. Thread context; the
/// caller's thread must not move from here on.
#[must_use]
pub fn park_others(limit: Duration) -> Parked {
    let own = percpu::current_cpu();
    PARKING.store(true, Ordering::Release);
    ask_to_park(own, Ipi::Fixed(vectors::PARK));
    wait_for_parking(own, limit / 2);
    ask_to_park(own, Ipi::Nmi);
    wait_for_parking(own, limit / 2);
    let id = |cpu| percpu::block(cpu).apic_id();
    let parked = |cpu: &CpuId| percpu::block(*cpu).parked.load(Ordering::Acquire);
    Parked {
        confirmed: percpu::online().filter(|cpu| *cpu != own && parked(cpu)).map(id).collect(),
        missing: missing(own).map(id).collect(),
    }
}

fn ask_to_park(own: CpuId, ipi: Ipi) {
    for cpu in missing(own) {
        // An error here shows as a missing processor, named by the caller.
        let _ = send(ipi, Target::One(percpu::block(cpu).apic_id()));
    }
}

/// Stops every other processor by NMI, for panics: takes no lock, allocates nothing, waits for a bounded time. Those that a
/// report has stopped already are not asked again. Returns how many did not confirm. Any context.
pub fn stop_others_by_nmi(_limit: Duration) -> usize {
    kdb::nmi::stop_for_good()
}

fn flush_if_asked() {
    let bit = 1u64 << (percpu::current_cpu().index() % 64);
    if FLUSH_PENDING.load(Ordering::Acquire) & bit != 0 {
        paging::flush_all();
        // ORDERING: release pairs with the acquire in `flush_everywhere`: the flush happened before the bit went.
        FLUSH_PENDING.fetch_and(!bit, Ordering::Release);
    }
}

/// Makes every processor forget its cached translations and waits until each has, at most `limit`. False if one did not.
///
/// Thread context, interrupts on (two processors flushing at once must serve each other).
pub fn flush_everywhere(limit: Duration) -> bool {
    paging::flush_all();
    let own = percpu::current_cpu();
    let end = time::now() + limit;
    while FLUSH_BUSY.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
        if time::now() > end {
            return false;
        }
        core::hint::spin_loop();
    }
    let others = percpu::online().filter(|&cpu| cpu != own);
    let waiting = others.fold(0u64, |bits, cpu| bits | 1 << (cpu.index() % 64));
    FLUSH_PENDING.store(waiting, Ordering::Release);
    for cpu in percpu::online().filter(|&cpu| cpu != own) {
        let _ = send(Ipi::Fixed(vectors::FLUSH), Target::One(percpu::block(cpu).apic_id()));
    }
    // ORDERING: acquire pairs with the release in `flush_if_asked`.
    while FLUSH_PENDING.load(Ordering::Acquire) != 0 && time::now() < end {
        core::hint::spin_loop();
    }
    let done = FLUSH_PENDING.swap(0, Ordering::AcqRel) == 0;
    FLUSH_BUSY.store(false, Ordering::Release);
    done
}
