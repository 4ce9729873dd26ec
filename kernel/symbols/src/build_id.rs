//! Which build a kernel is: the linker's hash over everything in its file, as a note that is loaded with it.
//!
//! Source: System V ABI, chapter 5 (note section); the type is GNU's `NT_GNU_BUILD_ID`.

use core::fmt;

use crate::layout::{self, BUILD_ID_SIZE};

/// The note's name and type.
const OWNER: &[u8] = b"GNU\0";
const TYPE: u32 = 3;
const NOTE_HEADER: usize = 12;

/// A build id; shown as hexadecimal digits, as debuggers show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BuildId {
    octets: [u8; BUILD_ID_SIZE],
    len: usize,
}

impl BuildId {
    /// The id made of these octets; `None` if there are none or more than a SHA-1 has.
    #[must_use]
    pub fn new(octets: &[u8]) -> Option<Self> {
        let mut id = Self { len: octets.len(), ..Self::default() };
        let slot = id.octets.get_mut(..octets.len())?;
        slot.copy_from_slice(octets);
        (!octets.is_empty()).then_some(id)
    }

    /// Finds the id in the notes of a program, wherever in there it is.
    #[must_use]
    pub fn in_notes(mut notes: &[u8]) -> Option<Self> {
        loop {
            let name_len = layout::nth_u32(notes, 0)? as usize;
            let content_len = layout::nth_u32(notes, 1)? as usize;
            let kind = layout::nth_u32(notes, 2)?;
            let content_start = NOTE_HEADER.checked_add(name_len)?.checked_next_multiple_of(4)?;
            let content_end = content_start.checked_add(content_len)?;
            let name = notes.get(NOTE_HEADER..NOTE_HEADER + name_len)?;
            let content = notes.get(content_start..content_end)?;
            if name == OWNER && kind == TYPE {
                return Self::new(content);
            }
            notes = notes.get(content_end.checked_next_multiple_of(4)?..)?;
        }
    }

    /// Returns its octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or(&[])
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use std::string::ToString;

    use super::BuildId;

    fn note(name: &[u8], kind: u32, content: &[u8]) -> Vec<u8> {
        let mut note = Vec::new();
        let lengths = [name.len(), content.len()].map(|len| u32::try_from(len).unwrap());
        for number in [lengths[0], lengths[1], kind] {
            note.extend_from_slice(&number.to_le_bytes());
        }
        for part in [name, content] {
            note.extend_from_slice(part);
            note.resize(note.len().next_multiple_of(4), 0);
        }
        note
    }

    #[test]
    fn the_id_is_found_among_other_notes() {
        let notes = [note(b"Xen\0", 3, b"other"), note(b"GNU\0", 1, b"abi"), note(b"GNU\0", 3, b"\x01\xAB")].concat();
        let id = BuildId::in_notes(&notes).unwrap();
        assert_eq!((id.to_string().as_str(), id.as_bytes()), ("01ab", &b"\x01\xAB"[..]));
    }

    #[test]
    fn notes_without_one_or_cut_off_have_none() {
        assert_eq!(BuildId::in_notes(&[]), None);
        assert_eq!(BuildId::in_notes(&note(b"GNU\0", 1, b"abi")), None);
        let whole = note(b"GNU\0", 3, &[7; 20]);
        assert!(BuildId::in_notes(&whole).is_some());
        assert_eq!(BuildId::in_notes(&whole[..whole.len() - 1]), None);
        assert_eq!(BuildId::in_notes(&note(b"GNU\0", 3, &[7; 21])), None, "longer than any hash used");
        assert_eq!(BuildId::in_notes(&[0xFF; 64]), None);
    }
}
