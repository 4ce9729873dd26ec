//! Loads that wait for bounce pages, and their cancellation.
//!
//! Key type: [`Deferral`], the token shared by a waiting map and the pool's queue. Two locks, never held together: the
//! pool's (the queue, the pages) and the token's (who has the pages). `load_ready` is called under the token's lock, so a
//! `cancel` that has returned has waited for it: no call comes after the owner stopped caring.

use alloc::{sync::Arc, vec::Vec};

use crate::{
    BouncePool,
    bounce::BouncePage,
    tag::{MapShared, Phase},
};

/// Told when the pages of a waiting load are there.
pub trait LoadReady: Send + Sync {
    /// Notes that `finish_load` can go on, typically by waking the thread that owns the map.
    ///
    /// # Context
    /// Under a spin lock: must not park, and must not touch the map.
    fn load_ready(&self);
}

/// The state of a map's request for pages.
pub(crate) enum Deferral {
    /// No request.
    None,
    /// In the queue under this number.
    Waiting(u64, Arc<dyn LoadReady>),
    /// Served.
    Granted(Vec<BouncePage>),
}

/// A place in the queue.
pub(crate) struct Waiter {
    shared: Arc<MapShared>,
    ticket: u64,
    pub(crate) pages: usize,
}

/// Takes the pages now, or puts the map into the queue.
pub(crate) fn reserve_or_wait(
    pool: &BouncePool,
    shared: &Arc<MapShared>,
    pages: usize,
    ready: Arc<dyn LoadReady>,
) -> Option<Vec<BouncePage>> {
    let ticket = {
        let mut state = pool.state.lock();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        ticket
    };
    // The token first: whoever finds the place in the queue must find the token waiting.
    *shared.deferral.lock() = Deferral::Waiting(ticket, ready);
    let taken = {
        let mut state = pool.state.lock();
        let taken = if state.queue.is_empty() { pool.take(&mut state, pages) } else { None };
        if taken.is_none() {
            state.queue.push_back(Waiter { shared: Arc::clone(shared), ticket, pages });
        }
        taken
    };
    if taken.is_some() {
        *shared.deferral.lock() = Deferral::None;
    } else {
        pool.deferred.bump();
    }
    taken
}

/// Hands the pages to a waiter and calls it, or gives them back if it has cancelled.
pub(crate) fn grant(waiter: &Waiter, pages: Vec<BouncePage>) -> Result<(), Vec<BouncePage>> {
    let mut deferral = waiter.shared.deferral.lock();
    match &*deferral {
        Deferral::Waiting(ticket, ready) if *ticket == waiter.ticket => {
            let ready = Arc::clone(ready);
            *deferral = Deferral::Granted(pages);
            ready.load_ready();
            Ok(())
        }
        _ => Err(pages),
    }
}

/// Takes granted pages, if they are there.
pub(crate) fn take_grant(shared: &MapShared) -> Option<Vec<BouncePage>> {
    let mut deferral = shared.deferral.lock();
    match core::mem::replace(&mut *deferral, Deferral::None) {
        Deferral::Granted(pages) => Some(pages),
        other => {
            *deferral = other;
            None
        }
    }
}

/// Ends a request, whether waiting or served.
pub(crate) fn cancel(shared: &MapShared, pool: Option<&BouncePool>) {
    debug_assert_eq!(shared.phase.load(ksync::atomic::Ordering::Relaxed), Phase::Waiting as u8);
    let ended = core::mem::replace(&mut *shared.deferral.lock(), Deferral::None);
    let Some(pool) = pool else { return };
    match ended {
        Deferral::None => {}
        Deferral::Granted(pages) => pool.give_back(pages.into_iter()),
        // Leave the queue too, or the dead place would hold up those behind it until pages for it are free.
        Deferral::Waiting(ended, _) => pool.state.lock().queue.retain(|waiter| waiter.ticket != ended),
    }
}
