//! Where packets are processed: [`Policy`]. Plain data; any context.

use core::{fmt, str::FromStr};

/// Where a received packet is processed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// In the interrupt thread that received it.
    #[default]
    Direct,
    /// In the interrupt thread if it runs on the CPU of the source's queue and that queue is idle, else through the queue.
    Hybrid,
    /// Always through the queue of the source, in the netisr thread of that CPU.
    Deferred,
}

impl Policy {
    /// All policies.
    pub const ALL: [Self; 3] = [Self::Direct, Self::Hybrid, Self::Deferred];

    /// Returns the name as the sysctl has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Hybrid => "hybrid",
            Self::Deferred => "deferred",
        }
    }

    pub(crate) const fn from_u8(value: u8) -> Self {
        match value {
            1 => Self::Hybrid,
            2 => Self::Deferred,
            _ => Self::Direct,
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text names no policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownPolicy;

impl fmt::Display for UnknownPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected direct, hybrid or deferred")
    }
}

impl core::error::Error for UnknownPolicy {}

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == text).ok_or(UnknownPolicy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_lead_back_to_the_policy() {
        for policy in Policy::ALL {
            assert_eq!(policy.as_str().parse(), Ok(policy));
            assert_eq!(Policy::from_u8(policy as u8), policy);
        }
        assert_eq!("Direct".parse::<Policy>(), Err(UnknownPolicy));
    }
}
