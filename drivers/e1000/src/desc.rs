//! Descriptors: pure encoding and decoding of the two words the device and the driver share.
//!
//! Key types: [`RxLayout`] and [`RxWriteback`] (3.2.3; 82574 7.1.4 and 7.1.5), [`TxCommand`] (3.3.3), [`TxStatus`]. In memory a
//! descriptor is two little-endian 64-bit words ([`WORDS`]): the buffer's bus address, and the rest; a device that writes an extended
//! receive descriptor back puts something else over the address. Transmit descriptors are legacy ones on all parts. Nothing here
//! touches memory.

use bitflags::bitflags;
use wire::VlanId;

/// 64-bit words of one descriptor.
pub const WORDS: usize = 2;
/// Octets of one descriptor.
pub const OCTETS: usize = 16;

const _: () = assert!(size_of::<[u64; WORDS]>() == OCTETS);

bitflags! {
    /// The status octet of a receive descriptor (3.2.3.1), which is the lowest of an extended one's.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct RxStatus: u8 {
        /// Descriptor done: the device has written it and will not touch it again.
        const DD = 1 << 0;
        /// End of packet.
        const EOP = 1 << 1;
        /// The checksum verdicts of this descriptor are void.
        const IXSM = 1 << 2;
        /// A VLAN tag was taken off the frame and is in the descriptor (valid with CTRL.VME).
        const VP = 1 << 3;
        /// The checksum of UDP was looked at (82574 7.1.5.2; reserved on the 8254x).
        const UDPCS = 1 << 4;
        /// The checksum of TCP (or UDP, on the 8254x) was looked at.
        const TCPCS = 1 << 5;
        /// The checksum of the IPv4 header was looked at.
        const IPCS = 1 << 6;
        /// Passed an inexact filter: software has to check the address.
        const PIF = 1 << 7;
        const _ = !0;
    }

    /// The error octet of a receive descriptor (3.2.3.2). Valid with DD and EOP.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct RxErrors: u8 {
        /// CRC or alignment error.
        const CE = 1 << 0;
        /// Symbol error.
        const SE = 1 << 1;
        /// Sequence error.
        const SEQ = 1 << 2;
        /// Carrier extension error.
        const CXE = 1 << 4;
        /// TCP or UDP checksum error: the frame itself is good.
        const TCPE = 1 << 5;
        /// IP checksum error: the frame itself is good, IP input judges the header itself.
        const IPE = 1 << 6;
        /// RX data error.
        const RXE = 1 << 7;
    }

    /// The command octet of a transmit descriptor (3.3.3.1).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct TxCommand: u8 {
        /// End of packet.
        const EOP = 1 << 0;
        /// Insert FCS.
        const IFCS = 1 << 1;
        /// Report status: write DD back when done.
        const RS = 1 << 3;
        /// Insert the VLAN tag of the descriptor (with CTRL.VME).
        const VLE = 1 << 6;
    }

    /// The status bits of a transmit descriptor (3.3.3.2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct TxStatus: u8 {
        /// Descriptor done.
        const DD = 1 << 0;
        /// Excess collisions.
        const EC = 1 << 1;
        /// Late collision.
        const LC = 1 << 2;
        /// Transmit underrun (reserved on most parts).
        const TU = 1 << 3;
    }
}

impl RxErrors {
    /// The errors that spoil the frame.
    pub const FRAME: Self = Self::CE.union(Self::SE).union(Self::SEQ).union(Self::CXE).union(Self::RXE);
}

/// What the device writes into the second word of a receive descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RxWriteback {
    /// Octets written to the buffer.
    pub length: u16,
    /// Status.
    pub status: RxStatus,
    /// Errors.
    pub errors: RxErrors,
    /// The control information of the VLAN tag that was taken off (IEEE 802.1Q 9.6); nothing without [`RxStatus::VP`].
    pub tag: u16,
}

/// What the second word of a receive descriptor looks like when the device has written it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RxLayout {
    /// Length, checksum, status, errors, VLAN tag (3.2.3; figure 3-1). All parts have it.
    Legacy,
    /// Status and errors, length, VLAN tag (82574 7.1.5). The first word, the address before, becomes the hash of receive-side scaling.
    Extended,
}

impl RxLayout {
    /// Decodes the second word.
    #[inline]
    #[must_use]
    pub const fn decode(self, word: u64) -> RxWriteback {
        let octets = word.to_le_bytes();
        let (length, status, errors) = match self {
            Self::Legacy => ([octets[0], octets[1]], octets[4], octets[5]),
            Self::Extended => ([octets[4], octets[5]], octets[0], octets[3]),
        };
        // The tag is at the same place in both.
        let tag = u16::from_le_bytes([octets[6], octets[7]]);
        RxWriteback {
            length: u16::from_le_bytes(length),
            status: RxStatus::from_bits_retain(status),
            errors: RxErrors::from_bits_retain(errors),
            tag,
        }
    }

    /// Returns whether a second word as the device wrote it is that of a whole, good frame in one buffer from which no VLAN tag was
    /// taken: done, its end here, no error that spoils it. One comparison, for the usual case.
    #[inline]
    #[must_use]
    pub const fn is_good(self, word: u64) -> bool {
        word & (self.spoilt() | self.states(Self::GOOD.union(RxStatus::VP))) == self.states(Self::GOOD)
    }

    /// The same for a frame from which a VLAN tag was taken.
    #[inline]
    #[must_use]
    pub const fn is_good_and_tagged(self, word: u64) -> bool {
        let tagged = self.states(Self::GOOD.union(RxStatus::VP));
        word & (self.spoilt() | tagged) == tagged
    }

    const GOOD: RxStatus = RxStatus::DD.union(RxStatus::EOP);

    /// Returns status bits where they stand in the word.
    const fn states(self, status: RxStatus) -> u64 {
        match self {
            Self::Legacy => (status.bits() as u64) << 32,
            Self::Extended => status.bits() as u64,
        }
    }

    /// Returns the errors that spoil a frame where they stand in the word.
    const fn spoilt(self) -> u64 {
        match self {
            Self::Legacy => (RxErrors::FRAME.bits() as u64) << 40,
            Self::Extended => (RxErrors::FRAME.bits() as u64) << 24,
        }
    }

    /// Returns which bits of a second word [`is_good`](Self::is_good) say that the device has looked at the checksum of the IPv4 header
    /// and found it right: those of the first value have to be set, those of the second clear.
    #[must_use]
    pub const fn vouched(self) -> (u64, u64) {
        let (looked, void, wrong) =
            (RxStatus::IPCS.bits() as u64, RxStatus::IXSM.bits() as u64, RxErrors::IPE.bits() as u64);
        match self {
            Self::Legacy => (looked << 32, void << 32 | wrong << 40),
            Self::Extended => (looked, void | wrong << 24),
        }
    }

    /// Encodes the second word, as a device (or its model) does.
    #[must_use]
    pub const fn encode(self, written: RxWriteback) -> u64 {
        let [l0, l1] = written.length.to_le_bytes();
        let [t0, t1] = written.tag.to_le_bytes();
        let (status, errors) = (written.status.bits(), written.errors.bits());
        u64::from_le_bytes(match self {
            Self::Legacy => [l0, l1, 0, 0, status, errors, t0, t1],
            Self::Extended => [status, 0, 0, errors, l0, l1, t0, t1],
        })
    }
}

impl RxWriteback {
    /// Returns whether the device is done with the descriptor.
    #[inline]
    #[must_use]
    pub const fn done(self) -> bool {
        self.status.contains(RxStatus::DD)
    }
}

/// Encodes the second word of a transmit descriptor of `length` octets; its status is clear.
#[inline]
#[must_use]
pub const fn tx_word(length: u16, command: TxCommand) -> u64 {
    let [l0, l1] = length.to_le_bytes();
    u64::from_le_bytes([l0, l1, 0, command.bits(), 0, 0, 0, 0])
}

/// Returns what makes a transmit descriptor's second word that of a frame of this VLAN: the device inserts the tag (3.3.3, 9.2.2).
#[inline]
#[must_use]
pub const fn tx_tag(vlan: VlanId) -> u64 {
    (vlan.get() as u64) << 48 | tx_word(0, TxCommand::VLE)
}

/// Decodes the control information of the VLAN tag that is to be inserted, if one is, as a device does.
#[must_use]
pub const fn tx_tag_decode(word: u64) -> Option<u16> {
    let [_, _, _, command, .., t0, t1] = word.to_le_bytes();
    let wanted = TxCommand::from_bits_retain(command).contains(TxCommand::VLE);
    if wanted { Some(u16::from_le_bytes([t0, t1])) } else { None }
}

/// Decodes length and command of a transmit descriptor, as a device does.
#[must_use]
pub const fn tx_decode(word: u64) -> (u16, TxCommand) {
    let [l0, l1, _, command, ..] = word.to_le_bytes();
    (u16::from_le_bytes([l0, l1]), TxCommand::from_bits_retain(command))
}

/// Decodes the status of a transmit descriptor.
#[inline]
#[must_use]
pub const fn tx_status(word: u64) -> TxStatus {
    let [_, _, _, _, status, ..] = word.to_le_bytes();
    TxStatus::from_bits_truncate(status)
}

/// Returns the second word of a transmit descriptor with `status` written back, as a device does.
#[must_use]
pub const fn tx_written_back(word: u64, status: TxStatus) -> u64 {
    word | (status.bits() as u64) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receive_word_decodes_by_the_manuals_figure_3_1() {
        let written = RxLayout::Legacy.decode(0x0000_0103_abcd_05dc);
        assert_eq!(written.length, 1500);
        assert_eq!(written.status, RxStatus::DD | RxStatus::EOP);
        assert_eq!(written.errors, RxErrors::CE);
        assert_eq!(written.tag, 0);
        assert_eq!(RxLayout::Legacy.encode(written), 0x0000_0103_0000_05dc);
    }

    #[test]
    fn extended_receive_word_decodes_by_the_82574s_table_7_1_5() {
        let written = RxLayout::Extended.decode(0xe00a_05dc_0100_000b);
        assert_eq!(written.length, 1500);
        assert_eq!(written.status, RxStatus::DD | RxStatus::EOP | RxStatus::VP);
        assert_eq!(written.errors, RxErrors::CE);
        assert_eq!(written.tag, 0xe00a);
        assert_eq!(RxLayout::Extended.encode(written), 0xe00a_05dc_0100_000b);
    }

    #[test]
    fn good_are_the_whole_frames_without_an_error_of_their_own() {
        let words = (0..=u16::MAX).map(|bits| {
            let [status, errors] = bits.to_le_bytes();
            let (status, errors) = (RxStatus::from_bits_retain(status), RxErrors::from_bits_retain(errors));
            RxWriteback { length: 60, status, errors, tag: 0x600a }
        });
        for written in words {
            let good =
                written.status.contains(RxStatus::DD | RxStatus::EOP) && !written.errors.intersects(RxErrors::FRAME);
            let tagged = written.status.contains(RxStatus::VP);
            for layout in [RxLayout::Legacy, RxLayout::Extended] {
                let word = layout.encode(written);
                assert_eq!(layout.is_good(word), good && !tagged, "{layout:?} {written:?}");
                assert_eq!(layout.is_good_and_tagged(word), good && tagged, "{layout:?} {written:?}");
                assert_eq!(layout.decode(word), written, "{layout:?}");
            }
        }
    }

    #[test]
    fn vouched_for_is_a_header_that_was_looked_at_and_found_right() {
        for bits in 0..=u16::MAX {
            let [status, errors] = bits.to_le_bytes();
            let (status, errors) = (RxStatus::from_bits_retain(status), RxErrors::from_bits_retain(errors));
            let is_vouched =
                status.contains(RxStatus::IPCS) && !status.contains(RxStatus::IXSM) && !errors.contains(RxErrors::IPE);
            for layout in [RxLayout::Legacy, RxLayout::Extended] {
                let (set, clear) = layout.vouched();
                let word = layout.encode(RxWriteback { length: 60, status, errors, tag: 0 });
                assert_eq!((word ^ set) & (set | clear) == 0, is_vouched, "{layout:?} {status:?} {errors:?}");
            }
        }
    }

    #[test]
    fn transmit_word_encodes_by_the_manuals_figure_3_6() {
        let word = tx_word(60, TxCommand::EOP | TxCommand::IFCS | TxCommand::RS);
        assert_eq!(word, 0x0000_0000_0b00_003c);
        assert_eq!(tx_decode(word), (60, TxCommand::EOP | TxCommand::IFCS | TxCommand::RS));
        assert_eq!(tx_status(word), TxStatus::empty());
        assert_eq!(tx_status(tx_written_back(word, TxStatus::DD | TxStatus::LC)), TxStatus::DD | TxStatus::LC);
    }

    #[test]
    fn a_tag_of_the_receive_word_is_its_special_field_by_figure_3_1_and_3_2_3_3() {
        let written = RxLayout::Legacy.decode(0x600a_000b_0000_003c);
        assert_eq!((written.length, written.tag), (60, 0x600a));
        assert_eq!(written.status, RxStatus::DD | RxStatus::EOP | RxStatus::VP);
        assert_eq!(RxLayout::Legacy.encode(written), 0x600a_000b_0000_003c);
    }

    #[test]
    fn a_tag_of_the_transmit_word_is_its_special_field_by_figure_3_6() {
        let vlan = VlanId::new(0xabc).unwrap();
        let word = tx_word(60, TxCommand::EOP | TxCommand::IFCS) | tx_tag(vlan);
        assert_eq!(word, 0x0abc_0000_4300_003c);
        assert_eq!(tx_tag_decode(word), Some(0xabc));
        assert_eq!(tx_decode(word).0, 60);
        assert_eq!(tx_tag_decode(tx_word(60, TxCommand::EOP) | 0x0abc << 48), None);
    }

    #[test]
    fn checksum_verdicts_of_the_device_do_not_spoil_a_frame() {
        assert!(!RxErrors::FRAME.intersects(RxErrors::TCPE | RxErrors::IPE));
        assert!(RxErrors::FRAME.contains(RxErrors::RXE | RxErrors::CE));
    }
}
