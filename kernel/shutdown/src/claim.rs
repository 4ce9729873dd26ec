//! Who shuts the machine down, and what several requests become.
//!
//! One atomic word holds the strongest request so far (halt < reboot < power off < panic), whether somebody walks the
//! ladder, and whether the exit has been settled. Every caller of [`Claim::request`] strengthens the word and goes home;
//! exactly one [`Owner`] comes out of [`Claim::begin`], and without an owner there is no ladder. A panic never walks: once it
//! has asked, `begin` gives nobody the ladder, and a ladder that is under way finds out at its next stage.
//! Source: race classes R10 and R11 (two CPUs ask at once; panic during a shutdown, shutdown during a panic).

use crate::edge::{Edge, Edges};
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
        match word & EXIT {
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

/// The bits of the word that hold an [`Exit`]; none set while nobody asked.
const EXIT: u32 = 0xFF;
/// An [`Owner`] has been made.
const WALKED: u32 = 1 << 8;
/// The owner has decided what is carried out.
const SETTLED: u32 = 1 << 9;
/// Somebody waits for requests.
const ATTENDED: u32 = 1 << 10;

/// What a request became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// The caller was the first: it sees to it that somebody walks the ladder.
    Owner,
    /// Somebody had asked before; the strongest request of all callers is carried out.
    Merged(Exit),
    /// The exit was settled before this request came: this one is carried out, whatever was asked.
    TooLate(Exit),
}

/// The machine's one shutdown claim.
///
/// # Context
/// Any, NMI included; never blocks.
#[derive(Debug)]
pub struct Claim {
    /// An [`Exit`] and the bits above.
    word: AtomicU32,
    edges: Edges,
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
        Self { word: AtomicU32::new(0), edges: Edges::all() }
    }

    /// Makes a claim that nobody holds (model checking: loom's atomics have no `const` constructor).
    #[cfg(loom)]
    #[must_use]
    pub fn new() -> Self {
        Self { word: AtomicU32::new(0), edges: Edges::all() }
    }

    /// Makes a claim whose walk leaves out one edge.
    #[cfg(feature = "mutations")]
    #[must_use]
    pub fn without(edge: Option<Edge>) -> Self {
        Self { word: AtomicU32::new(0), edges: Edges::but(edge) }
    }

    /// Asks for `exit`. Exactly one caller ever becomes [`Claimed::Owner`].
    pub fn request(&self, exit: Exit) -> Claimed {
        let stronger = |word: u32| match Exit::from_word(word) {
            _ if word & SETTLED != 0 => None,
            Some(earlier) => Some((word & !EXIT) | earlier.max(exit) as u32),
            None => Some(word | exit as u32),
        };
        // ORDERING: acquire-release pairs with the same operation of a concurrent caller, of `begin` and of `settle`: the
        // owner sees every request merged before it looks, and a merged caller sees that an owner exists.
        match self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, stronger) {
            Ok(before) => Exit::from_word(before).map_or(Claimed::Owner, |earlier| Claimed::Merged(earlier.max(exit))),
            Err(settled) => Claimed::TooLate(Exit::from_word(settled).unwrap_or(exit)),
        }
    }

    /// Returns the strongest request so far, `None` while nobody asked.
    #[must_use]
    pub fn strongest(&self) -> Option<Exit> {
        // ORDERING: pairs with the release half of `request`.
        Exit::from_word(self.word.load(Ordering::Acquire))
    }

    /// Says that the calling thread can be found and woken from now on. To be called before the first [`begin`](Self::begin):
    /// then a request either is seen by that, or its maker sees where the thread is noted and wakes it.
    ///
    /// # Context
    /// Any; does not block.
    pub fn attend(&self) {
        // ORDERING: a read-modify-write of the word that `request` changes as well: one of the two is first. If this is, the release
        // shows the asker the thread; if the request is, the acquire shows it to the `begin` that follows.
        self.word.fetch_or(ATTENDED, Ordering::AcqRel);
    }

    /// Takes the right to walk the ladder. `None` while nobody has asked, after somebody else has taken it, and for ever once
    /// a panic has asked.
    #[must_use]
    pub fn begin(&self) -> Option<Owner<'_>> {
        let walk = |word: u32| match Exit::from_word(word) {
            None => None,
            Some(Exit::Panic) if self.edges.keep(Edge::PanicNeverWalks) => None,
            Some(_) if word & WALKED != 0 && self.edges.keep(Edge::OneOwner) => None,
            Some(_) => Some(word | WALKED),
        };
        // ORDERING: as in `request`.
        let before = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, walk).ok()?;
        let asked = Exit::from_word(before)?;
        Some(Owner { claim: self, asked })
    }
}

/// The right to walk the ladder: one per [`Claim`], made by [`Claim::begin`] only, given up to the ladder.
#[derive(Debug)]
pub struct Owner<'c> {
    claim: &'c Claim,
    asked: Exit,
}

impl Owner<'_> {
    /// Returns what was asked for when the walk began; later requests may have strengthened it.
    #[must_use]
    pub const fn asked(&self) -> Exit {
        self.asked
    }

    /// Returns whether a panic has taken the machine away from the ladder.
    #[must_use]
    pub fn is_preempted(&self) -> bool {
        self.edges().keep(Edge::PanicPreempts) && self.claim.strongest() == Some(Exit::Panic)
    }

    /// Decides which exit is carried out: the strongest that was asked for until now. Whoever asks later is told so.
    pub(crate) fn settle(&self) -> Exit {
        // ORDERING: as in `request`: of a request and this, one is first, and the other knows.
        let before = self.claim.word.fetch_or(SETTLED, Ordering::AcqRel);
        let strongest = Exit::from_word(before).unwrap_or(self.asked);
        if self.edges().keep(Edge::StrongestExit) { strongest } else { self.asked }
    }

    /// Returns the edges that the walk keeps.
    pub(crate) const fn edges(&self) -> Edges {
        self.claim.edges
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

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
    fn nobody_walks_before_a_request_nor_twice_nor_under_a_panic() {
        let claim = Claim::new();
        assert!(claim.begin().is_none());
        claim.request(Exit::Reboot);
        let owner = claim.begin().expect("asked for");
        assert!(claim.begin().is_none() && !owner.is_preempted());
        assert_eq!(claim.request(Exit::Panic), Claimed::Merged(Exit::Panic));
        assert!(owner.is_preempted());

        let panicking = Claim::new();
        panicking.request(Exit::Panic);
        assert_eq!(panicking.request(Exit::Reboot), Claimed::Merged(Exit::Panic));
        assert!(panicking.begin().is_none());
    }

    #[test]
    fn a_request_after_the_exit_is_settled_is_told_what_is_carried_out() {
        let claim = Claim::new();
        claim.request(Exit::Reboot);
        let owner = claim.begin().expect("asked for");
        claim.request(Exit::Halt);
        assert_eq!((owner.asked(), owner.settle()), (Exit::Reboot, Exit::Reboot));
        assert_eq!(claim.request(Exit::PowerOff), Claimed::TooLate(Exit::Reboot));
        assert_eq!(claim.strongest(), Some(Exit::Reboot));
    }
}
