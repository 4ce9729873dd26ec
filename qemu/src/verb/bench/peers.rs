//! What the router is compared with, and by which frames: [`Peer`] and [`Framing`] as the command line names them.

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use sluice::{
    bench::{
        Record, Setup, Subject, USUAL_FRAME,
        peer::{Dpdk, Linux},
    },
    progress::Progress,
};

/// What the router is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Peer {
    /// Nothing: the router alone
    None,
    /// Linux at its best known settings, in a guest of Debian's packages
    Linux,
    /// Linux as it is shipped
    LinuxShipped,
    /// DPDK's testpmd, which only writes station addresses, in a Linux guest
    Dpdk,
}

/// What the frames of a measurement are, beside their sizes.
#[derive(Args, Clone, Copy, Debug)]
#[group(skip)]
pub(super) struct Framing {
    /// Frames have VLAN tags, 10 at one port and 20 at the other (the router alone is set up for that)
    #[arg(long)]
    pub(super) tagged: bool,
}

impl Framing {
    /// Has the router set up for frames of these sizes.
    pub(super) fn apply(self, frames: &[usize], setup: &mut Setup) {
        setup.tagged = self.tagged;
        setup.mtu = mtu(frames);
    }

    /// Adds it to a record, if it is not the usual one.
    pub(super) fn note(self, record: Record) -> Record {
        if self.tagged { record.with("tagged", "yes") } else { record }
    }

    /// Checks that everything that is measured is set up for it.
    ///
    /// # Errors
    /// When a peer is not.
    pub(super) fn check(self, frames: &[usize], peers: &[Peer]) -> Result<()> {
        let alone = peers.iter().all(|peer| *peer == Peer::None);
        ensure!(alone || !self.tagged, "no peer is set up for VLANs: --tagged goes without --peer");
        ensure!(alone || mtu(frames).is_none(), "no peer is set up for frames of more than {USUAL_FRAME} octets");
        Ok(())
    }
}

/// Returns the longest IP packet in frames of these sizes, if it is longer than usual.
pub(super) fn mtu(frames: &[usize]) -> Option<u16> {
    /// The header and the check sequence.
    const AROUND: usize = 18;
    let longest = frames.iter().copied().max().filter(|longest| *longest > USUAL_FRAME)?;
    u16::try_from(longest - AROUND).ok()
}

/// Makes the peers ready that are asked for.
pub(super) fn subjects(peers: &[Peer], progress: Progress) -> Result<Vec<Box<dyn Subject>>> {
    let mut subjects: Vec<Box<dyn Subject>> = Vec::new();
    for peer in peers {
        match peer {
            Peer::None => {}
            Peer::Linux => subjects.push(Box::new(Linux::tuned(progress)?)),
            Peer::LinuxShipped => subjects.push(Box::new(Linux::shipped(progress)?)),
            Peer::Dpdk => subjects.push(Box::new(Dpdk::obtain(progress)?)),
        }
    }
    Ok(subjects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_no_peer_is_set_up_for_go_to_the_router_alone() {
        let framing = |tagged| Framing { tagged };
        assert!(framing(false).check(&[64, 1518], &[Peer::Linux, Peer::Dpdk]).is_ok());
        assert!(
            framing(true).check(&[64], &[Peer::None]).is_ok() && framing(false).check(&[9018], &[Peer::None]).is_ok()
        );
        assert!(framing(true).check(&[64], &[Peer::Linux]).is_err());
        assert!(framing(false).check(&[64, 1519], &[Peer::Dpdk]).is_err());
    }

    #[test]
    fn the_longest_frame_decides_what_the_router_is_set_up_for() {
        let mut setup = Setup::new(1, ["a".into(), "b".into()]);
        Framing { tagged: true }.apply(&[64, 9018], &mut setup);
        assert_eq!((setup.tagged, setup.mtu), (true, Some(9000)));
        Framing { tagged: false }.apply(&[1518], &mut setup);
        assert_eq!((setup.tagged, setup.mtu), (false, None));
    }
}
