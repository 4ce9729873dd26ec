//! The ladder itself: a typestate whose every rung takes the one before it.

use crate::{
    claim::Exit,
    device::{AllJoined, AllStopped, Fault, Plant, Progress, Teardown},
    transcript::{Outcome, Record, Stage, Transcript},
};
use alloc::{boxed::Box, string::String, vec::Vec};
use core::{marker::PhantomData, time::Duration};
use ksync::time::Instant;

/// The states a [`Ladder`] passes, one type each.
pub mod stage {
    use crate::device::{AllJoined, AllStopped};

    /// New work is refused; everything still runs.
    #[derive(Debug)]
    pub struct Announced;
    /// No device receives from the wire any more.
    #[derive(Debug)]
    pub struct IngressClosed;
    /// Rings and queues are empty, or what was left is counted.
    #[derive(Debug)]
    pub struct Drained;
    /// No device can interrupt.
    #[derive(Debug)]
    pub struct Masked;
    /// Everything that could touch a ring has ended; without the proof nothing will be freed.
    #[derive(Debug)]
    pub struct Joined(pub(crate) Option<AllJoined>);
    /// No device does DMA; without the proof nothing will be freed.
    #[derive(Debug)]
    pub struct Stopped(pub(crate) Option<AllStopped>);
    /// DMA resources are gone, or quarantined.
    #[derive(Debug)]
    pub struct TornDown;
    /// No device can reach the bus.
    #[derive(Debug)]
    pub struct Quiet;
}

/// The longest time each waiting stage may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budgets {
    /// For rings and queues to empty.
    pub drain: Duration,
    /// For all threads, timers and callbacks together to acknowledge.
    pub join: Duration,
}

impl Default for Budgets {
    fn default() -> Self {
        Self { drain: Duration::from_secs(5), join: Duration::from_secs(10) }
    }
}

/// A shutdown in progress, at the rung `S`.
pub struct Ladder<'p, S> {
    plant: &'p dyn Plant,
    devices: Vec<Box<dyn Teardown + 'p>>,
    budgets: Budgets,
    transcript: Transcript,
    started: Instant,
    state: S,
    /// The ladder is walked by one thread.
    _one_thread: PhantomData<*const ()>,
}

impl<S: core::fmt::Debug> core::fmt::Debug for Ladder<'_, S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Ladder")
            .field("state", &self.state)
            .field("devices", &self.devices.len())
            .finish_non_exhaustive()
    }
}

/// A finished shutdown: nothing runs but the caller.
#[derive(Debug)]
pub struct Finished {
    /// What happened.
    pub transcript: Transcript,
    /// From the announcement to the last CPU parked.
    pub took: Duration,
}

type Faults = Vec<(String, Fault)>;

impl<'p, S> Ladder<'p, S> {
    /// Asks every device in turn; collects who failed.
    fn each(&mut self, mut ask: impl FnMut(&mut dyn Teardown) -> Result<(), Fault>) -> Faults {
        let mut faults = Faults::new();
        for device in &mut self.devices {
            if let Err(fault) = ask(&mut **device) {
                faults.push((device.name().into(), fault));
            }
        }
        faults
    }

    /// Waits until no ring and no queue holds a frame; names who still does at the deadline.
    fn wait_until_idle(&mut self, deadline: Instant) -> Faults {
        let plant = self.plant;
        loop {
            let mut busy = self.each(|device| match device.drain() {
                Progress::Idle => Ok(()),
                Progress::Busy(_) => Err(Fault::TimedOut),
            });
            if let Progress::Busy(_) = plant.queued() {
                busy.push(("netisr".into(), Fault::TimedOut));
            }
            if busy.is_empty() || plant.now() >= deadline {
                return busy;
            }
            plant.relax();
        }
    }

    /// Says and records how a stage ended, and steps to the next state.
    fn step<N>(mut self, stage: Stage, began: Instant, faults: Faults, state: N) -> Ladder<'p, N> {
        let took = self.plant.now().saturating_duration_since(began);
        for (name, fault) in &faults {
            self.plant.say(format_args!("shutdown: {stage}: {name} {fault}"));
        }
        let outcome = if faults.is_empty() { Outcome::Done } else { Outcome::Faulted(faults) };
        self.record(stage, outcome, took);
        self.with(state)
    }

    fn record(&mut self, stage: Stage, outcome: Outcome, took: Duration) {
        let word = match &outcome {
            Outcome::Done => "done",
            Outcome::Faulted(_) => "forced",
            Outcome::Quarantined => "quarantined: nothing freed",
        };
        self.plant.say(format_args!("shutdown: {stage}...{word} ({} us)", took.as_micros()));
        self.transcript.push(Record { stage, outcome, took });
    }

    fn with<N>(self, state: N) -> Ladder<'p, N> {
        Ladder {
            plant: self.plant,
            devices: self.devices,
            budgets: self.budgets,
            transcript: self.transcript,
            started: self.started,
            state,
            _one_thread: PhantomData,
        }
    }
}

impl<'p> Ladder<'p, stage::Announced> {
    /// Starts the ladder: announces, and refuses new work.
    #[must_use]
    pub fn announce(plant: &'p dyn Plant, exit: Exit, devices: Vec<Box<dyn Teardown + 'p>>, budgets: Budgets) -> Self {
        let started = plant.now();
        plant.say(format_args!("shutdown: {} requested, {} devices", exit.as_str(), devices.len()));
        plant.announce();
        let ladder = Ladder {
            plant,
            devices,
            budgets,
            transcript: Transcript::default(),
            started,
            state: (),
            _one_thread: PhantomData,
        };
        ladder.step(Stage::Announce, started, Faults::new(), stage::Announced)
    }

    /// Closes reception on every device: when it returns, the quiesce point has passed.
    #[must_use]
    pub fn close_ingress(mut self) -> Ladder<'p, stage::IngressClosed> {
        let began = self.plant.now();
        let faults = self.each(|device| device.close_ingress());
        self.step(Stage::CloseIngress, began, faults, stage::IngressClosed)
    }
}

impl<'p> Ladder<'p, stage::IngressClosed> {
    /// Waits until receive rings, netisr queues and transmit rings are empty; then flushes what only time could resolve
    /// (ARP hold), and waits for the transmit rings again.
    #[must_use]
    pub fn drain(mut self) -> Ladder<'p, stage::Drained> {
        let began = self.plant.now();
        let deadline = began + self.budgets.drain;
        let mut faults = self.wait_until_idle(deadline);
        let flushed = self.plant.flush_held();
        if flushed > 0 {
            self.plant.say(format_args!("shutdown: drain: {flushed} frames held for address resolution flushed"));
            faults = self.wait_until_idle(deadline);
        }
        self.step(Stage::Drain, began, faults, stage::Drained)
    }
}

impl<'p> Ladder<'p, stage::Drained> {
    /// Masks every device's interrupts.
    #[must_use]
    pub fn mask(mut self) -> Ladder<'p, stage::Masked> {
        let began = self.plant.now();
        let faults = self.each(|device| device.mask());
        self.step(Stage::Mask, began, faults, stage::Masked)
    }
}

impl<'p> Ladder<'p, stage::Masked> {
    /// Joins every interrupt thread, then the machine's timers, callouts and queue threads; then lets the transmit rings
    /// run empty, into which the last passes may have put frames.
    #[must_use]
    pub fn join(mut self) -> Ladder<'p, stage::Joined> {
        let began = self.plant.now();
        let deadline = began + self.budgets.join;
        let mut faults = self.each(|device| device.join(deadline));
        if let Err(fault) = self.plant.join_callouts(deadline) {
            faults.push(("callouts".into(), fault));
        }
        // A thread's last pass may have filled a transmit ring after the drain looked at it: what was accepted goes out.
        let unsent = self.wait_until_idle(deadline);
        for (name, fault) in &unsent {
            self.plant.say(format_args!("shutdown: join threads: transmit ring of {name} {fault}"));
        }
        // One thread that still runs may transmit into any device: then nothing at all is freed.
        let proof = faults.is_empty().then_some(AllJoined(()));
        self.step(Stage::Join, began, faults, stage::Joined(proof))
    }
}

impl<'p> Ladder<'p, stage::Joined> {
    /// Stops every device's DMA; by force, and without proof, when something is still running.
    #[must_use]
    pub fn stop_dma(mut self) -> Ladder<'p, stage::Stopped> {
        let began = self.plant.now();
        let joined = self.state.0.take();
        let faults = self.each(|device| match &joined {
            Some(proof) => device.stop_dma(proof),
            None => {
                device.force_stop();
                Ok(())
            }
        });
        let proof = (joined.is_some() && faults.is_empty()).then_some(AllStopped(()));
        self.step(Stage::StopDma, began, faults, stage::Stopped(proof))
    }
}

impl<'p> Ladder<'p, stage::Stopped> {
    /// Destroys maps, memory and tags of every device; without the proof of the stage before, frees nothing.
    #[must_use]
    pub fn tear_down(mut self) -> Ladder<'p, stage::TornDown> {
        let began = self.plant.now();
        let Some(proof) = self.state.0.take() else {
            self.record(Stage::TearDown, Outcome::Quarantined, Duration::ZERO);
            return self.with(stage::TornDown);
        };
        let mut faults = self.each(|device| device.tear_down(&proof));
        let residue = self.plant.residue();
        self.plant.say(format_args!("shutdown: tear down DMA: {residue}"));
        if !residue.is_zero() {
            faults.push(("bus_dma".into(), Fault::Busy(residue)));
        }
        self.step(Stage::TearDown, began, faults, stage::TornDown)
    }
}

impl<'p> Ladder<'p, stage::TornDown> {
    /// Switches bus mastering off on every device.
    #[must_use]
    pub fn bus_masters_off(mut self) -> Ladder<'p, stage::Quiet> {
        let began = self.plant.now();
        let faults = self.each(|device| device.bus_master_off());
        self.step(Stage::BusMasterOff, began, faults, stage::Quiet)
    }
}

impl<'p> Ladder<'p, stage::Quiet> {
    /// Parks the other CPUs. The caller then ends the machine.
    #[must_use]
    pub fn park_cpus(self) -> Finished {
        let began = self.plant.now();
        let mut faults = Faults::new();
        match self.plant.park_cpus() {
            Ok(count) => self.plant.say(format_args!("shutdown: {count} other CPUs parked")),
            Err(fault) => faults.push(("cpus".into(), fault)),
        }
        let done = self.step(Stage::ParkCpus, began, faults, ());
        let took = done.plant.now().saturating_duration_since(done.started);
        Finished { transcript: done.transcript, took }
    }
}
