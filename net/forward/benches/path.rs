//! The pure data path by the clock: from Ethernet header to rewritten headers, batches of 32, tables of a thousand to a million routes.

use std::{hint::black_box, time::Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lpm::{internet_like, path::DataPath};

fn path(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("path");
    for routes in [1000, 1_000_000] {
        let mut path = DataPath::new(&internet_like(routes, 0x51_1ce), 64, 3);
        assert_eq!(path.forward(), path.frames(), "every frame is sent");
        group.throughput(Throughput::Elements(path.frames() as u64));
        group.bench_function(format!("{routes} routes"), |bencher| {
            bencher.iter_custom(|times| {
                (0..times)
                    .map(|_| {
                        path.receive();
                        let start = Instant::now();
                        black_box(path.forward());
                        start.elapsed()
                    })
                    .sum()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, path);
criterion_main!(benches);
