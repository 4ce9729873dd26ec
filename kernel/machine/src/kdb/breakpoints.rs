//! Software breakpoints: one octet of code replaced by `int3` while the world runs.
//!
//! While the world is stopped the code reads as it was compiled. Code pages are read-only in every mapping; the owner of the
//! world takes write protection off its own CPU for the one octet. The other CPUs return from their NMI by `iretq`, which
//! serialises, so none runs stale code (SDM volume 3, 8.1.3). Context: the owner of the stopped world.

use core::{
    fmt,
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
};

use crate::{
    cpu,
    trap::{
        self,
        probe::{self, Faulted},
    },
};

/// How many breakpoints there can be at once.
pub const MAX_BREAKPOINTS: usize = 16;
/// `int3`.
const INT3: u8 = 0xCC;

/// Why a breakpoint cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakpointError {
    /// All [`MAX_BREAKPOINTS`] are in use.
    Full,
    /// There is one already.
    Exists,
    /// Nothing is mapped there.
    Unmapped,
    /// The code that enters the debugger.
    Own,
}

impl fmt::Display for BreakpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => write!(f, "all {MAX_BREAKPOINTS} breakpoints are in use"),
            Self::Exists => f.write_str("there is a breakpoint already"),
            Self::Unmapped => f.write_str("nothing is mapped there"),
            Self::Own => f.write_str("the debugger is entered through this code"),
        }
    }
}

impl core::error::Error for BreakpointError {}

/// A breakpoint: its address (0: free), and the octet it replaces; `int3` while it is not in place.
struct Slot {
    address: AtomicU64,
    original: AtomicU8,
}

// ORDERING: relaxed throughout: only the owner of the world touches them, and the world's word orders the owners.
static SLOTS: [Slot; MAX_BREAKPOINTS] =
    [const { Slot { address: AtomicU64::new(0), original: AtomicU8::new(INT3) } }; MAX_BREAKPOINTS];

fn find(address: u64) -> Option<&'static Slot> {
    SLOTS.iter().find(|slot| slot.address.load(Ordering::Relaxed) == address)
}

pub(super) fn set(address: u64) -> Result<(), BreakpointError> {
    if trap::is_stub(address) {
        return Err(BreakpointError::Own);
    }
    if address == 0 || probe::read_octets(address, &mut [0]).is_err() {
        return Err(BreakpointError::Unmapped);
    }
    if contains(address) {
        return Err(BreakpointError::Exists);
    }
    find(0).ok_or(BreakpointError::Full)?.address.store(address, Ordering::Relaxed);
    Ok(())
}

pub(super) fn clear(address: u64) -> bool {
    let slot = find(address).filter(|_| address != 0);
    slot.is_some_and(|slot| slot.address.swap(0, Ordering::Relaxed) != 0)
}

/// Whether there is a breakpoint at `address`. Any context.
pub(super) fn contains(address: u64) -> bool {
    address != 0 && find(address).is_some()
}

pub(super) fn all() -> impl Iterator<Item = u64> {
    SLOTS.iter().map(|slot| slot.address.load(Ordering::Relaxed)).filter(|address| *address != 0)
}

fn used() -> impl Iterator<Item = (u64, &'static Slot)> {
    SLOTS.iter().map(|slot| (slot.address.load(Ordering::Relaxed), slot)).filter(|(address, _)| *address != 0)
}

/// Puts every breakpoint in place; the world is about to go on.
pub(super) fn insert() {
    for (address, slot) in used() {
        let mut octet = [0];
        if probe::read_octets(address, &mut octet).is_ok() && octet[0] != INT3 {
            slot.original.store(octet[0], Ordering::Relaxed);
            // An error leaves the code as it is: the breakpoint does nothing.
            let _ = write(address, &[INT3]);
        }
    }
}

/// Takes every breakpoint out of the code; the world has been stopped.
pub(super) fn remove() {
    for (address, slot) in used() {
        let original = slot.original.swap(INT3, Ordering::Relaxed);
        // One that was set but never in place has nothing to restore.
        if original != INT3 {
            let _ = write(address, &[original]);
        }
    }
}

/// Writes octets, into read-only pages too.
pub(super) fn write(address: u64, data: &[u8]) -> Result<(), Faulted> {
    for (at, octet) in (address..).zip(data) {
        // SAFETY: whoever debugs the kernel owns all of its memory; the world is stopped, so nobody looks at it meanwhile.
        let write = || unsafe { probe::write(at, *octet) };
        write().or_else(|Faulted| cpu::without_write_protection(write))?;
    }
    Ok(())
}
