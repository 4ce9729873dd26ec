//! Lookups and changes by instructions, counted by callgrind: lookups in batches of 32 in a million routes and in twenty; single routes of a
//! million withdrawn and announced again.

use std::{env, hint::black_box, net::Ipv4Addr};

use anyhow::Result;
use fib::{Fib, Route, Table};
use lpm::{
    Random, Stream,
    callgrind::{count, is_counted},
    internet_like, rib_of, route,
};

/// What the counted program is to do.
const ROUTES: &str = "SLUICE_ROUTES";
const LOOKUPS: u32 = 1 << 14;
const CHANGES: u32 = 1 << 14;

#[inline(never)]
fn counted(fib: &Fib, addresses: &[Ipv4Addr]) -> u64 {
    let mut indices = [0; 32];
    let mut sum = 0;
    for addresses in addresses.as_chunks::<32>().0 {
        fib.lookup_batch(addresses, &mut indices);
        sum += u64::from(black_box(&indices)[0]);
    }
    sum
}

#[inline(never)]
fn changed(table: &mut Table, routes: &[Route]) {
    for route in routes {
        black_box(table.remove(route.prefix, route.source));
        let _ = black_box(table.insert(*route));
    }
}

fn main() -> Result<()> {
    if is_counted() {
        let routes = env::var(ROUTES)?.parse()?;
        let table = internet_like(routes, 0x51_1ce);
        let fib = rib_of(&table).build()?;
        black_box(counted(&fib, &Stream::Random.addresses(&table, LOOKUPS as usize, 7)));
        let mut random = Random::new(7);
        let at_random = |_| table[1 + random.below::<usize>(table.len() - 1)];
        let changing: Vec<Route> =
            (0..CHANGES / 2).map(at_random).map(|(prefix, number)| route(prefix, number)).collect();
        let mut table = Table::new(rib_of(&table))?;
        changed(&mut table, &changing);
        return Ok(());
    }
    for routes in ["20", "1000000"] {
        let instructions = count("instructions::counted", &[(ROUTES, routes)])?;
        let each = f64::from(u32::try_from(instructions)?) / f64::from(LOOKUPS);
        println!("{routes} routes, random addresses, batches of 32: {each:.1} instructions a lookup");
    }
    let instructions = count("instructions::changed", &[(ROUTES, "1000000")])?;
    let each = f64::from(u32::try_from(instructions)?) / f64::from(CHANGES);
    println!("1000000 routes: {each:.1} instructions a change of a route");
    Ok(())
}
