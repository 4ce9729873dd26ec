//! A table that is changed in place: against the linear reference after each change, and while other threads read it.

mod support;

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
};

use fib::{NextHop, Rib, Route, RouteSource, Table};
use ksync::rcu::Domain;
use proptest::{collection::vec, prelude::*};
use support::{ByLength, Plain, Random, fib_lookup, hop, internet_like, linear_lookup, mask, prefix, rib_of, route};

fn domain() -> &'static Domain {
    Box::leak(Box::new(Domain::new()))
}

/// Prefixes that nest and touch often, of all lengths.
fn crowded_prefix() -> impl Strategy<Value = Plain> {
    let address = prop_oneof![
        any::<u32>(),
        (0_u32..4, 0_u32..16).prop_map(|(high, low)| (0x0a00_0000 + (high << 14)) | low),
        (0_u32..16, 0_u32..256).prop_map(|(high, low)| 0x0a00_1000 | high << 8 | low),
        Just(u32::MAX),
        Just(0),
    ];
    (address, 0_u8..=32).prop_map(|(address, length)| (address & mask(length), length))
}

#[derive(Clone, Debug)]
enum Change {
    Insert(Plain, u16),
    RemoveNth(usize),
    Down(u16),
    Collect,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        8 => (crowded_prefix(), 0_u16..20).prop_map(|(plain, number)| Change::Insert(plain, number)),
        4 => any::<usize>().prop_map(Change::RemoveNth),
        1 => (0_u16..40).prop_map(Change::Down),
        2 => Just(Change::Collect),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_table_changed_in_place_agrees_with_the_linear_reference_after_every_change(
        large in any::<bool>(),
        changes in vec(change(), 1..80),
        addresses in vec(any::<u32>(), 10),
    ) {
        let domain = domain();
        let mut model = if large { scattered() } else { BTreeMap::new() };
        let first: Vec<_> = model.iter().map(|(&plain, &number)| (plain, number)).collect();
        let mut table = Table::new(rib_of(&first)).expect("a table");
        let (mut down, mut looked_at) = (u16::MAX, addresses);
        for change in changes {
            let (kept, counted) = (table.fib().clone(), table.fib().changes());
            let answers: Vec<_> = looked_at.iter().map(|&address| fib_lookup(&kept, address)).collect();
            match change {
                Change::Insert(plain, number) => {
                    let before = table.insert(route(plain, number)).expect("room");
                    prop_assert_eq!(before, model.insert(plain, number).map(hop));
                    looked_at.extend(edges(plain));
                }
                Change::RemoveNth(n) => {
                    if let Some(&plain) = model.keys().nth(n % model.len().max(1)) {
                        let before = table.remove(prefix(plain), RouteSource::Static);
                        prop_assert_eq!(before, model.remove(&plain).map(hop));
                        looked_at.extend(edges(plain));
                    }
                }
                Change::Down(interface) => {
                    down = interface;
                    table.set_down([interface]);
                }
                Change::Collect => {
                    table.collect(domain, || true).expect("nobody reads");
                    prop_assert_eq!(table.uncollected(), 0);
                }
            }
            table.commit().expect("memory");
            let usable: Vec<_> = model.iter().filter(|&(_, &number)| number != down).collect();
            let usable: Vec<_> = usable.into_iter().map(|(&plain, &number)| (plain, number)).collect();
            for &address in &looked_at {
                prop_assert_eq!(fib_lookup(table.fib(), address), linear_lookup(&usable, address), "{:#010x}", address);
            }
            if kept.is_same(table.fib()) && counted == kept.changes() {
                let now: Vec<_> = looked_at.iter().map(|&address| fib_lookup(&kept, address)).take(answers.len()).collect();
                prop_assert_eq!(answers, now, "what was looked up may be kept");
            }
        }
    }
}

/// A route in each of 1200 pages: too many for a table of pages.
fn scattered() -> BTreeMap<Plain, u16> {
    (0..1200_u32).map(|i| ((i << 20 | 0x1100, 24), u16::try_from(i % 50).expect("small"))).collect()
}

fn edges((network, length): Plain) -> [u32; 4] {
    let last = network | !mask(length);
    [network, last, network.wrapping_sub(1), last.wrapping_add(1)]
}

#[test]
fn most_changes_need_no_new_table() {
    let mut all = internet_like(100_000, 1);
    let mut table = Table::new(rib_of(&all)).expect("a table");
    let (domain, mut random, mut anew) = (domain(), Random::new(2), 0);
    for round in 0..20_000 {
        let place = random.below::<usize>(all.len());
        let (plain, number) = all[place];
        table.remove(prefix(plain), RouteSource::Static).expect("the route is there");
        anew += usize::from(table.commit().expect("memory"));
        let number = (number + 1) % 500;
        table.insert(route(plain, number)).expect("room");
        anew += usize::from(table.commit().expect("memory"));
        all[place].1 = number;
        if round % 100 == 0 {
            table.collect(domain, || true).expect("nobody reads");
        }
    }
    assert_eq!(anew, 0);
    let reference = ByLength::new(&all);
    for _ in 0..100_000 {
        let address = random.next();
        assert_eq!(fib_lookup(table.fib(), address), reference.lookup(address), "{address:#010x}");
    }
}

/// Next hops whose numbers have no room in an entry: of one answer, of a few, of many, of long prefixes; as built, changed in place, and new.
#[test]
fn thousands_of_next_hops_are_told_apart() {
    const HOPS: usize = 5000;
    for (addresses, is_large) in [(0x00ff_ffff, false), (u32::MAX, true)] {
        let mut random = Random::new(3);
        let mut at_random = |routes: usize| {
            let length = [9, 12, 16, 19, 20, 21, 22, 23, 24, 24, 24, 28, 32][random.below::<usize>(13)];
            let address = (0x0a00_0000 & !addresses) | (random.next() & addresses);
            ((address & mask(length), length), if routes < HOPS { routes } else { random.below(HOPS) })
        };
        let mut all: BTreeMap<Plain, u16> = BTreeMap::new();
        while all.len() < 20_000 {
            let (plain, number) = at_random(all.len());
            all.insert(plain, u16::try_from(number).expect("thousands"));
        }
        let list = |all: &BTreeMap<Plain, u16>| all.iter().map(|(&plain, &number)| (plain, number)).collect::<Vec<_>>();
        let agrees = |table: &Table, all: &BTreeMap<Plain, u16>| {
            let reference = ByLength::new(&list(all));
            for address in all.keys().flat_map(|&plain| edges(plain)) {
                assert_eq!(fib_lookup(table.fib(), address), reference.lookup(address), "{address:#010x} {is_large}");
            }
        };
        let mut table = Table::new(rib_of(&list(&all))).expect("a table");
        agrees(&table, &all);
        let (domain, mut anew) = (domain(), 0);
        for round in 0..4000_usize {
            let (plain, number) = at_random(HOPS);
            // A few that the table has not had.
            let number = u16::try_from(if round % 100 == 0 { HOPS + round / 100 } else { number }).expect("thousands");
            if round % 3 == 0 && all.remove(&plain).is_some() {
                table.remove(prefix(plain), RouteSource::Static).expect("the route is there");
            } else {
                table.insert(route(plain, number)).expect("room");
                all.insert(plain, number);
            }
            table.collect(domain, || true).expect("nobody reads");
            let before = table.fib().clone();
            table.commit().expect("memory");
            anew += usize::from(!before.is_same(table.fib()));
        }
        agrees(&table, &all);
        // A short prefix has a small table made anew.
        assert!(anew < if is_large { 10 } else { 1000 }, "{anew} tables made anew");
    }
}

#[test]
fn a_small_table_grows_into_a_large_one() {
    let all = internet_like(20_000, 3);
    let mut table = Table::new(Rib::new()).expect("a table");
    assert!(table.fib().size().octets < 48 << 10, "{:?}", table.fib().size());
    let (mut random, mut anew) = (Random::new(4), 0);
    for (place, &(plain, number)) in all.iter().enumerate() {
        table.insert(route(plain, number)).expect("room");
        anew += usize::from(table.commit().expect("memory"));
        if place == 20 {
            assert!(table.fib().size().octets < 100 << 10, "{:?}", table.fib().size());
        }
        if place % 997 == 0 {
            let reference = ByLength::new(&all[..=place]);
            for _ in 0..1000 {
                let address = random.next();
                assert_eq!(fib_lookup(table.fib(), address), reference.lookup(address), "{address:#010x}");
            }
        }
    }
    assert!(anew < 700, "{anew} new tables, or tables with new next hops");
}

#[test]
fn a_stale_table_stays_as_it_was_until_it_is_committed() {
    let mut table = Table::new(Rib::new()).expect("a table");
    let default = Route { prefix: prefix((0, 0)), source: RouteSource::Static, next_hop: NextHop::connected(1) };
    table.insert(default).expect("room");
    let before = table.fib().clone();
    assert_eq!(before.lookup(Ipv4Addr::new(9, 9, 9, 9)), None);
    assert_eq!(table.commit(), Ok(true));
    assert_eq!(table.commit(), Ok(false));
    assert_eq!(before.lookup(Ipv4Addr::new(9, 9, 9, 9)), None);
    assert_eq!(table.fib().lookup(Ipv4Addr::new(9, 9, 9, 9)), Some(&NextHop::connected(1)));
}

/// Routes that the churn below changes have numbers of one of these kinds; a reader may see each of them, and nothing else.
const CHURNED: u16 = 100;

/// Lets the readers end also when the writer panics.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn readers_see_each_route_before_or_after_its_change_and_nothing_else() {
    let domain = domain();
    // The covers stay; inside each, churned prefixes come and go: a /24, /22, /18, /28 and /32 around one address.
    let addresses: Vec<u32> = (0..8_u32).map(|i| 0x0b00_0000 | i << 17 | 0x1535).collect();
    let cover = |address: u32| ((address & mask(15), 15), u16::try_from(address >> 17 & 63).expect("small"));
    let mut fixed: Vec<(Plain, u16)> = addresses.iter().map(|&address| cover(address)).collect();
    fixed.extend((0..1200_u32).map(|i| ((i << 20 | 0x1100, 24), 99)));
    fixed.sort_unstable();
    fixed.dedup_by_key(|&mut (plain, _)| plain);
    let mut table = Table::new(rib_of(&fixed)).expect("a table");
    let fib = table.fib().clone();
    let (stop, rounds) = (AtomicBool::new(false), AtomicU32::new(0));
    let changes = thread::scope(|scope| {
        for reader in 0..2 {
            let (fib, stop, addresses, rounds) = (fib.clone(), &stop, &addresses, &rounds);
            scope.spawn(move || {
                let reader_slot = domain.register().expect("a slot");
                let destinations: Vec<_> = addresses.iter().map(|&address| Ipv4Addr::from_bits(address)).collect();
                let mut indices = vec![0; destinations.len()];
                while !stop.load(Ordering::Relaxed) {
                    let _guard = reader_slot.pin();
                    if reader == 0 {
                        fib.lookup_batch(&destinations, &mut indices);
                    } else {
                        let all = destinations.iter().zip(&mut indices);
                        all.for_each(|(destination, index)| *index = fib.lookup_index(*destination));
                    }
                    for (&address, &index) in addresses.iter().zip(&indices) {
                        let seen = fib.at_index(index).map(|hop| hop.out).expect("the cover never goes");
                        assert!(
                            seen == cover(address).1 || seen / CHURNED == (address >> 17 & 63) as u16 + 1,
                            "{seen}"
                        );
                    }
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _stop = StopOnDrop(&stop);
        let mut random = Random::new(5);
        let mut changes = 0;
        while rounds.load(Ordering::Relaxed) < 200 || changes < 10_000 {
            let address = addresses[random.below::<usize>(addresses.len())];
            let length = [24, 22, 18, 28, 32, 17][random.below::<usize>(6)];
            let plain = (address & mask(length), length);
            let number = (u16::try_from(address >> 17 & 63).expect("small") + 1) * CHURNED + u16::from(length);
            if random.below::<u32>(2) == 0 {
                table.insert(route(plain, number)).expect("room");
            } else {
                table.remove(prefix(plain), RouteSource::Static);
            }
            changes += 1;
            if changes % 32 == 0 {
                table
                    .collect(domain, || {
                        thread::yield_now();
                        true
                    })
                    .expect("patience is endless");
            }
            // A new table would leave the readers with the old one.
            table.commit().expect("memory");
            assert!(table.fib().is_same(&fib), "after {changes} changes");
        }
        changes
    });
    assert!(changes >= 10_000);
}

/// A destination with the place for its answer.
struct Pair(Ipv4Addr, u16);

impl fib::Sought for Pair {
    fn destination(&self) -> Ipv4Addr {
        self.0
    }

    fn set_index(&mut self, index: u16) {
        self.1 = index;
    }
}

#[test]
fn looking_up_in_place_or_in_batches_answers_as_one_by_one() {
    // Small tables have no pages, large ones have; /25 to /32 take the long way.
    for routes in [3, 200, 20_000] {
        let table = internet_like(routes, 11);
        let fib = rib_of(&table).build().unwrap();
        let mut random = Random::new(routes as u64);
        let near = |&((network, length), _): &lpm::PlainRoute| network | !mask(length) & 0x0f0f_0f0f;
        let known = table.iter().map(near).take(3000);
        let addresses: Vec<Ipv4Addr> =
            known.chain((0..1000).map(|_| random.below::<u32>(1 << 32))).map(Ipv4Addr::from_bits).collect();
        let one_by_one: Vec<u16> = addresses.iter().map(|address| fib.lookup_index(*address)).collect();
        let mut batch = vec![0; addresses.len()];
        fib.lookup_batch(&addresses, &mut batch);
        let mut pairs: Vec<Pair> = addresses.iter().map(|address| Pair(*address, u16::MAX)).collect();
        fib.lookup_all(&mut pairs);
        assert_eq!(batch, one_by_one, "{routes} routes");
        assert_eq!(pairs.iter().map(|pair| pair.1).collect::<Vec<_>>(), one_by_one, "{routes} routes");
    }
}
