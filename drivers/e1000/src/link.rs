//! Link state: what STATUS says, as a value that any thread can read.
//!
//! Key types: [`LinkState`], [`Speed`], [`Duplex`]. The PHY negotiates by itself (14.3, 8.6.3: ASDE and SLU set, nothing
//! forced); the driver only watches STATUS (13.4.2) when LSC says that it changed.

use core::fmt;

use crate::regs::Status;

/// Speed of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speed {
    /// 10 Mbit/s.
    Mbps10,
    /// 100 Mbit/s.
    Mbps100,
    /// 1000 Mbit/s.
    Mbps1000,
}

impl Speed {
    /// Returns the speed in Mbit/s.
    #[must_use]
    pub const fn mbps(self) -> u32 {
        match self {
            Self::Mbps10 => 10,
            Self::Mbps100 => 100,
            Self::Mbps1000 => 1000,
        }
    }
}

/// Whether both directions work at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplex {
    /// One direction at a time.
    Half,
    /// Both.
    Full,
}

/// The state of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// No carrier.
    Down,
    /// Carrier.
    Up(Speed, Duplex),
}

impl LinkState {
    /// Decodes STATUS. The fourth speed code is 1000 Mbit/s as well (13.4.2).
    #[must_use]
    pub const fn from_status(status: Status) -> Self {
        if !status.contains(Status::LU) {
            return Self::Down;
        }
        let speed = if status.contains(Status::SPEED_1000) {
            Speed::Mbps1000
        } else if status.contains(Status::SPEED_100) {
            Speed::Mbps100
        } else {
            Speed::Mbps10
        };
        Self::Up(speed, if status.contains(Status::FD) { Duplex::Full } else { Duplex::Half })
    }

    /// Returns whether there is carrier.
    #[must_use]
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Up(..))
    }

    /// Packs the state into a word for an atomic: the STATUS bits it came from.
    pub(crate) const fn to_word(self) -> u32 {
        let status = match self {
            Self::Down => return 0,
            Self::Up(Speed::Mbps10, _) => Status::LU,
            Self::Up(Speed::Mbps100, _) => Status::LU.union(Status::SPEED_100),
            Self::Up(Speed::Mbps1000, _) => Status::LU.union(Status::SPEED_1000),
        };
        match self {
            Self::Up(_, Duplex::Full) => status.union(Status::FD).bits(),
            _ => status.bits(),
        }
    }

    /// Reverses [`to_word`](Self::to_word).
    pub(crate) const fn from_word(word: u32) -> Self {
        Self::from_status(Status::from_bits_retain(word))
    }
}

/// Writes the message operators know, such as `Link is up 1000 Mbps Full Duplex`.
impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => f.write_str("Link is Down"),
            Self::Up(speed, duplex) => write!(f, "Link is up {} Mbps {duplex:?} Duplex", speed.mbps()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn status_words_become_the_messages_operators_know() {
        let table = [
            (0x0000_0000, "Link is Down"),
            (0x0000_0081, "Link is Down"),
            (0x0000_0083, "Link is up 1000 Mbps Full Duplex"),
            (0x0000_00c3, "Link is up 1000 Mbps Full Duplex"),
            (0x0000_0042, "Link is up 100 Mbps Half Duplex"),
            (0x0000_0003, "Link is up 10 Mbps Full Duplex"),
        ];
        for (status, text) in table {
            let state = LinkState::from_status(Status::from_bits_retain(status));
            assert_eq!(state.to_string(), text);
            assert_eq!(LinkState::from_word(state.to_word()), state);
        }
    }
}
