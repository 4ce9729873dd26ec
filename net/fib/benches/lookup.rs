//! Lookups by the clock: batches of 32 that do not depend on each other, and single ones that do, in tables of three sizes.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fib::{RouteSource, Table};
use ksync::rcu::Domain;
use lpm::{
    Random, Stream, internet_like, prefix,
    race::{Mode, Racer},
    rib_of, route,
};

fn lookups(criterion: &mut Criterion) {
    for routes in [20, 10_000, 1_000_000] {
        let table = internet_like(routes, 0x51_1ce);
        let fib = rib_of(&table).build().expect("memory");
        let mut group = criterion.benchmark_group(format!("{routes} routes"));
        for stream in [Stream::Random, Stream::Inside] {
            let addresses = stream.addresses(&table, 1 << 16, 7);
            group.throughput(Throughput::Elements(addresses.len() as u64));
            for mode in Mode::ALL {
                group.bench_function(format!("{} {}", stream.name(), mode.name()), |bencher| {
                    bencher.iter(|| black_box(fib.run(mode, &addresses)));
                });
            }
        }
        group.finish();
    }
}

fn changes(criterion: &mut Criterion) {
    let routes = internet_like(1_000_000, 0x51_1ce);
    let domain: &'static Domain = Box::leak(Box::new(Domain::new()));
    let mut table = Table::new(rib_of(&routes)).expect("memory");
    let mut random = Random::new(9);
    let mut group = criterion.benchmark_group("changes, 1000000 routes");
    group.throughput(Throughput::Elements(2));
    group.bench_function("withdraw and announce", |bencher| {
        bencher.iter_batched(
            || routes[1 + random.below::<usize>(routes.len() - 1)],
            |(plain, number)| {
                table.remove(prefix(plain), RouteSource::Static).expect("the route is there");
                table.insert(route(plain, number)).expect("room");
                if table.uncollected() > 1024 {
                    table.collect(domain, || true).expect("nobody reads");
                }
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, lookups, changes);
criterion_main!(benches);
