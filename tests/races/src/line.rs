//! Interrupt lines, and the processors that take what comes over them.
//!
//! Each device has a thread of its own that moves it, and that is interrupted whenever the device asserts and the line is open: the
//! interrupt context of another CPU.

use std::sync::Arc;

use ithread::{IntrEvent, LineControl};
use ksync::{
    atomic::{AtomicBool, Ordering},
    model,
};
use nic_model::Nic;

use crate::host::Host;

/// An interrupt event of this machine.
pub(crate) type Event = IntrEvent<Host>;

/// One line's mask bit at the interrupt controller.
#[derive(Debug)]
pub(crate) struct Line {
    masked: AtomicBool,
}

impl Line {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { masked: AtomicBool::new(true) })
    }

    pub(crate) fn is_masked(&self) -> bool {
        self.masked.load(Ordering::SeqCst)
    }
}

impl LineControl for Line {
    fn mask(&self, _irq: u32) {
        self.masked.store(true, Ordering::SeqCst);
    }

    fn unmask(&self, _irq: u32) {
        self.masked.store(false, Ordering::SeqCst);
    }

    fn eoi(&self, _irq: u32) {}
}

/// A device, the line it is wired to, and what ends its work.
#[derive(Clone, Debug)]
pub(crate) struct Wiring {
    pub(crate) nic: Nic,
    pub(crate) line: Arc<Line>,
    pub(crate) event: Arc<Event>,
    /// Interrupts of this device arrive however the line is masked: they were on their way.
    pub(crate) in_flight: bool,
    pub(crate) power_off: Arc<AtomicBool>,
}

impl Wiring {
    /// Moves the device once and takes its interrupt, if there is one. Returns whether anything happened.
    pub(crate) fn work(&self) -> bool {
        let moved = self.nic.step();
        let arrives = self.in_flight || !self.line.is_masked();
        if arrives && self.nic.interrupting() {
            self.event.handle();
            return true;
        }
        moved
    }

    /// The device's thread.
    pub(crate) fn run(&self) {
        while !self.power_off.load(Ordering::SeqCst) {
            if !self.work() {
                model::yield_now();
            }
        }
    }
}
