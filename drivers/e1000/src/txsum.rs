//! Transmit checksum offload: what the device sums in a frame, and the two descriptors that say so.
//!
//! Key type: [`TxSums`]. A context descriptor names the places and a data descriptor the frame (8254x 3.3.5 to 3.3.7; 82574 7.2.10 and
//! 7.2.11). Each such frame has a context of its own, because the 82574 keeps one for all its queues. What a router forwards needs
//! none of this: its checksum is brought up to date in three instructions. Pure encoding; any context.

use crate::desc::TxCommand;

/// Which checksums of a frame the device fills in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TxSums {
    /// Where the IPv4 header lies, octets from the start of the frame: the first, and the first behind it. Its checksum field holds 0.
    pub header: Option<(u8, u8)>,
    /// From where on the transport's checksum is taken, to the end of the frame, and where it goes; octets from the start of the frame. The
    /// field holds the sum of the pseudo header, not complemented (RFC 768, RFC 9293 3.1).
    pub transport: Option<(u8, u8)>,
}

/// Where the checksum lies in an IPv4 header (RFC 791 3.1).
const HEADER_SUM: u8 = 10;
/// DCMD and TUCMD: the descriptor is no legacy one. TUCMD: the packet is IPv4.
const DEXT: u64 = 1 << 29;
const TUCMD_IP: u64 = 1 << 25;
/// DTYP of a data descriptor; that of a context descriptor is 0.
const DTYP_DATA: u64 = 1 << 20;
/// POPTS: insert the checksum of the IPv4 header, and that of the transport.
const IXSM: u64 = 1 << 40;
const TXSM: u64 = 1 << 41;

impl TxSums {
    /// Encodes the context descriptor.
    pub(crate) fn context(self) -> [u64; 2] {
        let (header, end) = self.header.unwrap_or((0, 1));
        let (from, to) = self.transport.unwrap_or((0, 0));
        let header_sum = header.saturating_add(HEADER_SUM);
        // Ends are those of the last octet; that of the transport is 0, the end of the frame.
        let places = u64::from_le_bytes([header, header_sum, end.saturating_sub(1), 0, from, to, 0, 0]);
        [places, DEXT | if self.header.is_some() { TUCMD_IP } else { 0 }]
    }

    /// Encodes the second word of the data descriptor of a whole frame of `length` octets.
    pub(crate) fn data(self, length: u16) -> u64 {
        let command = u64::from(TxCommand::EOP.union(TxCommand::IFCS).bits()) << 24;
        let header = if self.header.is_some() { IXSM } else { 0 };
        let transport = if self.transport.is_some() { TXSM } else { 0 };
        u64::from(length) | command | DEXT | DTYP_DATA | header | transport
    }
}

/// An extended transmit descriptor, as a device reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxExtended {
    /// Where things lie in the frames to come.
    Context(TxContext),
    /// A frame, or a part of one, of so many octets; whether the checksums of header and transport are to be inserted.
    Data(u32, [bool; 2]),
}

/// A context descriptor: for header and transport where the sum begins, where it goes and its last octet (0: the end of the frame).
pub type TxContext = [(usize, usize, usize); 2];

/// Decodes a descriptor that is no legacy one; `None` if it is one, or of no kind there is.
#[must_use]
pub fn tx_extended(words: [u64; 2]) -> Option<TxExtended> {
    let [places, word] = words;
    if word & DEXT == 0 {
        return None;
    }
    match word >> 20 & 0xf {
        0 => {
            let [a, b, c, d, e, f, g, h] = places.to_le_bytes();
            let part = |start: u8, at: u8, end: [u8; 2]| {
                (usize::from(start), usize::from(at), usize::from(u16::from_le_bytes(end)))
            };
            Some(TxExtended::Context([part(a, b, [c, d]), part(e, f, [g, h])]))
        }
        1 => Some(TxExtended::Data(crate::regs::low_half(word & 0xf_ffff), [word & IXSM != 0, word & TXSM != 0])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_those_of_the_manuals_figures() {
        let sums = TxSums { header: Some((14, 34)), transport: Some((34, 40)) };
        // IPCSS 14, IPCSO 24, IPCSE 33; TUCSS 34, TUCSO 40, TUCSE 0; TUCMD: DEXT and IP.
        assert_eq!(sums.context(), [0x0000_2822_0021_180e, 0x2200_0000]);
        // DTALEN 60, DTYP 1, DCMD: DEXT, IFCS, EOP; POPTS: both.
        assert_eq!(sums.data(60), 0x0000_0300_2310_003c);
        assert_eq!(TxSums { transport: None, ..sums }.data(60), 0x0000_0100_2310_003c);
    }

    #[test]
    fn what_is_encoded_is_what_a_device_decodes() {
        let sums = TxSums { header: Some((14, 34)), transport: Some((34, 50)) };
        assert_eq!(tx_extended(sums.context()), Some(TxExtended::Context([(14, 24, 33), (34, 50, 0)])));
        assert_eq!(tx_extended([7, sums.data(1514)]), Some(TxExtended::Data(1514, [true, true])));
        assert_eq!(tx_extended([7, crate::desc::tx_word(60, TxCommand::EOP)]), None);
    }
}
