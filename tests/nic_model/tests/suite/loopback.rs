//! The loop inside the device: what comes back is compared, and each way in which it does not come back has its name.

use e1000::{DmaStop, Error, LOOPBACK_FRAMES, LoopbackFault, Looped, Phase, Reg, regs::Rctl};
use nic_model::{Bench, Faults, Machine, mac};
use pktbuf::BufferSize;

fn attached(machine: &Machine) -> Bench {
    machine.attach(&machine.nic(mac(3)), crate::config(3)).unwrap()
}

fn loop_back(bench: &mut Bench) -> Result<Looped, LoopbackFault> {
    bench.adapter.loop_back(core::slice::from_mut(&mut bench.rx), &mut bench.cache)
}

fn with(change: impl FnOnce(&mut Faults)) -> LoopbackFault {
    let machine = crate::machine(300);
    let mut bench = attached(&machine);
    bench.nic.set_faults(change);
    let fault = loop_back(&mut bench).unwrap_err();
    if fault != LoopbackFault::Device(Error::Gone) {
        let nic = bench.nic.clone();
        bench.detach().unwrap();
        assert!(!nic.is_looped(), "whoever attaches it next would hear himself: {fault}");
        machine.assert_empty();
    }
    fault
}

#[test]
fn all_frames_come_back_and_none_leaves() {
    let machine = crate::machine(300);
    let mut bench = attached(&machine);
    let looped = loop_back(&mut bench).unwrap();
    assert_eq!((looped.frames, looped.queues), (LOOPBACK_FRAMES, [LOOPBACK_FRAMES, 0]));
    assert!(looped.octets > u64::from(LOOPBACK_FRAMES) * 500, "long ones and short ones: {looped}");
    assert_eq!((looped.tagged, looped.longest), (LOOPBACK_FRAMES / 4, 1514));
    assert_eq!(bench.nic.all_sent(), [] as [Vec<u8>; 0], "nothing of it is on the wire");
    assert!(!bench.nic.interrupting() && bench.nic.peek(Reg::Ims) == 0, "nor did anything interrupt");
    assert_eq!(loop_back(&mut bench), Err(LoopbackFault::Device(Error::State)), "once");
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn the_port_is_attached_again_and_works_with_the_wire() {
    let machine = crate::machine(300);
    let nic = machine.nic(mac(3));
    let mut bench = machine.attach(&nic, crate::config(3)).unwrap();
    loop_back(&mut bench).unwrap();
    bench.detach().unwrap();
    let mut bench = machine.attach(&nic, crate::config(3)).unwrap();
    assert_eq!(bench.adapter.phase(), Phase::Attached);
    bench.adapter.start().unwrap();
    assert_eq!(nic.peek(Reg::Rctl) & Rctl::LBM_MAC.bits(), 0);
    nic.inject(nic_model::frame(3, 1, 100));
    bench.settle();
    assert_eq!(bench.received.len(), 1);
    bench.received.clear();
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn an_open_loop_is_silent_after_some_seconds() {
    assert_eq!(with(|faults| faults.loop_open = true), LoopbackFault::Silent);
}

#[test]
fn loss_damage_and_doubles_are_told_apart() {
    let lost = with(|faults| faults.loop_loses = 50);
    assert!(matches!(lost, LoopbackFault::Lost { sent, back } if back < sent && sent <= LOOPBACK_FRAMES), "{lost}");
    let damaged = with(|faults| faults.loop_damages = 50);
    assert!(matches!(damaged, LoopbackFault::Damaged { at, .. } if at >= 59), "the last octet: {damaged}");
    let summed = with(|faults| faults.sums_wrongly = true);
    assert!(matches!(summed, LoopbackFault::Damaged { at: 25 | 41, .. }), "the device's own checksums: {summed}");
    let twice = with(|faults| faults.loop_doubles = 50);
    assert!(matches!(twice, LoopbackFault::Twice(_)), "{twice}");
}

#[test]
fn tags_that_are_inserted_or_stripped_wrongly_are_told() {
    let wrong = with(|faults| faults.strips_wrongly = true);
    assert_eq!(wrong, LoopbackFault::Tag { frame: 1, vlan: 0 }, "{wrong}");
    let none = with(|faults| faults.inserts_no_tags = true);
    assert_eq!(none, LoopbackFault::Tag { frame: 1, vlan: 0 }, "{none}");
}

#[test]
fn the_longest_frames_come_back_whole_or_not_at_all() {
    for cut in [None, Some(4000)] {
        let machine = Machine::sized(crate::PART, 300, BufferSize::K16);
        let mtu = machine.variant.max_mtu().min(9000);
        let mut bench = machine.attach(&machine.nic(mac(3)), e1000::Config { mtu, ..crate::config(3) }).unwrap();
        bench.nic.set_faults(|faults| faults.loop_cuts = cut.unwrap_or(0));
        let looped = loop_back(&mut bench);
        let longest = usize::from(mtu) + 14;
        match cut.filter(|cut| *cut < longest) {
            None => assert_eq!(looped.unwrap().longest, longest),
            Some(at) => {
                assert!(
                    matches!(looped, Err(LoopbackFault::Damaged { at: found, .. }) if (at - 4..=at).contains(&found)),
                    "{looped:?}"
                );
            }
        }
        bench.detach().unwrap();
        machine.assert_empty();
    }
}

#[test]
fn what_the_device_says_of_checksums_is_judged_if_it_is_on_trial() {
    for (on_trial, lies) in [(false, false), (true, false), (true, true)] {
        let machine = crate::machine(300);
        let config = e1000::Config { verify_checksums: on_trial, ..crate::config(3) };
        let mut bench = machine.attach(&machine.nic(mac(3)), config).unwrap();
        bench.nic.set_faults(|faults| faults.checksum_lies = lies);
        let looped = loop_back(&mut bench);
        if lies {
            assert!(matches!(looped, Err(LoopbackFault::Checksums(1..))), "{looped:?}");
        } else {
            let sums = looped.unwrap().sums;
            assert_eq!(sums.is_some(), on_trial);
            assert!(sums.is_none_or(|sums| sums.agreed >= u64::from(LOOPBACK_FRAMES) && sums.silent == 0), "{sums:?}");
        }
        bench.detach().unwrap();
    }
}

#[test]
fn a_phy_that_does_not_answer_is_named_where_the_loop_is_its_own() {
    let machine = crate::machine(300);
    if machine.variant.dma_stop == DmaStop::Reset {
        assert_eq!(with(|faults| faults.phy_dead = true), LoopbackFault::Phy);
    }
}

#[test]
fn a_device_that_leaves_is_gone() {
    for access in [1, 3, 20, 60] {
        assert_eq!(with(|faults| faults.gone_after = access), LoopbackFault::Device(Error::Gone), "access {access}");
    }
}
