//! What differs between runs: [`Variant`], as data.

use std::time::Duration;

use crate::{
    machine::{Machine, Nic, Wire},
    testbed::Plan,
};

/// What the hosts do meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Traffic {
    /// Nothing; everybody knows everybody.
    Idle,
    /// All send as fast as packets get through, both ways.
    Saturated,
    /// As saturated, from the router's first moment on, and to neighbours that do not exist as well, so that packets wait
    /// for an answer to ARP.
    Cold,
}

/// A fault on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The setting that makes it.
    pub(super) setting: &'static str,
    /// Its value: whom it hits.
    pub(super) value: &'static str,
    /// Whom the transcript has to name.
    pub(super) culprit: &'static str,
    /// Whether the cards can still be asked what they counted.
    pub(super) counts: bool,
    /// The longest the ladder may take over it: the budgets that have to run out, and some seconds.
    pub(super) within: Duration,
}

/// A kind of run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Its name on the command line and in tables.
    pub name: &'static str,
    pub(super) smp: u32,
    /// The PCI slots of the cards: those that differ by 4 share an interrupt line.
    pub(super) slots: [u8; 2],
    /// Settings made before the hosts begin.
    pub(super) settings: &'static [(&'static str, &'static str)],
    pub(super) traffic: Traffic,
    pub(super) fault: Option<Fault>,
}

const fn plain(name: &'static str, smp: u32, traffic: Traffic) -> Variant {
    Variant { name, smp, slots: [4, 5], settings: &[], traffic, fault: None }
}

const fn faulty(name: &'static str, setting: &'static str, value: &'static str, within: u64) -> Variant {
    let within = Duration::from_secs(within);
    Variant {
        fault: Some(Fault { setting, value, culprit: CARD, counts: true, within }),
        ..plain(name, 2, Traffic::Saturated)
    }
}

/// The card that most faults hit; its thread is not on the CPU of the sequencer.
const CARD: &str = "em1";

/// All kinds of runs; first the one that most runs are of.
pub static VARIANTS: &[Variant] = &[
    plain("saturated", 2, Traffic::Saturated),
    plain("idle", 2, Traffic::Idle),
    plain("one-cpu", 1, Traffic::Saturated),
    plain("four-cpus", 4, Traffic::Saturated),
    Variant { slots: [4, 8], ..plain("shared-line", 2, Traffic::Saturated) },
    Variant { settings: &[("net.isr.dispatch", "deferred")], ..plain("deferred", 2, Traffic::Saturated) },
    plain("cold-arp", 2, Traffic::Cold),
    // Frames that nobody fetches are waited for, and then the thread.
    faulty("wedged-ithread", "debug.fail_point.wedge_ithread", CARD, 19),
    faulty("sleeping-ithread", "debug.fail_point.sleep_ithread", CARD, 19),
    faulty("ignored-stop", "debug.fail_point.ignore_stop", CARD, 4),
    Variant {
        fault: Some(Fault {
            setting: "debug.fail_point.all_ones",
            value: CARD,
            culprit: CARD,
            counts: false,
            within: Duration::from_secs(4),
        }),
        ..plain("card-gone", 2, Traffic::Saturated)
    },
    // Its interrupt thread and its netisr's do not end; the CPU itself still obeys an NMI.
    faulty("wedged-cpu", "debug.fail_point.wedge_cpu", "1", 35),
    // The sequencer's own CPU spins in a thread above it, and leaves it the turns of the starved.
    Variant {
        fault: Some(Fault {
            setting: "debug.fail_point.wedge_ithread",
            value: "em0",
            culprit: "em0",
            counts: true,
            within: Duration::from_secs(35),
        }),
        ..plain("starved-sequencer", 2, Traffic::Saturated)
    },
];

impl Variant {
    /// Returns the variant of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        VARIANTS.iter().find(|variant| variant.name == name)
    }

    /// Returns whether something fails on purpose, so that the shutdown has to use force.
    #[must_use]
    pub const fn fails(&self) -> bool {
        self.fault.is_some()
    }

    /// Returns what is to be booted; the configuration is the same for all.
    pub(super) fn plan(&self) -> Plan {
        let mut plan = Plan::star(2);
        let nic = |slot| Nic { slot: Some(slot), ..Nic::new(Wire::Nothing) };
        plan.machine = Machine { smp: self.smp, nics: self.slots.map(nic).to_vec(), ..Machine::default() };
        plan.machine.extra = super::watch::arguments(self.slots.len());
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_is_found_by_a_name_of_its_own() {
        for variant in VARIANTS {
            assert!(std::ptr::eq(Variant::find(variant.name).unwrap(), variant), "{}", variant.name);
        }
        assert!(Variant::find("nonsense").is_none());
    }
}
