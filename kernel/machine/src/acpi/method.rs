//! A small evaluator for methods that compute a table: `_PRT` where it fills a package in a loop.
//!
//! The interpreter crate cannot store into elements of a package, which is how QEMU's `pc` (and many a board) builds its routing
//! table. This one knows integers, packages, locals and control flow, and refuses everything else as [`MethodError::Unsupported`],
//! whereupon the crate is asked. No side effects: it writes nothing but its own locals. Bounded in steps, depth and size; bytes
//! are input, never trusted. Pure; thread context. Source: ACPI 6.5, chapter 20 (encoding) and 19.6 (operators).

mod cursor;
mod eval;

use alloc::{string::String, vec::Vec};

/// What a method computes with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Value {
    /// An element nobody has written.
    #[default]
    Nothing,
    /// A number.
    Integer(u64),
    /// A list.
    Package(Vec<Value>),
    /// A name inside a package, as written: relative, not resolved.
    Name(String),
}

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MethodError {
    /// An operator this evaluator does not know.
    Unsupported {
        /// Its first byte.
        opcode: u8,
    },
    /// The bytes end inside an operator, or a length does not fit.
    Truncated,
    /// An operator got something it cannot work on.
    WrongType,
    /// An element beyond the end of a package.
    OutOfBounds,
    /// A name that is nowhere, or names something this evaluator cannot read.
    Unresolved,
    /// More steps or deeper nesting than a table can need.
    TooLong,
}

/// Evaluates a method without arguments. `resolve` gives the value of a named object, as seen from the method.
pub fn evaluate(code: &[u8], resolve: &mut dyn FnMut(&str) -> Option<Value>) -> Result<Value, MethodError> {
    eval::Evaluator::new(resolve).run(code)
}

#[cfg(test)]
mod tests;
