//! Receive checksum offload: whose word is taken, for what, and what becomes of a device that lies.

use e1000::{ChecksumTrial, Config, Reg, desc::RxErrors};
use nic_model::{Bench, Machine, Wired, frame, mac};

fn port(machine: &Machine, change: impl FnOnce(&mut Config)) -> Bench {
    let mut config = machine.config(0);
    change(&mut config);
    let bench = machine.attach(&machine.nic(mac(0)), config).expect("attached");
    bench.adapter.start().expect("started");
    bench
}

fn sum(octets: &[u8]) -> [u8; 2] {
    wire::checksum::of(octets).to_be_bytes()
}

/// A UDP datagram without options, both checksums right.
fn datagram(payload: usize) -> Vec<u8> {
    let [high, low] = u16::try_from(8 + payload).unwrap().to_be_bytes();
    let mut udp = vec![0, 7, 0, 9, high, low, 0, 0];
    udp.extend((0..payload).map(|n| (n * 13).to_le_bytes()[0]));
    let (from, to) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    let covered = [&from[..], &to, &[0, 17, high, low], &udp].concat();
    udp[6..8].copy_from_slice(&sum(&covered));
    let [high, low] = u16::try_from(20 + udp.len()).unwrap().to_be_bytes();
    let mut header = [&[0x45, 0, high, low, 0, 0, 0x40, 0, 64, 17, 0, 0][..], &from, &to].concat();
    let right = sum(&header);
    header[10..12].copy_from_slice(&right);
    [&mac(0).octets()[..], &[2, 0, 0, 0, 0, 9, 8, 0], &header, &udp].concat()
}

/// The same with an octet changed.
fn flipped(at: usize) -> Vec<u8> {
    let mut frame = datagram(60);
    frame[at] ^= 0x10;
    frame
}

/// Lets frames in and serves them in one pass; returns whether the ring vouches for them.
fn vouches(bench: &mut Bench, frames: &[Vec<u8>]) -> bool {
    frames.iter().for_each(|frame| bench.nic.inject(frame.clone()));
    bench.nic.settle();
    bench.received.clear();
    assert_eq!(bench.service(64), frames.len());
    let received: Vec<&[u8]> = bench.received.iter().map(pktbuf::PacketBuf::bytes).collect();
    assert_eq!(received, frames, "whatever the device says, the frames are handed up as they are");
    bench.rx.vouches()
}

#[test]
fn headers_that_the_part_found_right_are_vouched_for_and_nothing_else_is() {
    let machine = crate::machine(300);
    let asked = machine.config(0).variant.rx_checksum;
    let mut bench = port(&machine, |_| {});
    assert_eq!(vouches(&mut bench, &[datagram(60), datagram(1400)]), asked);
    assert!(!vouches(&mut bench, &[datagram(60), flipped(20), datagram(60)]), "a wrong header among them");
    assert!(!vouches(&mut bench, &[datagram(60), frame(0, 1, 100)]), "one that is not IPv4 among them");
    assert_eq!(vouches(&mut bench, &[flipped(70)]), asked, "the sum of UDP is not our business");
    // A frame that is refused is not vouched for either, and harms the others' word at most.
    bench.nic.inject_wired(Wired { errors: RxErrors::RXE, ..Wired::good(datagram(60)) });
    bench.nic.settle();
    assert_eq!(bench.service(64), 1);
    assert_eq!(vouches(&mut bench, &[datagram(60)]), asked);
}

#[test]
fn a_part_that_is_not_asked_does_not_look() {
    let machine = crate::machine(300);
    let mut bench = port(&machine, |config| config.rx_checksum = false);
    assert!(!vouches(&mut bench, &[datagram(60)]));
    assert_eq!(bench.nic.peek(Reg::Rxcsum), 0);
    assert_eq!(bench.adapter.checksum_trial(), ChecksumTrial::default());
}

#[test]
fn verdicts_are_compared_on_trial_and_none_is_believed() {
    let machine = crate::machine(300);
    let mut bench = port(&machine, |config| config.verify_checksums = true);
    let frames = [datagram(60), flipped(20), flipped(70), datagram(7), frame(0, 1, 100)];
    assert!(!vouches(&mut bench, &frames));
    // Two verdicts about a datagram, one if its header is wrong, none about what is no IPv4.
    assert_eq!(bench.adapter.checksum_trial(), ChecksumTrial { agreed: 7, disagreed: 0, silent: 0 });
    bench.nic.set_faults(|faults| faults.checksum_lies = true);
    assert!(!vouches(&mut bench, &frames));
    assert_eq!(bench.adapter.checksum_trial(), ChecksumTrial { agreed: 7, disagreed: 7, silent: 0 });
}
