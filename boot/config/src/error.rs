//! What is wrong with a configuration, and where: [`ConfigError`] and [`Problem`]. Thread context.

use alloc::{string::String, vec::Vec};
use core::fmt;

use crate::Position;

/// The kinds of offence, for programs; the message is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The text is longer than [`MAX_BYTES`](crate::MAX_BYTES).
    TooLong,
    /// The bytes are not UTF-8.
    NotText,
    /// Not TOML, or a key that the schema does not have, or a value of the wrong type.
    Schema,
    /// The host name is not a label of RFC 1123 section 2.1.
    Hostname,
    /// The interface's name is not a name.
    InterfaceName,
    /// What follows the dot in an interface's name is no number of a VLAN.
    Vlan,
    /// Two interfaces have one name.
    DuplicateInterface,
    /// The maximum transmission unit is out of range, or a VLAN's above that of its port.
    Mtu,
    /// Not an address with a prefix length, or an address no interface can have.
    Address,
    /// Two networks have addresses in common, or one address is given twice.
    Overlap,
    /// Not a network prefix.
    Prefix,
    /// A route needs exactly one of `via`, `blackhole` and `unreachable`.
    RouteTarget,
    /// The next router is not on a connected network, or is this router.
    Via,
    /// Two routes have one prefix, or a route has that of a connected network.
    DuplicateRoute,
    /// The machine has no such interface.
    NoSuchInterface,
    /// The name or the value of a sysctl is refused.
    Sysctl,
}

/// An offence and its place in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The line, counted from one.
    pub line: u32,
    /// The column in characters, counted from one.
    pub column: u32,
    /// The kind of offence.
    pub problem: Problem,
    /// What is wrong, in words.
    pub message: String,
}

impl ConfigError {
    /// Makes the error for the offence at a known place.
    pub(crate) fn at(at: Position, problem: Problem, message: impl Into<String>) -> Self {
        Self { line: at.line, column: at.column, problem, message: message.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

impl core::error::Error for ConfigError {}

/// The text with an index of its lines, so that finding a place costs no second walk through a long file.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    text: &'a str,
    /// The offset of each line's first byte, ascending; the first is 0.
    line_starts: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let line_starts = core::iter::once(0).chain(text.match_indices('\n').map(|(index, _)| index + 1)).collect();
        Self { text, line_starts }
    }

    /// Returns the place of byte `offset`; an offset inside a character or beyond the end counts as the next
    /// place there is.
    pub(crate) fn position(&self, offset: usize) -> Position {
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = self.line_starts.get(line.saturating_sub(1)).copied().unwrap_or_default();
        let rest = self.text.get(start..).unwrap_or_default();
        let column = 1 + rest.char_indices().take_while(|(index, c)| start + index < offset && *c != '\n').count();
        Position { line: saturated(line), column: saturated(column) }
    }

    /// Makes the error for the offence at byte `offset`.
    pub(crate) fn error(&self, offset: usize, problem: Problem, message: impl Into<String>) -> ConfigError {
        ConfigError::at(self.position(offset), problem, message)
    }

    /// Takes over what the TOML library found. Its message may have several lines; they become one.
    pub(crate) fn toml_error(&self, error: &toml::de::Error) -> ConfigError {
        let offset = error.span().map_or(0, |span| span.start);
        let lines: Vec<&str> = error.message().lines().map(str::trim).collect();
        self.error(offset, Problem::Schema, lines.join("; "))
    }
}

fn saturated(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
