//! Network cards that firmware left running, cut off from memory before any memory is given out.
//!
//! A card that firmware booted or looked for a boot server with may still write received frames into what firmware regarded as its
//! own memory, and what is ours now. So before the first frame of memory is used, every network function that is bus master is
//! forbidden to be; its driver resets it later, and lets it do DMA again only after that. Other devices are left alone: a
//! keyboard behind a USB controller, or the screen, may still be firmware's business.
//!
//! Without allocation, over the two ports of configuration mechanism 1, which reach what hangs below bus 0; the cards behind other root
//! buses are found when their bus is enumerated. Context: the boot CPU, at the beginning.
//! Source: PCI Local Bus 3.0, 6.2.2 (command), 3.2.2.3.2 (mechanism 1); PCI-to-PCI Bridge 1.2, 3.2.5.

use crate::ports::{CpuPorts, PortIo};

/// Command: may be bus master.
const BUS_MASTER: u32 = 1 << 2;
/// The base class of network controllers.
const NETWORK: u8 = 2;

/// Where a function is: bus, device, function.
type Place = (u8, u8, u8);

/// Quiets what there is, and says what that was.
pub(crate) fn quiet_network_cards() {
    quiet(&CpuPorts, &mut |(bus, device, function), obeys| {
        let how = if obeys { "cut off from memory until it is reset" } else { "CANNOT be cut off from memory" };
        log::warn!("pci: 0000:{bus:02x}:{device:02x}.{function}: firmware left this network card running; {how}");
    });
}

fn select(ports: &impl PortIo, (bus, device, function): Place, offset: u8) {
    let place = u32::from(bus) << 16 | u32::from(device) << 11 | u32::from(function) << 8;
    ports.write32(0xCF8, 1 << 31 | place | u32::from(offset & 0xFC));
}

fn read(ports: &impl PortIo, place: Place, offset: u8) -> u32 {
    select(ports, place, offset);
    ports.read32(0xCFC)
}

/// Walks from bus 0 through all bridges. Bus numbers grow downwards, so that one pass in their order meets every bus once; a
/// bridge that leads upwards, or to itself, is not followed.
fn quiet(ports: &impl PortIo, tell: &mut dyn FnMut(Place, bool)) {
    let mut leads_to = [false; 256];
    leads_to[0] = true;
    for bus in 0..=u8::MAX {
        if !leads_to[usize::from(bus)] {
            continue;
        }
        for device in 0..32 {
            for function in 0..8 {
                let place = (bus, device, function);
                if matches!(read(ports, place, 0x00) & 0xFFFF, 0 | 0xFFFF) {
                    if function == 0 {
                        break;
                    }
                    continue;
                }
                let [_, _, header, _] = read(ports, place, 0x0C).to_le_bytes();
                let [_, _, _, class] = read(ports, place, 0x08).to_le_bytes();
                if header & 0x7F == 1 {
                    let [_, secondary, ..] = read(ports, place, 0x18).to_le_bytes();
                    if secondary > bus {
                        leads_to[usize::from(secondary)] = true;
                    }
                } else if class == NETWORK {
                    cut_off(ports, place, tell);
                }
                if function == 0 && header & 0x80 == 0 {
                    break;
                }
            }
        }
    }
}

fn cut_off(ports: &impl PortIo, place: Place, tell: &mut dyn FnMut(Place, bool)) {
    let command = read(ports, place, 0x04);
    if command & BUS_MASTER == 0 || command == u32::MAX {
        return;
    }
    // The status half is written as zeros: ones would clear errors.
    ports.write32(0xCFC, command & 0xFFFF & !BUS_MASTER);
    tell(place, read(ports, place, 0x04) & BUS_MASTER == 0);
}

#[cfg(test)]
mod tests {
    use core::cell::{Cell, RefCell};
    use std::{collections::BTreeMap, vec, vec::Vec};

    use super::{Place, PortIo, quiet};

    /// Functions by their place: (id, command, class, header, buses).
    #[derive(Default)]
    struct Bus {
        functions: RefCell<BTreeMap<Place, [u32; 5]>>,
        selected: Cell<u32>,
        stubborn: bool,
        accesses: Cell<usize>,
    }

    impl Bus {
        fn with(mut self, place: Place, function: [u32; 5]) -> Self {
            self.functions.get_mut().insert(place, function);
            self
        }

        fn place(&self) -> (Place, usize) {
            let [offset, middle, bus, _] = self.selected.get().to_le_bytes();
            let register = [0x00, 0x04, 0x08, 0x0C, 0x18].iter().position(|known| *known == offset);
            ((bus, middle >> 3, middle & 7), register.expect("a register that matters"))
        }

        fn command(&self, place: Place) -> u32 {
            self.functions.borrow()[&place][1]
        }
    }

    impl PortIo for Bus {
        fn read32(&self, port: u16) -> u32 {
            assert_eq!(port, 0xCFC);
            self.accesses.set(self.accesses.get() + 1);
            let (place, register) = self.place();
            self.functions.borrow().get(&place).map_or(u32::MAX, |function| function[register])
        }
        fn write32(&self, port: u16, value: u32) {
            if port == 0xCF8 {
                return self.selected.set(value);
            }
            let (place, register) = self.place();
            assert_eq!(register, 1, "only commands are written");
            if !self.stubborn
                && let Some(function) = self.functions.borrow_mut().get_mut(&place)
            {
                function[1] = value;
            }
        }
        fn read8(&self, _: u16) -> u8 {
            unreachable!()
        }
        fn read16(&self, _: u16) -> u16 {
            unreachable!()
        }
        fn write8(&self, _: u16, _: u8) {
            unreachable!()
        }
        fn write16(&self, _: u16, _: u16) {
            unreachable!()
        }
    }

    const NIC: [u32; 5] = [0x100E_8086, 0x0010_0007, 0x0200_0003, 0, 0];

    fn bridge(secondary: u32) -> [u32; 5] {
        [0x0001_1B36, 0x0000_0007, 0x0604_0000, 0x0001_0000, secondary << 8]
    }

    fn quieted(bus: &Bus) -> Vec<(Place, bool)> {
        let mut told = vec![];
        quiet(bus, &mut |place, obeys| told.push((place, obeys)));
        told
    }

    #[test]
    fn running_cards_are_cut_off_also_behind_bridges_and_in_later_functions() {
        let disk = [0x2922_8086, 7, 0x0106_0102, 0x0080_0000, 0];
        let bus = Bus::default()
            .with((0, 3, 0), NIC)
            .with((0, 4, 0), bridge(2))
            .with((0, 5, 0), [0x0000_8086, 0, 0x0600_0000, 0x0080_0000, 0])
            .with((0, 5, 6), NIC)
            .with((0, 31, 0), disk)
            .with((2, 0, 0), NIC);
        assert_eq!(quieted(&bus), [((0, 3, 0), true), ((0, 5, 6), true), ((2, 0, 0), true)]);
        assert_eq!(bus.command((0, 3, 0)), 3, "the rest of the command stays, the status is not cleared");
        assert_eq!(bus.command((0, 31, 0)), 7, "a disk is left alone");
        assert_eq!(bus.command((0, 4, 0)), 7, "and a bridge");
        assert!(quieted(&bus).is_empty());
    }

    #[test]
    fn a_card_that_does_not_obey_is_told() {
        let bus = Bus { stubborn: true, ..Bus::default() }.with((0, 3, 0), NIC);
        assert_eq!(quieted(&bus), [((0, 3, 0), false)]);
    }

    #[test]
    fn bridges_that_lead_upwards_or_to_themselves_end_the_walk() {
        let bus = Bus::default().with((0, 1, 0), bridge(0)).with((0, 2, 0), bridge(9)).with((9, 0, 0), bridge(9));
        assert!(quieted(&bus).is_empty());
        assert!(bus.accesses.get() < 200, "{} accesses", bus.accesses.get());
    }
}
