//! Addresses as they are typed: `ffff8000`, `router::input+0x1c`, `$rsp+8`, `*($rbp+8)`.
//!
//! Numbers are hexadecimal; `0t` says decimal. A name is a symbol first, and a number if no symbol has it. Names are those of Rust:
//! inside `<>` anything goes, spaces as well. `.` is the address that was looked at last. Operators: `+` `-` `*` (what lies there).

use crate::{
    Error, Found, Target,
    target::{Faulted, Registers},
};

/// Operators and parentheses inside each other at most.
const MAX_DEPTH: usize = 16;

/// What names stand for while an expression is computed.
pub(crate) struct Scope<'a> {
    pub(crate) target: &'a mut dyn Target,
    pub(crate) registers: Option<Registers>,
    pub(crate) dot: u64,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(target: &'a mut dyn Target, dot: u64) -> Self {
        let registers = target.registers(target.cpu());
        Self { target, registers, dot }
    }

    fn read(&mut self, address: u64) -> Result<u64, Faulted> {
        let mut octets = [0; 8];
        self.target.read(address, &mut octets)?;
        Ok(u64::from_le_bytes(octets))
    }
}

/// Computes a whole text.
pub(crate) fn evaluate<'t>(text: &'t str, scope: &mut Scope<'_>) -> Result<u64, Error<'t>> {
    match evaluate_part(text, scope)? {
        (value, "") => Ok(value),
        (_, rest) => Err(Error::Syntax(rest)),
    }
}

/// Computes as much of a text as is an expression; returns the value and the rest, which is empty or starts with a comma.
pub(crate) fn evaluate_part<'t>(text: &'t str, scope: &mut Scope<'_>) -> Result<(u64, &'t str), Error<'t>> {
    if text.trim().is_empty() {
        return Err(Error::NoAddress);
    }
    let mut parser = Parser { rest: text.trim(), scope, depth: 0 };
    let value = parser.sum()?;
    match parser.rest.chars().next() {
        None | Some(',') => Ok((value, parser.rest)),
        Some(_) => Err(Error::Syntax(parser.rest)),
    }
}

struct Parser<'t, 's, 'a> {
    /// What is left, without leading spaces.
    rest: &'t str,
    scope: &'s mut Scope<'a>,
    depth: usize,
}

impl<'t> Parser<'t, '_, '_> {
    fn sum(&mut self) -> Result<u64, Error<'t>> {
        let mut value = self.term()?;
        loop {
            value = if self.take('+') {
                value.wrapping_add(self.term()?)
            } else if self.take('-') {
                value.wrapping_sub(self.term()?)
            } else {
                return Ok(value);
            };
        }
    }

    fn term(&mut self) -> Result<u64, Error<'t>> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Error::TooDeep);
        }
        let value = self.operand()?;
        self.depth -= 1;
        Ok(value)
    }

    fn operand(&mut self) -> Result<u64, Error<'t>> {
        if self.take('(') {
            let value = self.sum()?;
            return if self.take(')') { Ok(value) } else { Err(Error::Syntax(self.rest)) };
        }
        if self.take('-') {
            return Ok(self.term()?.wrapping_neg());
        }
        if self.take('*') {
            let address = self.term()?;
            return self.scope.read(address).map_err(|Faulted| Error::Unreadable(address));
        }
        if self.take('.') {
            return Ok(self.scope.dot);
        }
        if self.take('$') {
            let name = self.word(|c| c.is_ascii_alphanumeric());
            let registers = self.scope.registers.as_ref().ok_or(Error::NoRegisters)?;
            return registers.get(name).ok_or(Error::UnknownRegister(name));
        }
        match self.rest.chars().next() {
            Some(c) if c.is_ascii_digit() => number(self.word(|c| c.is_ascii_alphanumeric() || c == '_')),
            Some(c) if c.is_ascii_alphabetic() || "_<{".contains(c) => {
                let name = self.name();
                self.symbol(name)
            }
            _ => Err(Error::Syntax(self.rest)),
        }
    }

    fn symbol(&mut self, name: &'t str) -> Result<u64, Error<'t>> {
        match self.scope.target.find(name) {
            Found::One(address) => Ok(address),
            Found::Many(count) => Err(Error::ManySymbols(name, count)),
            Found::Nothing => hexadecimal(name).ok_or(Error::UnknownSymbol(name)),
        }
    }

    /// Takes one character if it comes next.
    fn take(&mut self, wanted: char) -> bool {
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn word(&mut self, belongs: impl Fn(char) -> bool) -> &'t str {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        self.split(end)
    }

    /// Takes a symbol's name: up to a character that no name has, but over everything between `<` and its `>`.
    fn name(&mut self) -> &'t str {
        let (mut depth, mut before) = (0_usize, ' ');
        let end = self.rest.find(|c: char| {
            match c {
                '<' => depth += 1,
                // The arrow of a function's type closes nothing.
                '>' if before != '-' => depth = depth.saturating_sub(1),
                _ => {}
            }
            before = c;
            depth == 0 && !c.is_ascii_alphanumeric() && !"_:.#<>{}".contains(c)
        });
        self.split(end.unwrap_or(self.rest.len()))
    }

    fn split(&mut self, end: usize) -> &'t str {
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        word
    }
}

/// A word that starts with a digit.
fn number(word: &str) -> Result<u64, Error<'_>> {
    let value = match word.get(..2) {
        Some("0x" | "0X") => word.get(2..).and_then(hexadecimal),
        Some("0t" | "0T") => word.get(2..).and_then(|digits| digits.parse().ok()),
        _ => hexadecimal(word),
    };
    value.ok_or(Error::Number(word))
}

fn hexadecimal(digits: &str) -> Option<u64> {
    u64::from_str_radix(digits, 16).ok()
}
