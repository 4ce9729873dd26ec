//! Rows 16 and 20: mutated and random frames into both ports while a good flow runs. No panic, the good flow unharmed, each bad frame in a
//! named counter, no buffer lost.

use proptest::{collection::vec, prelude::*};
use wire::Ipv4Header;

use crate::support::{A, B, Bench, EM0, EM1, MAC_A, R0, R1, arp_frame, echo, good, number, udp};

/// A frame that is right but for a few octets and its length.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let address = prop_oneof![Just(A), Just(B), Just(R0), Just(R1), any::<u32>().prop_map(Into::into)];
    let base = (address.clone(), address, 0..5_u8, 28..1480_u16, any::<u8>()).prop_map(
        |(source, destination, kind, len, ttl)| {
            let header = Ipv4Header { source, destination, total_len: len, ttl, dont_fragment: ttl % 2 == 0, ..good() };
            match kind {
                0 => arp_frame(
                    wire::ArpOperation::Request,
                    (MAC_A, source),
                    (wire::MacAddr::ZERO, destination),
                    wire::MacAddr::BROADCAST,
                ),
                1 => echo(&header, 1),
                _ => udp(&header, u32::MAX),
            }
        },
    );
    (base, vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), any::<prop::sample::Index>(), any::<bool>())
        .prop_map(|(mut frame, changes, cut, is_cut)| {
            for (at, value) in changes {
                let at = at.index(frame.len());
                frame[at] = value;
            }
            if is_cut {
                frame.truncate(cut.index(frame.len()));
            }
            frame
        })
}

fn bad_frame() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => mutated(), 1 => vec(any::<u8>(), 0..120)]
}

proptest! {
    // 200 cases of 60 frames each: 12,000 frames.
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn frames_in_batches_come_to_the_same_end_as_frames_one_by_one(
        frames in vec((prop_oneof![3 => bad_frame(), 2 => (0..9_u32).prop_map(|n| udp(&good(), n))], any::<bool>()), 90),
    ) {
        let (mut batches, mut singly) = (Bench::warm(), Bench::warm());
        for run in frames.chunk_by(|a, b| a.1 == b.1) {
            let on = if run[0].1 { EM1 } else { EM0 };
            let run: Vec<Vec<u8>> = run.iter().map(|(frame, _)| frame.clone()).collect();
            batches.receive_all(on, &run);
            singly.receive_singly(on, &run);
        }
        prop_assert_eq!(batches.router.audit(), singly.router.audit());
        for (one, other) in batches.ports.iter().zip(&singly.ports) {
            prop_assert_eq!(one.take(), other.take());
        }
        batches.worker.flush_held(batches.now);
        batches.assert_conserved();
    }

    #[test]
    fn bad_frames_harm_no_good_flow_and_each_is_counted(frames in vec((bad_frame(), any::<bool>()), 60)) {
        let mut bench = Bench::warm();
        let mut good_numbers = Vec::new();
        for (n, (frame, to_em1)) in (0_u32..).zip(&frames) {
            bench.receive(if *to_em1 { EM1 } else { EM0 }, frame);
            // Bad frames may be perfectly good ARP that moves B elsewhere; the flow must go on all the same.
            bench.receive(EM0, &udp(&good(), n));
            good_numbers.push(n);
            if n % 16 == 0 {
                bench.tick_after(300);
            }
        }
        let audit = bench.router.audit();
        prop_assert_eq!(audit.unexplained(), 0);
        prop_assert_eq!(audit.received, 2 + 2 * frames.len() as u64);
        let numbers: Vec<u32> = bench.ports[1].take_ip().iter().filter(|p| p.len() == 60 && p[12..20] == [A.octets(), B.octets()].concat()).map(|p| number(p)).filter(|&n| n != u32::MAX).collect();
        let arrived: Vec<u32> = numbers.into_iter().filter(|n| good_numbers.contains(n)).collect();
        prop_assert_eq!(arrived, good_numbers);
        bench.worker.flush_held(bench.now);
        bench.assert_conserved();
    }
}
