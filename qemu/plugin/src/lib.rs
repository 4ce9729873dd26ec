//! A plugin for QEMU's TCG that counts what a guest executes: instructions of each translation [`Block`](blocks::Block) on
//! each vCPU, and accesses to device registers.
//!
//! The program `sluice` builds it, has QEMU load it, and asks it over a unix socket for [snapshots](report), whose differences
//! are what a stretch of time has cost. It changes nothing in the guest.
//!
//! Arguments (`-plugin FILE,NAME=VALUE,...`): `socket` is where somebody listens who will ask; `registers=on` also counts
//! accesses to device registers, which looks at every access to memory and so makes the guest a good deal slower.
//!
//! A block counts as executed when it is entered. Of one that a fault leaves in the middle, the instructions behind the fault are
//! counted as well; a repeated string instruction counts once for each repetition, as TCG executes it.

mod arguments;
mod blocks;
mod registers;
mod report;

// Its functions are QEMU's to call and QEMU's to provide, so a test program cannot be linked with them.
#[cfg(not(test))]
mod abi;
#[cfg(not(test))]
mod plugin;
