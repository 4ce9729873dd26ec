//! The register file of the 8254x: offsets, names and contents.
//!
//! Key types: [`Reg`] (where), the bit types [`Ctrl`], [`Status`], [`Rctl`], [`Tctl`], [`Cause`] (what), and
//! [`RegisterIo`] (how to get there: a memory window on a real machine, `nic_model` on a host). Section numbers are
//! those of Intel's "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual" (8254x, 317453).
//! No number of a register or a bit appears outside this module and its statistics sibling.

use bitflags::bitflags;

pub use crate::stat::Stat;

/// What a register of a device reads that has left the bus: every bit set.
///
/// No register this driver decides upon can hold it legitimately: each has bits that read as zero.
pub const ALL_ONES: u32 = u32::MAX;

/// Access to the registers of one device.
///
/// # Context
/// Either. A read is not posted: it costs a round trip to the device (a VM exit on a virtual machine). Writes may be
/// posted; a following read of the same device flushes them.
pub trait RegisterIo: Send + Sync {
    /// Reads a register. Reading [`Reg::Icr`] and the statistics registers clears them.
    fn read32(&self, reg: Reg) -> u32;

    /// Writes a register.
    fn write32(&self, reg: Reg, value: u32);
}

/// A register of the device, by the name the manual gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reg {
    /// Device Control \[CTRL\], 13.4.1. Contents: [`Ctrl`].
    Ctrl,
    /// Device Status \[STATUS\], 13.4.2. Contents: [`Status`].
    Status,
    /// EEPROM Read \[EERD\], 13.4.4. Contents: see [`crate::eeprom`].
    Eerd,
    /// Flow Control Address Low \[FCAL\], 13.4.7.
    Fcal,
    /// Flow Control Address High \[FCAH\], 13.4.8.
    Fcah,
    /// Flow Control Type \[FCT\], 13.4.9.
    Fct,
    /// Interrupt Cause Read \[ICR\], 13.4.17: cleared by reading. Contents: [`Cause`].
    Icr,
    /// Interrupt Throttling \[ITR\], 13.4.18: least time between interrupts in units of 256 ns.
    Itr,
    /// Interrupt Cause Set \[ICS\], 13.4.19: raises the causes written.
    Ics,
    /// Interrupt Mask Set/Read \[IMS\], 13.4.20: unmasks the causes written; reads as the mask in force.
    Ims,
    /// Interrupt Mask Clear \[IMC\], 13.4.21: masks the causes written.
    Imc,
    /// Receive Control \[RCTL\], 13.4.22. Contents: [`Rctl`].
    Rctl,
    /// Flow Control Transmit Timer Value \[FCTTV\], 13.4.23.
    Fcttv,
    /// Transmit Control \[TCTL\], 13.4.33. Contents: [`Tctl`].
    Tctl,
    /// Transmit Inter-Packet Gap \[TIPG\], 13.4.34.
    Tipg,
    /// Receive Descriptor Base Address Low \[RDBAL\], 13.4.25.
    Rdbal,
    /// Receive Descriptor Base Address High \[RDBAH\], 13.4.26.
    Rdbah,
    /// Receive Descriptor Length \[RDLEN\], 13.4.27: octets of the ring, a multiple of 128.
    Rdlen,
    /// Receive Descriptor Head \[RDH\], 13.4.28: the descriptor the device uses next.
    Rdh,
    /// Receive Descriptor Tail \[RDT\], 13.4.29: the first descriptor the device may not use.
    Rdt,
    /// Receive Delay Timer \[RDTR\], 13.4.30: units of 1.024 us.
    Rdtr,
    /// Receive Interrupt Absolute Delay Timer \[RADV\], 13.4.31: units of 1.024 us.
    Radv,
    /// Transmit Descriptor Base Address Low \[TDBAL\], 13.4.35.
    Tdbal,
    /// Transmit Descriptor Base Address High \[TDBAH\], 13.4.36.
    Tdbah,
    /// Transmit Descriptor Length \[TDLEN\], 13.4.37: octets of the ring, a multiple of 128.
    Tdlen,
    /// Transmit Descriptor Head \[TDH\], 13.4.38.
    Tdh,
    /// Transmit Descriptor Tail \[TDT\], 13.4.39: the first descriptor that is not ready to be sent.
    Tdt,
    /// Transmit Interrupt Delay Value \[TIDV\], 13.4.40: units of 1.024 us.
    Tidv,
    /// Transmit Absolute Interrupt Delay Value \[TADV\], 13.4.45: units of 1.024 us.
    Tadv,
    /// Receive Checksum Control \[RXCSUM\], 13.4.46.
    Rxcsum,
    /// Multicast Table Array \[MTA\], 13.5.1: 128 words of 32 bits.
    Mta(u8),
    /// Receive Address Low \[RAL\], 13.5.2: 16 entries.
    Ral(u8),
    /// Receive Address High \[RAH\], 13.5.3. Contents of the upper half: [`RAH_AV`].
    Rah(u8),
    /// Wakeup Control \[WUC\], 13.6.1.
    Wuc,
    /// Receive Data FIFO Packet Count \[RDFPC\], 13.8: frames received that are not in memory yet.
    Rdfpc,
    /// Transmit Data FIFO Packet Count \[TDFPC\], 13.8: frames out of memory that are not on the wire yet.
    Tdfpc,
    /// A statistics register, 13.7; all are cleared by reading.
    Stat(Stat),
}

/// Octets of the register window (BAR 0), 13.2.
pub const WINDOW: u32 = 0x2_0000;

/// Words of the multicast table.
pub const MTA_WORDS: u8 = 128;
/// Entries of the receive address table.
pub const RECEIVE_ADDRESSES: u8 = 16;

impl Reg {
    /// Returns the offset in the register window, in octets; a multiple of 4 below [`WINDOW`] (13.3).
    ///
    /// Indices of the table registers wrap at the size of the table, so that no index leaves the window.
    #[inline]
    #[must_use]
    pub const fn offset(self) -> u32 {
        match self {
            Self::Ctrl => 0x0000,
            Self::Status => 0x0008,
            Self::Eerd => 0x0014,
            Self::Fcal => 0x0028,
            Self::Fcah => 0x002c,
            Self::Fct => 0x0030,
            Self::Icr => 0x00c0,
            Self::Itr => 0x00c4,
            Self::Ics => 0x00c8,
            Self::Ims => 0x00d0,
            Self::Imc => 0x00d8,
            Self::Rctl => 0x0100,
            Self::Fcttv => 0x0170,
            Self::Tctl => 0x0400,
            Self::Tipg => 0x0410,
            Self::Rdfpc => 0x2430,
            Self::Rdbal => 0x2800,
            Self::Rdbah => 0x2804,
            Self::Rdlen => 0x2808,
            Self::Rdh => 0x2810,
            Self::Rdt => 0x2818,
            Self::Rdtr => 0x2820,
            Self::Radv => 0x282c,
            Self::Tdfpc => 0x3430,
            Self::Tdbal => 0x3800,
            Self::Tdbah => 0x3804,
            Self::Tdlen => 0x3808,
            Self::Tdh => 0x3810,
            Self::Tdt => 0x3818,
            Self::Tidv => 0x3820,
            Self::Tadv => 0x382c,
            Self::Rxcsum => 0x5000,
            Self::Mta(word) => 0x5200 + 4 * (word % MTA_WORDS) as u32,
            Self::Ral(entry) => 0x5400 + 8 * (entry % RECEIVE_ADDRESSES) as u32,
            Self::Rah(entry) => 0x5404 + 8 * (entry % RECEIVE_ADDRESSES) as u32,
            Self::Wuc => 0x5800,
            Self::Stat(stat) => stat.offset(),
        }
    }
}

bitflags! {
    /// Contents of CTRL (13.4.1).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Ctrl: u32 {
        /// Full duplex, when forced.
        const FD = 1 << 0;
        /// PCI Express masters: stop issuing requests (82571 and later only).
        const GIO_MASTER_DISABLE = 1 << 2;
        /// Link reset; must be 0 on a copper part.
        const LRST = 1 << 3;
        /// Auto-speed detection enable.
        const ASDE = 1 << 5;
        /// Set link up.
        const SLU = 1 << 6;
        /// Invert loss of signal; must be 0 on a copper part.
        const ILOS = 1 << 7;
        /// Force speed.
        const FRCSPD = 1 << 11;
        /// Force duplex.
        const FRCDPLX = 1 << 12;
        /// Device reset; clears itself.
        const RST = 1 << 26;
        /// Receive flow control enable.
        const RFCE = 1 << 27;
        /// Transmit flow control enable.
        const TFCE = 1 << 28;
        /// VLAN mode: strip tags.
        const VME = 1 << 30;
        /// PHY reset.
        const PHY_RST = 1 << 31;
        const _ = !0;
    }

    /// Contents of STATUS (13.4.2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Status: u32 {
        /// Full duplex.
        const FD = 1 << 0;
        /// Link up.
        const LU = 1 << 1;
        /// Transmission paused by flow control.
        const TXOFF = 1 << 4;
        /// The low bit of the speed.
        const SPEED_100 = 1 << 6;
        /// The high bit of the speed.
        const SPEED_1000 = 1 << 7;
        /// Master requests are still enabled or pending (82571 and later only).
        const GIO_MASTER_ENABLE = 1 << 19;
        const _ = !0;
    }

    /// Contents of RCTL (13.4.22). The buffer size field stays 0: 2048 octets with BSEX clear.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Rctl: u32 {
        /// Receiver enable.
        const EN = 1 << 1;
        /// Store bad packets.
        const SBP = 1 << 2;
        /// Unicast promiscuous.
        const UPE = 1 << 3;
        /// Multicast promiscuous.
        const MPE = 1 << 4;
        /// Long packet reception.
        const LPE = 1 << 5;
        /// Accept broadcasts.
        const BAM = 1 << 15;
        /// VLAN filter enable.
        const VFE = 1 << 18;
        /// Strip the FCS.
        const SECRC = 1 << 26;
        const _ = !0;
    }

    /// Contents of TCTL (13.4.33) without its two fields, see [`tctl_fields`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Tctl: u32 {
        /// Transmitter enable.
        const EN = 1 << 1;
        /// Pad short packets (to 64 octets with FCS).
        const PSP = 1 << 3;
        /// Retransmit on late collision.
        const RTLC = 1 << 24;
        const _ = !0;
    }

    /// Interrupt causes: ICR, ICS, IMS and IMC share the layout (13.4.17).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Cause: u32 {
        /// A transmit descriptor with RS was written back.
        const TXDW = 1 << 0;
        /// The transmit queue is empty.
        const TXQE = 1 << 1;
        /// Link status change.
        const LSC = 1 << 2;
        /// Receive sequence error.
        const RXSEQ = 1 << 3;
        /// Free receive descriptors fell below the threshold of RCTL.RDMTS.
        const RXDMT0 = 1 << 4;
        /// Receiver overrun: a frame was lost for want of descriptors.
        const RXO = 1 << 6;
        /// Receive timer: frames have been written to memory.
        const RXT0 = 1 << 7;
        const _ = !0;
    }
}

/// The mask bits of [`Reg::Ims`] and [`Reg::Imc`] that exist on the 8254x (13.4.20); the others read as zero.
pub const MASKABLE: u32 = 0x0001_f6df;

/// RAH: this entry is valid (13.5.3).
pub const RAH_AV: u32 = 1 << 31;

/// TCTL's fields at the values of 14.5: collision threshold 15, collision distance 64 (full duplex).
#[must_use]
pub const fn tctl_fields() -> u32 {
    0x0f << 4 | 0x40 << 12
}

/// TIPG for copper (13.4.34, table 13-77): IPGT 10, IPGR1 8, IPGR2 6.
pub const TIPG_COPPER: u32 = 10 | 8 << 10 | 6 << 20;

/// Returns the half of a 64-bit bus address that a base address register takes.
#[must_use]
pub const fn low_half(address: u64) -> u32 {
    (address & 0xffff_ffff) as u32
}

/// Returns the upper half of a 64-bit bus address.
#[must_use]
pub const fn high_half(address: u64) -> u32 {
    (address >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_those_of_the_manuals_table_13_2() {
        let table = [
            (Reg::Ctrl, 0x0000),
            (Reg::Eerd, 0x0014),
            (Reg::Icr, 0x00c0),
            (Reg::Imc, 0x00d8),
            (Reg::Rctl, 0x0100),
            (Reg::Tctl, 0x0400),
            (Reg::Rdh, 0x2810),
            (Reg::Rdt, 0x2818),
            (Reg::Tdh, 0x3810),
            (Reg::Tdt, 0x3818),
            (Reg::Mta(127), 0x53fc),
            (Reg::Ral(0), 0x5400),
            (Reg::Rah(15), 0x547c),
            (Reg::Stat(Stat::Mpc), 0x4010),
        ];
        for (reg, offset) in table {
            assert_eq!(reg.offset(), offset, "{reg:?}");
        }
    }

    #[test]
    fn every_index_stays_inside_the_window() {
        for index in 0..=u8::MAX {
            for reg in [Reg::Mta(index), Reg::Ral(index), Reg::Rah(index)] {
                assert!(reg.offset() + 4 <= WINDOW && reg.offset().is_multiple_of(4));
            }
        }
    }
}
