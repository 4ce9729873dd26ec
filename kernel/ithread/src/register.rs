//! Adding handlers to an event, and replacing its list of them.
//!
//! The list is immutable while interrupt context walks it: a new one is built outside the event's lock and put in its place under it.

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use crate::{
    Error, Filter, Handler, IntrEvent, Scheduler,
    entry::{Entry, HandlerId},
    event::List,
    thread::Ithread,
};

impl<S: Scheduler> IntrEvent<S> {
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
