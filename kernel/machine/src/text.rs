//! A text of bounded length that needs no heap: names and messages of crash reports. Pure.

use core::fmt;

/// Up to `N` octets of text; what does not fit is cut at a character.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<const N: usize> {
    octets: [u8; N],
    /// Always at most `N`, and at a character's boundary.
    len: usize,
}

impl<const N: usize> Text<N> {
    /// Returns an empty text.
    #[must_use]
    pub const fn new() -> Self {
        Self { octets: [0; N], len: 0 }
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.octets.get(..self.len).and_then(|octets| core::str::from_utf8(octets).ok()).unwrap_or("?")
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let len = character.len_utf8();
            let slot = self.octets.get_mut(self.len..self.len + len).ok_or(fmt::Error)?;
            character.encode_utf8(slot);
            self.len += len;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use core::fmt::Write;

    use super::Text;

    #[test]
    fn what_does_not_fit_is_cut_at_a_character() {
        let mut text = Text::<5>::new();
        assert!(text.write_str("abcäö").is_err());
        assert_eq!(text.as_str(), "abcä");
        text.clear();
        assert_eq!(text.as_str(), "");
    }
}
