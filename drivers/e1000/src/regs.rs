//! The register file of the 8254x: offsets, names and contents.
//!
//! Key types: [`Reg`] (where), the bit types [`Ctrl`], [`Status`], [`Rctl`], [`Tctl`], [`Cause`] (what), and
//! [`RegisterIo`] (how to get there: a memory window on a real machine, `nic_model` on a host). Section numbers are
//! those of Intel's "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual" (8254x, 317453).
//! No number of a register or a bit appears outside this module and its statistics sibling.

mod bits;

pub use bits::{Cause, Ctrl, CtrlExt, Rctl, Status, Tctl};

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
    /// EEPROM Control \[EECD\], 13.4.3. Contents: [`EECD_AUTO_RD`].
    Eecd,
    /// EEPROM Read \[EERD\], 13.4.4. Contents: see [`crate::eeprom`].
    Eerd,
    /// MDI Control \[MDIC\], 13.4.15: a register of the PHY. Contents: see [`crate::loopback`].
    Mdic,
    /// Flow Control Address Low \[FCAL\], 13.4.7.
    Fcal,
    /// Flow Control Address High \[FCAH\], 13.4.8.
    Fcah,
    /// Flow Control Type \[FCT\], 13.4.9.
    Fct,
    /// VLAN EtherType \[VET\], 13.4.11: what type field a tag has. Contents: [`VET_8021Q`].
    Vet,
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
    /// Flow Control Receive Threshold Low \[FCRTL\], 13.4.24: octets in the receive FIFO at which the other end may go on.
    Fcrtl,
    /// Flow Control Receive Threshold High \[FCRTH\]: octets at which it is to wait.
    Fcrth,
    /// Packet Buffer Allocation \[PBA\], 13.4.16: how the FIFO memory is shared out. Contents: [`PBA_RX`].
    Pba,
    /// Flow Control Transmit Timer Value \[FCTTV\], 13.4.23.
    Fcttv,
    /// Transmit Control \[TCTL\], 13.4.33. Contents: [`Tctl`].
    Tctl,
    /// Transmit Inter-Packet Gap \[TIPG\], 13.4.34.
    Tipg,
    /// Receive Descriptor Base Address Low \[RDBAL\] of a queue, 13.4.25. Parts with one queue have queue 0.
    Rdbal(u8),
    /// Receive Descriptor Base Address High \[RDBAH\], 13.4.26.
    Rdbah(u8),
    /// Receive Descriptor Length \[RDLEN\], 13.4.27: octets of the ring, a multiple of 128.
    Rdlen(u8),
    /// Receive Descriptor Head \[RDH\], 13.4.28: the descriptor the device uses next.
    Rdh(u8),
    /// Receive Descriptor Tail \[RDT\], 13.4.29: the first descriptor the device may not use.
    Rdt(u8),
    /// Receive Delay Timer \[RDTR\], 13.4.30: units of 1.024 us.
    Rdtr,
    /// Receive Interrupt Absolute Delay Timer \[RADV\], 13.4.31: units of 1.024 us.
    Radv,
    /// Transmit Descriptor Base Address Low \[TDBAL\], 13.4.35.
    Tdbal(u8),
    /// Transmit Descriptor Base Address High \[TDBAH\], 13.4.36.
    Tdbah(u8),
    /// Transmit Descriptor Length \[TDLEN\], 13.4.37: octets of the ring, a multiple of 128.
    Tdlen(u8),
    /// Transmit Descriptor Head \[TDH\], 13.4.38.
    Tdh(u8),
    /// Transmit Descriptor Tail \[TDT\], 13.4.39: the first descriptor that is not ready to be sent.
    Tdt(u8),
    /// Transmit Interrupt Delay Value \[TIDV\], 13.4.40: units of 1.024 us.
    Tidv,
    /// Transmit Absolute Interrupt Delay Value \[TADV\], 13.4.45: units of 1.024 us.
    Tadv,
    /// Receive Checksum Control \[RXCSUM\], 13.4.46. Contents: [`RXCSUM_PCSD`].
    Rxcsum,
    /// Extended Device Control \[CTRL_EXT\], 10.2.2.2 of the 82574 datasheet. Contents: [`CtrlExt`].
    CtrlExt,
    /// Extended Interrupt Auto Clear \[EIAC\], 82574 10.2.4.6: causes that sending their message clears.
    Eiac,
    /// Interrupt Vector Allocation \[IVAR\], 82574 10.2.4.9: which message says which cause, see [`ivar`].
    Ivar,
    /// Extended Interrupt Throttle \[EITR\], 82574 10.2.4.10: one for each message, in units of 256 ns.
    Eitr(u8),
    /// PCIe Control \[GCR\], 82574 10.2.2.12.
    Gcr,
    /// Receive Filter Control \[RFCTL\], 82574 10.2.5.9. Contents: [`RFCTL_EXTEN`].
    Rfctl,
    /// Receive Descriptor Control \[RXDCTL\] of a queue, 82574 10.2.5.11.
    Rxdctl(u8),
    /// Transmit Descriptor Control \[TXDCTL\] of a queue, 82574 10.2.6.9.
    Txdctl(u8),
    /// Transmit Arbitration Counter \[TARC\] of a queue, 82574 10.2.6.11.
    Tarc(u8),
    /// Multiple Receive Queues Command \[MRQC\], 82574 10.2.5.15. Contents: [`MRQC_RSS`].
    Mrqc,
    /// Redirection Table \[RETA\], 82574 10.2.5.16: 32 words of four entries.
    Reta(u8),
    /// RSS Random Key \[RSSRK\], 82574 10.2.5.17: ten words.
    Rssrk(u8),
    /// Multicast Table Array \[MTA\], 13.5.1: 128 words of 32 bits.
    Mta(u8),
    /// Receive Address Low \[RAL\], 13.5.2: 16 entries.
    Ral(u8),
    /// Receive Address High \[RAH\], 13.5.3. Contents of the upper half: [`RAH_AV`].
    Rah(u8),
    /// VLAN Filter Table Array \[VFTA\], 13.5.4: 128 words of 32 VLANs.
    Vfta(u8),
    /// Wakeup Control \[WUC\], 13.6.1.
    Wuc,
    /// Receive Data FIFO Packet Count \[RDFPC\], 13.8: frames received that are not in memory yet.
    Rdfpc,
    /// Transmit Data FIFO Packet Count \[TDFPC\], 13.8: frames out of memory that are not on the wire yet.
    Tdfpc,
    /// A statistics register, 13.7; all are cleared by reading. The lower half of one that is [wide](Stat::is_wide), which that does
    /// not clear.
    Stat(Stat),
    /// The upper half of a wide one; reading it clears both.
    StatHigh(Stat),
}

/// Octets of the register window (BAR 0), 13.2.
pub const WINDOW: u32 = 0x2_0000;

/// Queues of the part that has most, in each direction.
pub const QUEUES: u8 = 2;
/// Interrupt messages of an 82574.
pub const MESSAGES: u8 = 5;
/// Words of the redirection table.
pub const RETA_WORDS: u8 = 32;
/// Words of the key of the receive-side scaling hash.
pub const RSSRK_WORDS: u8 = 10;

/// Words of the multicast table.
pub const MTA_WORDS: u8 = 128;
/// Words of the VLAN filter table.
pub const VFTA_WORDS: u8 = 128;
/// Entries of the receive address table.
pub const RECEIVE_ADDRESSES: u8 = 16;

/// Returns the offset of a register that each queue has, a page apart.
const fn of_queue(first: u32, queue: u8) -> u32 {
    first + 0x100 * (queue % QUEUES) as u32
}

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
            Self::Eecd => 0x0010,
            Self::Eerd => 0x0014,
            Self::Mdic => 0x0020,
            Self::Fcal => 0x0028,
            Self::Fcah => 0x002c,
            Self::Fct => 0x0030,
            Self::Vet => 0x0038,
            Self::Icr => 0x00c0,
            Self::Itr => 0x00c4,
            Self::Ics => 0x00c8,
            Self::Ims => 0x00d0,
            Self::Imc => 0x00d8,
            Self::Rctl => 0x0100,
            Self::Fcttv => 0x0170,
            Self::Fcrtl => 0x2160,
            Self::Fcrth => 0x2168,
            Self::Pba => 0x1000,
            Self::Tctl => 0x0400,
            Self::Tipg => 0x0410,
            Self::Rdfpc => 0x2430,
            Self::Rdbal(queue) => of_queue(0x2800, queue),
            Self::Rdbah(queue) => of_queue(0x2804, queue),
            Self::Rdlen(queue) => of_queue(0x2808, queue),
            Self::Rdh(queue) => of_queue(0x2810, queue),
            Self::Rdt(queue) => of_queue(0x2818, queue),
            Self::Rdtr => 0x2820,
            Self::Radv => 0x282c,
            Self::Tdfpc => 0x3430,
            Self::Tdbal(queue) => of_queue(0x3800, queue),
            Self::Tdbah(queue) => of_queue(0x3804, queue),
            Self::Tdlen(queue) => of_queue(0x3808, queue),
            Self::Tdh(queue) => of_queue(0x3810, queue),
            Self::Tdt(queue) => of_queue(0x3818, queue),
            Self::Tidv => 0x3820,
            Self::Tadv => 0x382c,
            Self::Rxcsum => 0x5000,
            Self::CtrlExt => 0x0018,
            Self::Eiac => 0x00dc,
            Self::Ivar => 0x00e4,
            Self::Eitr(message) => 0x00e8 + 4 * (message % MESSAGES) as u32,
            Self::Gcr => 0x5b00,
            Self::Rfctl => 0x5008,
            Self::Rxdctl(queue) => of_queue(0x2828, queue),
            Self::Txdctl(queue) => of_queue(0x3828, queue),
            Self::Tarc(queue) => of_queue(0x3840, queue),
            Self::Mrqc => 0x5818,
            Self::Reta(word) => 0x5c00 + 4 * (word % RETA_WORDS) as u32,
            Self::Rssrk(word) => 0x5c80 + 4 * (word % RSSRK_WORDS) as u32,
            Self::Mta(word) => 0x5200 + 4 * (word % MTA_WORDS) as u32,
            Self::Ral(entry) => 0x5400 + 8 * (entry % RECEIVE_ADDRESSES) as u32,
            Self::Rah(entry) => 0x5404 + 8 * (entry % RECEIVE_ADDRESSES) as u32,
            Self::Vfta(word) => 0x5600 + 4 * (word % VFTA_WORDS) as u32,
            Self::Wuc => 0x5800,
            Self::Stat(stat) => stat.offset(),
            Self::StatHigh(stat) => stat.offset() + 4,
        }
    }
}

/// The mask bits of [`Reg::Ims`] and [`Reg::Imc`] that exist on the 8254x (13.4.20), and those of the 82574's queues (82574
/// 10.2.4.7); the others read as zero.
pub const MASKABLE: u32 = 0x01f1_f6df;

/// VET: the type of a customer VLAN's tag (IEEE 802.1Q 9.5).
pub const VET_8021Q: u32 = 0x8100;

/// EECD: the device has loaded itself from its EEPROM (82574 10.2.2.3).
pub const EECD_AUTO_RD: u32 = 1 << 9;

/// PBA: KiB of the receive FIFO.
pub const PBA_RX: u32 = 0xff;

/// Returns from PBA the KiB of the receive and the transmit FIFO; the latter follows from the former.
#[must_use]
pub const fn pba_shares(pba: u32) -> [u32; 2] {
    [pba & PBA_RX, pba >> 16 & PBA_RX]
}

/// TXDCTL: must be set on the parts on PCI Express (82574 10.2.6.9, bit 22).
pub const TXDCTL_REQUIRED: u32 = 1 << 22;

/// RXCSUM: look at the checksum of IPv4 headers, and at those of TCP and UDP (13.4.46).
pub const RXCSUM_IPOFLD: u32 = 1 << 8;
/// See [`RXCSUM_IPOFLD`].
pub const RXCSUM_TUOFLD: u32 = 1 << 9;

/// RXCSUM: no checksum of the packet but the hash of receive-side scaling in the descriptor (82574 10.2.5.8).
pub const RXCSUM_PCSD: u32 = 1 << 13;

/// RFCTL: the receive descriptors are extended ones.
pub const RFCTL_EXTEN: u32 = 1 << 15;

/// MRQC: two queues by receive-side scaling, over addresses and ports of TCP over IPv4, and over addresses of all IPv4.
pub const MRQC_RSS: u32 = 1 | 1 << 16 | 1 << 17;

/// Returns the contents of IVAR for these messages of receive queues 0 and 1, transmit queues 0 and 1, and other causes: each valid,
/// and the causes of transmission raised when a descriptor is written back.
#[must_use]
pub const fn ivar(messages: [u8; 5]) -> u32 {
    const VALID: u32 = 1 << 3;
    const ON_WRITE_BACK: u32 = 1 << 31;
    let [rx0, rx1, tx0, tx1, other] = messages;
    ON_WRITE_BACK
        | (VALID | rx0 as u32 & 7)
        | (VALID | rx1 as u32 & 7) << 4
        | (VALID | tx0 as u32 & 7) << 8
        | (VALID | tx1 as u32 & 7) << 12
        | (VALID | other as u32 & 7) << 16
}

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
            (Reg::Rdh(0), 0x2810),
            (Reg::Rdt(0), 0x2818),
            (Reg::Tdh(0), 0x3810),
            (Reg::Tdt(0), 0x3818),
            (Reg::Mta(127), 0x53fc),
            (Reg::Ral(0), 0x5400),
            (Reg::Rah(15), 0x547c),
            (Reg::Vet, 0x0038),
            (Reg::Vfta(127), 0x57fc),
            (Reg::Stat(Stat::Mpc), 0x4010),
            (Reg::Rdt(1), 0x2918),
            (Reg::Tdbal(1), 0x3900),
            (Reg::Eitr(4), 0x00f8),
            (Reg::Rssrk(9), 0x5ca4),
        ];
        for (reg, offset) in table {
            assert_eq!(reg.offset(), offset, "{reg:?}");
        }
    }

    #[test]
    fn every_index_stays_inside_the_window() {
        for index in 0..=u8::MAX {
            let tables = [Reg::Mta(index), Reg::Vfta(index), Reg::Ral(index), Reg::Rah(index), Reg::Reta(index)];
            for reg in tables.into_iter().chain([Reg::Rssrk(index), Reg::Rdt(index), Reg::Tdt(index), Reg::Eitr(index)])
            {
                assert!(reg.offset() + 4 <= WINDOW && reg.offset().is_multiple_of(4));
            }
        }
    }
}
