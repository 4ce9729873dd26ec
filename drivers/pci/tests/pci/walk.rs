//! Enumeration: what is found, what is admitted to be wrong, and that it ends.

use pci::{Class, Kind, PciAddress, PciError, Pin, RootInterrupt, enumerate};
use proptest::prelude::*;

use crate::fake::{Fake, Space};

fn places(space: &Space, roots: &[u8]) -> Vec<(u8, u8, u8)> {
    let found = enumerate(space, 0, roots);
    assert_eq!(found.faults, []);
    found.devices.iter().map(|d| (d.address.bus(), d.address.device(), d.address.function())).collect()
}

fn nic() -> Fake {
    let mut nic = Fake::endpoint(0x8086, 0x100e);
    nic.pin(1);
    nic
}

#[test]
fn devices_are_found_across_holes_functions_and_bridges() {
    let mut multi = nic();
    multi.multifunction();
    let space = Space::default()
        .with(0, 0, 0, &Fake::endpoint(0x8086, 0x1237))
        .with(0, 3, 0, &multi)
        .with(0, 3, 5, &nic())
        .with(0, 4, 0, &nic())
        .with(0, 4, 1, &nic())
        .with(0, 9, 2, &nic())
        .with(0, 31, 0, &Fake::bridge(1, 3))
        .with(1, 2, 0, &Fake::bridge(3, 3))
        .with(3, 0, 0, &nic())
        .with(7, 0, 0, &nic());
    // 0:4.1 is not looked for (not multifunction), 0:9.2 neither (no function 0), bus 7 is behind no bridge.
    let expected = [(0, 0, 0), (0, 3, 0), (0, 3, 5), (0, 4, 0), (0, 31, 0), (1, 2, 0), (3, 0, 0)];
    assert_eq!(places(&space, &[0]), expected);
    assert_eq!(places(&space, &[7]), [(7, 0, 0)]);
    assert!(places(&space, &[]).is_empty());
}

#[test]
fn further_roots_are_walked_and_a_root_behind_a_bridge_is_none() {
    let space = Space::default()
        .with(0, 1, 0, &Fake::bridge(2, 3))
        .with(2, 4, 0, &nic())
        .with(0x40, 0, 0, &Fake::bridge(0x41, 0x41))
        .with(0x41, 5, 0, nic().pin(1));
    assert_eq!(places(&space, &[0]), [(0, 1, 0), (2, 4, 0)]);
    // Firmware has interrupt tables for buses 2 and 0x41, too.
    assert_eq!(places(&space, &[0, 2, 0x40, 0x41]), [(0, 1, 0), (2, 4, 0), (0x40, 0, 0), (0x41, 5, 0)]);
    let found = enumerate(&space, 0, &[0, 2, 0x40, 0x41]);
    assert!(found.faults.is_empty(), "{:?}", found.faults);
    let behind = found.devices.last().and_then(|device| device.root_interrupt).expect("a pin");
    assert_eq!((behind.bus, behind.device), (0x40, 0));
}

#[test]
fn a_device_is_described_by_what_its_registers_say() {
    let mut nic = nic();
    nic.set(0x2c, 0x0001_15d9).multifunction();
    let found = enumerate(&Space::default().with(0, 3, 0, &nic), 0, &[0]);
    let device = found.devices[0];
    assert!(device.is(0x8086, 0x100e) && device.class.is_ethernet());
    assert_eq!((device.revision, device.class), (3, Class { base: 2, sub: 0, interface: 0 }));
    assert_eq!(device.kind, Kind::Endpoint { subsystem_vendor: 0x15d9, subsystem: 1 });
    assert_eq!((device.pin, device.line), (Some(Pin::A), 11));
    assert_eq!(device.to_string(), "0000:00:03.0 8086:100e rev 3 <Intel 82540EM Gigabit Ethernet>");
    let line = device.attach_line("em0").to_string();
    assert_eq!(line, "em0: <Intel 82540EM Gigabit Ethernet> at device 3.0 on pci0, INTA#");
}

#[test]
fn a_device_of_no_known_name_is_described_by_its_class() {
    let mut other = Fake::endpoint(0x4242, 1);
    let found = |fake: &Fake| enumerate(&Space::default().with(0, 0, 0, fake), 0, &[0]).devices[0].description();
    assert_eq!(found(&other), "Ethernet");
    assert_eq!(found(other.set(8, 0xff00_0000)), "unknown device");
    // The table is searched by bisection: its ends and its middle have to be found.
    for (vendor, device, name) in [
        (0x10ec, 0x8139, "Realtek 8139 Fast Ethernet"),
        (0x8086, 0x10d3, "Intel 82574L Gigabit Ethernet"),
        (0x8086, 0x7113, "Intel PIIX4 power management"),
    ] {
        assert_eq!(found(&Fake::endpoint(vendor, device)), name);
    }
}

#[test]
fn a_pin_is_turned_by_each_bridge_on_its_way_to_the_root_bus() {
    let mut pin_b = nic();
    pin_b.pin(2);
    let space = Space::default()
        .with(0, 5, 0, &nic())
        .with(0, 6, 0, &Fake::bridge(1, 2))
        .with(1, 3, 0, &pin_b)
        .with(1, 7, 0, &Fake::bridge(2, 2))
        .with(2, 2, 0, &pin_b);
    let found = enumerate(&space, 0, &[0]);
    let root = |bus, device| {
        let at = PciAddress::new(0, bus, device, 0);
        found.devices.iter().find(|d| d.address == at).and_then(|d| d.root_interrupt)
    };
    assert_eq!(root(0, 5), Some(RootInterrupt { bus: 0, device: 5, pin: Pin::A }));
    // B (1) at device 3 becomes 1 + 3 = 0 modulo 4: A, on the bridge 6.
    assert_eq!(root(1, 3), Some(RootInterrupt { bus: 0, device: 6, pin: Pin::A }));
    // B (1) at device 2 becomes D (3) on the bridge 7, and that 3 + 7 = 2 modulo 4: C, on the bridge 6.
    assert_eq!(root(2, 2), Some(RootInterrupt { bus: 0, device: 6, pin: Pin::C }));
    assert_eq!(root(0, 6), None);
}

#[test]
fn the_pin_register_has_five_values_and_the_rest_are_lies() {
    let mut fake = nic();
    for (value, expected) in [(0, None), (1, Some(Pin::A)), (2, Some(Pin::B)), (3, Some(Pin::C)), (4, Some(Pin::D))] {
        let found = enumerate(&Space::default().with(0, 1, 0, fake.pin(value)), 0, &[0]);
        assert_eq!(found.devices[0].pin, expected);
    }
    let found = enumerate(&Space::default().with(0, 1, 0, fake.pin(5)), 0, &[0]);
    assert_eq!((found.devices.len(), found.faults[0].error), (0, PciError::BadPin(5)));
    assert_eq!(Pin::D.to_string(), "INTD#");
}

#[test]
fn bridges_in_a_ring_are_a_fault_and_not_a_loop() {
    let space = Space::default()
        .with(0, 1, 0, &Fake::bridge(1, 2))
        .with(0, 2, 0, &Fake::bridge(1, 2))
        .with(1, 0, 0, &Fake::bridge(0, 2))
        .with(1, 1, 0, &Fake::bridge(1, 2))
        .with(1, 2, 0, &Fake::bridge(9, 9))
        .with(1, 3, 0, &Fake::bridge(2, 2))
        .with(2, 0, 0, &Fake::bridge(1, 1));
    let found = enumerate(&space, 0, &[0]);
    assert_eq!(found.devices.len(), 7);
    let faults: Vec<_> = found.faults.iter().map(|f| (f.address.bus(), f.address.device(), f.error)).collect();
    let bad = |secondary| PciError::BadBridge { secondary };
    // Bus 1 twice from bus 0; bus 1 to itself; bus 9 beyond what bus 0 gave away; bus 2 back to bus 1. A secondary bus of
    // 0 is a bridge that was never set up.
    assert_eq!(faults, [(0, 2, bad(1)), (1, 1, bad(1)), (1, 2, bad(9)), (2, 0, bad(1))]);
}

#[test]
fn impossible_headers_are_faults() {
    let mut strange = nic();
    strange.set(0x0c, 0x0003_0000);
    let mut half_gone = nic();
    half_gone.set(0x08, u32::MAX).set(0x0c, u32::MAX);
    let space = Space::default().with(0, 1, 0, &strange).with(0, 2, 0, &half_gone).with(0, 3, 0, &nic());
    let found = enumerate(&space, 0, &[0]);
    let errors: Vec<_> = found.faults.iter().map(|fault| fault.error).collect();
    assert_eq!(errors, [PciError::UnknownHeader(3), PciError::Gone]);
    assert_eq!(found.devices.len(), 1);
}

#[test]
fn enumeration_only_reads() {
    let mut nic = nic();
    nic.bar(0, 0xfebc_0000, 0xfffe_0000);
    let space = Space::default().with(0, 3, 0, &nic).with(0, 4, 0, &Fake::bridge(1, 1));
    enumerate(&space, 0, &[0]);
    assert_eq!(*space.writes.borrow(), []);
}

proptest! {
    #[test]
    fn the_walk_ends_and_finds_nothing_twice_whatever_the_registers_hold(
        functions in prop::collection::vec((0_u8..6, 0_u8..4, 0_u8..8, any::<[u32; 16]>(), any::<bool>(), 0_u8..6, 0_u8..6), 0..40),
    ) {
        let mut space = Space::default();
        for (bus, device, function, registers, bridge, secondary, subordinate) in functions {
            let mut fake = if bridge { Fake::bridge(secondary, subordinate) } else { Fake::endpoint(0x8086, 1) };
            if !bridge {
                registers.iter().enumerate().for_each(|(i, &value)| { fake.set(4 * i, value); });
            }
            fake.multifunction();
            space = space.with(bus, device, function, &fake);
        }
        let found = enumerate(&space, 0, &[0]);
        let mut places: Vec<_> = found.devices.iter().map(|d| d.address).collect();
        places.sort();
        places.dedup();
        prop_assert_eq!(places.len(), found.devices.len());
        prop_assert!(*space.reads.borrow() < 6 * 256 * 8);
    }
}
