//! Longest match by examples: default routes, host routes, /31, several sources, withdrawal (RFC 1812 5.2.4.3, RFC 3021).

use std::net::Ipv4Addr;

use fib::{FibError, NextHop, NextHopKind, Rib, Route, RouteSource};
use wire::Ipv4Prefix;

fn prefix(text: &str) -> Ipv4Prefix {
    text.parse().expect("a prefix")
}

fn addr(text: &str) -> Ipv4Addr {
    text.parse().expect("an address")
}

fn add(rib: &mut Rib, text: &str, source: RouteSource, next_hop: NextHop) {
    let route = Route { prefix: prefix(text), source, next_hop };
    rib.insert(route).expect("the table has room");
}

fn out(rib: &Rib, destination: &str) -> Option<u16> {
    let fib = rib.build().expect("a table");
    fib.lookup(addr(destination)).map(|hop| hop.out)
}

#[test]
fn an_empty_table_knows_no_route() {
    let fib = Rib::new().build().expect("a table");
    for destination in ["0.0.0.0", "10.1.2.3", "255.255.255.255"] {
        assert_eq!(fib.lookup(addr(destination)), None);
    }
}

#[test]
fn rfc1812_5_2_4_3_the_default_route_takes_what_nothing_else_matches() {
    let mut rib = Rib::new();
    add(&mut rib, "0.0.0.0/0", RouteSource::Static, NextHop::gateway(1, addr("10.0.0.1")));
    add(&mut rib, "10.0.0.0/8", RouteSource::Static, NextHop::connected(2));
    for (destination, expected) in
        [("0.0.0.0", 1), ("9.255.255.255", 1), ("10.0.0.0", 2), ("10.255.255.255", 2), ("11.0.0.0", 1)]
    {
        assert_eq!(out(&rib, destination), Some(expected), "{destination}");
    }
    assert_eq!(out(&rib, "255.255.255.255"), Some(1));
}

#[test]
fn rfc1812_5_2_4_3_every_length_beats_all_shorter_ones() {
    let mut rib = Rib::new();
    let target = addr("172.31.255.129");
    for length in 0..=32_u8 {
        let prefix = Ipv4Prefix::containing(target, length);
        let next_hop = NextHop::connected(u16::from(length));
        rib.insert(Route { prefix, source: RouteSource::Static, next_hop }).expect("room");
        let fib = rib.build().expect("a table");
        assert_eq!(fib.lookup(target), Some(&next_hop));
        if length > 0 {
            // The neighbour that differs in the last bit of the prefix is only in the one before.
            let beside = Ipv4Addr::from_bits(target.to_bits() ^ (1 << (32 - length)));
            assert_eq!(fib.lookup(beside).map(|hop| hop.out), Some(u16::from(length) - 1), "/{length}");
        }
    }
}

#[test]
fn a_host_route_is_for_one_address_only() {
    let mut rib = Rib::new();
    add(&mut rib, "192.0.2.0/24", RouteSource::Connected, NextHop::connected(1));
    add(&mut rib, "192.0.2.77/32", RouteSource::Static, NextHop::BLACKHOLE);
    let fib = rib.build().expect("a table");
    let via = |text| fib.lookup(addr(text)).map(|hop| hop.via);
    assert_eq!(via("192.0.2.77"), Some(NextHopKind::Blackhole));
    assert_eq!(via("192.0.2.76"), Some(NextHopKind::Connected));
    assert_eq!(via("192.0.2.78"), Some(NextHopKind::Connected));
}

#[test]
fn rfc3021_both_addresses_of_a_31_are_hosts() {
    let mut rib = Rib::new();
    add(&mut rib, "198.51.100.4/31", RouteSource::Connected, NextHop::connected(3));
    add(&mut rib, "198.51.100.4/32", RouteSource::Local, NextHop::local(3));
    let fib = rib.build().expect("a table");
    assert_eq!(fib.lookup(addr("198.51.100.4")), Some(&NextHop::local(3)));
    assert_eq!(fib.lookup(addr("198.51.100.5")), Some(&NextHop::connected(3)));
    assert_eq!(fib.lookup(addr("198.51.100.3")), None);
    assert_eq!(fib.lookup(addr("198.51.100.6")), None);
}

#[test]
fn the_connected_route_wins_over_a_static_one_until_it_is_unusable() {
    let mut rib = Rib::new();
    add(&mut rib, "10.0.0.0/24", RouteSource::Static, NextHop::gateway(2, addr("10.9.9.9")));
    add(&mut rib, "10.0.0.0/24", RouteSource::Connected, NextHop::connected(1));
    assert_eq!(out(&rib, "10.0.0.5"), Some(1));
    let link_down = rib.build_where(|hop| hop.out != 1).expect("a table");
    assert_eq!(link_down.lookup(addr("10.0.0.5")).map(|hop| hop.out), Some(2));
    assert_eq!(rib.get(prefix("10.0.0.0/24")).map(|route| route.source), Some(RouteSource::Connected));
}

#[test]
fn a_removed_route_uncovers_the_one_behind_it() {
    let mut rib = Rib::new();
    add(&mut rib, "10.0.0.0/8", RouteSource::Static, NextHop::connected(1));
    add(&mut rib, "10.1.0.0/16", RouteSource::Static, NextHop::connected(2));
    assert_eq!(out(&rib, "10.1.2.3"), Some(2));
    assert_eq!(rib.remove(prefix("10.1.0.0/16"), RouteSource::Connected), None);
    assert_eq!(rib.remove(prefix("10.1.0.0/16"), RouteSource::Static), Some(NextHop::connected(2)));
    assert_eq!(out(&rib, "10.1.2.3"), Some(1));
}

#[test]
fn a_full_table_refuses_new_routes_but_not_changes() {
    let mut rib = Rib::with_limit(1);
    add(&mut rib, "10.0.0.0/8", RouteSource::Static, NextHop::connected(1));
    let second = Route { prefix: prefix("11.0.0.0/8"), source: RouteSource::Static, next_hop: NextHop::connected(1) };
    assert_eq!(rib.insert(second), Err(FibError::TooManyRoutes { limit: 1 }));
    let changed = Route { prefix: prefix("10.0.0.0/8"), source: RouteSource::Static, next_hop: NextHop::connected(2) };
    assert_eq!(rib.insert(changed), Ok(Some(NextHop::connected(1))));
    assert_eq!((rib.len(), out(&rib, "10.0.0.1")), (1, Some(2)));
}

#[test]
fn more_next_hops_than_can_be_numbered_are_an_error_until_one_is_no_longer_used() {
    let mut rib = Rib::new();
    let route = |i: u32| {
        let address = Ipv4Addr::from_bits(0x0a00_0000 + i);
        let next_hop = NextHop::gateway(1, address);
        Route { prefix: Ipv4Prefix::host(address), source: RouteSource::Static, next_hop }
    };
    for i in 0..0x7fff {
        rib.insert(route(i)).expect("room");
    }
    assert_eq!(rib.insert(route(0x7fff)), Err(FibError::TooManyNextHops));
    assert_eq!(rib.get(route(0x7fff).prefix), None);
    assert!(rib.remove(prefix("10.0.0.0/32"), RouteSource::Static).is_some());
    assert_eq!(rib.insert(route(0x7fff)), Ok(None));
    let fib = rib.build().expect("32,767 next hops have numbers");
    for address in ["10.0.0.1", "10.0.127.254", "10.0.127.255"] {
        assert_eq!(fib.lookup(addr(address)), Some(&NextHop::gateway(1, addr(address))));
    }
    assert_eq!(fib.lookup(addr("10.0.0.0")), None);
}

#[test]
fn a_table_of_three_routes_takes_little_memory() {
    let mut rib = Rib::new();
    add(&mut rib, "10.0.1.0/24", RouteSource::Connected, NextHop::connected(0));
    add(&mut rib, "10.0.2.0/24", RouteSource::Connected, NextHop::connected(1));
    add(&mut rib, "0.0.0.0/0", RouteSource::Static, NextHop::gateway(1, addr("10.0.2.2")));
    let size = rib.build().expect("a table").size();
    assert_eq!((size.routes, size.next_hops), (3, 3));
    assert!(size.octets < 24_000, "{size:?}");
}
