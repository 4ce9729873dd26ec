//! The interrupt event: handlers of one source, and its interrupt-context half.
//!
//! Everything that decides between "masked" and "unmasked" happens under the event's one lock: asking the filters and masking, the
//! thread's unmasking, adding and removing handlers. So once a teardown has taken the handlers off the list under that lock, no
//! filter runs and no unmask follows. What the thread is told travels by flags (`need`, `changed`, `dying`) outside the lock.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::fmt::{self, Write};

use ksync::{
    Once, SpinLock,
    atomic::{AtomicBool, AtomicU32, Ordering},
    counter::Counter,
    cpu::CpuId,
    time::Instant,
};

use crate::{
    DEFAULT_STORM_THRESHOLD, Error, Filter, FilterResult, Handler, LineControl, MAX_STRAY_LOG, Name, Notice, Scheduler,
    TICK,
    entry::{Entry, HandlerId, HandlerStatistics, State},
    thread::Ithread,
};

/// An interrupt source with its handlers and its thread.
pub struct IntrEvent<S: Scheduler> {
    pub(crate) irq: u32,
    pub(crate) line: Arc<dyn LineControl>,
    pub(crate) scheduler: S,
    /// Protects: the handler list and the mask state of the line; held across: the filters.
    pub(crate) list: SpinLock<List>,
    pub(crate) thread: Once<S::Thread>,
    /// A pass is due. Stored after the line was masked, taken by the thread before it runs the handlers.
    pub(crate) need: AtomicBool,
    /// Newcomers wait, or an entry changed its state; the thread looks.
    pub(crate) changed: AtomicBool,
    /// The thread must leave.
    pub(crate) dying: AtomicBool,
    /// The thread has left: its last store.
    pub(crate) dead: AtomicBool,
    /// Interrupt context has seen too many strays in a row.
    pub(crate) stray_storm: AtomicBool,
    /// The thread is throttling: any stray masks the line at once.
    pub(crate) throttled: AtomicBool,
    /// Threads that wait for an acknowledgement.
    pub(crate) waiters: SpinLock<Vec<S::Thread>>,
    /// The handler the thread is in, plus one; 0 outside.
    pub(crate) running: AtomicU32,
    storm_threshold: AtomicU32,
    pub(crate) counters: Counters,
}

/// What the event's lock protects.
pub(crate) struct List {
    /// The handlers in the order they are asked. Replaced as a whole; built and freed outside the lock.
    pub(crate) entries: Box<[Arc<Entry>]>,
    /// Threaded halves on their way to the thread.
    pub(crate) newcomers: Vec<(Arc<Entry>, Box<dyn Handler>)>,
    pub(crate) dying: bool,
    /// Somebody is starting the thread.
    starting: bool,
    next_id: u32,
    cpu: Option<CpuId>,
    stray_run: u32,
    last_stray: Instant,
    strays_told: u64,
}

impl List {
    /// Whether any handler may be asked.
    pub(crate) fn has_active(&self) -> bool {
        self.entries.iter().any(|entry| entry.state() == State::Active)
    }
}

#[derive(Default)]
pub(crate) struct Counters {
    // Written under the lock.
    interrupts: Counter,
    strays: Counter,
    scheduled: Counter,
    // Written by the thread.
    pub(crate) passes: Counter,
    pub(crate) storms: Counter,
    pub(crate) throttled: Counter,
}

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

/// What an interrupt amounted to; decided under the lock.
enum Verdict {
    Schedule,
    Acknowledge,
}

impl<S: Scheduler> IntrEvent<S> {
    /// Returns an event without handlers; its line stays masked until the first one comes.
    ///
    /// # Context
    /// Thread context; allocates.
    pub fn new(irq: u32, line: Arc<dyn LineControl>, scheduler: S) -> Arc<Self> {
        Arc::new(Self {
            irq,
            line,
            scheduler,
            list: SpinLock::new(List {
                entries: Box::default(),
                newcomers: Vec::new(),
                dying: false,
                starting: false,
                next_id: 0,
                cpu: None,
                stray_run: 0,
                last_stray: Instant::ZERO,
                strays_told: 0,
            }),
            thread: Once::new(),
            need: AtomicBool::new(false),
            changed: AtomicBool::new(false),
            dying: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            stray_storm: AtomicBool::new(false),
            throttled: AtomicBool::new(false),
            waiters: SpinLock::new(Vec::new()),
            running: AtomicU32::new(0),
            storm_threshold: AtomicU32::new(DEFAULT_STORM_THRESHOLD),
            counters: Counters::default(),
        })
    }

    /// Takes one interrupt: asks the filters, masks and schedules as they answer, acknowledges.
    ///
    /// # Context
    /// Interrupt context (any CPU); does not allocate, log or park.
    pub fn handle(&self) {
        let verdict = self.ask_filters();
        self.line.eoi(self.irq);
        if let (Verdict::Schedule, Some(thread)) = (verdict, self.thread.get()) {
            self.scheduler.unpark(thread);
        }
    }

    fn ask_filters(&self) -> Verdict {
        let mut list = self.list.lock();
        self.counters.interrupts.bump();
        let (mut claimed, mut schedule) = (false, false);
        for entry in &list.entries {
            match entry.ask() {
                FilterResult::Stray => {}
                FilterResult::Handled => claimed = true,
                FilterResult::ScheduleThread => {
                    claimed = true;
                    schedule |= entry.threaded;
                }
            }
        }
        if !claimed {
            schedule = self.note_stray(&mut list);
        } else {
            list.stray_run = 0;
        }
        if !schedule {
            return Verdict::Acknowledge;
        }
        // The mask comes before `need`: in the other order the thread could take `need`, serve and unmask in between, and our late mask
        // would silence the line for good.
        self.line.mask(self.irq);
        self.counters.scheduled.bump();
        self.request_pass();
        Verdict::Schedule
    }

    /// Counts an interrupt that nobody claimed; returns whether the thread has to throttle the line.
    fn note_stray(&self, list: &mut List) -> bool {
        self.counters.strays.bump();
        if !list.has_active() {
            // Nobody can quiet the source: an event without live handlers stays masked.
            self.line.mask(self.irq);
            return false;
        }
        let now = self.scheduler.now();
        let back_to_back = now.saturating_duration_since(list.last_stray) < TICK;
        list.last_stray = now;
        list.stray_run = if back_to_back { list.stray_run.saturating_add(1) } else { 1 };
        let threshold = self.storm_threshold();
        let storm = threshold != 0 && list.stray_run > threshold;
        if !storm && !self.throttled.load(Ordering::Relaxed) {
            return false;
        }
        list.stray_run = 0;
        // ORDERING: relaxed; the release of `need` that follows publishes it to the thread.
        self.stray_storm.store(true, Ordering::Relaxed);
        if self.thread.get().is_none() {
            self.line.mask(self.irq);
        }
        self.thread.get().is_some()
    }

    /// Says that a pass is due.
    pub(crate) fn request_pass(&self) {
        // ORDERING: release pairs with the acquire swap in the thread's loop: requests of entries made before are seen in that pass.
        // A swap rather than a store: read-modify-writes have one order, so no request can slip behind the thread's own reset.
        self.need.swap(true, Ordering::Release);
    }

    /// Adds a handler with a threaded part, starting the event's thread if it has none.
    ///
    /// The line is unmasked when this returns, thus the filter may be called before.
    ///
    /// # Errors
    /// [`Error::Dying`] after a quiesce, [`Error::NoThread`] if none can be started; the handler is dropped.
    ///
    /// # Context
    /// Thread context; allocates.
    pub fn add_handler(
        self: &Arc<Self>,
        name: &str,
        filter: Box<dyn Filter>,
        handler: Box<dyn Handler>,
    ) -> Result<HandlerId, Error> {
        self.start_thread()?;
        self.add(name, filter, Some(handler))
    }

    /// Adds a handler that lives in interrupt context only; its filter answers `Handled` or `Stray`.
    ///
    /// # Errors
    /// [`Error::Dying`] after a quiesce.
    ///
    /// # Context
    /// Thread context; allocates.
    pub fn add_filter(&self, name: &str, filter: Box<dyn Filter>) -> Result<HandlerId, Error> {
        self.add(name, filter, None)
    }

    fn add(&self, name: &str, filter: Box<dyn Filter>, handler: Option<Box<dyn Handler>>) -> Result<HandlerId, Error> {
        let id = {
            let mut list = self.list.lock();
            list.next_id += 1;
            HandlerId(list.next_id)
        };
        let entry = Arc::new(Entry::new(id, name, filter, handler.is_some()));
        let mut newcomer = handler.map(|handler| (entry.clone(), handler));
        self.replace_entries(
            |old| {
                let mut entries = old.to_vec();
                entries.push(entry.clone());
                entries
            },
            |list| {
                if list.dying {
                    return Err(Error::Dying);
                }
                list.newcomers.extend(newcomer.take());
                Ok(())
            },
        )?;
        self.wake_for_change();
        self.show_description();
        Ok(id)
    }

    /// Replaces the handler list: builds the new one outside the lock and starts over if another writer was faster.
    ///
    /// `commit` runs under the lock, may still refuse, and is followed by the line's new mask state.
    pub(crate) fn replace_entries(
        &self,
        build: impl Fn(&[Arc<Entry>]) -> Vec<Arc<Entry>>,
        commit: impl FnOnce(&mut List) -> Result<(), Error>,
    ) -> Result<(), Error> {
        loop {
            let seen = self.entries();
            let mut fresh = build(&seen).into_boxed_slice();
            let mut room = Vec::with_capacity(fresh.len());
            let mut list = self.list.lock();
            let same = |(a, b): (&Arc<Entry>, &Arc<Entry>)| Arc::ptr_eq(a, b);
            if list.entries.len() != seen.len() || !list.entries.iter().zip(&seen).all(same) {
                continue;
            }
            // Every newcomer is on the list, so the room made outside the lock suffices.
            room.append(&mut list.newcomers);
            core::mem::swap(&mut list.newcomers, &mut room);
            commit(&mut list)?;
            let was_active = list.has_active();
            core::mem::swap(&mut list.entries, &mut fresh);
            self.follow_activity(&list, was_active);
            // The old list and the old room are freed after the lock is.
            drop(list);
            return Ok(());
        }
    }

    /// Unmasks the line with its first live handler and masks it with the last. Under the lock.
    pub(crate) fn follow_activity(&self, list: &List, was_active: bool) {
        match (was_active, list.has_active()) {
            (false, true) => self.line.unmask(self.irq),
            (true, false) => self.line.mask(self.irq),
            _ => {}
        }
    }

    /// Starts the thread unless there is one.
    fn start_thread(self: &Arc<Self>) -> Result<(), Error> {
        let cpu = loop {
            let mut list = self.list.lock();
            if list.dying {
                return Err(Error::Dying);
            }
            if self.thread.get().is_some() {
                return Ok(());
            }
            if !core::mem::replace(&mut list.starting, true) {
                break list.cpu;
            }
            drop(list);
            self.scheduler.yield_now();
        };
        let ithread = Ithread::new(self.clone());
        let thread = self.scheduler.spawn(&self.description(), cpu, Box::new(move || ithread.run()));
        let started = thread.map(|thread| {
            self.thread.call_once(|| thread);
        });
        self.list.lock().starting = false;
        started.ok_or(Error::NoThread)
    }

    /// Has the thread run handler `id` soon, as if its device had interrupted: for a watchdog, or a drain.
    ///
    /// # Context
    /// Any; does not block. Does nothing for a handler that is not there, suspended or leaving.
    pub fn schedule(&self, id: HandlerId) {
        {
            let list = self.list.lock();
            let Some(entry) = list.entries.iter().find(|entry| entry.id == id && entry.threaded) else { return };
            if entry.state() != State::Active {
                return;
            }
            // As an interrupt would: the mask comes before `need`, and the thread unmasks.
            self.line.mask(self.irq);
            entry.request();
            self.request_pass();
        }
        if let Some(thread) = self.thread.get() {
            self.scheduler.unpark(thread);
        }
    }

    /// Unmasks the line at the end of a pass, unless the event has been torn down meanwhile.
    pub(crate) fn unmask_if_alive(&self) {
        let list = self.list.lock();
        if list.has_active() {
            self.line.unmask(self.irq);
        }
    }

    /// Makes the thread look at `changed`.
    pub(crate) fn wake_for_change(&self) {
        // ORDERING: release pairs with the acquire swap in the thread's loop: it sees the states and newcomers written before.
        // A swap for the reason given in `request_pass`.
        self.changed.swap(true, Ordering::Release);
        if let Some(thread) = self.thread.get() {
            self.scheduler.unpark(thread);
        }
    }

    /// Binds the line and its thread to `cpu`.
    ///
    /// # Context
    /// Thread context.
    pub fn bind(&self, cpu: CpuId) {
        {
            let mut list = self.list.lock();
            list.cpu = Some(cpu);
            self.line.route(self.irq, cpu);
        }
        if let Some(thread) = self.thread.get() {
            self.scheduler.bind(thread, cpu);
        }
    }

    /// Returns the interrupt line.
    #[must_use]
    pub fn irq(&self) -> u32 {
        self.irq
    }

    /// Returns the event's thread, once a threaded handler has been added.
    pub fn thread(&self) -> Option<&S::Thread> {
        self.thread.get()
    }

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

    /// Returns the passes without progress that make a storm; zero is never.
    #[must_use]
    pub fn storm_threshold(&self) -> u32 {
        self.storm_threshold.load(Ordering::Relaxed)
    }

    /// Sets the passes without progress that make a storm; zero turns detection off.
    pub fn set_storm_threshold(&self, passes: u32) {
        self.storm_threshold.store(passes, Ordering::Relaxed);
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

    /// Copies the handler list. Allocates outside the lock.
    pub(crate) fn entries(&self) -> Vec<Arc<Entry>> {
        let mut copy = Vec::new();
        loop {
            let list = self.list.lock();
            if list.entries.len() <= copy.capacity() {
                copy.extend(list.entries.iter().cloned());
                return copy;
            }
            let needed = list.entries.len();
            drop(list);
            copy.reserve(needed);
        }
    }
}

impl<S: Scheduler> fmt::Debug for IntrEvent<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntrEvent").field("irq", &self.irq).finish_non_exhaustive()
    }
}
