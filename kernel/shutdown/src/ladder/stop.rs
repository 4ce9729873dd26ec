//! The lower rungs: from joined threads to the settled exit. What stops or frees here takes the proofs made above.

use super::{Finished, Ladder, say, stage};
use crate::{
    device::DeviceStopped,
    edge::Edge,
    fault::Fault,
    plant::Faults,
    transcript::{Outcome, Stage},
};
use alloc::vec::Vec;

impl<'p> Ladder<'p, stage::Joined> {
    /// Stops every device's DMA. A device that does not acknowledge, and every device while something is still running, is
    /// stopped by force, without proof: its memory stays where it is.
    #[must_use]
    pub fn stop_dma(mut self) -> Ladder<'p, stage::Stopped> {
        let (began, deadline) = self.begin(Stage::StopDma);
        let joined = self.state.0.take();
        let mut faults = Faults::new();
        let mut proofs = Vec::with_capacity(self.devices.len());
        if !self.keeps(Edge::StopBeforeBusMasterOff) {
            faults = self.each(deadline, |device| device.bus_master_off());
        }
        let edges = self.owner.edges();
        let (plant, transcript) = (self.plant, &mut self.transcript);
        for device in &mut self.devices {
            let answer = joined.as_ref().map(|joined| match edges.keep(Edge::StopBeforeTearDown) {
                true => device.stop_dma(joined, deadline),
                false => Ok(()),
            });
            let (proof, fault) = match answer {
                Some(Ok(())) => (Some(DeviceStopped(())), None),
                // It stopped, but not in silence.
                Some(Err(fault @ Fault::SentLate(_))) => (Some(DeviceStopped(())), Some(fault)),
                Some(Err(fault)) => (None, Some(fault)),
                None => (None, None),
            };
            if proof.is_none() && edges.keep(Edge::ForceWithoutProof) {
                let forced = device.force_stop();
                let name = device.name();
                say(plant, transcript, format_args!("shutdown: stop DMA: {name} by force: {forced}; its memory stays"));
            }
            faults.extend(fault.map(|fault| (device.name().into(), fault)));
            let forged = !edges.keep(Edge::QuarantineWithoutProof);
            proofs.push(if forged { Some(DeviceStopped(())) } else { proof });
        }
        self.explain(&faults);
        self.step(Stage::StopDma, began, faults, stage::Stopped(proofs))
    }
}

impl<'p> Ladder<'p, stage::Stopped> {
    /// Destroys maps, memory and tags of every device that has its proof; the others keep theirs, in quarantine.
    #[must_use]
    pub fn tear_down(mut self) -> Ladder<'p, stage::TornDown> {
        let (began, deadline) = self.begin(Stage::TearDown);
        let proofs = core::mem::take(&mut self.state.0);
        if !proofs.is_empty() && proofs.iter().all(Option::is_none) {
            let residue = self.plant.residue();
            self.say(format_args!("shutdown: tear down DMA: in quarantine: {residue}"));
            self.record(Stage::TearDown, Outcome::Quarantined, began);
            return self.with(stage::TornDown);
        }
        let mut proofs = proofs.into_iter();
        let mut faults = self.each(deadline, |device| match proofs.next().flatten() {
            Some(proof) => device.tear_down(proof),
            None => Ok(()),
        });
        self.plant.watch_freed();
        let residue = self.plant.residue();
        self.say(format_args!("shutdown: tear down DMA: {residue}"));
        if !residue.is_zero() {
            faults.push(("bus_dma".into(), Fault::Busy(residue)));
        }
        self.step(Stage::TearDown, began, faults, stage::TornDown)
    }
}

impl<'p> Ladder<'p, stage::TornDown> {
    /// Switches bus mastering off on every device, then looks whether anybody wrote to what the teardown gave back.
    #[must_use]
    pub fn bus_masters_off(mut self) -> Ladder<'p, stage::Quiet> {
        let (began, deadline) = self.begin(Stage::BusMasterOff);
        let mut faults = Faults::new();
        if self.keeps(Edge::BusMasterOffBeforeExit) {
            faults = self.each(deadline, |device| device.bus_master_off());
        }
        let (plant, transcript) = (self.plant, &mut self.transcript);
        if self.owner.edges().keep(Edge::TripwireBeforeExit) {
            faults.extend(plant.check_freed(&mut |line| say(plant, transcript, line)));
        }
        self.step(Stage::BusMasterOff, began, faults, stage::Quiet)
    }
}

impl<'p> Ladder<'p, stage::Quiet> {
    /// Parks the other CPUs.
    #[must_use]
    pub fn park_cpus(mut self) -> Ladder<'p, stage::Parked> {
        let (began, deadline) = self.begin(Stage::ParkCpus);
        let mut faults = Faults::new();
        let parked = if self.keeps(Edge::ParkBeforeExit) { self.plant.park_cpus(deadline) } else { Ok(0) };
        match parked {
            Ok(count) => self.say(format_args!("shutdown: {count} other CPUs parked")),
            Err(fault) => faults.push(("cpus".into(), fault)),
        }
        self.step(Stage::ParkCpus, began, faults, stage::Parked)
    }
}

impl Ladder<'_, stage::Parked> {
    /// Closes the books, prints the uptime and settles what is carried out: the strongest request until now. The caller then
    /// ends the machine.
    pub fn exit(mut self) -> Finished {
        let (began, _) = self.begin(Stage::Exit);
        let (plant, transcript) = (self.plant, &mut self.transcript);
        let faults = plant.account(&mut |line| say(plant, transcript, line));
        let mut done = self.step(Stage::Exit, began, faults, ());
        let exit = done.owner.settle();
        let took = done.plant.now().saturating_duration_since(done.started);
        done.transcript.end(exit, took);
        let verdict = if done.transcript.is_clean() { "clean" } else { "forced" };
        done.say(format_args!("shutdown: {verdict}, {} us", took.as_micros()));
        done.say(format_args!("Uptime: {}", crate::uptime::Uptime(done.plant.now())));
        done.plant.keep(&done.transcript);
        Finished { exit, transcript: done.transcript, took }
    }
}
