//! The ladder itself: a typestate whose every rung takes the one before it.
//!
//! Here is what all rungs share: asking every device, waiting, saying, recording. The rungs stand in `quiesce` (up to the
//! last thread joined) and in `stop` (from there to the end).

#[cfg(feature = "mutations")]
mod one_by_one;
mod quiesce;
pub mod stage;
mod stop;

use crate::{
    budget::Budgets,
    claim::{Exit, Owner},
    device::{Pending, Teardown},
    edge::Edge,
    fault::Fault,
    plant::{Faults, Plant},
    transcript::{Outcome, Record, Stage, Transcript},
};
use alloc::{boxed::Box, vec::Vec};
use core::{fmt, marker::PhantomData, time::Duration};
use ksync::time::Instant;

/// A shutdown in progress, at the rung `S`.
pub struct Ladder<'p, S> {
    owner: Owner<'p>,
    plant: &'p dyn Plant,
    devices: Vec<Box<dyn Teardown + 'p>>,
    budgets: Budgets,
    transcript: Transcript,
    started: Instant,
    state: S,
    /// The ladder is walked by one thread.
    _one_thread: PhantomData<*const ()>,
}

impl<S: fmt::Debug> fmt::Debug for Ladder<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ladder")
            .field("state", &self.state)
            .field("devices", &self.devices.len())
            .finish_non_exhaustive()
    }
}

/// A finished shutdown: nothing runs but the caller, and what is left is to carry out the exit.
#[derive(Debug)]
#[must_use = "the machine is still on"]
pub struct Finished {
    /// What is to be carried out.
    pub exit: Exit,
    /// What happened.
    pub transcript: Transcript,
    /// From the claim to the settled exit.
    pub took: Duration,
}

/// Which frames a wait is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    /// Receive rings, protocol queues and transmit rings.
    Everything,
    /// Transmit rings: nobody takes anything out of the others any more.
    Unsent,
}

impl<'p, S> Ladder<'p, S> {
    /// Returns whether the ladder keeps `edge`: always, but in the test that sees that each is needed.
    fn keeps(&self, edge: Edge) -> bool {
        self.owner.edges().keep(edge)
    }

    /// Notes that a stage begins, where the next boot will find it; gives way to a panic. Returns the time and the deadline.
    fn begin(&mut self, stage: Stage) -> (Instant, Instant) {
        if self.owner.is_preempted() {
            self.plant.yield_to_panic();
        }
        self.transcript.begin(stage);
        self.plant.keep(&self.transcript);
        let now = self.plant.now();
        (now, now + self.budgets.of(stage))
    }

    /// Prints one line and keeps it.
    fn say(&mut self, line: fmt::Arguments<'_>) {
        self.plant.write(format_args!("{line}\n"));
        self.transcript.note(format_args!("{line}\n"));
    }

    /// Asks every device in turn, however late it is; collects who failed, and who answered after `deadline`.
    fn each(&mut self, deadline: Instant, mut ask: impl FnMut(&mut dyn Teardown) -> Result<(), Fault>) -> Faults {
        let plant = self.plant;
        let failed = |device: &mut Box<dyn Teardown + 'p>| {
            let was_late = plant.now() > deadline;
            let answer = ask(&mut **device);
            let fault = match answer {
                // Only the one that used the time up is named, not those who had to wait for it.
                Ok(()) if !was_late && plant.now() > deadline => Fault::OverBudget,
                Ok(()) => return None,
                Err(fault) => fault,
            };
            Some((device.name().into(), fault))
        };
        self.devices.iter_mut().filter_map(failed).collect()
    }

    /// Waits until no ring (and no thread and no queue) holds a frame; names who still does at the deadline.
    fn wait_until_idle(&mut self, deadline: Instant, what: For) -> Faults {
        let plant = self.plant;
        let hands = what == For::Everything && self.keeps(Edge::HandsEmptied);
        loop {
            let mut busy = self.each(Instant::MAX, |device| {
                let mut pending = device.pending();
                if what == For::Unsent {
                    pending.received = 0;
                }
                if !hands {
                    pending.passes = 0;
                }
                if pending.is_zero() { Ok(()) } else { Err(Fault::Undrained(pending)) }
            });
            let all = what == For::Everything && self.keeps(Edge::QueuesDrained);
            let queued = if all { plant.queued() } else { 0 };
            if queued > 0 {
                busy.push(("netisr".into(), Fault::Undrained(Pending { received: queued, ..Pending::default() })));
            }
            if busy.is_empty() || plant.now() >= deadline {
                return busy;
            }
            plant.relax();
        }
    }

    /// Has every device that failed explain itself.
    fn explain(&mut self, faults: &Faults) {
        let (plant, transcript) = (self.plant, &mut self.transcript);
        for (name, fault) in faults {
            if let Some(device) = self.devices.iter_mut().find(|device| device.name() == name) {
                device.explain(*fault, &mut |line| say(plant, transcript, line));
            }
        }
    }

    /// Says and records how a stage ended, and steps to the next state.
    fn step<N>(mut self, stage: Stage, began: Instant, faults: Faults, state: N) -> Ladder<'p, N> {
        for (name, fault) in &faults {
            self.say(format_args!("shutdown: {stage}: {name} {fault}"));
        }
        let outcome = if faults.is_empty() { Outcome::Done } else { Outcome::Faulted(faults) };
        self.record(stage, outcome, began);
        self.with(state)
    }

    fn record(&mut self, stage: Stage, outcome: Outcome, began: Instant) {
        let took = self.plant.now().saturating_duration_since(began);
        let word = match &outcome {
            Outcome::Done => "done",
            Outcome::Faulted(_) => "forced",
            Outcome::Quarantined => "quarantined: nothing freed",
        };
        self.say(format_args!("shutdown: {stage}...{word} ({} us)", took.as_micros()));
        self.transcript.push(Record { stage, outcome, took });
        self.plant.keep(&self.transcript);
    }

    fn with<N>(self, state: N) -> Ladder<'p, N> {
        Ladder {
            owner: self.owner,
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

impl Ladder<'_, stage::Claimed> {
    /// Walks every rung that is left, in the one order there is. The caller then ends the machine.
    ///
    /// # Context
    /// The sequencer's thread. Takes at most [`Budgets::bound`] from the claim on, if every call returns.
    pub fn walk(self) -> Finished {
        let drained = self.announce().close_ingress().drain();
        let joined = drained.mask().join();
        joined.stop_dma().tear_down().bus_masters_off().park_cpus().exit()
    }
}

/// As [`Ladder::say`], for closures that borrow the devices meanwhile.
fn say(plant: &dyn Plant, transcript: &mut Transcript, line: fmt::Arguments<'_>) {
    plant.write(format_args!("{line}\n"));
    transcript.note(format_args!("{line}\n"));
}
