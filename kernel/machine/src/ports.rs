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
