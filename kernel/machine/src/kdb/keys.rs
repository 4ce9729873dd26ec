//! The console's key sequence into the debugger: carriage return, tilde, Ctrl-B, as FreeBSD's alternative break. Pure.
//!
//! A serial BREAK condition does the same; the console looks for it itself.

const CTRL_B: u8 = 0x02;

/// Watches what is typed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BreakKeys {
    /// Keys of the sequence seen so far.
    seen: u8,
}

impl BreakKeys {
    /// Nothing typed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { seen: 0 }
    }

    /// Takes a typed octet; answers whether it completed the sequence.
    pub fn push(&mut self, octet: u8) -> bool {
        self.seen = match (self.seen, octet) {
            (_, b'\r') => 1,
            (1, b'~') => 2,
            (2, CTRL_B) => 3,
            _ => 0,
        };
        if self.seen == 3 {
            self.seen = 0;
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::BreakKeys;

    fn count(typed: &[u8]) -> usize {
        let mut keys = BreakKeys::new();
        typed.iter().filter(|octet| keys.push(**octet)).count()
    }

    #[test]
    fn only_the_whole_sequence_in_order_counts() {
        assert_eq!(count(b"\r~\x02"), 1);
        assert_eq!(count(b"show arp\r\r~\x02x\r~\x02"), 2);
        for other in [&b"~\x02"[..], b"\r~~\x02", b"\r\x02", b"\r~x\x02", b"\r~", b"\x02\x02"] {
            assert_eq!(count(other), 0, "{other:?}");
        }
    }
}
