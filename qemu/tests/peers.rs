//! The guests that Sluice is compared with do boot and forward: one packet each way, compared octet by octet.
//!
//! They are made of some 110 MB of Debian's packages, and a boot takes 20 seconds, so these run when asked for:
//! `cargo test -p sluice --test peers -- --ignored`.

use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    time::{Duration, Instant},
};

use etherparse::PacketBuilder;
use sluice::{
    bench::{
        Behaviour, HOSTS, ROUTER, Running, Setup, Subject,
        peer::{Dpdk, Linux},
    },
    guest::RunFolder,
    progress::Progress,
    workspace::Workspace,
};

/// How long a packet may take, with the ARP exchange before it.
const LIMIT: Duration = Duration::from_secs(20);

/// A host at one port: the other end of QEMU's `stream`.
struct Host {
    port: usize,
    stream: UnixStream,
    bytes: Vec<u8>,
}

impl Host {
    fn send(&mut self, frame: &[u8]) {
        let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
        self.stream.write_all(&[&length, frame].concat()).unwrap();
    }

    /// Returns the next frame that has come, if one is whole.
    fn next(&mut self) -> Option<Vec<u8>> {
        let mut chunk = [0; 65536];
        if let Ok(count) = self.stream.read(&mut chunk) {
            assert_ne!(count, 0, "QEMU is gone");
            self.bytes.extend_from_slice(&chunk[..count]);
        }
        let length = u32::from_be_bytes(self.bytes.get(..4)?.try_into().unwrap()) as usize;
        let frame = self.bytes.get(4..4 + length)?.to_vec();
        self.bytes.drain(..4 + length);
        Some(frame)
    }

    /// Answers if a frame asks for our address.
    fn answer(&mut self, frame: &[u8]) {
        let me = HOSTS[self.port];
        let is_request = frame.len() >= 42 && frame[12..14] == [8, 6] && frame[20..22] == [0, 1];
        if is_request && frame[38..42] == me.address.octets() {
            let mac = me.mac.0;
            let own = [mac.as_slice(), &me.address.octets()].concat();
            // Opcode 2, from us, to who asked.
            let parts = [&frame[6..12], &mac, &frame[12..20], &[0, 2], &own, &frame[22..32]];
            self.send(&parts.concat());
        }
    }
}

/// Returns a frame with a UDP packet from the host at `from` to the other.
fn packet(from: usize, payload: &[u8]) -> Vec<u8> {
    let (source, destination) = (HOSTS[from], HOSTS[1 - from]);
    let builder = PacketBuilder::ethernet2(source.mac.0, ROUTER[from].mac.0)
        .ipv4(source.address.octets(), destination.address.octets(), 64)
        .udp(4000, 9);
    let mut frame = Vec::new();
    builder.write(&mut frame, payload).unwrap();
    frame
}

/// Returns what a subject should make of that frame.
fn forwarded(from: usize, payload: &[u8], behaviour: Behaviour) -> Vec<u8> {
    let (source, destination) = (HOSTS[from], HOSTS[1 - from]);
    let builder = PacketBuilder::ethernet2(ROUTER[1 - from].mac.0, destination.mac.0)
        .ipv4(source.address.octets(), destination.address.octets(), if behaviour.lowers_ttl { 63 } else { 64 })
        .udp(4000, 9);
    let mut frame = Vec::new();
    builder.write(&mut frame, payload).unwrap();
    frame
}

/// Boots `subject` on `cpus` processors, sends one packet each way, and ends it.
fn forwards(subject: &dyn Subject, cpus: u32) {
    let folder = RunFolder::new(&Workspace::find()).unwrap();
    let listeners: [UnixListener; 2] = ["a", "b"].map(|name| folder.listen(name).unwrap());
    let setup = Setup::new(cpus, ["a", "b"].map(|name| folder.join(name)));
    let mut running = subject.boot(&setup).unwrap();
    assert_eq!(running.vcpu_threads().len(), cpus as usize);
    let mut hosts: Vec<Host> = listeners.iter().enumerate().map(|(port, listener)| connected(port, listener)).collect();
    for from in [0, 1] {
        let payload = format!("one packet from port {from} through {}", subject.name());
        hosts[from].send(&packet(from, payload.as_bytes()));
        let expected = forwarded(from, payload.as_bytes(), running.behaviour());
        await_frame(&mut hosts, 1 - from, &expected, running.as_mut());
    }
    running.stop().unwrap();
}

fn connected(port: usize, listener: &UnixListener) -> Host {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    Host { port, stream, bytes: Vec::new() }
}

/// Plays both hosts until `expected` comes to `port`; any other packet of UDP is a failure.
fn await_frame(hosts: &mut [Host], port: usize, expected: &[u8], running: &mut dyn Running) {
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        for host in hosts.iter_mut() {
            let Some(frame) = host.next() else { continue };
            host.answer(&frame);
            if frame.get(12..14) == Some(&[8, 0]) {
                assert_eq!((host.port, frame.as_slice()), (port, expected));
                return;
            }
        }
    }
    panic!("nothing came to port {port} in {LIMIT:?}\n{}", running.transcript());
}

#[test]
#[ignore = "downloads Debian's packages and boots for 20 s; run it with --ignored"]
fn linux_forwards_as_shipped_and_tuned_with_a_processor_for_each_card() {
    forwards(&Linux::shipped(Progress::new()).unwrap(), 1);
    forwards(&Linux::tuned(Progress::new()).unwrap(), 2);
}

#[test]
#[ignore = "downloads Debian's packages and boots for 20 s; run it with --ignored"]
fn testpmd_rewrites_addresses_and_nothing_else() {
    forwards(&Dpdk::obtain(Progress::new()).unwrap(), 1);
    forwards(&Dpdk::obtain(Progress::new()).unwrap(), 2);
}
