//! A symbol's name: a sequence of words, written one after the other.

use core::fmt::{self, Write};

use crate::{layout::MAX_WORDS, table::Words, varint};

/// A name; compare it with a text or show it.
#[derive(Clone, Copy)]
pub struct Name<'a> {
    pub(crate) numbers: &'a [u8],
    pub(crate) words: Words<'a>,
}

impl<'a> Name<'a> {
    /// Returns its words; joined they are the name.
    pub fn words(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let (mut numbers, words) = (self.numbers, self.words);
        let count = varint::take(&mut numbers).unwrap_or(0) as usize;
        (0..count.min(MAX_WORDS)).map_while(move |_| words.get(varint::take(&mut numbers)?))
    }

    /// Returns whether the name ends in the path `end`: `tx::encap` ends `e1000::tx::encap`, but `cap` does not.
    #[must_use]
    pub fn ends_with_path(&self, end: &str) -> bool {
        let total: usize = self.words().map(str::len).sum();
        let Some(mut skip) = total.checked_sub(end.len()) else { return false };
        let (mut rest, mut before) = (end, "");
        for word in self.words() {
            let cut = skip.min(word.len());
            skip -= cut;
            let Some((head, tail)) = word.split_at_checked(cut) else { return false };
            if !head.is_empty() {
                before = head;
            }
            match rest.strip_prefix(tail) {
                Some(left) => rest = left,
                None => return false,
            }
        }
        // The encoder ends a word behind each `::`.
        rest.is_empty() && (before.is_empty() || before.ends_with("::"))
    }
}

impl PartialEq<str> for Name<'_> {
    fn eq(&self, other: &str) -> bool {
        let mut rest = Some(other);
        for word in self.words() {
            rest = rest.and_then(|rest| rest.strip_prefix(word));
        }
        rest == Some("")
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.words().try_for_each(|word| f.write_str(word))
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        fmt::Display::fmt(self, f)?;
        f.write_char('"')
    }
}
