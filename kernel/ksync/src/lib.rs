//! Locks, atomics, RCU snapshots and time: the one door that model checkers look through.

#![no_std]
