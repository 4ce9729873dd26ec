//! What an event says about itself: its name, its counters, its strays.
//!
//! Interrupt context only counts; everything here runs in threads.

use alloc::vec::Vec;
use core::fmt::Write;

use ksync::{Held, atomic::Ordering, cpu::CpuId};

use crate::{IntrEvent, MAX_STRAY_LOG, Name, Notice, Scheduler, entry::HandlerStatistics};

/// The counters of one event, for `show intr`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventStatistics {
    /// The interrupt line.
    pub irq: u32,
    /// The name, `irq10: em0 em1`.
    pub description: Name,
    /// The CPU the event is bound to.
    pub cpu: Option<CpuId>,
    /// Interrupts received.
    pub interrupts: u64,
    /// Interrupts that no filter claimed.
    pub strays: u64,
    /// Interrupts that asked for the thread.
    pub scheduled: u64,
    /// Passes of the thread.
    pub passes: u64,
    /// Storms detected.
    pub storms: u64,
    /// Passes that were throttled.
    pub throttled: u64,
    /// The handlers.
    pub handlers: Vec<HandlerStatistics>,
}

/// Whether a thread may still have in hand what it took from a device that is empty now and gets nothing new: until the pass
/// is over that it was in when the device was found empty. Passes that begin later find nothing.
///
/// # Examples
/// ```
/// let mut hands = ithread::Hands::default();
/// assert!(hands.are_full(Some(7)), "in a pass when the device was found empty");
/// assert!(hands.are_full(Some(7)), "and still in that pass");
/// assert!(!hands.are_full(Some(9)), "another pass, of an interrupt that brought nothing");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hands {
    /// The device was not empty yet, when looked at last.
    #[default]
    Unknown,
    /// The pass in which the thread was when the device was found empty.
    In(u32),
    /// That pass is over, or there was none.
    Empty,
}

impl Hands {
    /// Takes a look; call it after the device was found empty, with what [`IntrEvent::pass_under_way`] says.
    #[must_use]
    pub fn are_full(&mut self, under_way: Option<u32>) -> bool {
        *self = match (*self, under_way) {
            (Self::Unknown, Some(pass)) => Self::In(pass),
            (Self::In(pass), Some(now)) if pass == now => Self::In(pass),
            _ => Self::Empty,
        };
        *self != Self::Empty
    }
}

impl<S: Scheduler> IntrEvent<S> {
    /// Returns the name as `irq10: em0 em1`; handlers that do not fit are shown as `+`.
    #[must_use]
    pub fn description(&self) -> Name {
        describe(self.irq, self.list.lock().entries.iter().map(|entry| entry.name))
    }

    /// Returns the counters without those of the handlers, which [`IntrEvent::handler`] has.
    ///
    /// # Errors
    /// [`Held`] if the event is locked by a CPU that has been stopped.
    ///
    /// # Context
    /// Any, also the debugger in a world that stands still; allocates nothing.
    pub fn look(&self) -> Result<EventStatistics, Held> {
        let (cpu, description) = {
            let list = self.list.look()?;
            (list.cpu, describe(self.irq, list.entries.iter().map(|entry| entry.name)))
        };
        Ok(self.count(cpu, description))
    }

    /// Returns the counters of the handler that is asked as the `place`th, from 0.
    ///
    /// # Errors
    /// [`Held`], as in [`IntrEvent::look`].
    ///
    /// # Context
    /// As [`IntrEvent::look`].
    pub fn handler(&self, place: usize) -> Result<Option<HandlerStatistics>, Held> {
        Ok(self.list.look()?.entries.get(place).map(|entry| entry.statistics()))
    }

    /// Returns the number of the pass that the thread is in, or `None`: then its handlers have nothing in hand. For [`Hands`].
    ///
    /// # Context
    /// Any; takes no lock.
    #[must_use]
    pub fn pass_under_way(&self) -> Option<u32> {
        // ORDERING: acquire pairs with the release at the end of a pass: who sees that it is over sees all it did. It begins
        // before its handlers take anything, and they publish what they took with release.
        let turn = self.turn.load(Ordering::Acquire);
        (turn % 2 == 1).then_some(turn)
    }

    /// Returns how many passes the thread has made, and whether it has work: a pass is due, or it is in one. For a
    /// watchdog: a thread that has work and stays at one pass does not get on.
    ///
    /// # Context
    /// Any; takes no lock.
    #[must_use]
    pub fn progress(&self) -> (u64, bool) {
        // ORDERING: relaxed, all of it; looked at again and again, and nothing is read through it.
        let is_alive = !self.dead.load(Ordering::Relaxed) && self.thread.get().is_some();
        let has_work = self.need.load(Ordering::Relaxed) || self.running.load(Ordering::Relaxed) != 0;
        (self.counters.passes.get(), is_alive && has_work)
    }

    /// Returns whether somebody holds the event's lock. Any context.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.list.is_held()
    }

    /// Shows the current description as the thread's name.
    pub(crate) fn show_description(&self) {
        if let Some(thread) = self.thread.get() {
            self.scheduler.rename(thread, &self.description());
        }
    }

    /// Reports the strays counted since the last call, each by name up to [`MAX_STRAY_LOG`], and then no more.
    ///
    /// # Context
    /// Thread context; call it now and then (interrupt context only counts).
    pub fn report_strays(&self) {
        let (told, total) = {
            let mut list = self.list.lock();
            let total = self.counters.strays.get();
            (core::mem::replace(&mut list.strays_told, total), total)
        };
        for _ in told..total.min(MAX_STRAY_LOG) {
            self.scheduler.notice(Notice::Stray { irq: self.irq });
        }
        if told <= MAX_STRAY_LOG && total > MAX_STRAY_LOG {
            self.scheduler.notice(Notice::StraySilenced { irq: self.irq });
        }
        if self.thread.get().is_none() && self.stray_storm.swap(false, Ordering::Relaxed) {
            self.scheduler.notice(Notice::StormMasked { description: &self.description() });
        }
    }

    /// Returns the counters.
    ///
    /// # Context
    /// Thread context; allocates.
    #[must_use]
    pub fn statistics(&self) -> EventStatistics {
        let cpu = self.list.lock().cpu;
        let handlers = self.entries().iter().map(|entry| entry.statistics()).collect();
        EventStatistics { handlers, ..self.count(cpu, self.description()) }
    }

    fn count(&self, cpu: Option<CpuId>, description: Name) -> EventStatistics {
        let counters = &self.counters;
        EventStatistics {
            irq: self.irq,
            description,
            cpu,
            interrupts: counters.interrupts.get(),
            strays: counters.strays.get(),
            scheduled: counters.scheduled.get(),
            passes: counters.passes.get(),
            storms: counters.storms.get(),
            throttled: counters.throttled.get(),
            handlers: Vec::new(),
        }
    }
}

fn describe(irq: u32, names: impl Iterator<Item = Name>) -> Name {
    let mut text = Name::new();
    let _ = write!(text, "irq{irq}:");
    for name in names {
        // Leave two places for the mark of overflow.
        if text.remaining_capacity() < name.len() + 3 {
            let _ = text.write_str(" +");
            break;
        }
        let _ = write!(text, " {name}");
    }
    text
}
