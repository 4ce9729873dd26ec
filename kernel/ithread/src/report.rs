//! What an event says about itself: its name, its counters, its strays.
//!
//! Interrupt context only counts; everything here runs in threads.

use alloc::vec::Vec;
use core::fmt::Write;

use ksync::{atomic::Ordering, cpu::CpuId};

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

impl<S: Scheduler> IntrEvent<S> {
    /// Returns the name as `irq10: em0 em1`; handlers that do not fit are shown as `+`.
    #[must_use]
    pub fn description(&self) -> Name {
        let mut text = Name::new();
        let _ = write!(text, "irq{}:", self.irq);
        for entry in &self.entries() {
            // Leave two places for the mark of overflow.
            if text.remaining_capacity() < entry.name.len() + 3 {
                let _ = text.write_str(" +");
                break;
            }
            let _ = write!(text, " {}", entry.name);
        }
        text
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
        let counters = &self.counters;
        let cpu = self.list.lock().cpu;
        EventStatistics {
            irq: self.irq,
            description: self.description(),
            cpu,
            interrupts: counters.interrupts.get(),
            strays: counters.strays.get(),
            scheduled: counters.scheduled.get(),
            passes: counters.passes.get(),
            storms: counters.storms.get(),
            throttled: counters.throttled.get(),
            handlers: self.entries().iter().map(|entry| entry.statistics()).collect(),
        }
    }
}
