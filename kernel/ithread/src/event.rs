//! The interrupt event: handlers of one source, and its interrupt-context half.
//!
//! Everything that decides between "masked" and "unmasked" happens under the event's one lock: asking the filters and masking, the
//! thread's unmasking, adding and removing handlers. So once a teardown has taken the handlers off the list under that lock, no
//! filter runs and no unmask follows. What the thread is told travels by flags (`need`, `changed`, `dying`) outside the lock.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::fmt;

use ksync::{
    Once, SpinLock,
    atomic::{AtomicBool, AtomicU32, Ordering},
    counter::Counter,
    cpu::CpuId,
    time::Instant,
};

use crate::{
    DEFAULT_STORM_THRESHOLD, FilterResult, Handler, LineControl, Scheduler, TICK,
    entry::{Entry, HandlerId, State},
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
    /// Odd while the thread is in a pass; goes up as one begins and as it ends.
    pub(crate) turn: AtomicU32,
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
    pub(crate) starting: bool,
    pub(crate) next_id: u32,
    pub(crate) cpu: Option<CpuId>,
    stray_run: u32,
    last_stray: Instant,
    pub(crate) strays_told: u64,
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
    pub(crate) interrupts: Counter,
    pub(crate) strays: Counter,
    pub(crate) scheduled: Counter,
    // Written by the thread.
    pub(crate) passes: Counter,
    pub(crate) storms: Counter,
    pub(crate) throttled: Counter,
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
            turn: AtomicU32::new(0),
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

    /// Returns the passes without progress that make a storm; zero is never.
    #[must_use]
    pub fn storm_threshold(&self) -> u32 {
        self.storm_threshold.load(Ordering::Relaxed)
    }

    /// Sets the passes without progress that make a storm; zero turns detection off.
    pub fn set_storm_threshold(&self, passes: u32) {
        self.storm_threshold.store(passes, Ordering::Relaxed);
    }
}

impl<S: Scheduler> fmt::Debug for IntrEvent<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntrEvent").field("irq", &self.irq).finish_non_exhaustive()
    }
}
