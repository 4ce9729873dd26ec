//! One handler on an event: what interrupt context and the thread share about it.
//!
//! The filter lives here; the threaded part is owned by the interrupt thread alone and travels there once, through the event's
//! list of newcomers.

use alloc::boxed::Box;

use ksync::{
    atomic::{AtomicBool, AtomicU8, Ordering},
    counter::Counter,
};

use crate::{Filter, FilterResult, Name};

/// Names one handler of one event; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HandlerId(pub(crate) u32);

/// Where a handler stands. Requests come from outside, acknowledgements from the interrupt thread only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    Active = 0,
    /// Asked to pause; the thread may still be inside.
    Suspending = 1,
    /// The thread has said that it is not inside and will not enter.
    Suspended = 2,
    /// Asked to leave; the thread may still be inside.
    Dying = 3,
    /// The thread has let go of the handler.
    Dead = 4,
}

impl State {
    fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Self::Active,
            1 => Self::Suspending,
            2 => Self::Suspended,
            3 => Self::Dying,
            _ => Self::Dead,
        }
    }
}

/// The shared half of a handler.
pub(crate) struct Entry {
    pub(crate) id: HandlerId,
    pub(crate) name: Name,
    pub(crate) filter: Box<dyn Filter>,
    /// Whether there is a threaded half.
    pub(crate) threaded: bool,
    /// Set by interrupt context when the filter asked for the thread, taken by the thread.
    need: AtomicBool,
    state: AtomicU8,
    // Written under the event's lock.
    claimed: Counter,
    declined: Counter,
    // Written by the interrupt thread.
    pub(crate) runs: Counter,
    pub(crate) idle: Counter,
    pub(crate) again: Counter,
    pub(crate) polls: Counter,
}

impl Entry {
    pub(crate) fn new(id: HandlerId, name: &str, filter: Box<dyn Filter>, threaded: bool) -> Self {
        Self {
            id,
            name: bounded(name),
            filter,
            threaded,
            need: AtomicBool::new(false),
            state: AtomicU8::new(State::Active as u8),
            claimed: Counter::new(),
            declined: Counter::new(),
            runs: Counter::new(),
            idle: Counter::new(),
            again: Counter::new(),
            polls: Counter::new(),
        }
    }

    /// Asks the filter, unless the handler is suspended or leaving. Under the event's lock.
    pub(crate) fn ask(&self) -> FilterResult {
        if self.state() != State::Active {
            return FilterResult::Stray;
        }
        let result = self.filter.filter();
        match result {
            FilterResult::Stray => self.declined.bump(),
            FilterResult::Handled => self.claimed.bump(),
            FilterResult::ScheduleThread => {
                self.claimed.bump();
                if self.threaded {
                    self.request();
                }
            }
        }
        result
    }

    /// Asks for a run of the threaded half.
    pub(crate) fn request(&self) {
        // ORDERING: release pairs with the acquire in `take_request`: the handler sees what the filter found. A
        // swap for the reason given in `IntrEvent::request_pass`.
        self.need.swap(true, Ordering::Release);
    }

    /// Takes the request for a run, if there is one.
    pub(crate) fn take_request(&self) -> bool {
        // ORDERING: acquire pairs with the release in `request`.
        self.need.swap(false, Ordering::Acquire)
    }

    pub(crate) fn state(&self) -> State {
        // ORDERING: acquire pairs with the release in `set_state`: who reads an acknowledgement sees the handler's last touch before it.
        State::from_bits(self.state.load(Ordering::Acquire))
    }

    /// Moves to `to`. Requests are made under the event's lock.
    pub(crate) fn set_state(&self, to: State) {
        // ORDERING: release pairs with the acquire in `state`.
        self.state.store(to as u8, Ordering::Release);
    }

    /// Acknowledges `from` by moving to `to`, unless another request came in between.
    pub(crate) fn acknowledge(&self, from: State, to: State) {
        // ORDERING: release publishes the thread's last touch of the handler to the waiter. A failure needs no order: whoever changed the
        // state has also raised the event's `changed` flag, and we come again.
        let _ = self.state.compare_exchange(from as u8, to as u8, Ordering::Release, Ordering::Relaxed);
    }

    pub(crate) fn statistics(&self) -> HandlerStatistics {
        HandlerStatistics {
            id: self.id,
            name: self.name,
            threaded: self.threaded,
            suspended: matches!(self.state(), State::Suspending | State::Suspended),
            claimed: self.claimed.get(),
            declined: self.declined.get(),
            runs: self.runs.get(),
            idle: self.idle.get(),
            again: self.again.get(),
            polls: self.polls.get(),
        }
    }
}

/// The counters of one handler, for `show intr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandlerStatistics {
    /// The handler.
    pub id: HandlerId,
    /// Its name, `em0`.
    pub name: Name,
    /// Whether it has a threaded part.
    pub threaded: bool,
    /// Whether it is suspended.
    pub suspended: bool,
    /// Interrupts its filter claimed.
    pub claimed: u64,
    /// Interrupts its filter said were not its own.
    pub declined: u64,
    /// Runs of the threaded part.
    pub runs: u64,
    /// Runs that found nothing to do.
    pub idle: u64,
    /// Runs that ended on their budget.
    pub again: u64,
    /// Runs that found nothing and expect more, see [`Pass::Poll`](crate::Pass::Poll).
    pub polls: u64,
}

/// Cuts `text` to the length of a [`Name`], at a character boundary.
pub(crate) fn bounded(text: &str) -> Name {
    let mut name = Name::new();
    for c in text.chars() {
        if name.try_push(c).is_err() {
            break;
        }
    }
    name
}
