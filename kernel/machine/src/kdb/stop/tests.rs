//! Threads as CPUs.

use core::sync::atomic::{AtomicU32, Ordering};
use std::{boxed::Box, vec::Vec};

use ksync::cpu::CpuId;

use super::{Claim, Purpose, Stopper, Word};
use crate::trap::TrapFrame;

const CPUS: u16 = 4;

fn stopper() -> Box<Stopper> {
    Box::new(Stopper::new())
}

fn frame(rip: u64) -> TrapFrame {
    TrapFrame { rip, ..TrapFrame::empty() }
}

#[test]
fn the_word_keeps_owner_purpose_and_generation() {
    for owner in [None, Some((CpuId(0), Purpose::Debugger)), Some((CpuId(63), Purpose::Report))] {
        let word = Word { generation: u32::MAX, owner };
        assert_eq!(Word::unpack(word.pack()), word);
    }
}

#[test]
fn one_of_those_that_claim_at_once_wins_and_the_others_know_for_what() {
    for _ in 0..200 {
        let (stopper, won) = (stopper(), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for number in 0..CPUS {
                let (stopper, won) = (&stopper, &won);
                scope.spawn(move || match stopper.claim(CpuId(number), Purpose::Report) {
                    Claim::Won => _ = won.fetch_add(1, Ordering::Relaxed),
                    other => assert_eq!(other, Claim::Lost(Purpose::Report)),
                });
            }
        });
        assert_eq!(won.into_inner(), 1);
    }
}

#[test]
fn a_failing_debugger_becomes_a_report_of_the_same_cpu() {
    let stopper = stopper();
    assert_eq!(stopper.claim(CpuId(1), Purpose::Debugger), Claim::Won);
    assert_eq!(stopper.claim(CpuId(1), Purpose::Report), Claim::Nested(Purpose::Debugger));
    assert_eq!(stopper.claim(CpuId(0), Purpose::Report), Claim::Lost(Purpose::Debugger));
    stopper.turn_into_report(CpuId(0));
    assert_eq!(stopper.owner(), Some((CpuId(1), Purpose::Debugger)), "only the owner may");
    stopper.turn_into_report(CpuId(1));
    assert_eq!(stopper.claim(CpuId(0), Purpose::Report), Claim::Lost(Purpose::Report));
}

/// Each CPU takes the world again and again, waits until all others are held, and changes what they may only see afterwards.
#[test]
fn whoever_owns_the_world_is_alone_in_it_and_sees_the_registers_of_this_stop() {
    const ROUNDS: u64 = 300;
    let (stopper, inside) = (stopper(), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for number in 0..CPUS {
            let (stopper, inside) = (&stopper, &inside);
            scope.spawn(move || {
                let me = CpuId(number);
                let mut round = 0;
                while round < ROUNDS {
                    if stopper.claim(me, Purpose::Debugger) != Claim::Won {
                        stopper.hold(me, &frame(u64::from(number) << 32 | round), || {});
                        continue;
                    }
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two owners");
                    // Whoever happens to wait is held; its frame is whole and its own.
                    let held: Vec<_> = (0..CPUS).map(CpuId).filter(|cpu| stopper.is_held(*cpu)).collect();
                    for cpu in held {
                        let rip = stopper.frame(cpu).expect("it is held").rip;
                        assert_eq!(rip >> 32, u64::from(cpu.0));
                    }
                    inside.fetch_sub(1, Ordering::SeqCst);
                    round += 1;
                    stopper.release(me, core::iter::empty(), 0);
                }
            });
        }
    });
    assert_eq!(stopper.owner(), None);
}

#[test]
fn a_confirmation_of_an_earlier_stop_does_not_count() {
    let stopper = stopper();
    let (owner, other) = (CpuId(0), CpuId(1));
    assert_eq!(stopper.claim(owner, Purpose::Debugger), Claim::Won);
    std::thread::scope(|scope| {
        scope.spawn(|| stopper.hold(other, &frame(7), || {}));
        while !stopper.is_held(other) {
            std::thread::yield_now();
        }
        assert_eq!(stopper.frame(other).map(|frame| frame.rip), Some(7));
        stopper.release(owner, [other].into_iter(), 50);
    });
    assert!(stopper.is_leftover(other, 49) && !stopper.is_leftover(other, 50));
    assert_eq!(stopper.claim(owner, Purpose::Debugger), Claim::Won);
    assert!(!stopper.is_held(other));
    assert_eq!(stopper.frame(other), None);
}
