//! Names of the devices this router is likely to meet, and of classes for the rest.
//!
//! A table and two lookups. Source: the vendors' data sheets; QEMU's list of device ids for the machines it emulates.

use crate::Class;

/// (vendor, device, name), sorted by the numbers.
const DEVICES: &[(u16, u16, &str)] = &[
    (0x10ec, 0x8139, "Realtek 8139 Fast Ethernet"),
    (0x1234, 0x1111, "QEMU standard VGA"),
    (0x1af4, 0x1000, "virtio network (transitional)"),
    (0x1af4, 0x1041, "virtio network"),
    (0x1b36, 0x0001, "QEMU PCI-PCI bridge"),
    (0x1b36, 0x000c, "QEMU PCI Express root port"),
    (0x1b36, 0x000d, "QEMU xHCI USB controller"),
    (0x8086, 0x1004, "Intel 82543GC Gigabit Ethernet"),
    (0x8086, 0x100e, "Intel 82540EM Gigabit Ethernet"),
    (0x8086, 0x100f, "Intel 82545EM Gigabit Ethernet"),
    (0x8086, 0x10c9, "Intel 82576 Gigabit Ethernet"),
    (0x8086, 0x10d3, "Intel 82574L Gigabit Ethernet"),
    (0x8086, 0x1237, "Intel 440FX host bridge"),
    (0x8086, 0x1502, "Intel 82579LM Gigabit Ethernet"),
    (0x8086, 0x1521, "Intel I350 Gigabit Ethernet"),
    (0x8086, 0x1533, "Intel I210 Gigabit Ethernet"),
    (0x8086, 0x1539, "Intel I211 Gigabit Ethernet"),
    (0x8086, 0x2918, "Intel ICH9 ISA bridge"),
    (0x8086, 0x2922, "Intel ICH9 AHCI controller"),
    (0x8086, 0x2930, "Intel ICH9 SMBus controller"),
    (0x8086, 0x29c0, "Intel Q35 host bridge"),
    (0x8086, 0x7000, "Intel PIIX3 ISA bridge"),
    (0x8086, 0x7010, "Intel PIIX3 IDE controller"),
    (0x8086, 0x7020, "Intel PIIX3 USB controller"),
    (0x8086, 0x7113, "Intel PIIX4 power management"),
];

/// Returns the name of a device.
pub(crate) fn name(vendor: u16, device: u16) -> Option<&'static str> {
    let place = DEVICES.binary_search_by_key(&(vendor, device), |&(vendor, device, _)| (vendor, device));
    place.ok().and_then(|place| DEVICES.get(place)).map(|&(_, _, name)| name)
}

/// Returns the name of a class.
pub(crate) fn class_name(class: Class) -> &'static str {
    match (class.base, class.sub) {
        (0x01, _) => "mass storage",
        (0x02, 0x00) => "Ethernet",
        (0x02, _) => "network",
        (0x03, _) => "display",
        (0x04, _) => "multimedia",
        (0x06, 0x00) => "host bridge",
        (0x06, 0x01) => "ISA bridge",
        (0x06, 0x04) => "PCI-PCI bridge",
        (0x06, _) => "bridge",
        (0x07, _) => "communication",
        (0x08, _) => "system peripheral",
        (0x0c, 0x03) => "USB controller",
        (0x0c, _) => "serial bus",
        _ => "unknown device",
    }
}
