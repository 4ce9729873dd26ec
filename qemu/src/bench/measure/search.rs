//! The highest rate without loss (RFC 2544, 26.1): [`zero_loss`].

use anyhow::Result;

/// One trial at a constant rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    /// The rate that was asked for, frames a second.
    pub rate: f64,
    /// The rate that was offered; less where the generator could not keep up.
    pub offered: f64,
    /// Frames lost.
    pub lost: u64,
}

/// How often a trial may be repeated: a host that is busy for a few milliseconds overruns any ring.
const TRIES: usize = 2;

/// How much of the rate asked for has to be offered for a trial to count.
const OFFERED: f64 = 0.97;

/// Halves the interval between 0 and `highest` frames a second until it is less than `resolution` of its upper end wide, and
/// returns the best trial that lost nothing, if there was one, and how many trials there were.
///
/// # Errors
/// The first of `trial`.
pub fn zero_loss(
    highest: f64,
    resolution: f64,
    mut trial: impl FnMut(f64) -> Result<Trial>,
) -> Result<(Option<Trial>, usize)> {
    let (mut low, mut high, mut best, mut count) = (0.0, highest, None, 0);
    let mut rate = highest;
    while high - low > resolution * high && high > 1.0 {
        let mut passed = None;
        for _ in 0..TRIES {
            let made = trial(rate)?;
            count += 1;
            if made.lost == 0 {
                passed = Some(made);
                break;
            }
        }
        match passed {
            Some(made) if made.offered >= OFFERED * rate => {
                low = rate;
                best = Some(made);
            }
            // Nothing was lost of less than was asked for: that is a result, but says nothing about the rate asked for.
            Some(made) => {
                if best.is_none_or(|best: Trial| made.offered > best.offered) {
                    best = Some(made);
                }
                high = rate;
            }
            None => high = rate,
        }
        rate = f64::midpoint(low, high);
    }
    Ok((best, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device that loses what is beyond its capacity.
    fn device(capacity: f64) -> impl FnMut(f64) -> Result<Trial> {
        move |rate| Ok(Trial { rate, offered: rate, lost: if rate > capacity { 1 } else { 0 } })
    }

    #[test]
    fn the_capacity_is_found_to_the_resolution() {
        for capacity in [500.0, 86_000.0, 112_345.0, 399_999.0] {
            let (best, count) = zero_loss(400_000.0, 0.02, device(capacity)).unwrap();
            let found = best.unwrap().rate;
            assert!(found <= capacity && found >= capacity * 0.97, "{capacity}: {found}");
            assert!(count < 60, "{count}");
        }
    }

    #[test]
    fn a_device_that_carries_all_needs_one_trial_and_one_that_carries_nothing_has_no_rate() {
        let (best, count) = zero_loss(1000.0, 0.02, device(2000.0)).unwrap();
        assert_eq!((best.unwrap().rate, count), (1000.0, 1));
        assert_eq!(zero_loss(1000.0, 0.02, device(-1.0)).unwrap().0, None);
    }

    #[test]
    fn one_trial_that_the_host_has_spoilt_changes_nothing() {
        let (mut inner, mut count) = (device(86_000.0), 0);
        let spoilt = |rate| {
            count += 1;
            let trial = inner(rate)?;
            Ok(Trial { lost: trial.lost + u64::from(count % 2 == 1), ..trial })
        };
        let found = zero_loss(400_000.0, 0.02, spoilt).unwrap().0.unwrap().rate;
        assert!((84_000.0..=86_000.0).contains(&found), "{found}");
    }

    #[test]
    fn a_rate_that_was_not_offered_was_not_carried() {
        let slow = |rate: f64| Ok(Trial { rate, offered: rate.min(100_000.0), lost: 0 });
        let best = zero_loss(400_000.0, 0.02, slow).unwrap().0.unwrap();
        assert!(best.offered <= 100_000.0 && best.rate < 110_000.0, "{best:?}");
    }

    #[test]
    fn an_error_ends_the_search() {
        assert!(zero_loss(1000.0, 0.02, |_| anyhow::bail!("gone")).is_err());
    }
}
