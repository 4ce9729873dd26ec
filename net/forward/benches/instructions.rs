//! The pure data path by instructions, counted by callgrind: per packet, batches of 32, a million routes.

use std::hint::black_box;

use anyhow::Result;
use lpm::{
    callgrind::{count, is_counted},
    internet_like,
    path::DataPath,
};

const BATCHES: usize = 64;

fn main() -> Result<()> {
    if is_counted() {
        let mut path = DataPath::new(&internet_like(1_000_000, 0x51_1ce), BATCHES, 3);
        assert_eq!(black_box(path.forward()), path.frames(), "every frame is sent");
        return Ok(());
    }
    let packets = 32.0 * f64::from(u32::try_from(BATCHES)?);
    let instructions = f64::from(u32::try_from(count("lpm::path::DataPath::forward", &[])?)?);
    println!("path, 1000000 routes, batches of 32: {:.1} instructions a packet", instructions / packets);
    Ok(())
}
