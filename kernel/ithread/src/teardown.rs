//! Removing, suspending and quiescing: every one by the thread's own acknowledgement.
//!
//! Each function first takes the handler out of the filters' sight under the event's lock (no filter of it runs once the lock is
//! free again), then asks the thread and waits until the thread has answered. None may be called from the event's own
//! handlers or filters: they would wait for themselves.

use alloc::sync::Arc;

use ksync::{atomic::Ordering, time::Instant};

use crate::{
    Error, IntrEvent, Scheduler, WedgedThread,
    entry::{Entry, HandlerId, State},
};

/// Proof that an event is at rest: its thread has left, no handler or filter runs or will run, its line is masked.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a teardown takes this proof"]
pub struct Quiesced {
    irq: u32,
}

impl Quiesced {
    /// Returns the line that is at rest.
    #[must_use]
    pub fn irq(&self) -> u32 {
        self.irq
    }
}

impl<S: Scheduler> IntrEvent<S> {
    /// Removes a handler; when this returns `Ok`, neither its filter nor its threaded part runs, and the latter has retired.
    ///
    /// # Errors
    /// [`Error::Wedged`] if the thread has not answered by `deadline`; the handler stays inert, and the call may be repeated.
    ///
    /// # Context
    /// Thread context; blocks until `deadline` at most.
    pub fn remove(&self, id: HandlerId, deadline: Instant) -> Result<(), Error> {
        let entry = self.request_state(id, |entry| match entry.state() {
            State::Dead => {}
            _ if entry.threaded => entry.set_state(State::Dying),
            _ => entry.set_state(State::Dead),
        })?;
        self.wait_until(deadline, || entry.state() == State::Dead).map_err(Error::Wedged)?;
        let others = |old: &[Arc<Entry>]| old.iter().filter(|other| other.id != id).cloned().collect();
        self.replace_entries(others, |_| Ok(()))?;
        self.show_description();
        Ok(())
    }

    /// Suspends a handler, leaving its neighbours on the line at work; the same promise as [`IntrEvent::remove`], but reversible.
    ///
    /// The caller has masked the device itself, or the line will scream.
    ///
    /// # Errors
    /// [`Error::Dying`] if the handler is being removed; [`Error::Wedged`] if the thread has not answered by `deadline`.
    ///
    /// # Context
    /// Thread context; blocks until `deadline` at most.
    pub fn suspend(&self, id: HandlerId, deadline: Instant) -> Result<(), Error> {
        let entry = self.request_state(id, |entry| {
            if entry.state() == State::Active {
                let paused = if entry.threaded { State::Suspending } else { State::Suspended };
                entry.set_state(paused);
            }
        })?;
        self.wait_until(deadline, || entry.state() != State::Suspending).map_err(Error::Wedged)?;
        match entry.state() {
            State::Suspended => Ok(()),
            _ => Err(Error::Dying),
        }
    }

    /// Lets a suspended handler work again and runs it once, as its device may have waited.
    ///
    /// # Errors
    /// [`Error::Dying`] if the handler is being removed.
    ///
    /// # Context
    /// Thread context; does not block.
    pub fn resume(&self, id: HandlerId) -> Result<(), Error> {
        let entry = self.request_state(id, |entry| {
            if matches!(entry.state(), State::Suspending | State::Suspended) {
                entry.set_state(State::Active);
                entry.request();
            }
        })?;
        if entry.state() != State::Active {
            return Err(Error::Dying);
        }
        self.request_pass();
        self.wake_for_change();
        Ok(())
    }

    /// Asks the event to come to rest without waiting, so that many events can do so at once.
    ///
    /// # Context
    /// Thread context; does not block.
    pub fn begin_quiesce(&self) {
        {
            let mut list = self.list.lock();
            list.dying = true;
            for entry in &list.entries {
                if entry.state() != State::Dead {
                    entry.set_state(if entry.threaded { State::Dying } else { State::Dead });
                }
            }
            self.line.mask(self.irq);
        }
        // ORDERING: release pairs with the acquire at the top of the thread's loop.
        self.dying.store(true, Ordering::Release);
        self.wake_for_change();
    }

    /// Brings the event to rest: no filter, no handler, no thread, and the line masked after the thread's last act.
    ///
    /// # Errors
    /// [`WedgedThread`] names the thread that has not answered by `deadline`; nothing it uses may be freed. May be repeated.
    ///
    /// # Context
    /// Thread context; blocks until `deadline` at most.
    pub fn quiesce(&self, deadline: Instant) -> Result<Quiesced, WedgedThread> {
        self.begin_quiesce();
        // ORDERING: acquire pairs with the release in `Ithread::leave`.
        self.wait_until(deadline, || self.thread.get().is_none() || self.dead.load(Ordering::Acquire))?;
        // Masked again after the join: whatever the thread did to the line last, this is later.
        let list = self.list.lock();
        self.line.mask(self.irq);
        drop(list);
        Ok(Quiesced { irq: self.irq })
    }

    /// Finds `id`, changes its state by `change` under the lock, lets the line's mask follow and tells the thread.
    fn request_state(&self, id: HandlerId, change: impl FnOnce(&Entry)) -> Result<Arc<Entry>, Error> {
        let entry = {
            let list = self.list.lock();
            let found = list.entries.iter().find(|entry| entry.id == id);
            let entry = found.cloned().ok_or(Error::NoSuchHandler)?;
            let was_active = list.has_active();
            change(&entry);
            self.follow_activity(&list, was_active);
            entry
        };
        self.wake_for_change();
        Ok(entry)
    }

    /// Waits for an acknowledgement that `done` can see.
    fn wait_until(&self, deadline: Instant, done: impl Fn() -> bool) -> Result<(), WedgedThread> {
        while !done() {
            if self.scheduler.now() >= deadline {
                return Err(self.wedged());
            }
            let me = self.scheduler.current();
            self.waiters.lock().push(me);
            // Looked at again after we are on the list: an acknowledgement from now on finds us there, an earlier one we see.
            if !done() {
                self.scheduler.park_until(deadline);
            }
        }
        Ok(())
    }

    /// Wakes everybody who waits for an acknowledgement; called by the thread after each.
    pub(crate) fn wake_waiters(&self) {
        let waiters = core::mem::take(&mut *self.waiters.lock());
        for waiter in &waiters {
            self.scheduler.unpark(waiter);
        }
    }

    fn wedged(&self) -> WedgedThread {
        let running = self.running.load(Ordering::Relaxed);
        let inside = self.entries().into_iter().find(|entry| entry.id.0 == running);
        WedgedThread { thread: self.description(), handler: inside.map(|entry| entry.name) }
    }
}
