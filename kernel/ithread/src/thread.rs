//! The interrupt thread: the one place where threaded handlers run.
//!
//! The thread owns its handlers; nobody else can reach them. Everything asked of it arrives by flags, and each pass of its loop looks
//! at them in the order `dying`, `changed`, `need`. A wakeup cannot be lost, because every flag is stored before
//! the unpark, and the park that follows our last look returns at once if an unpark came in between.

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use ksync::{atomic::Ordering, time::Instant};

use crate::{
    Handler, IntrEvent, Notice, Pass, Rearm, Scheduler, TICK,
    entry::{Entry, State},
    storm::{CALM, Step, StormWatch},
};

/// A handler as its thread owns it.
struct Owned {
    entry: Arc<Entry>,
    handler: Box<dyn Handler>,
    /// It ran since the line was last unmasked, so its device waits to be re-armed.
    ran: bool,
}

/// The body of an event's thread.
pub(crate) struct Ithread<S: Scheduler> {
    event: Arc<IntrEvent<S>>,
    handlers: Vec<Owned>,
    storm: StormWatch,
    /// A pass was made since the line was last unmasked.
    masked: bool,
    /// When the line was last unmasked during a storm.
    unmasked_at: Instant,
}

impl<S: Scheduler> Ithread<S> {
    pub(crate) fn new(event: Arc<IntrEvent<S>>) -> Self {
        Self { event, handlers: Vec::new(), storm: StormWatch::new(), masked: false, unmasked_at: Instant::ZERO }
    }

    /// Runs until the event is quiesced.
    pub(crate) fn run(mut self) {
        // ORDERING: acquire pairs with the release in `begin_quiesce`.
        while !self.event.dying.load(Ordering::Acquire) {
            // ORDERING: acquire pairs with the release in `wake_for_change`.
            if self.event.changed.swap(false, Ordering::Acquire) {
                self.apply_changes();
            }
            // ORDERING: acquire pairs with the release in `request_pass`: the pass sees every request made before.
            if self.event.need.swap(false, Ordering::Acquire) {
                self.pass();
                continue;
            }
            if core::mem::take(&mut self.masked) {
                self.rearm();
            }
            // The line is open again: an interrupt may have come already, then parking would only cost a switch.
            if !self.event.need.load(Ordering::Relaxed) {
                self.park();
            }
        }
        self.leave();
    }

    /// Takes newcomers in, lets the dying go, and acknowledges.
    fn apply_changes(&mut self) {
        if self.adopt_newcomers() {
            // A newcomer may have been asked for already, in a pass that did not know it yet.
            self.event.request_pass();
        }
        for index in (0..self.handlers.len()).rev() {
            match self.handlers[index].entry.state() {
                State::Dying => retire(self.handlers.remove(index)),
                State::Suspending => self.handlers[index].entry.acknowledge(State::Suspending, State::Suspended),
                State::Active | State::Suspended | State::Dead => {}
            }
        }
        self.event.wake_waiters();
    }

    /// Moves the newcomers in; returns whether there were any.
    fn adopt_newcomers(&mut self) -> bool {
        let newcomers = core::mem::take(&mut self.event.list.lock().newcomers);
        let any = !newcomers.is_empty();
        self.handlers.extend(newcomers.into_iter().map(|(entry, handler)| Owned { entry, handler, ran: false }));
        any
    }

    /// Runs every handler that was asked for, once.
    fn pass(&mut self) {
        self.masked = true;
        let turn = self.event.turn.load(Ordering::Relaxed);
        // ORDERING: relaxed; what the pass publishes with release, such as how far it has read a ring, carries this along.
        self.event.turn.store(turn.wrapping_add(1), Ordering::Relaxed);
        let (mut progress, mut again, mut poll) = (false, false, false);
        for owned in &mut self.handlers {
            let entry = &owned.entry;
            if entry.state() != State::Active || !entry.take_request() {
                continue;
            }
            owned.ran = true;
            self.event.running.store(entry.id.0, Ordering::Relaxed);
            let outcome = owned.handler.run();
            self.event.running.store(0, Ordering::Relaxed);
            entry.runs.bump();
            progress |= outcome != Pass::Idle;
            match outcome {
                Pass::Idle => entry.idle.bump(),
                Pass::Done => {}
                Pass::Again => {
                    entry.again.bump();
                    entry.request();
                    again = true;
                }
                Pass::Poll => {
                    entry.polls.bump();
                    entry.request();
                    poll = true;
                }
            }
        }
        // ORDERING: release pairs with the acquire in `IntrEvent::pass_under_way`: whatever the handlers had in hand has come to
        // where it belongs.
        self.event.turn.store(turn.wrapping_add(2), Ordering::Release);
        self.event.counters.passes.bump();
        let contended = self.event.scheduler.is_contended();
        if again || (poll && !contended) {
            self.event.request_pass();
        }
        if again && contended {
            self.event.scheduler.yield_now();
        }
        self.watch_storm(progress);
    }

    /// Throttles a line that keeps us busy with nothing.
    fn watch_storm(&mut self, progress: bool) {
        let event = &self.event;
        let forced = event.stray_storm.swap(false, Ordering::Relaxed);
        let now = event.scheduler.now();
        let step = self.storm.after_pass(now, progress, forced, event.storm_threshold());
        self.take_step(step);
    }

    fn take_step(&mut self, step: Step) {
        let event = &self.event;
        event.throttled.store(self.storm.is_storming(), Ordering::Relaxed);
        match step {
            Step::Calm => {}
            Step::Throttle { announce } => {
                if announce {
                    event.counters.storms.bump();
                    event.scheduler.notice(Notice::StormDetected { description: &event.description() });
                }
                event.counters.throttled.bump();
                event.scheduler.sleep(TICK);
            }
            Step::Over { announce: true } => {
                event.scheduler.notice(Notice::StormOver { description: &event.description() });
            }
            Step::Over { announce: false } => {}
        }
    }

    /// Lets the devices interrupt again, then the line; if there is something to do after all, asks for a pass instead of the line.
    fn rearm(&mut self) {
        let mut busy = false;
        for owned in &mut self.handlers {
            let is_due = core::mem::take(&mut owned.ran) && owned.entry.state() == State::Active;
            if is_due && owned.handler.rearm() == Rearm::Busy {
                owned.entry.request();
                busy = true;
            }
        }
        if busy {
            return self.event.request_pass();
        }
        if self.storm.is_storming() {
            self.unmasked_at = self.event.scheduler.now();
        }
        self.event.unmask_if_alive();
    }

    /// Sleeps until somebody wants something; during a storm, no longer than it takes to be over.
    fn park(&mut self) {
        let event = &self.event;
        if !self.storm.is_storming() {
            return event.scheduler.park();
        }
        let calm_at = self.unmasked_at + CALM;
        event.scheduler.park_until(calm_at);
        if !event.need.load(Ordering::Relaxed) && event.scheduler.now() >= calm_at {
            let step = self.storm.after_quiet();
            self.take_step(step);
        }
    }

    /// The last act: lets every handler go, then says so.
    fn leave(mut self) {
        self.adopt_newcomers();
        self.handlers.drain(..).for_each(retire);
        // ORDERING: release pairs with the acquire in `IntrEvent::quiesce`: whatever our handlers did happens before the teardown.
        self.event.dead.store(true, Ordering::Release);
        self.event.wake_waiters();
    }
}

/// Lets a handler go and acknowledges it.
fn retire(owned: Owned) {
    let Owned { entry, handler, .. } = owned;
    handler.retire();
    entry.set_state(State::Dead);
}
