//! The forwarding table against references: random small tables, random changes, and an Internet-like full table.

mod support;

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use support::{ByLength, Plain, Random, fib_lookup, hop, internet_like, linear_lookup, mask, prefix, rib_of, route};

/// Prefixes that nest and touch often: their bits come from a few patterns.
fn crowded_prefix() -> impl Strategy<Value = Plain> {
    let address = prop_oneof![
        any::<u32>(),
        (0_u32..4, 0_u32..16).prop_map(|(high, low)| (0x0a00_0000 + (high << 14)) | low),
        Just(u32::MAX),
        Just(0),
    ];
    (address, 0_u8..=32).prop_map(|(address, length)| (address & mask(length), length))
}

/// The addresses at which a prefix could be wrong: its ends and the ones just outside.
fn edges((network, length): Plain) -> [u32; 4] {
    let last = network | !mask(length);
    [network, last, network.wrapping_sub(1), last.wrapping_add(1)]
}

fn assert_agrees(fib: &fib::Fib, table: &[(Plain, u16)], extra: &[u32]) {
    let addresses = table.iter().flat_map(|&(plain, _)| edges(plain)).chain(extra.iter().copied());
    for address in addresses {
        assert_eq!(fib_lookup(fib, address), linear_lookup(table, address), "{address:#010x} in {table:x?}");
    }
}

#[derive(Clone, Debug)]
enum Change {
    Insert(Plain, u16),
    Remove(Plain),
    RemoveNth(usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (crowded_prefix(), 0_u16..20).prop_map(|(plain, number)| Change::Insert(plain, number)),
        1 => crowded_prefix().prop_map(Change::Remove),
        2 => any::<usize>().prop_map(Change::RemoveNth),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_table_agrees_with_the_linear_reference(
        routes in vec((crowded_prefix(), 0_u16..20), 0..60),
        addresses in vec(any::<u32>(), 50),
    ) {
        let table: Vec<_> = routes.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect();
        let fib = rib_of(&table).build().expect("a table");
        assert_agrees(&fib, &table, &addresses);
    }

    #[test]
    fn a_table_under_churn_agrees_with_the_linear_reference_after_every_change(
        changes in vec(change(), 1..60),
        addresses in vec(any::<u32>(), 10),
    ) {
        let mut model = BTreeMap::new();
        let mut rib = fib::Rib::new();
        for change in changes {
            match change {
                Change::Insert(plain, number) => {
                    let previous = rib.insert(route(plain, number)).expect("room");
                    prop_assert_eq!(previous, model.insert(plain, number).map(hop));
                }
                Change::Remove(plain) => remove(&mut rib, &mut model, plain),
                Change::RemoveNth(n) => {
                    if let Some(&plain) = model.keys().nth(n % model.len().max(1)) {
                        remove(&mut rib, &mut model, plain);
                    }
                }
            }
            let table: Vec<_> = model.iter().map(|(&plain, &number)| (plain, number)).collect();
            assert_agrees(&rib.build().expect("a table"), &table, &addresses);
        }
    }
}

fn remove(rib: &mut fib::Rib, model: &mut BTreeMap<Plain, u16>, plain: Plain) {
    let removed = rib.remove(prefix(plain), fib::RouteSource::Static);
    assert_eq!(removed, model.remove(&plain).map(hop));
}

/// Half of the addresses anywhere, half inside a random prefix of the table.
fn random_address(random: &mut Random, table: &[(Plain, u16)]) -> u32 {
    let anywhere = random.next();
    if anywhere & 1 == 0 {
        return random.next();
    }
    let ((network, length), _) = table[random.below::<usize>(table.len())];
    network | (random.next() & !mask(length))
}

#[test]
fn a_million_lookups_among_a_million_routes_agree_with_the_reference_within_16_mib() {
    let table = internet_like(1_000_000, 0x51_1ce);
    let reference = ByLength::new(&table);
    let fib = rib_of(&table).build().expect("a table");
    let size = fib.size();
    println!("{size:?}");
    assert_eq!(size.routes, 1_000_000);
    assert!(size.octets <= 16 << 20, "{size:?}");
    let mut random = Random::new(7);
    let mut mismatches = 0;
    for _ in 0..1_000_000 {
        let address = random_address(&mut random, &table);
        if fib_lookup(&fib, address) != reference.lookup(address) {
            mismatches += 1;
        }
    }
    assert_eq!(mismatches, 0);
}

#[test]
fn the_two_references_agree_with_each_other() {
    let table = internet_like(1000, 99);
    let by_length = ByLength::new(&table);
    let mut random = Random::new(3);
    for _ in 0..5000 {
        let address = random_address(&mut random, &table);
        assert_eq!(by_length.lookup(address), linear_lookup(&table, address));
    }
}

#[test]
fn tables_on_both_sides_of_the_large_root_agree_after_withdrawing_half() {
    for routes in [8191, 8192, 20_000] {
        let mut table = internet_like(routes, routes as u64);
        let mut rib = rib_of(&table);
        let mut keep = false;
        table.retain(|&(plain, _)| {
            keep = !keep;
            keep || rib.remove(prefix(plain), fib::RouteSource::Static).is_none()
        });
        let fib = rib.build().expect("a table");
        let reference = ByLength::new(&table);
        let mut random = Random::new(11);
        for _ in 0..50_000 {
            let address = random_address(&mut random, &table);
            assert_eq!(fib_lookup(&fib, address), reference.lookup(address), "{address:#010x}");
        }
    }
}
