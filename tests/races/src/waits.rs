//! Who waits for whom: the graph whose cycles are deadlocks (race class R18).
//!
//! Threads say what they are when they start, and each place that waits for another thread's work says for whom. A thread that
//! is idle waits for nobody.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ksync::model::{self, ThreadId};

/// Somebody who waits or is waited for.
pub(crate) type Role = &'static str;

/// The graph so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waits {
    roles: HashMap<ThreadId, Role>,
    edges: BTreeMap<Role, BTreeSet<Role>>,
}

impl Waits {
    /// Says what the calling thread is.
    pub(crate) fn i_am(&mut self, role: Role) {
        self.roles.insert(model::current().id(), role);
    }

    /// Notes that the calling thread waits for `whom`.
    pub(crate) fn i_wait_for(&mut self, whom: Role) {
        let me = self.roles.get(&model::current().id()).copied().unwrap_or("sequencer");
        self.edges.entry(me).or_default().insert(whom);
    }

    /// Returns whether one has waited for the other.
    pub(crate) fn has(&self, who: Role, whom: Role) -> bool {
        self.edges.get(who).is_some_and(|all| all.contains(whom))
    }

    /// Returns a way from somebody back to themselves, if there is one.
    pub(crate) fn cycle(&self) -> Option<Vec<Role>> {
        self.edges.keys().find_map(|start| self.way(start, start, &mut vec![*start]))
    }

    fn way(&self, from: Role, to: Role, path: &mut Vec<Role>) -> Option<Vec<Role>> {
        for next in self.edges.get(from)? {
            if *next == to {
                return Some([path.as_slice(), &[to]].concat());
            }
            if !path.contains(next) {
                path.push(next);
                if let Some(found) = self.way(next, to, path) {
                    return Some(found);
                }
                path.pop();
            }
        }
        None
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_is_found_and_a_tree_is_none() {
        let mut waits = Waits::default();
        for (who, whom) in [("sequencer", "timers"), ("sequencer", "interrupt thread"), ("timers", "sender")] {
            waits.edges.entry(who).or_default().insert(whom);
        }
        assert_eq!(waits.cycle(), None);
        waits.edges.entry("sender").or_default().insert("sequencer");
        assert_eq!(waits.cycle().map(|cycle| cycle.len()), Some(4));
    }
}
