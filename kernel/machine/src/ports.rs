//! Port I/O behind a trait, so that everything that talks to ports (8259, PIT, PM timer, PCI mechanism 1, reset) can be
//! tested on a host against a model.
//!
//! Context: either; never blocks.

/// Access to the 64 KiB I/O port space.
///
/// Ports can restart the machine or start device DMA; the machine crate is the floor that is trusted to know which ports it
/// touches, so the trait is only reachable inside it.
pub trait PortIo {
    /// Reads one byte.
    fn read8(&self, port: u16) -> u8;
    /// Reads a 16-bit word.
    fn read16(&self, port: u16) -> u16;
    /// Reads a 32-bit word.
    fn read32(&self, port: u16) -> u32;
    /// Writes one byte.
    fn write8(&self, port: u16, value: u8);
    /// Writes a 16-bit word.
    fn write16(&self, port: u16, value: u16);
    /// Writes a 32-bit word.
    fn write32(&self, port: u16, value: u32);
}

/// A device's own ports, for its driver: bounds-checked.
///
/// # Context
/// Any.
#[derive(Debug)]
pub struct PortWindow {
    base: u16,
    len: u16,
}

impl PortWindow {
    /// Names `len` ports from `base` on, where firmware has put a device's registers; `None` for no ports, or beyond the last.
    #[must_use]
    pub fn new(base: u16, len: u16) -> Option<Self> {
        let last = base.checked_add(len.checked_sub(1)?)?;
        (base != 0 && last != u16::MAX).then_some(Self { base, len })
    }

    /// The port of the register at `offset`.
    ///
    /// # Panics
    /// If the register is not wholly inside the window, or misaligned: a driver bug.
    #[track_caller]
    fn port(&self, offset: u16) -> u16 {
        assert!(offset < self.len && self.len - offset >= 2, "register {offset:#x} is outside {} ports", self.len);
        assert!(offset.is_multiple_of(2), "register {offset:#x} is misaligned");
        self.base + offset
    }

    /// Reads a 16-bit register.
    #[must_use]
    #[track_caller]
    pub fn read16(&self, offset: u16) -> u16 {
        CpuPorts.read16(self.port(offset))
    }

    /// Writes a 16-bit register.
    #[track_caller]
    pub fn write16(&self, offset: u16, value: u16) {
        CpuPorts.write16(self.port(offset), value);
    }
}

/// The machine's own ports.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CpuPorts;

impl PortIo for CpuPorts {
    fn read8(&self, port: u16) -> u8 {
        let value: u8;
        // SAFETY: `in` touches no memory; the callers inside this crate name ports whose reads are harmless.
        unsafe {
            core::arch::asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags));
        }
        value
    }

    fn read16(&self, port: u16) -> u16 {
        let value: u16;
        // SAFETY: as in `read8`.
        unsafe {
            core::arch::asm!("in ax, dx", in("dx") port, out("ax") value, options(nomem, nostack, preserves_flags));
        }
        value
    }

    fn read32(&self, port: u16) -> u32 {
        let value: u32;
        // SAFETY: as in `read8`.
        unsafe {
            core::arch::asm!("in eax, dx", in("dx") port, out("eax") value, options(nomem, nostack, preserves_flags));
        }
        value
    }

    fn write8(&self, port: u16, value: u8) {
        // SAFETY: `out` touches no memory of ours; the callers inside this crate own the ports they name.
        unsafe {
            core::arch::asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags));
        }
    }

    fn write16(&self, port: u16, value: u16) {
        // SAFETY: as in `write8`.
        unsafe {
            core::arch::asm!("out dx, ax", in("dx") port, in("ax") value, options(nomem, nostack, preserves_flags));
        }
    }

    fn write32(&self, port: u16, value: u32) {
        // SAFETY: as in `write8`.
        unsafe {
            core::arch::asm!("out dx, eax", in("dx") port, in("eax") value, options(nomem, nostack, preserves_flags));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PortWindow;

    #[test]
    fn a_window_has_ports_and_ends_before_the_last() {
        assert!(PortWindow::new(0, 4).is_none());
        assert!(PortWindow::new(0x660, 0).is_none());
        assert!(PortWindow::new(0xFFF0, 0x10).is_none());
        let window = PortWindow::new(0x660, 0x20).expect("ports");
        assert_eq!((window.port(0), window.port(0x1E)), (0x660, 0x67E));
    }

    #[test]
    #[should_panic(expected = "outside")]
    fn a_register_across_the_end_panics() {
        let _ = PortWindow::new(0x660, 0x1F).map(|window| window.port(0x1E));
    }
}
