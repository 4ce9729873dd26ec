//! Tables like the Internet's, from a seed: [`internet_like`]; and what their routes are to the crate under test.

use std::{collections::BTreeSet, net::Ipv4Addr};

use fib::{NextHop, Rib, Route, RouteSource};
use wire::Ipv4Prefix;

use crate::Random;

/// A prefix as plain numbers: the network address and the length.
pub type Plain = (u32, u8);

/// A prefix and the number of its next hop.
pub type PlainRoute = (Plain, u16);

/// How many next hops generated tables have.
pub const NEXT_HOPS: usize = 500;

/// Returns the mask with `length` leading ones.
#[must_use]
pub fn mask(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

/// Returns the prefix in the terms of the crates under test.
#[must_use]
pub fn prefix((address, length): Plain) -> Ipv4Prefix {
    Ipv4Prefix::containing(Ipv4Addr::from_bits(address), length)
}

/// Returns a next hop that can be told from others by its number, which is its interface's.
#[must_use]
pub fn hop(number: u16) -> NextHop {
    NextHop::gateway(number, Ipv4Addr::from_bits(0x0a00_0000 + u32::from(number)))
}

/// Returns the static route.
#[must_use]
pub fn route(plain: Plain, number: u16) -> Route {
    Route { prefix: prefix(plain), source: RouteSource::Static, next_hop: hop(number) }
}

/// Enters all routes into a table of the crate under test.
///
/// # Panics
/// If they do not fit.
#[must_use]
pub fn rib_of(table: &[PlainRoute]) -> Rib {
    let mut rib = Rib::new();
    for &(plain, number) in table {
        rib.insert(route(plain, number)).expect("the table has room");
    }
    rib
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

/// Makes a table like the Internet's: lengths as above, 55 % of the prefixes inside earlier ones, two in a thousand longer than /24, a default
/// route, all in 1.0.0.0 to 223.255.255.255, next hops at random.
#[must_use]
pub fn internet_like(routes: usize, seed: u64) -> Vec<PlainRoute> {
    let mut random = Random::new(seed);
    let mut seen = BTreeSet::new();
    let mut table = vec![((0, 0), random.below(NEXT_HOPS))];
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
            table.push((plain, random.below(NEXT_HOPS)));
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
