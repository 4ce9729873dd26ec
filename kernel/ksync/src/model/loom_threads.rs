//! Threads with a wakeup token that is never lost.
//!
//! loom's own `park` forgets its token when the thread blocks on a mutex in between, which looks like a lost wakeup of the code under
//! test. Here the token is a `Notify` of each thread.

use alloc::sync::Arc;
use core::cell::RefCell;
use std::thread::Result;

use loom::{sync::Notify, thread};

/// A handle by which a thread is woken.
#[derive(Clone, Debug)]
pub struct Thread(Arc<Notify>);

impl Thread {
    fn new() -> Self {
        Self(Arc::new(Notify::new()))
    }

    /// Wakes the thread, or lets its next [`park`] return at once.
    pub fn unpark(&self) {
        self.0.notify();
    }
}

loom::thread_local! {
    static CURRENT: RefCell<Option<Thread>> = RefCell::new(None);
}

/// Returns the handle of the calling thread.
pub fn current() -> Thread {
    CURRENT.with(|slot| slot.borrow_mut().get_or_insert_with(Thread::new).clone())
}

/// Sleeps until the calling thread is unparked; may return early.
pub fn park() {
    current().0.wait();
}

/// A started thread that can be waited for.
#[derive(Debug)]
pub struct JoinHandle<T> {
    inner: thread::JoinHandle<T>,
    thread: Thread,
}

impl<T> JoinHandle<T> {
    /// Waits for the thread to end and returns its result.
    ///
    /// # Errors
    /// The payload of the thread's panic.
    pub fn join(self) -> Result<T> {
        self.inner.join()
    }

    /// Returns the handle by which the thread is woken.
    pub fn thread(&self) -> &Thread {
        &self.thread
    }
}

/// Starts a thread.
pub fn spawn<T: 'static>(body: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    let thread = Thread::new();
    let own = thread.clone();
    let inner = thread::spawn(move || {
        CURRENT.with(|slot| *slot.borrow_mut() = Some(own));
        body()
    });
    JoinHandle { inner, thread }
}
