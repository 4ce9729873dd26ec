//! How many packet buffers there are, and of what size: the largest MTU decides, and the memory there is.
//!
//! Key type: [`Stock`]. All buffers of a router are equal, so that one long-packet interface makes them large for all. Where memory is
//! short for large ones, rings and pools are made shorter together, up to an eighth; then there are no long packets.
//! Context: the first thread.

use e1000::{AROUND_PACKET, Config};
use pktbuf::BufferSize;

/// Frames for the machine itself (what is held for neighbours and in protocol queues), and for every card: its receive ring full, a
/// cache of 128, and as many again on their way.
const FRAMES_BASE: usize = 1024;
const FRAMES_PER_CARD: usize = RX_DESCRIPTORS as usize + 256;
/// Descriptors of a card, in all its queues, unless memory is short.
const RX_DESCRIPTORS: u16 = 1024;
const TX_DESCRIPTORS: u16 = 512;
/// How often rings and pools may be halved.
const MOST_HALVINGS: u32 = 3;

/// The buffers of the router, and the rings that go with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stock {
    pub(crate) size: BufferSize,
    halvings: u32,
}

impl Stock {
    /// What usual frames are received with.
    pub(crate) const USUAL: Self = Self { size: BufferSize::K2, halvings: 0 };

    /// Returns all that can be tried for an MTU, the best first, the usual size last.
    pub(crate) fn choices(mtu: u16) -> impl Iterator<Item = Self> {
        let size = BufferSize::holding(usize::from(mtu) + usize::from(AROUND_PACKET)).unwrap_or(BufferSize::K16);
        let halvings = if size == BufferSize::K2 { 0..=0 } else { 0..=MOST_HALVINGS };
        let large = halvings.map(move |halvings| Self { size, halvings });
        large.chain((size != BufferSize::K2).then_some(Self::USUAL))
    }

    /// Returns the octets of the pool for so many cards of `cards` in all. What its own receive may fill the transmit rings of all.
    pub(crate) const fn octets(self, own: usize, cards: usize) -> usize {
        let frames = FRAMES_BASE + FRAMES_PER_CARD * own + TX_DESCRIPTORS as usize * cards;
        (frames >> self.halvings) * self.size.stride()
    }

    /// Returns the receive and the transmit descriptors of each of a card's queues.
    pub(crate) fn descriptors(self, queues: u8) -> [u16; 2] {
        let share = |descriptors: u16| (descriptors >> self.halvings) / u16::from(queues);
        [RX_DESCRIPTORS, TX_DESCRIPTORS].map(|all| share(all).max(Config::SHORTEST_RING))
    }

    /// Returns the longest packet whose frame fits a buffer.
    pub(crate) fn max_mtu(self) -> u16 {
        u16::try_from(self.size.octets()).unwrap_or(u16::MAX) - AROUND_PACKET
    }

    /// Returns whether rings are shorter than usual.
    pub(crate) const fn is_short(self) -> bool {
        self.halvings > 0
    }
}
