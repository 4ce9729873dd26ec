//! Registers, by where they are: three address spaces, three widths.

/// Where a register is. Offsets are from the start of the device's own space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// An octet of the function's configuration space; from 0x40 on.
    Config8(u16),
    /// 16 bits of the function's configuration space; from 0x40 on.
    Config16(u16),
    /// 16 bits of the device's memory.
    Memory16(u16),
    /// 32 bits of the device's memory.
    Memory32(u16),
    /// 16 bits of the device's ports.
    Port16(u16),
}

/// Access to the registers of one device. Widths matter: these devices ignore an access of another one.
///
/// # Context
/// Any.
pub trait RegisterIo: Send + Sync {
    /// Reads a register; what is not there reads all ones, as wide as it is.
    fn read(&self, place: Place) -> u32;

    /// Writes a register; bits beyond its width are not written.
    fn write(&self, place: Place, value: u32);
}
