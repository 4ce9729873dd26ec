//! Accesses to device registers: [`Registers`].

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// What was accessed by whom, and how.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Access {
    /// The vCPU.
    pub(crate) vcpu: usize,
    /// The physical address.
    pub(crate) address: u64,
    /// Whether it was a write.
    pub(crate) is_write: bool,
}

/// How often something was accessed, and what QEMU calls the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accessed {
    /// QEMU's name of the range of registers.
    pub(crate) device: String,
    /// How often.
    pub(crate) count: u64,
}

/// How often each register was read and written. An access costs QEMU microseconds, so a lock for all of them is cheap.
#[derive(Debug, Default)]
pub(crate) struct Registers(Mutex<BTreeMap<Access, Accessed>>);

impl Registers {
    /// Counts an access; `device` is asked for the name the first time.
    pub(crate) fn count(&self, access: Access, device: impl FnOnce() -> String) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(access).or_insert_with(|| Accessed { device: device(), count: 0 }).count += 1;
    }

    /// Returns all that were accessed.
    pub(crate) fn counts(&self) -> BTreeMap<Access, Accessed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_of_a_register_are_told_apart() {
        let registers = Registers::default();
        for is_write in [true, false, true] {
            registers.count(Access { vcpu: 0, address: 0x18, is_write }, || "nic".into());
        }
        let counts: Vec<(bool, u64)> = registers.counts().iter().map(|(a, c)| (a.is_write, c.count)).collect();
        assert_eq!(counts, [(false, 1), (true, 2)]);
    }
}
