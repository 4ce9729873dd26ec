//! The messages an interrupt event has for the log.
//!
//! The wording is `kern_intr`'s, which operators search their logs for. Interrupt context only counts; threads speak.

use core::fmt;

/// How many strays of one event are named before it falls silent.
pub const MAX_STRAY_LOG: u64 = 5;

/// Something the operator should read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice<'a> {
    /// An interrupt that no handler claimed.
    Stray {
        /// The interrupt line.
        irq: u32,
    },
    /// The last word about this event's strays.
    StraySilenced {
        /// The interrupt line.
        irq: u32,
    },
    /// The line interrupts without end and its handlers find nothing to do.
    StormDetected {
        /// The event's description, `irq16: em0`.
        description: &'a str,
    },
    /// The line has calmed down.
    StormOver {
        /// The event's description, `irq16: em0`.
        description: &'a str,
    },
    /// A storm on a line without a thread to throttle it: the line stays masked.
    StormMasked {
        /// The event's description, `irq16: em0`.
        description: &'a str,
    },
}

impl fmt::Display for Notice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stray { irq } => write!(f, "stray irq{irq}"),
            Self::StraySilenced { irq } => {
                write!(f, "too many stray irq {irq}'s: not logging anymore")
            }
            Self::StormDetected { description } => {
                write!(f, "interrupt storm detected on \"{description}\"; throttling interrupt source")
            }
            Self::StormOver { description } => {
                write!(f, "interrupt storm on \"{description}\" is over; source back to normal")
            }
            Self::StormMasked { description } => {
                write!(f, "interrupt storm detected on \"{description}\"; interrupt source masked")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;

    use super::Notice;

    #[test]
    fn notices_have_the_wording_operators_search_for() {
        assert_eq!(Notice::Stray { irq: 9 }.to_string(), "stray irq9");
        assert_eq!(Notice::StraySilenced { irq: 9 }.to_string(), "too many stray irq 9's: not logging anymore");
        assert_eq!(
            Notice::StormDetected { description: "irq16: em0" }.to_string(),
            "interrupt storm detected on \"irq16: em0\"; throttling interrupt source"
        );
    }
}
