//! Checksum offload: whose word is taken about what was received, and what becomes of a device that lies; checksums that the device fills
//! in.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use e1000::{ChecksumTrial, Config, Reg, TxSums, desc::RxErrors};
use ifnet::{Interface, TxOutcome, TxRefusal};
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

#[test]
fn a_frame_that_arrives_while_the_ring_is_looked_at_is_compared_as_well() {
    const FRAMES: usize = 2000;
    let machine = crate::machine(300);
    let mut bench = port(&machine, |config| config.verify_checksums = true);
    let stop = Arc::new(AtomicBool::new(false));
    let device = bench.nic.spawn(Arc::clone(&stop));
    let frame = datagram(60);
    let (mut served, mut injected) = (0, 0);
    let end = Instant::now() + Duration::from_secs(30);
    while served < FRAMES && Instant::now() < end {
        // One at a time, so that the ring is empty at nearly every look.
        if injected == served && injected < FRAMES {
            bench.nic.inject(frame.clone());
            injected += 1;
        }
        served += bench.service(64);
        bench.received.clear();
        thread::yield_now();
    }
    stop.store(true, Ordering::Release);
    device.join().unwrap();
    // A busy machine lets fewer through.
    assert!(served > 0);
    let agreed = 2 * u64::try_from(served).unwrap();
    assert_eq!(bench.adapter.checksum_trial(), ChecksumTrial { agreed, disagreed: 0, silent: 0 });
}

/// A datagram as it is handed over for the device to fill in the checksums.
fn without_sums(payload: usize) -> Vec<u8> {
    let mut frame = datagram(payload);
    frame[24..26].fill(0);
    let [high, low] = u16::try_from(8 + payload).unwrap().to_be_bytes();
    let pseudo = [&frame[26..34], &[0, 17, high, low]].concat();
    let seed = (!u16::from_be_bytes(sum(&pseudo))).to_be_bytes();
    frame[40..42].copy_from_slice(&seed);
    frame
}

const BOTH: TxSums = TxSums { header: Some((14, 34)), transport: Some((34, 40)) };

#[test]
fn checksums_that_the_device_fills_in_are_softwares_many_times_around_the_ring() {
    let machine = crate::machine(300);
    let mut bench = port(&machine, |_| {});
    let (mut expected, mut sent) = (Vec::new(), Vec::new());
    for n in 0..500_usize {
        let payload = n * 7 % 1400 + 18;
        let wanted =
            [BOTH, TxSums { header: None, ..BOTH }, TxSums { transport: None, ..BOTH }, TxSums::default()][n % 4];
        let (whole, mut frame) = (datagram(payload), without_sums(payload));
        let done = [(wanted.header.is_none(), 24), (wanted.transport.is_none(), 40)];
        done.iter().filter(|(by_software, _)| *by_software).for_each(|(_, at)| {
            frame[*at..at + 2].copy_from_slice(&whole[*at..at + 2]);
        });
        if n % 3 == 0 {
            assert_eq!(bench.send(&whole), TxOutcome::all(1));
            expected.push(whole.clone());
        }
        let packet = bench.packet(&frame);
        bench.adapter.transmit_summed(packet, wanted, &mut bench.cache).unwrap();
        expected.push(whole);
        bench.nic.settle();
        sent.extend(bench.nic.all_sent());
    }
    assert!(sent == expected, "octet for octet, in order");
    let statistics = bench.adapter.statistics();
    assert_eq!(statistics.tx_packets, expected.len() as u64);
    assert_eq!((bench.adapter.tx_backlog(), bench.adapter.statistics().tx_done), (0, statistics.tx_packets));
    let adapter = bench.adapter.clone();
    bench.detach().unwrap();
    let ledger = adapter.ledger();
    assert_eq!((ledger.accepted, ledger.device_sent, ledger.sent_difference()), (667, 667, 0));
    machine.assert_empty();
}

#[test]
fn a_frame_whose_checksums_are_to_be_filled_in_needs_two_descriptors_and_a_port_that_sends() {
    let machine = crate::machine(300);
    let mut bench = port(&machine, |_| {});
    bench.nic.set_faults(|faults| faults.transmit_stuck = true);
    let mut taken = 0;
    let refused = loop {
        let packet = bench.packet(&without_sums(100));
        match bench.adapter.transmit_summed(packet, BOTH, &mut bench.cache) {
            Ok(()) => taken += 1,
            Err((packet, why)) => break (packet.bytes().to_vec(), why),
        }
    };
    // The ring has 80, of which one stays unused.
    assert_eq!((taken, refused), (39, (without_sums(100), TxRefusal::RingFull)));
    let short = bench.packet(&[0; 8]);
    let long = bench.packet(&[0; 1600]);
    for packet in [short, long] {
        let refused = bench.adapter.transmit_summed(packet, BOTH, &mut bench.cache).unwrap_err();
        assert_eq!(refused.1, TxRefusal::TooLong);
    }
    bench.adapter.close_egress();
    let packet = bench.packet(&without_sums(100));
    let refused = bench.adapter.transmit_summed(packet, BOTH, &mut bench.cache).unwrap_err();
    assert_eq!(refused.1, TxRefusal::NotRunning);
    drop(refused);
    let adapter = bench.adapter.clone();
    bench.detach().unwrap();
    assert_eq!((adapter.ledger().accepted, adapter.ledger().sent_difference()), (39, 0));
    machine.assert_empty();
}
