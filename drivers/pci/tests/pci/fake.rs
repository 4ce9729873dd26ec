//! A configuration space whose functions are data: registers, which of their bits can be written, which clear by a one.

use std::{cell::RefCell, collections::HashMap};

use pci::{ConfigRegionAccess, PciAddress};

/// One register.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Register {
    pub(crate) value: u32,
    pub(crate) writable: u32,
    pub(crate) clears: u32,
}

/// One function: 64 registers.
#[derive(Clone, Debug)]
pub(crate) struct Fake(pub(crate) [Register; 64]);

impl Fake {
    /// An endpoint with a command register and nothing else.
    pub(crate) fn endpoint(vendor: u16, device: u16) -> Self {
        let mut fake = Self([Register::default(); 64]);
        fake.set(0x00, u32::from(device) << 16 | u32::from(vendor));
        fake.0[1] = Register { value: 0, writable: 0x0547, clears: 0xf900_0000 };
        fake.set(0x08, 0x0200_0003);
        fake
    }

    /// A bridge to `secondary`, behind which buses up to `subordinate` lie.
    pub(crate) fn bridge(secondary: u8, subordinate: u8) -> Self {
        let mut fake = Self::endpoint(0x1b36, 0x0001);
        fake.set(0x08, 0x0604_0000);
        fake.set(0x0c, 0x0001_0000);
        fake.set(0x18, u32::from(subordinate) << 16 | u32::from(secondary) << 8);
        fake
    }

    pub(crate) fn set(&mut self, offset: usize, value: u32) -> &mut Self {
        self.0[offset / 4].value = value;
        self
    }

    /// A BAR whose address bits are those of `mask`.
    pub(crate) fn bar(&mut self, slot: usize, value: u32, mask: u32) -> &mut Self {
        self.0[4 + slot] = Register { value, writable: mask, clears: 0 };
        self
    }

    pub(crate) fn multifunction(&mut self) -> &mut Self {
        self.0[3].value |= 0x80_0000;
        self
    }

    /// Pin 1 to 4, on the interrupt line 11.
    pub(crate) fn pin(&mut self, pin: u32) -> &mut Self {
        self.set(0x3c, pin << 8 | 11)
    }

    /// A list of capabilities: (offset, id, offset of the next).
    pub(crate) fn capabilities(&mut self, list: &[(u8, u8, u8)]) -> &mut Self {
        self.0[1].value |= 1 << 20;
        self.set(0x34, list.first().map_or(0, |first| u32::from(first.0)));
        for &(offset, id, next) in list {
            self.set(usize::from(offset), u32::from(next) << 8 | u32::from(id));
        }
        self
    }
}

#[derive(Debug, Default)]
pub(crate) struct Space {
    functions: RefCell<HashMap<PciKey, Fake>>,
    /// Every write: (register offset, value).
    pub(crate) writes: RefCell<Vec<(u16, u32)>>,
    pub(crate) reads: RefCell<usize>,
    /// Reads after which every function is gone.
    pub(crate) vanish_after: Option<usize>,
}

type PciKey = (u16, u8, u8, u8);

fn key(address: PciAddress) -> PciKey {
    (address.segment(), address.bus(), address.device(), address.function())
}

impl Space {
    pub(crate) fn with(mut self, bus: u8, device: u8, function: u8, fake: &Fake) -> Self {
        self.functions.get_mut().insert((0, bus, device, function), fake.clone());
        self
    }

    pub(crate) fn register(&self, address: PciAddress, offset: usize) -> u32 {
        self.functions.borrow()[&key(address)].0[offset / 4].value
    }
}

impl ConfigRegionAccess for Space {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        assert!(offset.is_multiple_of(4) && offset < 256);
        *self.reads.borrow_mut() += 1;
        if self.vanish_after.is_some_and(|limit| *self.reads.borrow() > limit) {
            return u32::MAX;
        }
        let functions = self.functions.borrow();
        functions.get(&key(address)).map_or(u32::MAX, |fake| fake.0[usize::from(offset / 4)].value)
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        assert!(offset.is_multiple_of(4) && offset < 256);
        self.writes.borrow_mut().push((offset, value));
        if let Some(fake) = self.functions.borrow_mut().get_mut(&key(address)) {
            let register = &mut fake.0[usize::from(offset / 4)];
            register.value &= !(value & register.clears);
            register.value = register.value & !register.writable | value & register.writable;
        }
    }
}
