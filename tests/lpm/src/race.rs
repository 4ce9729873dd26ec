//! Lookups against the clock: [`race`] lets contenders take turns, so that what else the machine does meets all alike.
//!
//! A turn warms up and then times short pieces of a stream. What counts of a turn is its fastest twentieth, and of several turns the best:
//! the machine may be shared, and a piece that was interrupted tells nothing about the contender.

use std::{hint::black_box, net::Ipv4Addr, time::Instant};

use fib::Fib;

/// How many lookups of a batch are asked for at once.
pub const BATCH: usize = 32;
/// How many lookups are timed together.
const PIECE: usize = 1 << 13;
/// The part of the pieces that may be faster than what counts.
const FASTEST: usize = 20;

/// A way to find the longest match.
pub trait Contender {
    /// Returns the answer for an address, 0 for "no route".
    fn look_up(&self, address: Ipv4Addr) -> u16;

    /// Looks up several addresses that do not depend on each other.
    #[inline]
    fn look_up_all(&self, addresses: &[Ipv4Addr], answers: &mut [u16]) {
        for (address, answer) in addresses.iter().zip(answers) {
            *answer = self.look_up(*address);
        }
    }
}

impl Contender for Fib {
    #[inline]
    fn look_up(&self, address: Ipv4Addr) -> u16 {
        self.lookup_index(address)
    }

    #[inline]
    fn look_up_all(&self, addresses: &[Ipv4Addr], answers: &mut [u16]) {
        self.lookup_batch(addresses, answers);
    }
}

/// How lookups follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// [`BATCH`] at a time, none depending on another.
    Batched,
    /// Each address depends on the answer before: what one lookup takes from begin to end.
    Dependent,
}

impl Mode {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Batched, Self::Dependent];

    /// Returns its name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Batched => "batched",
            Self::Dependent => "dependent",
        }
    }
}

/// A contender in the race.
pub trait Racer {
    /// Looks `addresses` up and returns the sum of the answers.
    fn run(&self, mode: Mode, addresses: &[Ipv4Addr]) -> u64;
}

impl<C: Contender> Racer for C {
    fn run(&self, mode: Mode, addresses: &[Ipv4Addr]) -> u64 {
        let mut sum = 0;
        if mode == Mode::Batched {
            let mut answers = [0; BATCH];
            for addresses in addresses.as_chunks::<BATCH>().0 {
                self.look_up_all(addresses, &mut answers);
                sum += answers.iter().map(|&answer| u64::from(answer)).sum::<u64>();
            }
            return sum;
        }
        // The compiler must not know that the answer changes nothing.
        let (nothing, mut last) = (black_box(0), 0);
        for address in addresses {
            last = self.look_up(Ipv4Addr::from_bits(address.to_bits() ^ (u32::from(last) & nothing)));
            sum += u64::from(last);
        }
        sum
    }
}

/// Nanoseconds a lookup, by contender and stream.
pub type Times = Vec<Vec<f64>>;

/// Lets the contenders take `turns` turns at each stream.
pub fn race(racers: &[&dyn Racer], streams: &[Vec<Ipv4Addr>], mode: Mode, turns: usize) -> Times {
    let mut times = vec![vec![f64::INFINITY; streams.len()]; racers.len()];
    for _ in 0..turns {
        for (racer, times) in racers.iter().zip(&mut times) {
            for (stream, best) in streams.iter().zip(times) {
                *best = best.min(turn(*racer, stream, mode));
            }
        }
    }
    times
}

fn turn(racer: &dyn Racer, stream: &[Ipv4Addr], mode: Mode) -> f64 {
    black_box(racer.run(mode, &stream[..stream.len() / 2]));
    let mut pieces: Vec<f64> = stream.chunks_exact(PIECE).map(|piece| timed(racer, piece, mode)).collect();
    pieces.sort_by(f64::total_cmp);
    pieces[pieces.len() / FASTEST]
}

#[expect(clippy::cast_precision_loss, reason = "a piece takes far less than 2^53 nanoseconds")]
fn timed(racer: &dyn Racer, piece: &[Ipv4Addr], mode: Mode) -> f64 {
    let start = Instant::now();
    black_box(racer.run(mode, piece));
    start.elapsed().as_nanos() as f64 / piece.len() as f64
}
