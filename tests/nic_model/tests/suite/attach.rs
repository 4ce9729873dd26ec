//! Attach: address, link, rings, and undoing all of it on every failure.

use e1000::{
    Adapter, DmaStop, Error, LinkState, Phase, Reg, Speed,
    regs::{Rctl, Status, Tctl},
};
use ifnet::Interface;
use nic_model::mac;
use wire::MacAddr;

#[test]
fn attach_reads_the_address_resets_the_device_and_leaves_it_masked_and_deaf() {
    let machine = crate::machine(200);
    let nic = machine.nic(mac(3));
    let bench = machine.attach(&nic, crate::config(3)).unwrap();
    assert_eq!(bench.adapter.mac(), mac(3));
    assert_eq!(bench.adapter.name(), "em3");
    assert_eq!(bench.adapter.phase(), Phase::Attached);
    assert_eq!((nic.resets(), nic.peek(Reg::Ims)), (1, 0));
    assert_eq!(nic.peek(Reg::Rctl) & Rctl::EN.bits(), 0);
    assert_eq!(nic.peek(Reg::Tctl) & Tctl::EN.bits(), 0);
    assert_eq!((nic.peek(Reg::Rdt(0)), nic.peek(Reg::Rdlen(0))), (79, 80 * 16));
    assert_eq!(bench.rx.buffers(), 80);
    bench.detach().unwrap();
    machine.assert_empty();
}

/// The model fails a test that asks a device for anything else than EECD in the 5 ms after its reset. 5.6.1.
#[test]
fn what_the_driver_does_while_the_device_reloads_counts_as_waiting() {
    for (busy, least) in [(0, 5000), (3000, 5000), (9000, 9000)] {
        let machine = crate::machine(200);
        let nic = machine.nic(mac(0));
        nic.set_faults(|faults| faults.busy_after_reset = busy);
        let bench = machine.attach(&nic, crate::config(0)).unwrap();
        // Others are asked by EECD whether it is over.
        let counts = crate::config(0).variant.dma_stop == DmaStop::Reset;
        let least = if counts { least } else { 5000 };
        let took = nic.clock();
        assert!((least..least + 1000).contains(&took), "busy for {busy} us, attached after {took}");
        bench.detach().unwrap();
        machine.assert_empty();
    }
}

/// Also the one that the device is not given yet: its turn comes with the next doorbell.
#[test]
fn every_descriptor_leads_to_a_buffer_of_its_own_that_the_device_may_reach() {
    let machine = crate::machine(200);
    let bench = machine.attach(&machine.nic(mac(0)), crate::config(0)).unwrap();
    let word = |addr| machine.iommu.read(addr, 8).and_then(|octets| octets.try_into().ok()).map(u64::from_le_bytes);
    let base = u64::from(bench.nic.peek(Reg::Rdbal(0))) | u64::from(bench.nic.peek(Reg::Rdbah(0))) << 32;
    let mut buffers: Vec<u64> = (0..80).map(|n| word(base + 16 * n).unwrap()).collect();
    assert!(buffers.iter().all(|buffer| machine.iommu.read(*buffer, 2048).is_some()), "{buffers:x?}");
    buffers.sort_unstable();
    buffers.dedup();
    assert_eq!(buffers.len(), 80);
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn start_writes_rctl_once_and_unmasks() {
    let machine = crate::machine(200);
    let nic = machine.nic(mac(0));
    // The first attach finds the receiver as a boot loader left it, the second one finds it off and leaves it alone.
    machine.attach(&nic, crate::config(0)).unwrap().detach().unwrap();
    let before = nic.writes(Reg::Rctl);
    let bench = machine.attach(&nic, crate::config(0)).unwrap();
    bench.adapter.start().unwrap();
    assert_eq!(bench.nic.writes(Reg::Rctl), before + 1, "each write stops reception for a second on QEMU");
    assert_ne!(bench.nic.peek(Reg::Ims), 0);
    assert_eq!(bench.adapter.start(), Err(Error::State), "only a fresh port starts");
    assert!(bench.adapter.running() && bench.adapter.link_up());
    assert_eq!(bench.adapter.link().to_string(), "Link is up 1000 Mbps Full Duplex");
    bench.detach().unwrap();
    machine.assert_empty();
}

#[test]
fn a_dead_eeprom_falls_back_to_the_preloaded_address() {
    let machine = crate::machine(200);
    let nic = machine.nic(mac(9));
    nic.set_faults(|faults| faults.eeprom_dead = true);
    let bench = machine.attach(&nic, crate::config(9)).unwrap();
    assert_eq!(bench.adapter.mac(), mac(9));
    bench.detach().unwrap();
}

#[test]
fn without_any_address_attach_says_what_is_wrong() {
    let machine = crate::machine(200);
    let nic = machine.nic(mac(9));
    nic.set_faults(|faults| (faults.eeprom_dead, faults.address_not_preloaded) = (true, true));
    assert_eq!(machine.attach(&nic, crate::config(9)).unwrap_err(), Error::EepromTimeout);
    nic.set_faults(|faults| faults.eeprom_dead = false);
    for bad in [MacAddr::BROADCAST, MacAddr::ZERO, MacAddr([1, 0, 0x5e, 0, 0, 1])] {
        nic.set_eeprom(bad);
        assert_eq!(machine.attach(&nic, crate::config(9)).unwrap_err(), Error::InvalidMac, "{bad}");
    }
    machine.assert_empty();
}

#[test]
fn a_device_that_does_not_reset_or_is_gone_is_refused() {
    let machine = crate::machine(200);
    let nic = machine.nic(mac(1));
    nic.set_faults(|faults| faults.never_resets = true);
    assert_eq!(machine.attach(&nic, crate::config(1)).unwrap_err(), Error::ResetTimeout);
    nic.set_faults(|faults| faults.gone = true);
    assert_eq!(machine.attach(&nic, crate::config(1)).unwrap_err(), Error::Gone);
    machine.assert_empty();
}

#[test]
fn impossible_configurations_are_refused_before_the_device_is_touched() {
    let machine = crate::machine(200);
    let nic = machine.nic(mac(1));
    for length in [0, 72, 84, 4104] {
        let (mut rx, mut tx) = (crate::config(1), crate::config(1));
        (rx.rx_descriptors, tx.tx_descriptors) = (length, length);
        assert_eq!(machine.attach(&nic, rx).unwrap_err(), Error::RingLength);
        assert_eq!(machine.attach(&nic, tx).unwrap_err(), Error::RingLength);
    }
    for mtu in [0, 67, machine.variant.max_mtu() + 1, u16::MAX] {
        let mut config = crate::config(1);
        config.mtu = mtu;
        assert_eq!(machine.attach(&nic, config).unwrap_err(), Error::Mtu);
    }
    assert_eq!(nic.resets(), 0);
}

#[test]
fn whatever_fails_in_attach_everything_made_before_is_undone() {
    for allocations in 0..2 {
        let machine = crate::machine(200);
        machine.iommu.fail_allocations_after(allocations);
        let nic = machine.nic(mac(1));
        assert_eq!(machine.attach(&nic, crate::config(1)).unwrap_err(), Error::NoDmaMemory);
        machine.assert_empty();
    }
    let machine = crate::machine(79);
    let nic = machine.nic(mac(1));
    assert_eq!(machine.attach(&nic, crate::config(1)).unwrap_err(), Error::NoBuffers);
    machine.assert_empty();
}

#[test]
fn link_changes_are_noticed_by_interrupt_and_counted() {
    let machine = crate::machine(200);
    let mut bench = machine.port(0);
    let counted = bench.adapter.statistics().link_changes;
    bench.nic.set_link(Status::empty());
    bench.interrupts();
    assert_eq!(bench.adapter.link(), LinkState::Down);
    bench.nic.set_link(Status::LU | Status::SPEED_100);
    bench.interrupts();
    assert!(matches!(bench.adapter.link(), LinkState::Up(Speed::Mbps100, _)));
    assert_eq!(bench.adapter.statistics().link_changes, counted + 2);
    // An LSC that changes nothing is no change.
    bench.nic.set_link(Status::LU | Status::SPEED_100);
    bench.interrupts();
    assert_eq!(bench.adapter.statistics().link_changes, counted + 2);
    bench.detach().unwrap();
}

#[test]
fn a_link_change_without_interrupt_is_noticed_by_the_tick() {
    let machine = crate::machine(200);
    let bench = machine.port(0);
    bench.nic.set_link(Status::empty());
    let report = bench.adapter.tick(ksync::time::Instant::ZERO);
    assert_eq!(report.link, Some(LinkState::Down));
    assert_eq!(bench.adapter.tick(ksync::time::Instant::ZERO).link, None);
    bench.detach().unwrap();
}

#[test]
fn an_adapter_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Adapter<nic_model::Nic>>();
}
