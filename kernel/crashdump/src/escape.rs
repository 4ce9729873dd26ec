//! Text as it goes into a line: printable ASCII without the marker's character.
//!
//! A backslash begins an escape: `\\` itself, `\p` the percent sign, `\u{hex}` any other character.

use alloc::string::String;
use core::fmt::{self, Write};

/// Writes `character` escaped.
pub(crate) fn put(out: &mut dyn Write, character: char) -> fmt::Result {
    match character {
        '\\' => out.write_str("\\\\"),
        '%' => out.write_str("\\p"),
        ' '..='~' => out.write_char(character),
        _ => write!(out, "\\u{{{:x}}}", u32::from(character)),
    }
}

/// Undoes [`put`]; what is no escape stays as it is.
pub(crate) fn undo(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        plain.push_str(before);
        let (character, length) = first(escape).unwrap_or(('\\', 0));
        plain.push(character);
        rest = escape.get(length..).unwrap_or_default();
    }
    plain.push_str(rest);
    plain
}

/// The character whose escape `text` begins with, and the octets of the escape.
fn first(text: &str) -> Option<(char, usize)> {
    match text.as_bytes().first()? {
        b'\\' => Some(('\\', 1)),
        b'p' => Some(('%', 1)),
        b'u' => {
            let digits = text.strip_prefix("u{")?.split_once('}')?.0;
            let code = u32::from_str_radix(digits, 16).ok()?;
            Some((char::from_u32(code)?, digits.len() + 3))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::{put, undo};

    #[test]
    fn every_character_comes_back_and_goes_as_harmless_ascii() {
        let text = "plain, 100 %, a\\b, caf\u{e9}\t\u{1}\u{1F980}\r";
        let mut escaped = String::new();
        text.chars().for_each(|character| put(&mut escaped, character).unwrap());
        assert!(escaped.bytes().all(|octet| (b' '..=b'~').contains(&octet) && octet != b'%'), "{escaped}");
        assert_eq!(undo(&escaped), text);
    }

    #[test]
    fn what_is_no_escape_stays() {
        for text in ["\\", "\\q", "\\u", "\\u{", "\\u{}", "\\u{zz}", "\\u{d800}", "\\u{123456789}", "a\\"] {
            assert_eq!(undo(text), text);
        }
    }
}
