//! Lookups by instructions, counted by callgrind: batches of 32, a million routes and twenty.

use std::{env, hint::black_box, net::Ipv4Addr};

use anyhow::Result;
use fib::Fib;
use lpm::{
    Stream,
    callgrind::{count, is_counted},
    internet_like, rib_of,
};

/// What the counted program is to do.
const ROUTES: &str = "SLUICE_ROUTES";
const LOOKUPS: u32 = 1 << 14;

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

fn main() -> Result<()> {
    if is_counted() {
        let routes = env::var(ROUTES)?.parse()?;
        let table = internet_like(routes, 0x51_1ce);
        let fib = rib_of(&table).build()?;
        black_box(counted(&fib, &Stream::Random.addresses(&table, LOOKUPS as usize, 7)));
        return Ok(());
    }
    for routes in ["20", "1000000"] {
        let instructions = count("instructions::counted", &[(ROUTES, routes)])?;
        let each = f64::from(u32::try_from(instructions)?) / f64::from(LOOKUPS);
        println!("{routes} routes, random addresses, batches of 32: {each:.1} instructions a lookup");
    }
    Ok(())
}
