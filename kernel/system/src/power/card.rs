//! A port on its way down: what the sequencer asks of it, in the driver's terms.
//!
//! Context: the shutdown thread.

use alloc::{
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::fmt;

use e1000::TeardownError;
use ithread::{Hands, WedgedThread};
use ksync::time::Instant;
use machine::{console, irq};
use shutdown::{AllJoined, DeviceStopped, Fault, Forced, Pending, Quiesce, Residue, Teardown};

use crate::{bus, culprit, port::Port};

/// A port as the ladder sees it.
pub(super) struct Card {
    port: Arc<Port>,
    /// The transmit ring accepts nothing any more.
    sealed: bool,
    /// Frames the device had sent when its transmit ring was last found empty, after it was sealed.
    sent_at_drain: Option<u64>,
    /// Whether the thread of each interrupt may have frames in hand.
    hands: Vec<Hands>,
    /// What a thread was at when it did not answer, and its name.
    wedged: Option<(WedgedThread, String)>,
    /// Why the device did not stop.
    refusal: Option<e1000::Error>,
    /// Set by `stop_dma`, taken by `tear_down`.
    stopped: Option<e1000::DmaStopped>,
}

impl Card {
    pub(super) fn new(port: &Arc<Port>) -> Self {
        let (port, hands) = (Arc::clone(port), alloc::vec![Hands::Unknown; port.interrupts.len()]);
        Self { port, sealed: false, sent_at_drain: None, hands, wedged: None, refusal: None, stopped: None }
    }
}

fn fault(error: e1000::Error) -> Fault {
    match error {
        e1000::Error::Gone => Fault::Gone,
        e1000::Error::StillUnmasked => Fault::StillUnmasked,
        _ => Fault::DmaRunning,
    }
}

impl Quiesce for Card {
    fn name(&self) -> &str {
        &self.port.name
    }

    fn thread(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        for (place, interrupt) in self.port.interrupts.iter().enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            write!(out, "{comma}{}", interrupt.event.description())?;
        }
        Ok(())
    }

    fn close_ingress(&mut self) -> Result<(), Fault> {
        self.port.adapter.close_ingress().map_err(fault)
    }

    fn pending(&mut self) -> Pending {
        // A device that is gone holds nothing that could still be waited for, neither received nor unsent.
        let Ok(received) = self.port.adapter.rx_backlog() else { return Pending::default() };
        let unsent = self.port.adapter.tx_backlog();
        if self.sealed && unsent == 0 {
            self.sent_at_drain = self.port.adapter.frames_on_wire();
        }
        // After the ring: what a thread has taken from it, it has in hand until its pass is over.
        let hands = self.hands.iter_mut().zip(&self.port.interrupts);
        let passes = if received > 0 {
            hands.for_each(|(hands, _)| *hands = Hands::Unknown);
            0
        } else {
            hands.map(|(hands, interrupt)| usize::from(hands.are_full(interrupt.event.pass_under_way()))).sum()
        };
        Pending { received, unsent, passes }
    }

    fn mask(&mut self) -> Result<(), Fault> {
        let masked = self.port.adapter.mask_interrupts().map_err(fault);
        for interrupt in &self.port.interrupts {
            irq::mask(interrupt.line.irq);
            if irq::is_masked(interrupt.line.irq) == Some(false) {
                return Err(Fault::StillUnmasked);
            }
        }
        masked
    }

    fn begin_join(&mut self) {
        self.port.interrupts.iter().for_each(|interrupt| interrupt.event.begin_quiesce());
    }

    fn join(&mut self, deadline: Instant) -> Result<(), Fault> {
        for interrupt in &self.port.interrupts {
            if let Err(wedged) = interrupt.event.quiesce(deadline) {
                self.wedged = Some((wedged, interrupt.event.description().to_string()));
                return Err(Fault::Wedged);
            }
        }
        Ok(())
    }

    fn explain(&mut self, fault: Fault, say: &mut dyn FnMut(fmt::Arguments<'_>)) {
        match fault {
            Fault::Wedged => {
                if let Some((wedged, thread)) = &self.wedged {
                    say(format_args!("shutdown: {wedged}"));
                    culprit::explain_thread("shutdown", thread, say);
                }
            }
            // Frames that nobody fetches: what are the threads doing?
            Fault::Undrained(Pending { received, passes, .. }) if received + passes > 0 => {
                for interrupt in self.port.interrupts.iter().filter(|interrupt| interrupt.profile.is_some()) {
                    culprit::explain_thread("shutdown", &interrupt.event.description(), say);
                }
            }
            Fault::DmaRunning => {
                if let Some(refusal) = self.refusal {
                    say(format_args!("shutdown: {}: {refusal}", self.port.name));
                }
            }
            _ => {}
        }
    }

    fn close_egress(&mut self) {
        self.port.adapter.close_egress();
        self.sealed = true;
    }
}

impl Teardown for Card {
    fn stop_dma(&mut self, _: &AllJoined, _: Instant) -> Result<(), Fault> {
        match self.port.adapter.stop_dma() {
            Ok(stopped) => self.stopped = Some(stopped),
            Err(error) => {
                self.refusal = Some(error);
                return Err(fault(error));
            }
        }
        let sent = self.port.adapter.ledger().device_sent;
        match self.sent_at_drain.map(|before| sent.saturating_sub(before)) {
            None | Some(0) => Ok(()),
            Some(late) => Err(Fault::SentLate(late)),
        }
    }

    fn force_stop(&mut self) -> Forced {
        let address = self.port.address;
        if self.port.adapter.force_stop().is_ok() {
            return Forced::DeviceReset;
        }
        self.port.adapter.stop_blindly();
        if !bus::is_present(address) {
            Forced::Absent
        } else if bus::reset_function(address) {
            Forced::FunctionReset
        } else if bus::master_off(address) {
            Forced::BusMasterOff
        } else {
            Forced::Nothing
        }
    }

    fn tear_down(&mut self, _: DeviceStopped) -> Result<(), Fault> {
        let (Some(proof), Some(rings)) = (self.stopped.take(), self.port.take_rings()) else {
            return Err(Fault::DmaRunning);
        };
        match self.port.adapter.teardown(proof, rings) {
            Ok(_) => Ok(()),
            Err(TeardownError::Busy(left)) => {
                console::message(format_args!("shutdown: tear down DMA: {left}\n"));
                let busy = left.busy;
                Err(Fault::Busy(Residue {
                    tags: 1 + busy.children as usize,
                    maps: busy.maps as usize,
                    memories: busy.memories as usize,
                }))
            }
            Err(TeardownError::Mismatch(_)) => Err(Fault::DmaRunning),
        }
    }

    fn bus_master_off(&mut self) -> Result<(), Fault> {
        if bus::master_off(self.port.address) { Ok(()) } else { Err(Fault::BusMasterOn) }
    }
}
