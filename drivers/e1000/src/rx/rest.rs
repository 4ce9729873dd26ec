//! A receive ring whose thread is about to sleep.

use super::RxRing;
use crate::{adapter::Adapter, regs::RegisterIo};

impl RxRing {
    /// Has the device forget the causes of what has been served, and returns whether nothing has come meanwhile: then the thread may
    /// unmask and sleep. Asked last, after any other look at the ring.
    ///
    /// A thread that polls serves frames whose cause nobody has taken. It would interrupt as soon as it is unmasked, in vain; and a
    /// device that holds interrupts apart (ITR, 13.4.18; QEMU always by 128 us) holds that of the next frame back for it.
    ///
    /// What comes before the device forgets is seen here, what comes after has its cause: so no frame waits without either.
    ///
    /// # Context
    /// The owning ithread, its interrupt masked. If anything was served, one register write and one read.
    pub fn may_rest<R: RegisterIo>(&mut self, adapter: &Adapter<R>) -> bool {
        // What is there now without anything served before has its cause; it may wait for a reset, and the thread with it.
        if !core::mem::take(&mut self.told) || !adapter.may_receive() {
            return true;
        }
        adapter.forget_received(self.queue);
        !self.has_work()
    }
}
