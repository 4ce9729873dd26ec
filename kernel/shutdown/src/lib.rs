//! The shutdown sequencer: a ladder of stages that consume each other.

#![no_std]
#![forbid(unsafe_code)]
