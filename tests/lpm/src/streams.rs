//! Addresses to look up: [`Stream`].

use std::net::Ipv4Addr;

use crate::{PlainRoute, Random, mask};

/// How many flows the skewed stream has.
const FLOWS: usize = 100_000;

/// Kinds of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Any address of 1.0.0.0 to 223.255.255.255, all as likely.
    Random,
    /// Any address inside a prefix of the table, all prefixes but the default route as likely.
    Inside,
    /// A hundred thousand flows inside prefixes, the n-th as likely as 1/n.
    Zipf,
}

impl Stream {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Random, Self::Inside, Self::Zipf];

    /// Returns its name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Inside => "inside",
            Self::Zipf => "zipf",
        }
    }

    /// Makes `len` addresses.
    #[must_use]
    pub fn addresses(self, table: &[PlainRoute], len: usize, seed: u64) -> Vec<Ipv4Addr> {
        let mut random = Random::new(seed);
        let anywhere = |random: &mut Random| 0x0100_0000 + random.below::<u32>(0xdf00_0000);
        let inside = |random: &mut Random| {
            let ((network, length), _) = table[1 + random.below::<usize>(table.len() - 1)];
            network | (random.next() & !mask(length))
        };
        let addresses: Vec<u32> = match self {
            Self::Random => (0..len).map(|_| anywhere(&mut random)).collect(),
            Self::Inside => (0..len).map(|_| inside(&mut random)).collect(),
            Self::Zipf => {
                let flows: Vec<u32> = (0..FLOWS).map(|_| inside(&mut random)).collect();
                let mut sums = Vec::with_capacity(FLOWS);
                let mut sum = 0.0;
                for rank in 1..=u32::try_from(FLOWS).unwrap_or(u32::MAX) {
                    sum += 1.0 / f64::from(rank);
                    sums.push(sum);
                }
                let pick = |random: &mut Random| {
                    let ticket = f64::from(random.next()) / f64::from(u32::MAX) * sum;
                    flows[sums.partition_point(|&sum| sum < ticket).min(FLOWS - 1)]
                };
                (0..len).map(|_| pick(&mut random)).collect()
            }
        };
        addresses.into_iter().map(Ipv4Addr::from_bits).collect()
    }
}
