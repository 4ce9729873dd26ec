//! The hosts' part in a run: [`Crowd`] makes as much traffic as gets through, both ways.

use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use etherparse::PacketBuilder;

use super::{dice::Dice, variant::Traffic};
use crate::{
    host::{FlowId, FlowReport, FlowSpec, HostId, Lab, Sizes},
    machine::{Nic, Wire},
};

/// How long anything may take that ought to be quick, on a busy host.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Packets that have to have arrived in each direction before traffic counts as flowing.
const FLOWING: u64 = 500;

/// Neighbours that do not exist, on each network, and packets to them: so many a millisecond, for some seconds.
const STRANGERS: u8 = 8;
const FIRST_STRANGER: u8 = 100;
const PER_MILLISECOND: usize = 4;
const TO_STRANGERS: usize = 40_000;

/// Traffic that flows, or nothing if the run is to be idle.
#[derive(Debug)]
pub(super) struct Crowd {
    flows: Vec<FlowId>,
    since: Instant,
    /// Packets that had arrived at that time.
    before: u64,
}

impl Crowd {
    /// Lets all hosts find each other through the router.
    pub(super) fn acquaint(lab: &Lab, hosts: [HostId; 2]) -> Result<()> {
        let [left, right] = hosts;
        for (host, other) in [(left, right), (right, left)] {
            lab.ping_until_reply(host, lab.spec(other).address.address(), PATIENCE)?;
        }
        Ok(())
    }

    /// Starts the traffic and waits until it flows.
    pub(super) fn gather(lab: &Lab, hosts: [HostId; 2], traffic: Traffic, dice: &mut Dice) -> Result<Self> {
        let mut crowd = Self { flows: Vec::new(), since: Instant::now(), before: 0 };
        if traffic == Traffic::Idle {
            return Ok(crowd);
        }
        let (count, window) = (dice.number(1..4), dice.number(32..129));
        let sizes = dice.one_of(&[Sizes::SMALLEST, Sizes::Fixed(1400), Sizes::Sweep(18, 1400)]);
        let [left, right] = hosts;
        for number in 0..u16::try_from(count).unwrap_or(1) {
            for (port, from, to) in [(7000, left, right), (8000, right, left)] {
                let mut spec = FlowSpec { ports: (port + number, 9), ..FlowSpec::new(from, to) };
                spec.window = u32::try_from(window).unwrap_or(spec.window);
                spec.sizes = sizes.unwrap_or(spec.sizes);
                crowd.flows.push(lab.start_flow(spec));
            }
        }
        if traffic == Traffic::Cold {
            for (port, (from, to)) in [(left, right), (right, left)].into_iter().enumerate() {
                let asked = lab.capture(to, asks_for_a_stranger);
                lab.inject(from, to_strangers(lab, port, from, to), PER_MILLISECOND);
                // From now on packets wait for an answer that will not come.
                ensure!(asked.next(PATIENCE).is_some(), "nobody asks for a stranger within {PATIENCE:?}");
            }
        } else {
            let flows = |direction| crowd.delivered(lab, direction) > FLOWING;
            wait("packets both ways", || flows(0) && flows(1))?;
        }
        crowd.since = Instant::now();
        crowd.before = crowd.delivered(lab, 0) + crowd.delivered(lab, 1);
        Ok(crowd)
    }

    /// Returns the packets that have arrived in one direction.
    fn delivered(&self, lab: &Lab, direction: usize) -> u64 {
        self.flows.iter().skip(direction).step_by(2).map(|flow| lab.report(*flow).delivered).sum()
    }

    /// Returns the packets a second that got through since the traffic flows.
    pub(super) fn rate(&self, lab: &Lab) -> f64 {
        let count = self.delivered(lab, 0) + self.delivered(lab, 1) - self.before;
        let seconds = self.since.elapsed().as_secs_f64();
        if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
    }

    /// Sends nothing more and makes sure that whatever arrived was what had been sent, once and in order.
    pub(super) fn disperse(self, lab: &Lab) -> Result<()> {
        self.flows.iter().for_each(|flow| lab.stop_flow(*flow));
        for flow in &self.flows {
            let FlowReport { damaged, duplicated, reordered, wrong_header, .. } = lab.report(*flow);
            let faults = [damaged, duplicated, reordered, wrong_header];
            ensure!(faults == [0; 4], "packets damaged, duplicated, reordered, with wrong headers: {faults:?}");
        }
        Ok(())
    }
}

/// Returns whether a frame is an ARP request for a neighbour that does not exist (RFC 826).
fn asks_for_a_stranger(frame: &[u8]) -> bool {
    let is_request = frame.get(12..14) == Some(&[0x08, 0x06]) && frame.get(20..22) == Some(&[0, 1]);
    is_request && frame.get(41).is_some_and(|last| (FIRST_STRANGER..FIRST_STRANGER + STRANGERS).contains(last))
}

/// Makes packets from one host to neighbours of the other that do not exist.
fn to_strangers(lab: &Lab, port: usize, from: HostId, to: HostId) -> Vec<Vec<u8>> {
    let (spec, network) = (lab.spec(from), lab.spec(to).address.address().octets());
    let router = Nic::new(Wire::Nothing).address(port);
    let packet = |number: u8| {
        let [a, b, c, _] = network;
        let stranger = Ipv4Addr::new(a, b, c, FIRST_STRANGER + number % STRANGERS);
        let builder = PacketBuilder::ethernet2(spec.mac.0, router.0);
        let builder = builder.ipv4(spec.address.address().octets(), stranger.octets(), 64).udp(9, 9);
        let mut frame = Vec::new();
        // Writing to memory does not fail.
        let _ = builder.write(&mut frame, b"to somebody who is not there");
        frame
    };
    let round: Vec<Vec<u8>> = (0..STRANGERS).map(packet).collect();
    round.iter().cycle().take(TO_STRANGERS).cloned().collect()
}

/// Waits until `done`.
pub(super) fn wait(what: &str, mut done: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        ensure!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
