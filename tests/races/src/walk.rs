//! Walking the ladder, and what is found when everything is over.

use std::{
    boxed::Box,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::atomic::Ordering::SeqCst,
    vec::Vec,
};

use ifnet::{DropReason, FateSnapshot};
use ksync::{atomic::Ordering, time::Instant};
use router::Audit;
use shutdown::{Exit, Finished, Ladder, Owner, Residue, Stage, Teardown};

use crate::{
    frames,
    plant::{Around, Card, GaveWay},
    rig::Rig,
};

/// Frames that come in after the end, to see whether anybody still takes them.
const LATE_FRAMES: u32 = 3;
/// Steps of each device after the end: enough for all that could be under way.
const LATE_STEPS: u32 = 60;

/// What is found when everything is over.
#[derive(Debug)]
pub struct Ending {
    /// The transcript was clean, in words if not.
    pub faults: Vec<String>,
    /// What must not have happened, and did.
    pub broken: Vec<String>,
    /// Frames that the devices wrote to memory.
    pub delivered: u64,
    /// Frames that the drivers handed to the router.
    pub received: u64,
    /// Datagrams that left on the wire.
    pub on_the_wire: u64,
    /// Other frames that left on the wire: the router's own.
    pub own_on_the_wire: u64,
    /// Packets of its own that the router says it has sent.
    pub own_sent: u64,
    /// Frames received that the router says it has forwarded.
    pub forwarded: u64,
    /// Frames received that were dropped, by reason.
    pub dropped: Vec<(DropReason, u64)>,
    /// Packets that still wait somewhere in the router.
    pub held: u64,
    /// Frames that nobody can explain.
    pub unexplained: i64,
    /// Frames that a device took or sent after the end.
    pub after_the_end: u64,
    /// Interrupts that nobody claimed.
    pub strays: u64,
    /// What is left below the bus.
    pub residue: Residue,
    /// Packets that did not go home.
    pub missing: usize,
    /// Devices that can still reach memory.
    pub bus_masters: usize,
    /// Accesses of devices to memory that was not theirs.
    pub violations: usize,
}

impl Rig {
    /// Asks for `exit` and walks the ladder on this thread.
    ///
    /// # Panics
    /// If the claim gives nobody the ladder.
    pub fn shut_down(&self, exit: Exit) -> Finished {
        let _ = self.claim.request(exit);
        let owner = self.claim.begin().expect("somebody has asked, and nobody walks");
        self.walk(owner)
    }

    /// Walks the ladder.
    pub(crate) fn walk(&self, owner: Owner<'_>) -> Finished {
        let plant = Around(self);
        let devices: Vec<Box<dyn Teardown + '_>> =
            self.ports.iter().map(|port| Box::new(Card::new(self, port)) as Box<dyn Teardown>).collect();
        let finished = Ladder::claim(owner, "a scenario", &plant, devices, self.setup.budgets).walk();
        self.flags.over.store(true, SeqCst);
        finished
    }

    /// As [`shut_down`](Self::shut_down), but `None` if a panic took the ladder away, or was there before.
    ///
    /// # Panics
    /// If the walk panics.
    pub fn try_shut_down(&self, exit: Exit) -> Option<Finished> {
        let _ = self.claim.request(exit);
        self.try_walk()
    }

    /// Walks if nobody else does; `None` if nobody may, or if a panic took the ladder away.
    ///
    /// # Panics
    /// If the walk panics.
    pub fn try_walk(&self) -> Option<Finished> {
        let owner = self.claim.begin()?;
        match catch_unwind(AssertUnwindSafe(|| self.walk(owner))) {
            Ok(finished) => Some(finished),
            Err(payload) if payload.is::<GaveWay>() => None,
            Err(payload) => resume_unwind(payload),
        }
    }

    /// What a panic does on its CPU: takes the machine, and stops the devices without a word to them.
    pub fn panic(&self) {
        let _ = self.claim.request(Exit::Panic);
        self.flags.panicked.store(true, SeqCst);
        self.ports.iter().for_each(|port| port.adapter.stop_blindly());
    }

    /// Returns how often the transcript was kept after a panic had asked: as each stage begins and ends.
    #[must_use]
    pub fn stages_after_panic(&self) -> u64 {
        self.flags.stages_after_panic.load(SeqCst)
    }

    /// Lets the devices do what they still can, ends every thread, and looks at what is left.
    pub fn end(self, finished: &Finished) -> Ending {
        self.end_with(faults(finished))
    }

    /// As [`end`](Self::end), when nobody has finished.
    pub fn end_without(self) -> Ending {
        self.end_with(Vec::new())
    }

    fn end_with(self, faults: Vec<String>) -> Ending {
        let delivered = self.delivered();
        for (index, port) in self.ports.iter().enumerate() {
            (0..LATE_FRAMES).for_each(|serial| port.nic.inject(frames::datagram(index, 1000 + serial)));
        }
        self.host.relax();
        let sent_before = self.ports.iter().map(|port| port.nic.all_sent()).collect::<Vec<_>>().concat();
        // Time passes: whoever still runs, runs.
        (0..LATE_STEPS).for_each(|_| self.host.relax());
        self.stop_threads();
        let steps = LATE_STEPS + self.setup.patience;
        self.ports.iter().for_each(|port| (0..steps).for_each(|_| _ = port.nic.step()));
        let sent_after: usize = self.ports.iter().map(|port| port.nic.all_sent().len()).sum();
        let after_the_end = self.delivered() - delivered + sent_after as u64;
        let audit = self.router.audit();
        let first = &self.before;
        Ending {
            faults,
            broken: self.flags.all_broken(),
            delivered,
            received: audit.received - first.received,
            on_the_wire: sent_before.iter().filter(|frame| frames::is_forwarded(frame)).count() as u64,
            own_on_the_wire: sent_before.iter().filter(|frame| !frames::is_forwarded(frame)).count() as u64,
            own_sent: audit.local_fates.forwarded - first.local_fates.forwarded + self.flags.raw_sent.load(SeqCst),
            forwarded: audit.fates.forwarded,
            dropped: drops(&audit.fates),
            held: audit.held(),
            unexplained: audit.unexplained(),
            after_the_end,
            strays: self.strays(),
            residue: self.residue(),
            missing: self.missing(&audit),
            bus_masters: self.ports.iter().filter(|port| port.nic.is_bus_master()).count(),
            violations: self.machine.iommu.violations().len(),
        }
    }

    fn delivered(&self) -> u64 {
        self.ports.iter().map(|port| port.nic.delivered()).sum()
    }

    fn strays(&self) -> u64 {
        let events = self.ports.iter().map(|port| &port.event);
        let distinct = events.take(if self.setup.shared_line { 1 } else { self.ports.len() });
        distinct.map(|event| event.statistics().strays).sum()
    }

    /// Ends all threads, including those that the ladder did not.
    fn stop_threads(&self) {
        self.ports.iter().for_each(|port| port.shared.wedged.store(false, SeqCst));
        let _ = self.join_services(Instant::MAX);
        self.flags.parking.store(true, Ordering::Release);
        self.ports.iter().for_each(|port| port.event.begin_quiesce());
        self.flags.power_off.store(true, SeqCst);
        self.host.join_all();
    }

    /// Counts the packets that are neither in the pool nor in a cache nor held by the router.
    fn missing(&self, audit: &Audit) -> usize {
        drop(self.flusher.lock().take());
        self.machine.pool.total() - self.machine.pool.free() - usize::try_from(audit.held()).unwrap_or(0)
    }
}

fn drops(fates: &FateSnapshot) -> Vec<(DropReason, u64)> {
    let counted = DropReason::ALL.into_iter().map(|reason| (reason, fates.dropped(reason)));
    counted.filter(|(_, count)| *count > 0).collect()
}

fn faults(finished: &Finished) -> Vec<String> {
    let mut faults = Vec::new();
    for record in finished.transcript.records() {
        match &record.outcome {
            shutdown::Outcome::Done => {}
            shutdown::Outcome::Quarantined => faults.push(format!("{}: quarantined", record.stage)),
            shutdown::Outcome::Faulted(list) => {
                faults.extend(list.iter().map(|(name, fault)| format!("{}: {name} {fault}", record.stage)));
            }
        }
    }
    if finished.transcript.records().len() != Stage::ALL.len() {
        faults.push("a stage was left out".into());
    }
    faults
}

impl Ending {
    /// Returns how many frames were dropped for `reason`.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.iter().find(|(other, _)| *other == reason).map_or(0, |(_, count)| *count)
    }

    /// Checks what holds however badly a device behaves: no rule broken, nothing unexplained, nothing after the end.
    ///
    /// # Panics
    /// If it does not.
    pub fn assert_safe(&self) {
        assert_eq!(self.broken, [] as [String; 0], "{self:#?}");
        assert_eq!(self.unexplained, 0, "{self:#?}");
        assert_eq!(self.after_the_end, 0, "a device still worked after the end: {self:#?}");
        assert_eq!(self.violations, 0, "a device reached memory that was not its own: {self:#?}");
    }

    /// Checks all that holds if the devices do as they are told: as [`assert_safe`](Self::assert_safe), and the transcript is clean,
    /// every frame that a device took was handed up, every frame that was forwarded left on the wire, none was refused by a
    /// port that had been stopped, nobody missed an interrupt, and everything went home.
    ///
    /// # Panics
    /// If it does not.
    pub fn assert_orderly(&self) {
        let refused = self.dropped(DropReason::TxNotRunning) + self.dropped(DropReason::EgressDown);
        assert_eq!(refused, 0, "a frame was sent into a stopped device: {self:#?}");
        self.assert_safe();
        assert_eq!(self.own_on_the_wire, self.own_sent, "a packet of our own never left: {self:#?}");
        if self.faults.is_empty() {
            assert_eq!(self.received, self.delivered, "a frame was received and lost: {self:#?}");
        }
        assert_eq!(self.on_the_wire, self.forwarded, "a frame was forwarded and never left: {self:#?}");
        assert_eq!(self.dropped(DropReason::NetisrFlushed), 0, "a queue was not drained: {self:#?}");
        assert_eq!(self.faults, [] as [String; 0], "{self:#?}");
        // One interrupt of each device may have been on its way to a processor when the line was masked.
        assert!(self.strays <= 2, "{self:#?}");
        assert_eq!(self.held, 0, "packets wait for ever: {self:#?}");
        assert_eq!(self.bus_masters, 0, "a device can reach memory in the next kernel: {self:#?}");
        assert!(self.residue.is_zero() && self.missing == 0, "something did not go home: {self:#?}");
    }
}
