//! Walking the options of an IPv4 header (RFC 791 3.1). Any context.

/// End of option list.
pub const END: u8 = 0;
/// No operation.
pub const NOP: u8 = 1;
/// Record route.
pub const RECORD_ROUTE: u8 = 7;
/// Internet timestamp.
pub const TIMESTAMP: u8 = 68;
/// Loose source and record route.
pub const LOOSE_SOURCE_ROUTE: u8 = 131;
/// Strict source and record route.
pub const STRICT_SOURCE_ROUTE: u8 = 137;
/// Router alert (RFC 2113).
pub const ROUTER_ALERT: u8 = 148;

/// One option, cut out at its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Option<'a> {
    /// The type octet: copied flag, class and number.
    pub kind: u8,
    /// Where the option begins, in octets from the start of the options.
    pub at: usize,
    /// The whole option, type and length octets included.
    pub bytes: &'a [u8],
}

impl Ipv4Option<'_> {
    /// Returns whether every fragment carries the option.
    #[must_use]
    pub const fn is_copied(&self) -> bool {
        self.kind & 0x80 != 0
    }
}

/// An option that cannot be: it runs past the header, or is shorter than its own two octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadOption {
    /// Where the wrong length octet is (the type octet if there is no length octet), in octets from the
    /// start of the options.
    pub at: usize,
}

/// Goes through `options` up to the end-of-list option; after an error there is nothing more.
///
/// No-operation options are not reported.
#[must_use]
pub const fn walk(options: &[u8]) -> Walk<'_> {
    Walk { options, at: 0 }
}

/// The iterator of [`walk`].
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    options: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    fn fail(&mut self, at: usize) -> Option<Result<Ipv4Option<'a>, BadOption>> {
        self.at = self.options.len();
        Some(Err(BadOption { at }))
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Result<Ipv4Option<'a>, BadOption>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let at = self.at;
            let rest = self.options.get(at..)?;
            match *rest {
                [] | [END, ..] => return None,
                [NOP, ..] => self.at += 1,
                [_] => return self.fail(at),
                [kind, len, ..] => {
                    let len = usize::from(len);
                    let Some(bytes) = rest.get(..len).filter(|_| len >= 2) else { return self.fail(at + 1) };
                    self.at += len;
                    return Some(Ok(Ipv4Option { kind, at, bytes }));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn options_come_in_order_and_end_at_the_end_mark() {
        let bytes = [NOP, RECORD_ROUTE, 3, 4, ROUTER_ALERT, 4, 0, 0, END, 0xff, 0xff, 0xff];
        let found: Vec<_> = walk(&bytes).map(Result::unwrap).collect();
        assert_eq!(
            found,
            [
                Ipv4Option { kind: RECORD_ROUTE, at: 1, bytes: &[7, 3, 4] },
                Ipv4Option { kind: ROUTER_ALERT, at: 4, bytes: &[148, 4, 0, 0] },
            ]
        );
        assert!(!found[0].is_copied() && found[1].is_copied());
    }

    #[test]
    fn a_wrong_length_is_pointed_at_and_ends_the_walk() {
        for (bytes, at) in [
            (&[NOP, NOP, NOP, TIMESTAMP][..], 3),
            (&[RECORD_ROUTE, 1, 0, 0], 1),
            (&[RECORD_ROUTE, 0, 0, 0], 1),
            (&[NOP, RECORD_ROUTE, 4, 0], 2),
        ] {
            let found: Vec<_> = walk(bytes).collect();
            assert_eq!(found, [Err(BadOption { at })], "{bytes:?}");
        }
    }

    #[test]
    fn no_options_are_no_error() {
        assert_eq!(walk(&[]).count(), 0);
        assert_eq!(walk(&[NOP; 40]).count(), 0);
    }
}
