//! The upper rungs: from the claim until the last thread has joined. Nothing is stopped by force and nothing is freed here.

use super::{For, Ladder, say, stage};
use crate::{
    budget::Budgets,
    claim::Owner,
    device::{AllJoined, Teardown},
    edge::Edge,
    fault::Fault,
    plant::{Faults, Flushed, Plant},
    transcript::{Stage, Transcript},
};
use alloc::{boxed::Box, string::String, vec::Vec};
use core::{marker::PhantomData, time::Duration};
use ksync::time::Instant;

impl<'p> Ladder<'p, stage::Claimed> {
    /// Takes the first rung: `owner` asks, `why` says through what (a command, a key, a button).
    #[must_use]
    pub fn claim(
        owner: Owner<'p>,
        why: &str,
        plant: &'p dyn Plant,
        devices: Vec<Box<dyn Teardown + 'p>>,
        budgets: Budgets,
    ) -> Self {
        let started = plant.now();
        let bound = budgets.bound(devices.len());
        let transcript = Transcript::new(owner.asked());
        let state = ();
        let mut ladder =
            Ladder { owner, plant, devices, budgets, transcript, started, state, _one_thread: PhantomData };
        let (began, _) = ladder.begin(Stage::Claim);
        plant.must_end_by(started + bound);
        let (exit, devices) = (ladder.owner.asked().as_str(), ladder.devices.len());
        ladder.say(format_args!(
            "shutdown: {exit} requested by {why}, {devices} devices, ends within {} seconds",
            bound.as_secs() + 1
        ));
        ladder.step(Stage::Claim, began, Faults::new(), stage::Claimed)
    }

    /// Announces, and refuses new work.
    #[must_use]
    pub fn announce(mut self) -> Ladder<'p, stage::Announced> {
        let (began, _) = self.begin(Stage::Announce);
        if self.keeps(Edge::AnnounceBeforeDrain) {
            self.plant.announce();
        }
        self.step(Stage::Announce, began, Faults::new(), stage::Announced)
    }
}

impl<'p> Ladder<'p, stage::Announced> {
    /// Closes reception on every device: when it returns, the quiesce point has passed.
    #[must_use]
    pub fn close_ingress(mut self) -> Ladder<'p, stage::IngressClosed> {
        let (began, deadline) = self.begin(Stage::CloseIngress);
        #[cfg(feature = "mutations")]
        if !self.keeps(Edge::DevicesTogether) {
            self.one_by_one();
        }
        let mut faults = Faults::new();
        if self.keeps(Edge::CloseBeforeDrain) {
            faults = self.each(deadline, |device| device.close_ingress());
        }
        self.step(Stage::CloseIngress, began, faults, stage::IngressClosed)
    }
}

impl<'p> Ladder<'p, stage::IngressClosed> {
    /// Waits until receive rings, the hands of the interrupt threads, netisr queues and transmit rings are empty; then flushes what only time could resolve
    /// (ARP hold), and waits for the transmit rings again, which the flush may have filled with ICMP errors.
    #[must_use]
    pub fn drain(mut self) -> Ladder<'p, stage::Drained> {
        let (began, _) = self.begin(Stage::Drain);
        if !self.keeps(Edge::DrainBeforeMask) {
            self.each(Instant::MAX, |device| device.mask());
        }
        let mut faults = self.wait_until_idle(began + self.budgets.drain, For::Everything);
        let flushed = if self.keeps(Edge::FlushHeld) { self.plant.flush_held() } else { Flushed::default() };
        if flushed.total() > 0 {
            self.say(format_args!("shutdown: drain: dropped {flushed}"));
            let deadline = self.plant.now() + self.budgets.drain;
            faults = self.wait_until_idle(deadline, For::Everything);
        }
        self.explain(&faults);
        if !self.keeps(Edge::CloseBeforeDrain) {
            faults.extend(self.each(Instant::MAX, |device| device.close_ingress()));
        }
        self.step(Stage::Drain, began, faults, stage::Drained)
    }
}

impl<'p> Ladder<'p, stage::Drained> {
    /// Masks every device's interrupts.
    #[must_use]
    pub fn mask(mut self) -> Ladder<'p, stage::Masked> {
        let (began, deadline) = self.begin(Stage::Mask);
        let mut faults = Faults::new();
        if self.keeps(Edge::MaskBeforeJoin) {
            faults = self.each(deadline, |device| device.mask());
        }
        self.step(Stage::Mask, began, faults, stage::Masked)
    }
}

impl<'p> Ladder<'p, stage::Masked> {
    /// Joins every interrupt thread, then the machine's timers, callouts and queue threads; then closes the transmit rings to
    /// newcomers and lets them run empty, since the last passes may have put frames into them. Nothing leaves after that.
    #[must_use]
    pub fn join(mut self) -> Ladder<'p, stage::Joined> {
        let (began, _) = self.begin(Stage::Join);
        let mut faults = Faults::new();
        if self.keeps(Edge::JoinBeforeStop) {
            self.devices.iter_mut().for_each(|device| device.begin_join());
            faults = self.join_devices(began + self.budgets.join);
            self.explain(&faults);
        }
        // A thread that was at its end may have re-armed its device after the mask (race class R20); now nobody can.
        let mut unmasked = Faults::new();
        if self.keeps(Edge::MaskAfterJoin) {
            unmasked = self.each(Instant::MAX, |device| device.mask());
        }
        let (plant, transcript) = (self.plant, &mut self.transcript);
        let deadline = plant.now() + self.budgets.join;
        if self.owner.edges().keep(Edge::CalloutsBeforeStop) {
            faults.extend(plant.join_callouts(deadline, &mut |line| say(plant, transcript, line)));
        }
        // One thread that still runs may transmit into any device: then nothing at all is freed.
        let proof = faults.is_empty().then_some(AllJoined(()));
        // A device that could not be masked, because it is gone perhaps, has no thread any more that it could wake.
        faults.extend(unmasked);
        if self.keeps(Edge::CloseEgressAfterJoin) {
            self.devices.iter_mut().for_each(|device| device.close_egress());
        }
        if self.keeps(Edge::DrainAfterJoin) {
            let last = self.plant.now() + self.budgets.drain;
            let unsent = self.wait_until_idle(last, For::Unsent);
            self.explain(&unsent);
            faults.extend(unsent);
        }
        self.step(Stage::Join, began, faults, stage::Joined(proof))
    }

    /// Waits for one device's threads after the other, in the field's words.
    fn join_devices(&mut self, deadline: Instant) -> Faults {
        let (plant, transcript) = (self.plant, &mut self.transcript);
        let mut faults = Faults::new();
        let together = self.owner.edges().keep(Edge::JoinAllBeforeStop);
        for device in &mut self.devices {
            let mut thread = String::new();
            let _ = device.thread(&mut thread);
            let left = deadline.saturating_duration_since(plant.now());
            let limit = (left + Duration::from_millis(500)).as_secs();
            transcript.wait_for(&thread);
            plant.keep(transcript);
            let waiting = format_args!("Waiting (max {limit} seconds) for system thread `{thread}' to stop... ");
            plant.write(waiting);
            transcript.note(waiting);
            let answer = device.join(deadline);
            let word = match answer {
                Ok(()) => "done",
                Err(Fault::Wedged) => "timed out",
                Err(_) => "failed",
            };
            say(plant, transcript, format_args!("{word}"));
            if !together {
                let _ = device.stop_dma(&AllJoined(()), deadline);
            }
            faults.extend(answer.err().map(|fault| (String::from(device.name()), fault)));
        }
        faults
    }
}
