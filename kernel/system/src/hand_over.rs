//! How long after the boot loader's hand-over the router forwards: three lines on the console, in the guest's microseconds.
//!
//! - [`ready`]: every card's receiver is on, and everything that forwarding needs is there.
//! - [`FirstPacket`]: each forwarding thread looks after its passes, until one packet has left; [`say_first`] tells when that was.
//!
//! The host reads these lines, so their words are fixed. QEMU's e1000 takes in nothing
//! for a second after its receiver is switched on, whatever a driver does; a first packet there comes a second after [`ready`] at
//! the earliest. Context: thread.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use machine::{entry, time};
use router::Worker;

/// When the first packet left, in nanoseconds since the hand-over; 0 before.
static FIRST: AtomicU64 = AtomicU64::new(0);
static SAID: AtomicBool = AtomicBool::new(false);
/// [`ready`] has said its line, after which the other one may come.
static READY: AtomicBool = AtomicBool::new(false);

/// Says that from now on packets are forwarded.
pub(crate) fn ready() {
    let now = time::now();
    entry::mark("forwarding");
    if let Some(before) = entry::micros_before() {
        log::info!("boot: firmware and boot loader took {before} us before the kernel was entered");
    }
    log::info!("boot: ready to forward after {} us", now.as_nanos() / 1000);
    READY.store(true, Ordering::Relaxed);
}

/// A forwarding thread's watch for the first packet. Costs a pass one look at a flag of its own.
#[derive(Debug, Default)]
pub(crate) struct FirstPacket {
    seen: bool,
}

impl FirstPacket {
    /// To be called after a pass.
    #[inline]
    pub(crate) fn after_pass(&mut self, worker: &Worker) {
        if !self.seen {
            self.look(worker);
        }
    }

    #[cold]
    fn look(&mut self, worker: &Worker) {
        if worker.counters().fates().forwarded == 0 {
            return;
        }
        self.seen = true;
        // ORDERING: relaxed, here and below: one word that is written once.
        let _ = FIRST.compare_exchange(0, time::now().as_nanos().max(1), Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Says once when the first packet was forwarded, after [`ready`]. To be called now and then.
pub(crate) fn say_first() {
    let first = FIRST.load(Ordering::Relaxed);
    // ORDERING: relaxed, both: the log keeps the order of its lines, and a look too early is followed by another.
    if first != 0 && READY.load(Ordering::Relaxed) && !SAID.swap(true, Ordering::Relaxed) {
        log::info!("boot: first packet forwarded after {} us", first / 1000);
    }
}
