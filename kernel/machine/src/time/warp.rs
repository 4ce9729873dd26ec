//! Are two processors' time stamp counters the same clock? Both read by turns; a reading behind the other's last one is a warp.
//!
//! The pair takes turns through one word, so that the only thing compared is time itself. Bounded in turns and in time, because
//! under emulation each turn may cost a time slice of the host; the bootstrap processor ends the game by closing the exchange. Thread context, interrupts off, one pair at a time (processors start one after another).

use core::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{now, source::tsc_ordered};

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
/// How long the whole check may take. Sixty-four turns take some 20 µs on hardware.
const LIMIT: Duration = Duration::from_millis(5);

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

    /// Plays one side until the turns are done, `give_up` says so, or the exchange is closed. `starter` is the bootstrap
    /// processor's side. `read` reads the clock.
    pub fn play(&self, starter: bool, mut read: impl FnMut() -> u64, mut give_up: impl FnMut() -> bool) -> Warp {
        let mine = u64::from(!starter);
        let mut result = Warp { rounds: 0, largest: 0 };
        while result.rounds < ROUNDS {
            let Some(theirs) = self.wait(mine, &mut give_up) else { return result };
            // The low bit is the turn, so compare without it.
            let here = read() & !1;
            result.largest = result.largest.max((theirs & !1).saturating_sub(here));
            let next = here | (mine ^ 1);
            // ORDERING: release pairs with the acquire in `wait`: the other side's next reading is after ours. An exchange, not a
            // store: a close in between must stay, or this side would wait for a turn that never comes.
            if self.ball.compare_exchange(theirs, next, Ordering::Release, Ordering::Relaxed).is_err() {
                return result;
            }
            result.rounds += 1;
        }
        result
    }

    fn wait(&self, mine: u64, give_up: &mut impl FnMut() -> bool) -> Option<u64> {
        loop {
            let ball = self.ball.load(Ordering::Acquire);
            if ball == IDLE || give_up() {
                return None;
            }
            if ball & 1 == mine {
                return Some(ball);
            }
            core::hint::spin_loop();
        }
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
    let end = now() + LIMIT;
    let warp = EXCHANGE.play(true, tsc_ordered, || now() > end);
    EXCHANGE.close();
    warp
}

/// The started processor's side; ends when the bootstrap processor closes the exchange, which it does within its own limit.
pub fn check_as_started() -> Warp {
    EXCHANGE.play(false, tsc_ordered, || false)
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
            let started = scope.spawn(|| exchange.play(false, || tick() - offset, || false));
            let starter = exchange.play(true, tick, || false);
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
    fn a_close_between_reading_and_answering_stays() {
        let exchange = Exchange::new();
        exchange.open();
        let close_meanwhile = || {
            exchange.close();
            7
        };
        assert_eq!(exchange.play(false, close_meanwhile, || false).rounds, 0);
        assert_eq!(exchange.play(false, || 0, || panic!("the exchange is closed")).rounds, 0);
    }

    #[test]
    fn an_absent_partner_ends_when_patience_does() {
        let (exchange, mut patience) = (Exchange::new(), 100);
        exchange.open();
        let give_up = || {
            patience -= 1;
            patience == 0
        };
        assert_eq!(exchange.play(true, || 0, give_up).rounds, 0);
    }

    #[test]
    fn a_closed_exchange_ends_at_once() {
        assert_eq!(Exchange::new().play(true, || 0, || false).rounds, 0);
    }
}
