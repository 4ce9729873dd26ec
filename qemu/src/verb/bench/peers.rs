//! What the router is compared with: [`Peer`]s as the command line names them.

use anyhow::Result;
use clap::ValueEnum;
use sluice::{
    bench::{
        Subject,
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
