//! How often a router may report errors: RFC 1812 4.3.2.8. The time is an argument.
//!
//! Token buckets in the form of a "next conforming time" each: a bucket of rate r and depth b admits an event at `now` if its
//! time is at most `b - 1` intervals ahead of `now`, and pushes it one interval further. One bucket for all, and one
//! per class of destinations (a hash of the address), so that one victim of a flood does not use up the others' share.

use core::net::Ipv4Addr;

use ksync::time::Instant;

/// Classes of destinations.
const CLASSES: usize = 64;
/// A destination's share: this part of the total rate,
const SHARE: u64 = 4;
/// but bursts of at least this many, which is what `traceroute` sends at once.
const CLASS_BURST: u64 = 16;

/// The allowance for ICMP errors of one worker.
///
/// # Context
/// Owned by one thread; does not block.
#[derive(Debug)]
pub struct RateLimiter {
    /// Nanoseconds per error; `None`: no errors at all.
    interval: Option<u64>,
    /// Errors per second, and the depth of the common bucket.
    rate: u64,
    all: u64,
    classes: [u64; CLASSES],
}

impl RateLimiter {
    /// Allows `rate` errors per second; 0 allows none.
    #[must_use]
    pub const fn new(rate: u32) -> Self {
        Self { interval: 1_000_000_000_u64.checked_div(rate as u64), rate: rate as u64, all: 0, classes: [0; CLASSES] }
    }

    /// Returns the errors per second.
    #[must_use]
    pub const fn rate(&self) -> u64 {
        self.rate
    }

    /// Returns whether an error may be sent to `destination` now, and counts it if so.
    pub fn allow(&mut self, now: Instant, destination: Ipv4Addr) -> bool {
        let Some(interval) = self.interval else { return false };
        let now = now.as_nanos();
        let hash = destination.to_bits().wrapping_mul(0x9e37_79b1) >> 26;
        let Some(class) = self.classes.get_mut(hash as usize) else { return false };
        let class_next = admit(*class, now, interval.saturating_mul(SHARE), (self.rate / SHARE).max(CLASS_BURST));
        let all_next = admit(self.all, now, interval, self.rate);
        let (Some(class_next), Some(all_next)) = (class_next, all_next) else { return false };
        (*class, self.all) = (class_next, all_next);
        true
    }
}

/// Returns the next conforming time after an event at `now`, if the event conforms.
const fn admit(next: u64, now: u64, interval: u64, burst: u64) -> Option<u64> {
    let ahead = interval.saturating_mul(burst.saturating_sub(1));
    if next > now.saturating_add(ahead) {
        return None;
    }
    let base = if next > now { next } else { now };
    Some(base.saturating_add(interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(n: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, n)
    }

    fn allowed(limiter: &mut RateLimiter, from_ms: u64, to_ms: u64, to: impl Fn(u64) -> Ipv4Addr) -> usize {
        (from_ms * 10..to_ms * 10).filter(|&tick| limiter.allow(Instant::from_nanos(tick * 100_000), to(tick))).count()
    }

    #[test]
    fn rfc1812_4_3_2_8_a_flood_gets_the_rate_and_one_burst() {
        let mut limiter = RateLimiter::new(200);
        let spread = |tick: u64| Ipv4Addr::from_bits(u32::try_from(tick * 2_654_435_761 % 0xffff_ffff).unwrap());
        let count = allowed(&mut limiter, 0, 10_000, spread);
        assert!((2000..=2200).contains(&count), "{count} errors in 10 s at 200 per second");
    }

    #[test]
    fn one_destination_gets_its_share_and_leaves_the_rest_to_others() {
        let mut limiter = RateLimiter::new(200);
        let flood = allowed(&mut limiter, 0, 10_000, |_| host(1));
        assert!((500..=560).contains(&flood), "{flood} errors to one destination in 10 s");
        assert!((2..30).all(|n| limiter.allow(Instant::from_secs(10), host(n))));
    }

    #[test]
    fn a_traceroute_is_answered_at_once() {
        let mut limiter = RateLimiter::new(10);
        let burst = (0..10).filter(|_| limiter.allow(Instant::from_secs(5), host(1))).count();
        assert_eq!(burst, 10);
        assert!(!limiter.allow(Instant::from_secs(5), host(1)));
        assert!(limiter.allow(Instant::from_millis(5400), host(1)), "tokens come back");
    }

    #[test]
    fn a_rate_of_zero_silences() {
        assert!(!RateLimiter::new(0).allow(Instant::from_secs(9), host(1)));
    }
}
