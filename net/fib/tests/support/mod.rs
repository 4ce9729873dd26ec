//! What the table tests share: a seeded generator of Internet-like tables, and reference lookups that owe nothing to the crate.

use std::{
    collections::{BTreeSet, HashMap},
    net::Ipv4Addr,
};

use fib::{NextHop, Rib, Route, RouteSource};
use wire::Ipv4Prefix;

/// A small seeded random generator (xorshift64*), so that a failure can be replayed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    /// Returns a number below `bound`, in whatever type the caller counts in.
    pub(crate) fn below<T: TryFrom<u64>>(&mut self, bound: usize) -> T {
        let scaled = (u64::from(self.next()) * bound as u64) >> 32;
        T::try_from(scaled).ok().expect("the bound fits the type")
    }
}

/// A prefix as plain numbers.
pub(crate) type Plain = (u32, u8);

pub(crate) fn mask(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

pub(crate) fn prefix((address, length): Plain) -> Ipv4Prefix {
    Ipv4Prefix::containing(Ipv4Addr::from_bits(address), length)
}

/// A next hop that can be told from others by its number.
pub(crate) fn hop(number: u16) -> NextHop {
    NextHop::gateway(number, Ipv4Addr::from_bits(0x0a00_0000 + u32::from(number)))
}

pub(crate) fn route(plain: Plain, number: u16) -> Route {
    Route { prefix: prefix(plain), source: RouteSource::Static, next_hop: hop(number) }
}

/// Prefix lengths of the Internet's table in per mille, roughly: most are /24, a fifth /22 and /23.
const LENGTHS: [(u8, u32); 16] = [
    (8, 1),
    (10, 1),
    (11, 1),
    (12, 2),
    (13, 3),
    (14, 5),
    (15, 5),
    (16, 15),
    (17, 10),
    (18, 15),
    (19, 27),
    (20, 44),
    (21, 48),
    (22, 110),
    (23, 100),
    (24, 611),
];

/// Makes a table like the Internet's: lengths as above, half of the prefixes inside earlier ones, a few up to /32, a default route.
pub(crate) fn internet_like(routes: usize, seed: u64) -> Vec<(Plain, u16)> {
    let mut random = Random::new(seed);
    let mut seen = BTreeSet::new();
    let mut table = vec![((0, 0), random.below(500))];
    seen.insert((0, 0));
    while table.len() < routes {
        let length = if random.below::<u32>(1000) < 2 { 25 + random.below::<u8>(8) } else { pick_length(&mut random) };
        let mut address = 0x0100_0000 + random.below::<u32>(0xdf00_0000);
        let (outer, outer_length) = table[random.below::<usize>(table.len())].0;
        if random.below::<u32>(100) < 55 && outer_length > 0 && outer_length < length {
            address = outer | (address & !mask(outer_length));
        }
        let plain = (address & mask(length), length);
        if seen.insert(plain) {
            table.push((plain, random.below(500)));
        }
    }
    table
}

fn pick_length(random: &mut Random) -> u8 {
    let mut ticket = random.below::<u32>(998);
    for (length, weight) in LENGTHS {
        if ticket < weight {
            return length;
        }
        ticket -= weight;
    }
    24
}

/// Looks an address up by trying every route: the definition of longest match.
pub(crate) fn linear_lookup(table: &[(Plain, u16)], address: u32) -> Option<u16> {
    let matching = table.iter().filter(|((network, length), _)| address & mask(*length) == *network);
    matching.max_by_key(|((_, length), _)| *length).map(|&(_, number)| number)
}

/// One exact-match table per length, tried from the longest: slower than a trie and too simple to be wrong.
pub(crate) struct ByLength([HashMap<u32, u16>; 33]);

impl ByLength {
    pub(crate) fn new(table: &[(Plain, u16)]) -> Self {
        let mut lengths = std::array::from_fn(|_| HashMap::new());
        for &((network, length), number) in table {
            lengths[usize::from(length)].insert(network, number);
        }
        Self(lengths)
    }

    pub(crate) fn lookup(&self, address: u32) -> Option<u16> {
        let lengths = (0..=32_u8).rev().filter(|length| !self.0[usize::from(*length)].is_empty());
        let mut answers = lengths.filter_map(|length| self.0[usize::from(length)].get(&(address & mask(length))));
        answers.next().copied()
    }
}

pub(crate) fn rib_of(table: &[(Plain, u16)]) -> Rib {
    let mut rib = Rib::new();
    for &(plain, number) in table {
        rib.insert(route(plain, number)).expect("the table has room");
    }
    rib
}

/// The number of the next hop that the forwarding table gives.
pub(crate) fn fib_lookup(fib: &fib::Fib, address: u32) -> Option<u16> {
    fib.lookup(Ipv4Addr::from_bits(address)).map(|next_hop| next_hop.out)
}
