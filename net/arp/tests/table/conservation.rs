//! Every held packet comes out exactly once, and packets of one neighbour leave in order: any sequence of events, and real threads.

use std::{
    collections::BTreeMap,
    sync::Mutex,
    thread,
    time::{Duration, Instant as Clock},
};

use crate::support::{Bench, IF0, OUR_IP, ip, mac, number_of, request};
use arp::{ArpAction, ArpConfig, Resolution};
use pktbuf::{PacketBatch, PacketBuf};
use proptest::{collection::vec, prelude::*};

#[derive(Clone, Debug)]
enum Event {
    Send(u8),
    Answer(u8),
    Release(u8, usize),
    Wait(u64),
    Poll,
    Flush,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0_u8..6).prop_map(Event::Send),
        2 => (0_u8..6).prop_map(Event::Answer),
        2 => (0_u8..6, 0_usize..4).prop_map(|(n, room)| Event::Release(n, room)),
        2 => (0_u64..30).prop_map(Event::Wait),
        3 => Just(Event::Poll),
        1 => Just(Event::Flush),
    ]
}

/// Where packets ended: how often each came out, and in which order they were sent to each neighbour.
#[derive(Default)]
struct Ends {
    out: BTreeMap<u32, u32>,
    sent: BTreeMap<u8, Vec<u32>>,
}

impl Ends {
    fn dropped(&mut self, packet: &PacketBuf) {
        *self.out.entry(number_of(packet)).or_default() += 1;
    }

    fn sent(&mut self, n: u8, packet: &PacketBuf) {
        self.dropped(packet);
        self.sent.entry(n).or_default().push(number_of(packet));
    }

    fn flush(&mut self, bench: &Bench) {
        let mut batch = PacketBatch::new();
        while {
            let more = bench.table.flush(None, &mut batch);
            batch.drain().for_each(|packet| self.dropped(&packet));
            more
        } {}
    }
}

/// A batch with room for only `room` packets; the rest is taken up.
fn small_batch(bench: &Bench, room: usize) -> PacketBatch {
    let mut batch = PacketBatch::new();
    for _ in room..pktbuf::BATCH_CAPACITY {
        batch.push(bench.packet(u32::MAX)).expect("below the capacity");
    }
    batch
}

fn apply(bench: &mut Bench, ends: &mut Ends, event: &Event, number: u32) {
    match *event {
        Event::Send(n) => match bench.resolve(ip(n), number) {
            Resolution::Send(to, packet) => {
                assert_eq!(to, mac(n));
                ends.sent(n, &packet);
            }
            Resolution::Held { dropped, .. } => dropped.iter().for_each(|(packet, _)| ends.dropped(packet)),
            Resolution::Refused(packet, _) => ends.dropped(&packet),
        },
        Event::Answer(n) => drop(bench.answer(n)),
        Event::Release(n, room) => {
            let mut batch = small_batch(bench, room);
            let _ = bench.table.release(bench.now, IF0, ip(n), &mut batch);
            batch.drain().filter(|p| number_of(p) != u32::MAX).for_each(|packet| ends.sent(n, &packet));
        }
        Event::Wait(seconds) => bench.advance(seconds),
        Event::Poll => {
            for action in bench.poll_all() {
                if let ArpAction::Unreachable { packet, .. } = action {
                    ends.dropped(&packet);
                }
            }
        }
        Event::Flush => ends.flush(bench),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_packet_comes_out_exactly_once_and_in_order(events in vec(event(), 1..200)) {
        let config = ArpConfig { max_hold: 3, max_held: 8, max_unresolved: 4, max_entries: 5, ..ArpConfig::default() };
        let mut bench = Bench::with_buffers(config, 128);
        let mut ends = Ends::default();
        let mut sends = 0_u32;
        for (number, event) in (0_u32..).zip(&events) {
            apply(&mut bench, &mut ends, event, number);
            sends += u32::from(matches!(event, Event::Send(_)));
            let out: u32 = ends.out.values().sum();
            prop_assert_eq!(bench.table.held(), (sends - out) as usize);
            prop_assert!(bench.table.held() <= 8);
            prop_assert!(bench.table.statistics().entries <= 5);
        }
        ends.flush(&bench);
        prop_assert_eq!(ends.out.len(), sends as usize, "every packet came out");
        prop_assert!(ends.out.values().all(|&times| times == 1), "none came out twice");
        for (n, order) in &ends.sent {
            prop_assert!(order.is_sorted(), "neighbour {}: {:?}", n, order);
        }
        prop_assert_eq!(bench.pool.free(), bench.pool.total());
    }
}

/// One thread sends a flow, one receives the neighbour's answers and releases, one lets time pass and flushes. The flow stays in order.
#[test]
fn a_flow_stays_in_order_while_its_neighbour_comes_and_goes_on_other_threads() {
    let bench = Bench::new(ArpConfig { max_age: Duration::ZERO, ..ArpConfig::default() });
    let wire = Mutex::new(Vec::new());
    let ended = std::sync::atomic::AtomicBool::new(false);
    let ends = || ended.load(std::sync::atomic::Ordering::Acquire);
    let dropped = thread::scope(|scope| {
        let answerer = scope.spawn(|| {
            while !ends() {
                let input = bench.input(&request(ip(2), mac(2), OUR_IP));
                if input.release.is_some() {
                    let mut batch = PacketBatch::new();
                    while bench.table.release(bench.now, IF0, ip(2), &mut batch).is_some() {
                        thread::yield_now();
                        wire.lock().expect("no panic").extend(batch.drain().map(|p| number_of(&p)));
                    }
                }
            }
        });
        let flusher = scope.spawn(|| {
            let mut flushed = 0;
            while !ends() {
                let mut batch = PacketBatch::new();
                let _ = bench.table.flush(None, &mut batch);
                flushed += batch.drain().count();
                thread::sleep(Duration::from_micros(200));
            }
            flushed
        });
        let mut dropped = 0;
        let start = Clock::now();
        let mut number = 0;
        while start.elapsed() < Duration::from_millis(400) {
            match bench.resolve(ip(2), number) {
                Resolution::Send(_, packet) => wire.lock().expect("no panic").push(number_of(&packet)),
                Resolution::Held { dropped: pushed_out, .. } => dropped += usize::from(pushed_out.is_some()),
                Resolution::Refused(..) => dropped += 1,
            }
            number += 1;
        }
        ended.store(true, std::sync::atomic::Ordering::Release);
        answerer.join().expect("no panic");
        dropped += flusher.join().expect("no panic");
        (dropped, number)
    });
    let sent = wire.into_inner().expect("no panic");
    let (dropped, total) = dropped;
    assert_eq!(sent.len() + dropped + bench.table.held(), total as usize, "conservation");
    assert!(!sent.is_empty());
    assert!(sent.is_sorted(), "a packet overtook another");
}
