//! From scan codes to what a terminal would send, and the two key chords that are no text. Pure.
//!
//! `pc-keyboard` knows the scan codes and the layout; here its events become octets. Arrows and the block above them become the
//! sequences of a VT100, so that the line editor need not know where it is typed on.

use core::fmt;

use pc_keyboard::{
    DecodedKey, EventDecoder, HandleControl, KeyCode, KeyState, ScancodeSet, ScancodeSet1, layouts::Us104Key,
};

/// Octets one key press makes at most.
const LONGEST: usize = 4;

/// What a scan code came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// Nothing yet, or nothing ever: a key that was let go, a modifier, half a code.
    Nothing,
    /// Text.
    Text(Text),
    /// Ctrl-Alt-Del: restart in order.
    Restart,
    /// Ctrl-Alt-Esc: into the debugger.
    Break,
}

/// A few octets of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    octets: [u8; LONGEST],
    len: usize,
}

impl Text {
    fn of(text: &[u8]) -> Self {
        let mut octets = [0; LONGEST];
        let len = text.len().min(LONGEST);
        octets.iter_mut().zip(text).for_each(|(place, octet)| *place = *octet);
        Self { octets, len }
    }

    /// Returns the octets.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }
}

/// The state of a keyboard that sends scan code set 1, as the controller's translation makes it.
pub struct Keys {
    codes: ScancodeSet1,
    decoder: EventDecoder<Us104Key>,
    /// Control keys that are down: left, right.
    control: [bool; 2],
    /// Alternate keys that are down: left, right.
    alternate: [bool; 2],
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("control", &self.control)
            .field("alternate", &self.alternate)
            .finish_non_exhaustive()
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self::new()
    }
}

impl Keys {
    /// No key is down.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            codes: ScancodeSet1::new(),
            decoder: EventDecoder::new(Us104Key, HandleControl::MapLettersToUnicode),
            control: [false; 2],
            alternate: [false; 2],
        }
    }

    /// Takes a scan code.
    pub fn push(&mut self, code: u8) -> Typed {
        // An unknown code is no key of ours; the decoder is at the start of a code again.
        let Ok(Some(event)) = self.codes.advance_state(code) else { return Typed::Nothing };
        let down = event.state != KeyState::Up;
        match event.code {
            KeyCode::LControl => self.control[0] = down,
            KeyCode::RControl => self.control[1] = down,
            KeyCode::LAlt => self.alternate[0] = down,
            KeyCode::RAltGr => self.alternate[1] = down,
            KeyCode::Delete | KeyCode::NumpadPeriod if down && self.chord() => return Typed::Restart,
            KeyCode::Escape if down && self.chord() => return Typed::Break,
            _ => {}
        }
        match self.decoder.process_keyevent(event) {
            Some(DecodedKey::Unicode(character)) => Self::text(character),
            Some(DecodedKey::RawKey(key)) => Self::sequence(key),
            None => Typed::Nothing,
        }
    }

    fn chord(&self) -> bool {
        self.control.contains(&true) && self.alternate.contains(&true)
    }

    fn text(character: char) -> Typed {
        let mut octets = [0; LONGEST];
        Typed::Text(match character {
            // What terminals send for the enter key.
            '\n' => Text::of(b"\r"),
            // What terminals send for the delete key; the octet 127 is theirs for backspace.
            '\u{7f}' => Text::of(b"\x1b[3~"),
            other => Text::of(other.encode_utf8(&mut octets).as_bytes()),
        })
    }

    fn sequence(key: KeyCode) -> Typed {
        let sequence: &[u8] = match key {
            KeyCode::ArrowUp => b"\x1b[A",
            KeyCode::ArrowDown => b"\x1b[B",
            KeyCode::ArrowRight => b"\x1b[C",
            KeyCode::ArrowLeft => b"\x1b[D",
            KeyCode::Home => b"\x1b[H",
            KeyCode::End => b"\x1b[F",
            _ => return Typed::Nothing,
        };
        Typed::Text(Text::of(sequence))
    }
}

#[cfg(test)]
mod tests {
    use super::{Keys, Typed};
    use std::{string::String, vec::Vec};

    const ENTER: [u8; 2] = [0x1C, 0x9C];
    const CTRL: u8 = 0x1D;
    const ALT: u8 = 0x38;
    const UP: u8 = 0x80;

    fn all(keys: &mut Keys, codes: &[u8]) -> Vec<Typed> {
        codes.iter().map(|code| keys.push(*code)).filter(|typed| *typed != Typed::Nothing).collect()
    }

    fn text(codes: &[u8]) -> String {
        let octets = all(&mut Keys::new(), codes).into_iter().flat_map(|typed| match typed {
            Typed::Text(text) => text.octets().to_vec(),
            other => std::panic!("{other:?}"),
        });
        String::from_utf8(octets.collect()).unwrap()
    }

    #[test]
    fn a_command_typed_on_the_keyboard_is_what_a_terminal_would_send() {
        // "Ps", enter: shift-p, s.
        let codes = [&[0x2A, 0x19, 0x99, 0xAA, 0x1F, 0x9F][..], &ENTER].concat();
        assert_eq!(text(&codes), "Ps\r");
        assert_eq!(text(&[0x0E, 0x8E]), "\u{8}", "backspace");
        assert_eq!(text(&[CTRL, 0x2E, 0xAE, CTRL | UP]), "\u{3}", "control-c");
        assert_eq!(text(&[0xE0, 0x48, 0xE0, 0xC8, 0xE0, 0x53, 0xE0, 0xD3]), "\u{1b}[A\u{1b}[3~", "up, delete");
    }

    #[test]
    fn ctrl_alt_del_restarts_with_either_hand_and_either_delete() {
        for chord in [
            &[CTRL, ALT, 0xE0, 0x53][..],
            &[ALT, CTRL, 0xE0, 0x53],
            &[0xE0, CTRL, 0xE0, ALT, 0x53],
            &[0xE0, CTRL, ALT, 0xE0, 0x53],
        ] {
            assert_eq!(all(&mut Keys::new(), chord), [Typed::Restart], "{chord:x?}");
        }
    }

    #[test]
    fn ctrl_alt_esc_breaks_into_the_debugger() {
        assert_eq!(all(&mut Keys::new(), &[CTRL, ALT, 0x01]), [Typed::Break]);
    }

    #[test]
    fn delete_without_both_modifiers_still_down_restarts_nothing() {
        for codes in [
            &[0xE0, 0x53][..],
            &[CTRL, 0xE0, 0x53],
            &[ALT, 0xE0, 0x53],
            &[CTRL, ALT, ALT | UP, 0xE0, 0x53],
            &[CTRL, ALT, 0xE0, 0xD3],
        ] {
            let typed = all(&mut Keys::new(), codes);
            assert!(!typed.contains(&Typed::Restart), "{codes:x?}: {typed:?}");
        }
    }

    #[test]
    fn no_sequence_of_codes_panics_or_silences_the_keyboard() {
        let mut keys = Keys::new();
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                keys.push(first);
                keys.push(second);
            }
        }
        // Whatever modifiers that left down are let go again; a half extended code is ended by the first of these.
        for code in [0x2A, 0x2A, 0x36, CTRL, ALT].map(|key| key | UP) {
            keys.push(code);
        }
        for code in [0xE0, CTRL | UP, 0xE0, ALT | UP] {
            keys.push(code);
        }
        let typed = all(&mut keys, &[0x02, 0x82]);
        assert!(matches!(&typed[..], [Typed::Text(text)] if text.octets() == b"1"), "{typed:?}");
    }
}
