//! What is measured of a pass, stage by stage.

use core::{
    net::Ipv4Addr,
    sync::atomic::{AtomicU64, Ordering},
};
use std::sync::Arc;

use router::{
    RouteTarget,
    profile::{EVERY, RunProfile, Sampler, Stage},
};
use wire::Ipv4Header;

use crate::support::{B, Bench, EM0, good, udp};

/// Packets in the pass that is measured.
const PACKETS: u64 = 32;

/// A clock that goes on by one for each of the packets whenever it is read, so that a stage costs what its ends are.
fn clock() -> u64 {
    static READ: AtomicU64 = AtomicU64::new(0);
    READ.fetch_add(PACKETS, Ordering::Relaxed)
}

/// Has one pass measured, in which these frames are received; returns what each stage has cost.
fn measured(bench: &mut Bench, frames: &[Vec<u8>]) -> [u64; Stage::ALL.len()] {
    let profile = Arc::new(RunProfile::default());
    bench.worker.set_sampler(Sampler::new(clock, Arc::clone(&profile)));
    for _ in 0..EVERY {
        bench.worker.sampler().unwrap().begin();
        bench.receive_all(EM0, frames);
        bench.worker.sampler().unwrap().end(PACKETS);
    }
    assert_eq!((profile.measured(), profile.packets()), (1, PACKETS));
    Stage::ALL.map(|stage| profile.cost(stage).mean)
}

#[test]
fn headers_routes_and_rewriting_are_measured_apart() {
    let mut bench = Bench::warm();
    bench.router.add_routes([("192.168.0.0/16".parse().unwrap(), RouteTarget::Via(B))]).unwrap();
    let frame = |n: u8| udp(&Ipv4Header { destination: Ipv4Addr::new(192, 168, 7, n), ..good() }, 0);
    let packets = u8::try_from(PACKETS).unwrap();
    // Nobody marks the driver's stages here.
    let one_flow: Vec<_> = (0..packets).map(|_| frame(1)).collect();
    assert_eq!(measured(&mut bench, &one_flow), [0, 1, 1, 1, 0, 1], "one look at the routes for all");
    let flows: Vec<_> = (0..packets).map(frame).collect();
    assert_eq!(
        measured(&mut bench, &flows),
        [0, 1, 2, 1, 0, 1],
        "a look for whether they go one way, and one for all ways"
    );
}
