//! Stopping the world: one CPU owns it, the others wait with their registers kept.
//!
//! The owner is decided by one compare-and-swap on [`Stopper`]'s word, which also counts the generations of ownership. A CPU that
//! is asked (by NMI), or that finds the world taken when it traps or panics itself, leaves a copy of its registers in its block, confirms with the
//! generation, and waits until the word changes. So a confirmation of an earlier stop is never taken for one of this.
//!
//! Pure but for the spinning, host-tested with threads as CPUs; [`super::nmi`] connects it to the hardware. Context: any.

use core::{
    cell::UnsafeCell,
    sync::atomic::{AtomicU64, Ordering},
};

use ksync::cpu::{CpuId, MAX_CPUS};

use crate::trap::TrapFrame;

/// What the world is stopped for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A debugger looks at it; it will go on.
    Debugger,
    /// A trap or panic is reported; it will not.
    Report,
}

/// The outcome of [`Stopper::claim`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The world is ours.
    Won,
    /// It is ours already: something went wrong while we had it.
    Nested(Purpose),
    /// It belongs to another CPU.
    Lost(Purpose),
}

/// The word: generation in the upper half, purpose, and the owner's number plus one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word {
    generation: u32,
    owner: Option<(CpuId, Purpose)>,
}

const REPORT_BIT: u64 = 1 << 16;

impl Word {
    const fn pack(self) -> u64 {
        let owner = match self.owner {
            None => 0,
            Some((cpu, Purpose::Debugger)) => cpu.0 as u64 + 1,
            Some((cpu, Purpose::Report)) => REPORT_BIT | (cpu.0 as u64 + 1),
        };
        (self.generation as u64) << 32 | owner
    }

    const fn unpack(word: u64) -> Self {
        let purpose = if word & REPORT_BIT != 0 { Purpose::Report } else { Purpose::Debugger };
        let owner = match (word & 0xFFFF) as u16 {
            0 => None,
            number => Some((CpuId(number - 1), purpose)),
        };
        Self { generation: (word >> 32) as u32, owner }
    }

    /// What a CPU's state reads when it has confirmed this generation; never 0.
    const fn confirmation(self) -> u64 {
        self.generation as u64 + 1
    }
}

/// A CPU as the stopped world knows it.
#[derive(Debug)]
#[repr(align(128))]
struct Held {
    /// 0 while it runs; generation plus one once it has confirmed.
    state: AtomicU64,
    /// Its registers; written by itself before it confirms, read by the owner after that.
    frame: UnsafeCell<TrapFrame>,
    /// Until when (nanoseconds since boot) an NMI is a leftover of a stop.
    leftover_until: AtomicU64,
}

// SAFETY: `frame` is written by the CPU it belongs to while its state does not confirm the current generation, and read by the
// owner while it does; the state's release and acquire order the two.
unsafe impl Sync for Held {}

/// Who owns the world, and everybody's registers.
#[derive(Debug)]
pub(crate) struct Stopper {
    word: AtomicU64,
    held: [Held; MAX_CPUS],
}

impl Held {
    const fn new() -> Self {
        Self { state: AtomicU64::new(0), frame: UnsafeCell::new(TrapFrame::empty()), leftover_until: AtomicU64::new(0) }
    }
}

impl Stopper {
    pub(crate) const fn new() -> Self {
        Self { word: AtomicU64::new(0), held: [const { Held::new() }; MAX_CPUS] }
    }

    fn word(&self) -> Word {
        // ORDERING: acquire pairs with the releases in `claim` and `release`.
        Word::unpack(self.word.load(Ordering::Acquire))
    }

    fn held(&self, cpu: CpuId) -> &Held {
        &self.held[cpu.index() % MAX_CPUS]
    }

    /// Tries to become the owner.
    pub(crate) fn claim(&self, me: CpuId, purpose: Purpose) -> Claim {
        loop {
            let word = self.word();
            match word.owner {
                Some((owner, held)) if owner == me => return Claim::Nested(held),
                Some((_, held)) => return Claim::Lost(held),
                None => {}
            }
            let next = Word { owner: Some((me, purpose)), ..word };
            // ORDERING: acquire-release: one winner, who sees what earlier owners wrote.
            if self.word.compare_exchange(word.pack(), next.pack(), Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return Claim::Won;
            }
        }
    }

    /// Turns the owner's debugging into a report: from here on nobody goes on.
    pub(crate) fn turn_into_report(&self, me: CpuId) {
        let word = self.word();
        if word.owner.is_some_and(|(owner, _)| owner == me) {
            // ORDERING: release; only the owner writes the word while there is one.
            self.word.store(Word { owner: Some((me, Purpose::Report)), ..word }.pack(), Ordering::Release);
        }
    }

    /// Gives the world back: everybody goes on. An NMI may still be on its way to one of `cpus`; until `leftovers_until`
    /// (nanoseconds since boot) it means nothing.
    pub(crate) fn release(&self, me: CpuId, cpus: impl Iterator<Item = CpuId>, leftovers_until: u64) {
        let word = self.word();
        if word.owner.is_none_or(|(owner, _)| owner != me) {
            return;
        }
        for cpu in cpus {
            // ORDERING: relaxed; published by the release below.
            self.held(cpu).leftover_until.store(leftovers_until, Ordering::Relaxed);
        }
        let next = Word { generation: word.generation.wrapping_add(1), owner: None };
        // ORDERING: release pairs with the acquire in `hold`: memory the owner changed is seen by whoever goes on.
        self.word.store(next.pack(), Ordering::Release);
    }

    /// Returns the owner and its purpose.
    pub(crate) fn owner(&self) -> Option<(CpuId, Purpose)> {
        self.word().owner
    }

    /// Whether `me` owns the world.
    pub(crate) fn is_mine(&self, me: CpuId) -> bool {
        self.owner().is_some_and(|(owner, _)| owner == me)
    }

    /// Whether `cpu` has confirmed the present stop.
    pub(crate) fn is_held(&self, cpu: CpuId) -> bool {
        let word = self.word();
        // ORDERING: acquire pairs with the release in `hold`: its registers are written.
        word.owner.is_some() && self.held(cpu).state.load(Ordering::Acquire) == word.confirmation()
    }

    /// The registers of a CPU that has confirmed. For the owner of the world, which keeps the borrow no longer than its ownership.
    pub(crate) fn frame(&self, cpu: CpuId) -> Option<&TrapFrame> {
        // SAFETY: the CPU has confirmed this generation and does not write its frame again before the word changes; the only
        // one to change it is the owner, our caller.
        self.is_held(cpu).then(|| unsafe { &*self.held(cpu).frame.get() })
    }

    /// Waits while another CPU owns the world; `for_ever` is what a CPU does when the owner reports a crash, and may return.
    pub(crate) fn hold(&self, me: CpuId, frame: &TrapFrame, for_ever: impl Fn()) {
        let held = self.held(me);
        loop {
            // ORDERING: acquire pairs with the release in `release`.
            let seen = self.word.load(Ordering::Acquire);
            let word = Word::unpack(seen);
            let Some((_, purpose)) = word.owner.filter(|(owner, _)| *owner != me) else { break };
            if held.state.load(Ordering::Relaxed) != word.confirmation() {
                // SAFETY: this CPU's own frame, and it has not confirmed this generation: nobody reads it.
                unsafe { *held.frame.get() = frame.clone() };
                // ORDERING: release pairs with the acquire in `is_held`: the frame is complete.
                held.state.store(word.confirmation(), Ordering::Release);
            }
            if purpose == Purpose::Report {
                for_ever();
            }
            while self.word.load(Ordering::Relaxed) == seen {
                core::hint::spin_loop();
            }
        }
        // ORDERING: relaxed; the confirmation names a generation that is over.
        held.state.store(0, Ordering::Relaxed);
    }

    /// Whether an NMI at `now` on `cpu` is one that a stop sent too late.
    pub(crate) fn is_leftover(&self, cpu: CpuId, now: u64) -> bool {
        // ORDERING: relaxed; a time.
        now < self.held(cpu).leftover_until.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
