//! DXR (Zec, Rizzo, Mikuc, CCR 2012): [`Dxr`], a table by the first bits, and a binary search among the ranges below each.

use std::net::Ipv4Addr;

use crate::{Contender, PlainRoute, anchors::Dir24};

/// How many bits of an entry count its ranges.
const COUNT_BITS: u32 = 10;

/// The table, whose first step takes `BITS` bits.
#[derive(Debug)]
pub struct Dxr<const BITS: u32> {
    /// The first range in the upper bits and their number in the lower ones; with the number 0 the answer instead.
    direct: Vec<u32>,
    /// Where a range begins, in the bits below those of the first step, and its answer.
    ranges: Vec<(u16, u16)>,
}

impl<const BITS: u32> Dxr<BITS> {
    /// Makes it of all routes, which `flat` has expanded.
    ///
    /// # Panics
    /// If there are more ranges below an entry, or in all, than it can count.
    #[must_use]
    pub fn new(table: &[PlainRoute], flat: &Dir24) -> Self {
        let mut made = Self { direct: Vec::with_capacity(1 << BITS), ranges: Vec::new() };
        // Where longer prefixes are, every address may begin a range; elsewhere only every 256th.
        let mut long: Vec<u32> = table.iter().filter(|((_, l), _)| *l > 24).map(|((a, _), _)| a >> 8).collect();
        long.sort_unstable();
        long.dedup();
        for entry in 0..1_u32 << BITS {
            let first = made.ranges.len();
            let start = u64::from(entry) << (32 - BITS);
            let end = start + (1 << (32 - BITS));
            for network in (start >> 8)..(end >> 8) {
                let network = u32::try_from(network).expect("an address");
                let step = if long.binary_search(&network).is_ok() { 1 } else { 256 };
                for low in (0..256_u32).step_by(step) {
                    let address = network << 8 | low;
                    let answer = flat.look_up(Ipv4Addr::from_bits(address));
                    if made.ranges.len() == first || made.ranges.last().is_some_and(|&(_, last)| last != answer) {
                        let below = u64::from(address) - start;
                        made.ranges.push((u16::try_from(below).expect("fewer than 17 bits are left"), answer));
                    }
                }
            }
            let count = u32::try_from(made.ranges.len() - first).expect("few ranges");
            if count == 1 {
                let (_, answer) = made.ranges.pop().expect("there is one range");
                made.direct.push(u32::from(answer) << COUNT_BITS);
            } else {
                assert!(count >> COUNT_BITS == 0 && first >> (32 - COUNT_BITS) == 0, "an entry can count its ranges");
                made.direct.push(u32::try_from(first).expect("few ranges") << COUNT_BITS | count);
            }
        }
        made.ranges.shrink_to_fit();
        made
    }

    /// Returns how much memory it takes.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.direct.len() * size_of::<u32>() + self.ranges.len() * size_of::<(u16, u16)>()
    }
}

impl<const BITS: u32> Contender for Dxr<BITS> {
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "answers and what is left of an address have 16 bits")]
    fn look_up(&self, address: Ipv4Addr) -> u16 {
        let address = address.to_bits();
        let entry = self.direct[(address >> (32 - BITS)) as usize];
        let (first, count) = ((entry >> COUNT_BITS) as usize, entry as usize % (1 << COUNT_BITS));
        if count == 0 {
            return first as u16;
        }
        let below = (address & ((1 << (32 - BITS)) - 1)) as u16;
        let ranges = &self.ranges[first..first + count];
        ranges[ranges.partition_point(|&(start, _)| start <= below) - 1].1
    }
}
