//! How many packet buffers there are, and of what size: the largest MTU decides, and the memory there is.
//!
//! Key type: [`Stock`]. All buffers of a router are equal, so that one long-packet interface makes them large for all. Where memory is
//! short, rings and pools are made shorter together, up to an eighth; where large ones do not fit even so, there are no long packets.
//! Context: the first thread.

use e1000::{AROUND_PACKET, Config};
use pktbuf::BufferSize;

/// Frames for the machine itself (what is held for neighbours and in protocol queues), and for every card beside its full receive rings: a
/// cache of 128, and as many again on their way.
const FRAMES_BASE: usize = 1024;
const FRAMES_PER_CARD: usize = 256;
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

    /// What there is at the least, and as much of it as the memory gives.
    pub(crate) const LEAST: Self = Self { size: BufferSize::K2, halvings: MOST_HALVINGS };

    /// Returns all that can be tried for an MTU, the best first, [`LEAST`](Self::LEAST) last.
    pub(crate) fn choices(mtu: u16) -> impl Iterator<Item = Self> {
        let size = BufferSize::holding(usize::from(mtu) + usize::from(AROUND_PACKET)).unwrap_or(BufferSize::K16);
        let sizes = [Some(size), (size != BufferSize::K2).then_some(BufferSize::K2)];
        let all = |size| (0..=MOST_HALVINGS).map(move |halvings| Self { size, halvings });
        sizes.into_iter().flatten().flat_map(all)
    }

    /// Returns the octets of the pool for cards with so many queues each, some of `all`. What they receive may fill the transmit rings of all.
    pub(crate) fn octets(self, own: &[u8], all: &[u8]) -> usize {
        let all_queues = |&queues: &u8| self.descriptors(queues).map(|each| usize::from(each) * usize::from(queues));
        let received = own.iter().map(all_queues).map(|[rx, _]| rx).sum::<usize>();
        let sent = all.iter().map(all_queues).map(|[_, tx]| tx).sum::<usize>();
        let besides = FRAMES_BASE + FRAMES_PER_CARD * own.len();
        ((besides >> self.halvings) + received + sent) * self.size.stride()
    }

    /// Returns the receive and the transmit descriptors of each of a card's queues.
    pub(crate) fn descriptors(self, queues: u8) -> [u16; 2] {
        Config::descriptors(queues).map(|usual| (usual >> self.halvings).max(Config::SHORTEST_RING))
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

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn named(mtu: u16) -> Vec<(usize, [u16; 2])> {
        Stock::choices(mtu).map(|stock| (stock.size.octets(), stock.descriptors(1))).collect()
    }

    #[test]
    fn rings_get_shorter_before_packets_do() {
        let usual = [(2048, [2048, 1024]), (2048, [1024, 512]), (2048, [512, 256]), (2048, [256, 128])];
        assert_eq!(named(1500), usual);
        assert_eq!(Stock::choices(1500).next(), Some(Stock::USUAL));
        assert_eq!(named(9000).get(4..), Some(usual.as_slice()), "after four of large buffers");
        assert_eq!(Stock::choices(9000).last(), Some(Stock::LEAST));
    }

    #[test]
    fn a_thread_that_has_fallen_behind_gives_back_more_than_an_emulator_takes_at_once() {
        // 68 KiB, the shortest frames with four octets of length each.
        let at_once = 68 * 1024 / (60 + 4);
        for queues in [1, 2] {
            let [rx, _] = Stock::USUAL.descriptors(queues);
            assert!(usize::from(rx) * 3 / 4 > at_once, "{queues}: {rx}");
        }
    }

    #[test]
    fn every_ring_is_one_that_the_hardware_takes() {
        for (stock, queues) in Stock::choices(9000).flat_map(|stock| [(stock, 1), (stock, 2)]) {
            assert!(stock.descriptors(queues).iter().all(|each| each.is_multiple_of(8)), "{stock:?}, {queues}");
        }
    }

    #[test]
    fn each_choice_takes_less_than_the_one_before_and_still_fills_its_rings() {
        let cards: [(&[u8], &[u8]); 6] = [
            (&[1], &[1]),
            (&[1, 1], &[1, 1]),
            (&[2, 2], &[2, 2]),
            (&[1, 2], &[1, 2, 1, 1, 2, 2]),
            (&[2, 2], &[2; 8]),
            (&[1; 8], &[1; 8]),
        ];
        for (own, all) in cards {
            let choices: Vec<_> = Stock::choices(9000).collect();
            for pair in choices.windows(2).filter(|pair| pair[0].size == pair[1].size) {
                assert!(pair[1].octets(own, all) < pair[0].octets(own, all));
            }
            for stock in choices {
                let rings = |cards: &[u8], direction: usize| -> usize {
                    cards
                        .iter()
                        .map(|&queues| usize::from(stock.descriptors(queues)[direction]) * usize::from(queues))
                        .sum()
                };
                // A card sends nothing of its own to itself.
                let most = rings(own, 0) + rings(all.get(1..).unwrap_or_default(), 1);
                assert!(stock.octets(own, all) / stock.size.stride() > most, "{stock:?}");
            }
        }
    }
}
