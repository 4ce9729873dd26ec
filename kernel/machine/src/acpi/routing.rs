//! PCI interrupt pins → global system interrupts, as plain data left behind by the interpreter. Pure; thread context.
//!
//! A pin on a bus without a table of its own is passed up through its bridge, rotated by the device number (PCI-to-PCI Bridge
//! 1.2, 9.1), until a bus with a table is reached. If firmware's bytecode failed, the interrupt line register that firmware
//! programmed for the 8259 is the fallback.

use alloc::vec::Vec;

use crate::ioapic::Signal;

/// A PCI interrupt pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin(u8);

impl Pin {
    /// From the interrupt pin register: 1 to 4 are INTA to INTD, 0 is none.
    #[must_use]
    pub const fn from_register(value: u8) -> Option<Self> {
        match value {
            1..=4 => Some(Self(value - 1)),
            _ => None,
        }
    }

    /// From a `_PRT` entry: 0 to 3.
    #[must_use]
    pub const fn from_index(index: u64) -> Option<Self> {
        match index {
            0 => Some(Self(0)),
            1 => Some(Self(1)),
            2 => Some(Self(2)),
            3 => Some(Self(3)),
            _ => None,
        }
    }

    /// The pin of a bridge that carries this pin of `device` behind it.
    #[must_use]
    pub const fn through_bridge(self, device: u8) -> Self {
        Self((self.0 + device % 4) % 4)
    }

    /// A to D.
    #[must_use]
    pub const fn letter(self) -> char {
        (b'A' + self.0) as char
    }
}

/// Where a pin arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Global system interrupt.
    pub gsi: u32,
    /// How it signals.
    pub signal: Signal,
}

/// One line of a bus's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Device number on the bus; tables do not distinguish functions.
    pub device: u8,
    /// The pin.
    pub pin: Pin,
    /// Where it arrives.
    pub route: Route,
}

/// The table of one bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusTable {
    /// PCI segment group.
    pub segment: u16,
    /// Bus.
    pub bus: u8,
    /// Its lines.
    pub entries: Vec<Entry>,
}

/// All tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routing {
    /// One per bus that has a table.
    pub buses: Vec<BusTable>,
}

/// Bridges a pin may pass; more means a loop in somebody's bus numbers.
const DEEPEST: usize = 32;

impl Routing {
    /// Finds where `pin` of `device` on `bus` arrives. `bridge_to(segment, bus)` names the bridge above a bus: its own bus and
    /// device number.
    pub fn lookup(
        &self,
        segment: u16,
        mut bus: u8,
        mut device: u8,
        mut pin: Pin,
        mut bridge_to: impl FnMut(u16, u8) -> Option<(u8, u8)>,
    ) -> Option<Route> {
        for _ in 0..DEEPEST {
            let table = self.buses.iter().find(|table| table.segment == segment && table.bus == bus);
            if let Some(table) = table {
                let line = table.entries.iter().find(|entry| entry.device == device && entry.pin == pin);
                return line.map(|entry| entry.route);
            }
            let (upper_bus, upper_device) = bridge_to(segment, bus)?;
            pin = pin.through_bridge(device);
            (bus, device) = (upper_bus, upper_device);
        }
        None
    }

    /// Number of lines in all tables.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buses.iter().map(|table| table.entries.len()).sum()
    }

    /// True if no table was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{BusTable, Entry, Pin, Route, Routing, Signal};

    fn route(gsi: u32) -> Route {
        Route { gsi, signal: Signal::PCI }
    }

    fn root() -> Routing {
        let pins = (0..4u8).map(|pin| Entry { device: 2, pin: Pin(pin), route: route(16 + u32::from(pin)) });
        Routing { buses: std::vec![BusTable { segment: 0, bus: 0, entries: pins.collect() }] }
    }

    #[test]
    fn a_pin_on_a_root_bus_is_looked_up_directly() {
        assert_eq!(root().lookup(0, 0, 2, Pin(1), |_, _| panic!("no bridge is asked")), Some(route(17)));
        assert_eq!(root().lookup(0, 0, 3, Pin(0), |_, _| panic!("no bridge is asked")), None);
    }

    #[test]
    fn behind_a_bridge_pins_rotate_by_device_number() {
        let bridge = |_, bus| (bus == 1).then_some((0, 2));
        assert_eq!(root().lookup(0, 1, 0, Pin(0), bridge), Some(route(16)));
        assert_eq!(root().lookup(0, 1, 1, Pin(0), bridge), Some(route(17)));
        assert_eq!(root().lookup(0, 1, 7, Pin(2), bridge), Some(route(17)));
    }

    #[test]
    fn a_bus_nobody_leads_to_and_a_loop_have_no_route() {
        assert_eq!(root().lookup(0, 9, 0, Pin(0), |_, _| None), None);
        assert_eq!(root().lookup(0, 9, 0, Pin(0), |_, _| Some((9, 1))), None);
        assert_eq!(root().lookup(1, 0, 2, Pin(0), |_, _| None), None);
    }

    #[test]
    fn pins_come_from_registers_and_table_entries() {
        assert_eq!((Pin::from_register(0), Pin::from_register(1), Pin::from_register(5)), (None, Some(Pin(0)), None));
        assert_eq!((Pin::from_index(3), Pin::from_index(4)), (Some(Pin(3)), None));
        assert_eq!(Pin(3).letter(), 'D');
    }
}
