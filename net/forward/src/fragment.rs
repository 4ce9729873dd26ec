//! Cutting a packet that is too long for its link: RFC 791 3.2, RFC 1812 4.2.2.7 and 5.2.5. Any context.

use pktbuf::PacketBuf;
use wire::{ETHERNET_HEADER_LEN, IPV4_HEADER_LEN, Ipv4, Ipv4Header, options};

/// The most octets that options can have.
const MAX_OPTIONS: usize = 40;

/// Why a packet cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FragmentError {
    /// It is no packet, or must not be fragmented.
    NotAllowed,
    /// The link is too small for the header and eight octets.
    LinkTooSmall,
}

/// The fragments of one packet, one after another, each into a buffer that the caller brings.
///
/// All fragments but the last carry as much as fits in whole eights. A packet that is itself a fragment is cut further:
/// offsets go on from its own, and its last piece says that more follow if it did. The first piece keeps all
/// options, the others those with the copied flag.
#[derive(Debug)]
pub struct Fragmenter<'a> {
    packet: Ipv4<'a>,
    /// The options of every piece but the first, padded to whole words.
    copied: [u8; MAX_OPTIONS],
    copied_len: usize,
    mtu: usize,
    /// Octets of the payload that have been sent.
    done: usize,
    finished: bool,
}

impl<'a> Fragmenter<'a> {
    /// Prepares to cut `packet`, which starts at its IP header, for a link whose MTU is `mtu` octets.
    ///
    /// # Errors
    /// [`FragmentError`].
    pub fn new(packet: &'a [u8], mtu: u16) -> Result<Self, FragmentError> {
        let packet = Ipv4::new_checked(packet).map_err(|_| FragmentError::NotAllowed)?;
        if packet.dont_fragment() {
            return Err(FragmentError::NotAllowed);
        }
        let mtu = usize::from(mtu);
        if mtu < packet.header_len() + 8 {
            return Err(FragmentError::LinkTooSmall);
        }
        let (copied, copied_len) = copied_options(packet.options());
        Ok(Self { packet, copied, copied_len, mtu, done: 0, finished: false })
    }

    /// Returns whether the last fragment has been written.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.finished
    }

    /// Writes the next fragment into the fresh buffer `out`, behind a blank Ethernet header. `None` if there is no further
    /// fragment, or no room in `out`; the fragment stays the next one then.
    pub fn write_next(&mut self, out: &mut PacketBuf) -> Option<()> {
        if self.finished {
            return None;
        }
        let copied = self.copied.get(..self.copied_len).unwrap_or_default();
        let options = if self.done == 0 { self.packet.options() } else { copied };
        let header_len = IPV4_HEADER_LEN + options.len();
        let left = self.packet.payload().get(self.done..)?;
        let room = (self.mtu - header_len) & !7;
        let is_last = header_len + left.len() <= self.mtu;
        let data = if is_last { left } else { left.get(..room)? };

        let header = Ipv4Header {
            tos: self.packet.tos(),
            total_len: u16::try_from(header_len + data.len()).ok()?,
            ident: self.packet.ident(),
            dont_fragment: false,
            more_fragments: !is_last || self.packet.more_fragments(),
            fragment_offset: self.packet.fragment_offset().checked_add(u16::try_from(self.done).ok()?)?,
            ttl: self.packet.ttl(),
            protocol: self.packet.protocol(),
            source: self.packet.source(),
            destination: self.packet.destination(),
        };
        if out.tailroom() < ETHERNET_HEADER_LEN + header_len + data.len() {
            return None;
        }
        let front = out.extend(ETHERNET_HEADER_LEN + IPV4_HEADER_LEN)?;
        let (_, ip) = front.split_first_chunk_mut::<ETHERNET_HEADER_LEN>()?;
        header.emit_with_options(ip.first_chunk_mut()?, options);
        out.append(options)?;
        out.append(data)?;
        self.done += data.len();
        self.finished = is_last;
        Some(())
    }
}

/// Returns the options that every fragment carries, padded with end marks to whole words.
fn copied_options(bytes: &[u8]) -> ([u8; MAX_OPTIONS], usize) {
    let (mut copied, mut len) = ([options::END; MAX_OPTIONS], 0);
    // Malformed options have been dropped on input; should one come here, what follows it is not copied.
    for option in options::walk(bytes).map_while(Result::ok).filter(options::Ipv4Option::is_copied) {
        if let Some(place) = copied.get_mut(len..len + option.bytes.len()) {
            place.copy_from_slice(option.bytes);
            len += option.bytes.len();
        }
    }
    (copied, len.next_multiple_of(4))
}
