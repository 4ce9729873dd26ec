//! The kernel's own symbols and source lines: from an address to `tx::encap+0x80` and `drivers/e1000/src/tx.rs:120`, and back.
//!
//! The host makes one blob of the unstripped kernel (the `write` feature) and hangs it behind the kernel in its
//! file ([`attached`]); the kernel reads it where it lies ([`Table`]). The same blob tells a host what a dump's
//! addresses mean. The reader takes no lock, allocates nothing and never panics, whatever the octets are: it runs in panic
//! reports, on damaged machines. Addresses are those of the kernel's file; add the image's offset for those it runs at.
//!
//! # Layout
//! All numbers are little endian; [`layout`] holds the header. Five sections follow it:
//!
//! | section | content |
//! |---|---|
//! | symbols | sorted: address, length, offset in *names*; 32 bits each |
//! | names | for each symbol: the number of its words, then their numbers, all [variable-length](varint) |
//! | blocks | sorted: address of the first row, offset in *rows*; 32 bits each |
//! | rows | for each block: rows of (address, file, line), each as its difference to the one before |
//! | words | for each word: where its text ends in *text*, 32 bits; then *text*. File names are words as well |
//!
//! Names are words because Rust's are made of few: `<e1000::tx::Ring as core::fmt::Debug>::fmt` shares all its parts with others.
//!
//! Context: any. Source: none but this file; the format is ours and both its ends are built together.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "write"))]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod attached;
pub mod build_id;
mod layout;
mod lines;
mod name;
mod table;
mod varint;
#[cfg(feature = "write")]
pub mod write;

pub use self::{
    lines::Location,
    name::Name,
    table::{Entry, Symbol, Table, TableError},
};
