//! A time since boot in the field's form.

use core::fmt;
use ksync::time::Instant;

/// Writes a time since boot as operators know it: `18h32m32s`.
#[derive(Debug, Clone, Copy)]
pub struct Uptime(pub Instant);

impl fmt::Display for Uptime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
        if days > 0 {
            write!(f, "{days}d")?;
        }
        if seconds >= 3_600 {
            write!(f, "{hours}h")?;
        }
        if seconds >= 60 {
            write!(f, "{minutes}m")?;
        }
        write!(f, "{}s", seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::format;

    #[test]
    fn uptime_leaves_out_what_is_zero_in_front_only() {
        let written = |seconds| format!("{}", Uptime(Instant::from_secs(seconds)));
        assert_eq!(written(0), "0s");
        assert_eq!(written(61), "1m1s");
        assert_eq!(written(18 * 3600 + 32 * 60 + 32), "18h32m32s");
        assert_eq!(written(86_400), "1d0h0m0s");
    }
}
