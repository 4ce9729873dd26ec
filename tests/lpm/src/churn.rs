//! A table that changes while it is read: [`churn`] counts the changes, and a reader that checks every answer.

use std::{
    fs,
    hint::spin_loop,
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use fib::{Fib, RouteSource, Table};
use ksync::rcu::Domain;

use crate::{ByLength, PlainRoute, Random, Stream, prefix, race::BATCH, rib_of, route};

/// How many addresses the reader looks at, over and over.
const WATCHED: usize = 1 << 16;
/// After how many changes replaced pieces are collected.
const COLLECT: u64 = 1024;

/// How many replaced pieces may wait.
const ENOUGH: usize = 1 << 15;

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Churned {
    /// Routes withdrawn and announced again, one by one.
    pub changes: u64,
    /// In how many seconds.
    pub seconds: f64,
    /// Of these, in how many the changing thread had a processor.
    pub processor_seconds: f64,
    /// Of all addresses looked up meanwhile.
    pub looked_up: u64,
    /// Answers that no route that contains the address gives, and, after the last change, answers that differ from the reference's.
    pub mismatches: u64,
    /// How often the table had to be made anew.
    pub made_anew: u64,
}

/// Withdraws and announces random routes of `table` for `duration`, while a thread looks addresses up and checks the answers.
///
/// # Errors
/// When memory runs out.
///
/// # Panics
/// If the reader panics.
pub fn churn(routes: &[PlainRoute], duration: Duration, seed: u64) -> Result<Churned> {
    let domain: &'static Domain = Box::leak(Box::new(Domain::new()));
    let reference = ByLength::new(routes);
    let addresses = Stream::Inside.addresses(routes, WATCHED, seed);
    let covering: Vec<Vec<u16>> = addresses.iter().map(|a| reference.covering(a.to_bits()).collect()).collect();
    let mut table = Table::new(rib_of(routes))?;
    let (stop, looked_up, mismatches) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let fib = table.fib().clone();
    let mut churned = thread::scope(|scope| {
        scope.spawn(|| {
            let reader = domain.register().expect("the domain is new");
            let mut indices = [0; BATCH];
            while !stop.load(Ordering::Relaxed) {
                for (addresses, covering) in addresses.chunks(BATCH).zip(covering.chunks(BATCH)) {
                    let guard = reader.pin();
                    fib.lookup_batch(addresses, &mut indices);
                    drop(guard);
                    let wrong =
                        indices.iter().zip(covering).filter(|(index, covering)| !may_be(&fib, **index, covering));
                    mismatches.fetch_add(wrong.count() as u64, Ordering::Relaxed);
                    looked_up.fetch_add(addresses.len() as u64, Ordering::Relaxed);
                }
            }
        });
        let churned = change(&mut table, routes, domain, duration, seed);
        stop.store(true, Ordering::Relaxed);
        churned
    })?;
    churned.looked_up = looked_up.into_inner();
    churned.mismatches = mismatches.into_inner();
    let everywhere = Stream::ALL.into_iter().flat_map(|stream| stream.addresses(routes, WATCHED, seed ^ 1));
    let differs = |address: &Ipv4Addr| number(table.fib(), *address) != reference.lookup(address.to_bits());
    churned.mismatches += everywhere.filter(differs).count() as u64;
    Ok(churned)
}

/// Returns whether an answer is that of one of the routes, of which all but the default route may just be withdrawn.
fn may_be(fib: &Fib, index: u16, covering: &[u16]) -> bool {
    fib.at_index(index).is_some_and(|hop| covering.contains(&hop.out))
}

fn number(fib: &Fib, address: Ipv4Addr) -> Option<u16> {
    fib.lookup(address).map(|hop| hop.out)
}

/// Changes the table until time is up, and leaves it with all routes.
fn change(
    table: &mut Table,
    routes: &[PlainRoute],
    domain: &'static Domain,
    duration: Duration,
    seed: u64,
) -> Result<Churned> {
    let mut random = Random::new(seed);
    let mut churned = Churned::default();
    let (start, had) = (Instant::now(), processor_time()?);
    while start.elapsed() < duration {
        for _ in 0..COLLECT / 2 {
            let (plain, number) = routes[1 + random.below::<usize>(routes.len() - 1)];
            table.remove(prefix(plain), RouteSource::Static).ok_or_else(|| anyhow!("a route is missing"))?;
            table.insert(route(plain, number))?;
        }
        churned.changes += COLLECT;
        // A reader that has lost its processor is not worth waiting for, as long as there is room: the next time will do.
        let must = table.uncollected() > ENOUGH;
        let mut looks = 0_u32;
        let collected = table.collect(domain, || {
            looks += 1;
            if must {
                thread::yield_now();
            }
            spin_loop();
            must || looks < 1000
        });
        drop(collected);
        churned.made_anew += u64::from(table.commit()?);
    }
    churned.seconds = start.elapsed().as_secs_f64();
    churned.processor_seconds = (processor_time()? - had).as_secs_f64();
    Ok(churned)
}

/// Returns how long this thread has had a processor.
fn processor_time() -> Result<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split_whitespace().next().ok_or_else(|| anyhow!("the kernel keeps no times of threads"))?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}
