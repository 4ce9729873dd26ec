//! Reading encoded bytecode: bytes, lengths, names. Every read checked. Source: ACPI 6.5, 20.2.2 and 20.2.4.

use alloc::string::String;

use super::MethodError;

/// A position in a run of bytecode.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

/// True if a name can begin with this byte.
pub(super) fn begins_name(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'_' | b'\\' | b'^' | 0x2E | 0x2F)
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(code: &'a [u8]) -> Self {
        Self { rest: code }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(super) fn byte(&mut self) -> Result<u8, MethodError> {
        let (&first, rest) = self.rest.split_first().ok_or(MethodError::Truncated)?;
        self.rest = rest;
        Ok(first)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], MethodError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(MethodError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A little-endian number of `count` (at most eight) bytes.
    pub(super) fn integer(&mut self, count: usize) -> Result<u64, MethodError> {
        Ok(self.take(count)?.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    /// The bytes a package length covers, without the length itself.
    pub(super) fn block(&mut self) -> Result<Cursor<'a>, MethodError> {
        let lead = self.byte()?;
        let more = usize::from(lead >> 6);
        let length = if more == 0 {
            usize::from(lead & 0x3F)
        } else {
            let high = usize::try_from(self.integer(more)?).map_err(|_| MethodError::Truncated)?;
            high << 4 | usize::from(lead & 0x0F)
        };
        // The length counts its own bytes.
        let body = length.checked_sub(1 + more).ok_or(MethodError::Truncated)?;
        Ok(Cursor::new(self.take(body)?))
    }

    /// A name in text form: `\` for the root, `^` for parents, segments joined by dots.
    pub(super) fn name(&mut self) -> Result<String, MethodError> {
        let mut text = String::new();
        while let Some(prefix @ (b'\\' | b'^')) = self.peek() {
            self.byte()?;
            text.push(char::from(prefix));
        }
        let segments = match self.peek() {
            Some(0x2E) => self.byte().map(|_| 2)?,
            Some(0x2F) => {
                self.byte()?;
                self.byte()?
            }
            Some(0x00) => self.byte().map(|_| 0)?,
            _ => 1,
        };
        for index in 0..segments {
            if index > 0 {
                text.push('.');
            }
            let segment = self.take(4)?;
            if !segment.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_') {
                return Err(MethodError::Truncated);
            }
            text.extend(segment.iter().map(|&byte| char::from(byte)));
        }
        Ok(text)
    }

    /// A zero-terminated string.
    pub(super) fn string(&mut self) -> Result<String, MethodError> {
        let mut text = String::new();
        loop {
            match self.byte()? {
                0 => return Ok(text),
                byte if byte.is_ascii() => text.push(char::from(byte)),
                _ => return Err(MethodError::WrongType),
            }
        }
    }
}
