//! The serial console's line editor and command language.

#![no_std]
#![forbid(unsafe_code)]
