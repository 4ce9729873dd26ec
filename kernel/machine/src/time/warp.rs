//! Are two processors' time stamp counters the same clock? Both read by turns; a reading behind the other's last one is a warp.
//!
//! The pair takes turns through one word, so that the only thing compared is time itself. Bounded: an answer that does not come
//! ends the check as inconclusive. Thread context, interrupts off, one pair at a time (processors start one after another).

use core::sync::atomic::{AtomicU64, Ordering};

use super::source::tsc_ordered;

/// What the check saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warp {
    /// Turns completed.
    pub rounds: u32,
    /// Largest step backwards, in counts; zero is what we want.
    pub largest: u64,
}

/// Turns each side takes.
const ROUNDS: u32 = 64;
/// Spins to wait for the other side's turn.
const PATIENCE: u64 = 200_000_000;

/// The ball: the last reading, with the low bit saying whose turn it is (0: the bootstrap processor's).
#[derive(Debug)]
pub struct Exchange {
    ball: AtomicU64,
}

/// The one exchange processors start through.
pub static EXCHANGE: Exchange = Exchange::new();

const IDLE: u64 = u64::MAX;

impl Exchange {
    /// Nobody plays.
    #[must_use]
    pub const fn new() -> Self {
        Self { ball: AtomicU64::new(IDLE) }
    }

    /// Opens the exchange for one pair; the started processor serves first.
    pub fn open(&self) {
        self.ball.store(1, Ordering::Release);
    }

    /// Closes it.
    pub fn close(&self) {
        self.ball.store(IDLE, Ordering::Release);
    }

    /// Plays one side. `starter` is the bootstrap processor's side. `read` reads the clock.
    pub fn play(&self, starter: bool, mut read: impl FnMut() -> u64) -> Warp {
        let mine = u64::from(!starter);
        let mut result = Warp { rounds: 0, largest: 0 };
        while result.rounds < ROUNDS {
            let Some(theirs) = self.wait(mine) else { return result };
            // The low bit is the turn, so compare without it.
            let here = read() & !1;
            result.largest = result.largest.max((theirs & !1).saturating_sub(here));
            // ORDERING: release pairs with the acquire in `wait`: the other side's next reading is after ours.
            self.ball.store(here | (mine ^ 1), Ordering::Release);
            result.rounds += 1;
        }
        result
    }

    fn wait(&self, mine: u64) -> Option<u64> {
        for _ in 0..PATIENCE {
            let ball = self.ball.load(Ordering::Acquire);
            if ball == IDLE {
                return None;
            }
            if ball & 1 == mine {
                return Some(ball);
            }
            core::hint::spin_loop();
        }
        None
    }
}

impl Default for Exchange {
    fn default() -> Self {
        Self::new()
    }
}

/// The bootstrap processor's side against the processor being started.
#[must_use]
pub fn check_as_starter() -> Warp {
    let warp = EXCHANGE.play(true, tsc_ordered);
    EXCHANGE.close();
    warp
}

/// The started processor's side.
pub fn check_as_started() -> Warp {
    EXCHANGE.play(false, tsc_ordered)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{Exchange, ROUNDS, Warp};
    use core::sync::atomic::{AtomicU64, Ordering};

    fn play(offset: u64) -> (Warp, Warp) {
        let (exchange, clock) = (Exchange::new(), AtomicU64::new(1_000_000));
        exchange.open();
        let tick = || clock.fetch_add(10, Ordering::Relaxed);
        std::thread::scope(|scope| {
            let started = scope.spawn(|| exchange.play(false, || tick() - offset));
            let starter = exchange.play(true, tick);
            exchange.close();
            (starter, started.join().unwrap())
        })
    }

    #[test]
    fn one_clock_shows_no_warp() {
        let (starter, started) = play(0);
        assert_eq!((starter, started), (Warp { rounds: ROUNDS, largest: 0 }, Warp { rounds: ROUNDS, largest: 0 }));
    }

    #[test]
    fn a_counter_that_lags_is_seen_by_its_own_side() {
        let (starter, started) = play(5_000);
        assert_eq!(starter.largest, 0);
        assert!((4_900..=5_000).contains(&started.largest));
    }

    #[test]
    fn a_closed_exchange_ends_at_once() {
        assert_eq!(Exchange::new().play(true, || 0).rounds, 0);
    }
}
