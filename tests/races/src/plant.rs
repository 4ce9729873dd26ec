//! The machine and its cards as the sequencer sees them: what `system::power` is to the kernel.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering::SeqCst},
};

use e1000::{Phase, TeardownError, regs};
use ithread::Hands;
use ksync::{atomic::Ordering, time::Instant};
use shutdown::{
    AllJoined, DeviceStopped, Fault, Faults, Flushed, Forced, Pending, Plant, Quiesce, Residue, Teardown, Transcript,
};

use crate::{
    host::Host,
    port::Port,
    rig::{Flags, Rig},
};

/// What [`Plant::yield_to_panic`] unwinds the sequencer's thread with.
#[derive(Debug)]
pub(crate) struct GaveWay;

/// The machine around the cards.
pub(crate) struct Around<'r>(pub(crate) &'r Rig);

impl Plant for Around<'_> {
    fn now(&self) -> Instant {
        self.0.host.time()
    }

    fn relax(&self) {
        self.0.host.relax();
    }

    fn write(&self, text: fmt::Arguments<'_>) {
        // Thousands of walks are quiet; one that is looked at again is not.
        if std::env::var_os("SLUICE_SHUTTLE_REPLAY").is_some() {
            print!("{text}");
        }
    }

    fn keep(&self, _: &Transcript) {
        if self.0.flags.panicked.load(SeqCst) {
            self.0.flags.stages_after_panic.fetch_add(1, SeqCst);
        }
    }

    fn yield_to_panic(&self) -> ! {
        std::panic::resume_unwind(Box::new(GaveWay))
    }

    fn announce(&self) {
        self.0.flags.refusing.store(true, Ordering::Release);
    }

    fn queued(&self) -> usize {
        self.0.router.netisr().unfinished()
    }

    fn flush_held(&self) -> Flushed {
        let worker = self.0.flusher.lock().take();
        let Some(mut worker) = worker else { return Flushed::default() };
        let router::Flushed { arp, netisr, reassembly } = worker.flush_held(self.0.host.time());
        let [arp, netisr, fragments] =
            [arp, netisr, reassembly].map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        Flushed { arp, netisr, fragments }
    }

    fn join_callouts(&self, deadline: Instant, _: &mut dyn FnMut(fmt::Arguments<'_>)) -> Faults {
        self.0.join_services(deadline)
    }

    fn residue(&self) -> Residue {
        self.0.residue()
    }

    fn check_freed(&self, _: &mut dyn FnMut(fmt::Arguments<'_>)) -> Faults {
        // What a device may still have under way gets the time to arrive.
        self.0.ports.iter().for_each(|port| (0..self.0.setup.patience).for_each(|_| _ = port.nic.step()));
        match self.0.machine.iommu.violations().iter().find(|violation| violation.write) {
            Some(first) => vec![("memory".into(), Fault::Damaged { address: first.addr, octets: first.len })],
            None => vec![],
        }
    }

    fn park_cpus(&self, deadline: Instant) -> Result<usize, Fault> {
        let flags = &self.0.flags;
        flags.parking.store(true, Ordering::Release);
        if !self.0.setup.console {
            return Ok(0);
        }
        self.0.host.i_wait_for("console");
        while !flags.parked.load(Ordering::Acquire) {
            if self.0.host.time() >= deadline {
                return Err(Fault::CpusRunning(1));
            }
            self.0.host.relax();
        }
        Ok(1)
    }

    fn account(&self, _: &mut dyn FnMut(fmt::Arguments<'_>)) -> Faults {
        match self.0.router.audit().unexplained() {
            0 => vec![],
            frames => vec![("audit".into(), Fault::Unexplained(frames))],
        }
    }
}

impl Rig {
    /// Ends the timers and the netisr thread.
    pub(crate) fn join_services(&self, deadline: Instant) -> Faults {
        self.host.i_wait_for("timers");
        self.timers.iter().for_each(sched::Callout::drain);
        self.callouts.stop();
        self.flags.ending.store(true, Ordering::Release);
        let Some(netisr) = &self.netisr else { return vec![] };
        self.host.i_wait_for("netisr");
        netisr.unpark();
        while !self.flags.joined.load(Ordering::Acquire) {
            if self.host.time() >= deadline {
                return vec![("netisr".into(), Fault::Wedged)];
            }
            self.host.relax();
        }
        vec![]
    }

    /// Counts what lives below the bus.
    pub(crate) fn residue(&self) -> Residue {
        let mut residue = Residue::default();
        self.machine.root.walk(&mut |depth, _, live| {
            residue.tags += usize::from(depth > 0);
            residue.maps += live.maps as usize;
            residue.memories += live.memories as usize;
        });
        residue
    }
}

/// A port on its way down.
pub(crate) struct Card<'r> {
    port: &'r Port,
    all: &'r [Port],
    flags: &'r Arc<Flags>,
    host: &'r Host,
    /// The device has been masked once, before its thread was asked to leave.
    masked: bool,
    /// The transmit ring accepts nothing any more.
    sealed: bool,
    /// Frames the device had sent when its transmit ring was last found empty, after it was sealed.
    sent_at_drain: Option<u64>,
    stopped: Option<e1000::DmaStopped>,
    /// Whether the thread may have frames in hand.
    hands: Hands,
}

impl<'r> Card<'r> {
    pub(crate) fn new(rig: &'r Rig, port: &'r Port) -> Self {
        let (masked, sealed, sent_at_drain, stopped) = (false, false, None, None);
        let (all, flags, host, hands) = (&rig.ports, &rig.flags, &rig.host, Hands::Unknown);
        Self { port, all, flags, host, masked, sealed, sent_at_drain, stopped, hands }
    }

    /// Whether the device is told to receive or to send.
    fn is_enabled(&self) -> bool {
        let (receiver, transmitter) = (self.port.nic.peek(e1000::Reg::Rctl), self.port.nic.peek(e1000::Reg::Tctl));
        receiver & regs::Rctl::EN.bits() != 0 || transmitter & regs::Tctl::EN.bits() != 0
    }
}

fn fault(error: e1000::Error) -> Fault {
    match error {
        e1000::Error::Gone => Fault::Gone,
        e1000::Error::StillUnmasked => Fault::StillUnmasked,
        _ => Fault::DmaRunning,
    }
}

impl Quiesce for Card<'_> {
    fn name(&self) -> &str {
        &self.port.name
    }

    fn close_ingress(&mut self) -> Result<(), Fault> {
        self.port.adapter.close_ingress().map_err(fault)
    }

    fn pending(&mut self) -> Pending {
        if self.port.adapter.phase() == Phase::Gone {
            return Pending::default();
        }
        let received = self.port.adapter.rx_backlog().unwrap_or(0);
        let unsent = self.port.adapter.tx_backlog();
        // After the ring: what the thread has taken from it, it has in hand until its pass is over.
        let passes = if received > 0 {
            self.hands = Hands::Unknown;
            0
        } else {
            usize::from(self.hands.are_full(self.port.event.pass_under_way()))
        };
        if received + unsent + passes > 0 {
            self.host.i_wait_for(if received + passes > 0 { "interrupt thread" } else { "device" });
        }
        if self.sealed && unsent == 0 {
            self.sent_at_drain = self.port.adapter.frames_on_wire();
        }
        Pending { received, unsent, passes }
    }

    fn mask(&mut self) -> Result<(), Fault> {
        self.masked = true;
        self.flags.drained.store(true, SeqCst);
        let masked = self.port.adapter.mask_interrupts().map_err(fault);
        ithread::LineControl::mask(&*self.port.line, self.port.event.irq());
        masked
    }

    fn begin_join(&mut self) {
        if !self.masked {
            self.flags.broke("a thread was asked to leave whose device could still interrupt");
        }
        self.port.event.begin_quiesce();
    }

    fn join(&mut self, deadline: Instant) -> Result<(), Fault> {
        self.host.i_wait_for("interrupt thread");
        match self.port.event.quiesce(deadline) {
            Ok(_) => Ok(()),
            Err(_) => Err(Fault::Wedged),
        }
    }

    fn close_egress(&mut self) {
        self.port.adapter.close_egress();
        self.sealed = true;
    }
}

impl Teardown for Card<'_> {
    fn stop_dma(&mut self, _: &AllJoined, _: Instant) -> Result<(), Fault> {
        if self.all.iter().any(|port| !port.shared.gone.load(SeqCst)) {
            self.flags.broke("DMA was stopped under a thread that was still at work");
        }
        if self.port.nic.peek(e1000::Reg::Ims) != 0 && !self.port.nic.peek_faults().gone {
            self.flags.broke("a device could interrupt after its thread had been joined");
        }
        self.stopped = Some(self.port.adapter.stop_dma().map_err(fault)?);
        let sent = self.port.adapter.ledger().device_sent;
        match self.sent_at_drain.map(|before| sent.saturating_sub(before)) {
            None | Some(0) => Ok(()),
            Some(late) => Err(Fault::SentLate(late)),
        }
    }

    fn force_stop(&mut self) -> Forced {
        self.port.adapter.stop_blindly();
        if self.port.nic.set_bus_master(false) { Forced::BusMasterOff } else { Forced::Nothing }
    }

    fn tear_down(&mut self, _: DeviceStopped) -> Result<(), Fault> {
        let Some(proof) = self.stopped.take() else {
            self.flags.broke("memory was to be freed that a device may still own");
            return Err(Fault::DmaRunning);
        };
        self.flags.torn_down.store(true, SeqCst);
        // Whoever still runs with what is freed now meets this.
        self.port.shared.filter_memory.write();
        self.port.shared.handler_memory.write();
        let Some(ring) = self.port.shared.take_ring() else {
            self.flags.broke("a port was torn down whose thread still had the ring");
            return Err(Fault::Busy(Residue::default()));
        };
        match self.port.adapter.teardown(proof, vec![ring]) {
            Ok(_) => Ok(()),
            Err(TeardownError::Busy(left)) => Err(Fault::Busy(Residue {
                tags: 1 + left.busy.children as usize,
                maps: left.busy.maps as usize,
                memories: left.busy.memories as usize,
            })),
            Err(TeardownError::Mismatch(_)) => Err(Fault::DmaRunning),
        }
    }

    fn bus_master_off(&mut self) -> Result<(), Fault> {
        if self.is_enabled() && !self.port.nic.peek_faults().gone {
            self.flags.broke("bus mastering was taken from a device at work, which hangs some machines");
        }
        if self.port.nic.set_bus_master(false) { Ok(()) } else { Err(Fault::BusMasterOn) }
    }
}
