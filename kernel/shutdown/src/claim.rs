//! Who shuts the machine down, and what two concurrent requests become.
//!
//! One atomic word holds the strongest request so far and whether an owner exists. The first caller becomes the owner;
//! every later caller only strengthens the request (halt < reboot < power off < panic) and goes home.
//! Source: race classes R10 and R11 (two CPUs ask at once; panic during a shutdown).

use ksync::atomic::{AtomicU32, Ordering};

/// How the machine ends, weakest first: a stronger request replaces a weaker one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Exit {
    /// Stop and stay stopped, CPUs halted, power on.
    Halt = 1,
    /// Restart the machine.
    Reboot = 2,
    /// Switch the power off.
    PowerOff = 3,
    /// A panic: never drains, never blocks.
    Panic = 4,
}

impl Exit {
    const fn from_word(word: u32) -> Option<Self> {
        match word {
            1 => Some(Self::Halt),
            2 => Some(Self::Reboot),
            3 => Some(Self::PowerOff),
            4 => Some(Self::Panic),
            _ => None,
        }
    }

    /// Returns the word a user types for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Halt => "halt",
            Self::Reboot => "reboot",
            Self::PowerOff => "poweroff",
            Self::Panic => "panic",
        }
    }
}

/// What a request became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// The caller is the owner: it runs the ladder.
    Owner,
    /// Another caller owns the shutdown; the strongest request of all callers is carried out.
    Merged(Exit),
}

/// The machine's one shutdown claim.
///
/// # Context
/// Either; never blocks.
#[derive(Debug)]
pub struct Claim {
    /// The strongest request so far as a number; 0 while nobody asked.
    word: AtomicU32,
}

impl Default for Claim {
    fn default() -> Self {
        Self::new()
    }
}

impl Claim {
    /// Makes a claim that nobody holds.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self { word: AtomicU32::new(0) }
    }

    /// Makes a claim that nobody holds (model checking: loom's atomics have no `const` constructor).
    #[cfg(loom)]
    #[must_use]
    pub fn new() -> Self {
        Self { word: AtomicU32::new(0) }
    }

    /// Asks for `exit`. Exactly one caller ever becomes [`Claimed::Owner`].
    pub fn request(&self, exit: Exit) -> Claimed {
        // ORDERING: acquire-release pairs with the same operation of a concurrent caller: the owner's later read in
        // `strongest` sees every request merged before it, and a merged caller sees that an owner exists.
        let before = self.word.fetch_max(exit as u32, Ordering::AcqRel);
        match Exit::from_word(before) {
            None => Claimed::Owner,
            Some(earlier) => Claimed::Merged(earlier.max(exit)),
        }
    }

    /// Returns the strongest request so far, `None` while nobody asked.
    #[must_use]
    pub fn strongest(&self) -> Option<Exit> {
        // ORDERING: pairs with the release half of `request`.
        Exit::from_word(self.word.load(Ordering::Acquire))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    extern crate std;
    use super::*;
    use std::{sync::Arc, thread, vec::Vec};

    #[test]
    fn first_caller_owns_and_later_ones_strengthen() {
        let claim = Claim::new();
        assert_eq!(claim.strongest(), None);
        assert_eq!(claim.request(Exit::Halt), Claimed::Owner);
        assert_eq!(claim.request(Exit::PowerOff), Claimed::Merged(Exit::PowerOff));
        assert_eq!(claim.request(Exit::Reboot), Claimed::Merged(Exit::PowerOff));
        assert_eq!(claim.strongest(), Some(Exit::PowerOff));
    }

    #[test]
    fn of_many_callers_exactly_one_is_the_owner() {
        for _ in 0..200 {
            let claim = Arc::new(Claim::new());
            let exits = [Exit::Halt, Exit::Reboot, Exit::PowerOff, Exit::Panic];
            let callers: Vec<_> = exits
                .into_iter()
                .map(|exit| {
                    let claim = Arc::clone(&claim);
                    thread::spawn(move || claim.request(exit))
                })
                .collect();
            let owners = callers.into_iter().map(|c| c.join().unwrap());
            assert_eq!(owners.filter(|c| *c == Claimed::Owner).count(), 1);
            assert_eq!(claim.strongest(), Some(Exit::Panic));
        }
    }
}
