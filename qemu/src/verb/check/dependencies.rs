//! Who may depend on whom: the README's rules for the rooms, over cargo's own metadata.
//!
//! Only what ends up in a program counts; what tests depend on does not.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};
use sluice::{progress::Progress, workspace::Workspace};

/// A rule: crates in the folder (or of the name) `who` never reach any of `what`, not even through others.
struct Forbidden {
    who: &'static str,
    what: &'static [&'static str],
    why: &'static str,
}

const FORBIDDEN: &[Forbidden] = &[
    Forbidden {
        who: "net/",
        what: &["drivers/", "machine", "ithread", "sched", "bus_dma", "system", "kmain", "shutdown"],
        why: "the network code runs on any system",
    },
    Forbidden {
        who: "drivers/",
        what: &["forward", "fib", "arp", "router", "netisr", "machine", "system", "kmain"],
        why: "drivers know interfaces and packets, and who receives them is handed in",
    },
    Forbidden {
        who: "shutdown",
        what: &["drivers/", "net/", "machine", "ithread", "bus_dma", "system", "kmain"],
        why: "the sequencer knows traits and no devices",
    },
    Forbidden {
        who: "ddb",
        what: &["machine", "ksync", "sched", "ithread", "drivers/", "net/", "system"],
        why: "the debugger's language looks at any machine that stands still, and takes no lock",
    },
    Forbidden { who: "ithread", what: &["machine", "drivers/", "net/"], why: "it is plugged into the machine" },
    Forbidden { who: "sched", what: &["machine", "drivers/", "net/"], why: "it is plugged into the machine" },
    Forbidden { who: "bus_dma", what: &["machine", "drivers/"], why: "it is plugged into the machine" },
    Forbidden { who: "crashdump", what: &["kernel/", "drivers/", "net/"], why: "host and kernel share it" },
    Forbidden {
        who: "kernel/gdb",
        what: &["kernel/", "drivers/", "net/"],
        why: "it knows a stopped machine and a line by traits alone",
    },
    Forbidden {
        who: "kernel/symbols",
        what: &["kernel/", "drivers/", "net/", "boot/", "qemu"],
        why: "host and kernel share it, and panics use it",
    },
    Forbidden { who: "boot/config", what: &["kernel/", "drivers/"], why: "host and kernel share it" },
    Forbidden { who: "boot/fat", what: &["kernel/", "drivers/"], why: "host and kernel share it" },
    Forbidden {
        who: "kernel/",
        what: &["boot/image", "boot/stick", "qemu", "tests/nic_model", "tests/races"],
        why: "those are for hosts",
    },
];

/// A rule: of our crates only `who` depend on the library `what` themselves.
struct Reserved {
    what: &'static str,
    who: &'static [&'static str],
}

const RESERVED: &[Reserved] = &[
    Reserved { what: "x86_64", who: &["machine", "kmain"] },
    Reserved { what: "bootloader_api", who: &["machine", "kmain", "ktest-kernel"] },
    Reserved { what: "uart_16550", who: &["machine", "kmain"] },
    Reserved { what: "linked_list_allocator", who: &["machine", "kmain"] },
    Reserved { what: "volatile", who: &["machine", "kmain"] },
    Reserved { what: "raw-cpuid", who: &["machine"] },
    Reserved { what: "acpi", who: &["machine"] },
    Reserved { what: "spin", who: &["ksync"] },
    Reserved { what: "pci_types", who: &["pci", "machine"] },
    Reserved { what: "bootloader", who: &["image"] },
    Reserved { what: "fatfs", who: &["image", "stick"] },
    Reserved { what: "mbrman", who: &["image", "stick"] },
    Reserved { what: "gdbstub", who: &["gdb"] },
    Reserved { what: "gdbstub_arch", who: &["gdb"] },
    Reserved { what: "gimli", who: &["sluice"] },
    Reserved { what: "object", who: &["sluice"] },
];

/// Our crates, what each depends on itself, and in which folder it is.
#[derive(Debug, Default)]
struct Graph {
    edges: BTreeMap<String, BTreeSet<String>>,
    folders: BTreeMap<String, String>,
}

pub(super) fn check(workspace: &Workspace, progress: Progress) -> Result<()> {
    let metadata = MetadataCommand::new().current_dir(workspace.root()).no_deps().exec()?;
    let graph = Graph::of(&metadata)?;
    let offences = graph.offences();
    for offence in &offences {
        progress.say(offence);
    }
    if !offences.is_empty() {
        bail!("{} forbidden dependencies", offences.len());
    }
    progress.say(&format!("{} crates depend on each other as they may", graph.edges.len()));
    Ok(())
}

impl Graph {
    fn of(metadata: &Metadata) -> Result<Self> {
        let mut graph = Self::default();
        for package in metadata.workspace_packages() {
            let folder = package.manifest_path.parent().context("a manifest is in a folder")?;
            let folder = folder.strip_prefix(&metadata.workspace_root).context("a member is in the workspace")?;
            let needed = package.dependencies.iter().filter(|needed| needed.kind != DependencyKind::Development);
            graph.add(package.name.as_str(), folder.as_str(), needed.map(|needed| needed.name.clone()));
        }
        Ok(graph)
    }

    fn add(&mut self, name: &str, folder: &str, needed: impl Iterator<Item = String>) {
        self.folders.insert(name.to_owned(), folder.to_owned());
        self.edges.insert(name.to_owned(), needed.collect());
    }

    /// Returns whether `name` is the crate, or in the folder, that a rule speaks of.
    fn is(&self, name: &str, whom: &str) -> bool {
        let folder = self.folders.get(name).map_or("", String::as_str);
        name == whom || folder == whom || (whom.ends_with('/') && folder.starts_with(whom))
    }

    /// Returns the way from `start` to each crate that it reaches, itself excluded.
    fn ways(&self, start: &str) -> BTreeMap<&str, Vec<&str>> {
        let mut ways: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut open: Vec<Vec<&str>> = vec![vec![]];
        while let Some(way) = open.pop() {
            let last = way.last().copied().unwrap_or(start);
            for next in self.edges.get(last).into_iter().flatten().filter(|next| self.edges.contains_key(*next)) {
                if !ways.contains_key(next.as_str()) {
                    let longer: Vec<&str> = way.iter().copied().chain([next.as_str()]).collect();
                    ways.insert(next, longer.clone());
                    open.push(longer);
                }
            }
        }
        ways
    }

    /// Describes every dependency that a rule forbids.
    fn offences(&self) -> Vec<String> {
        let mut offences = Vec::new();
        for name in self.edges.keys() {
            for rule in FORBIDDEN.iter().filter(|rule| self.is(name, rule.who)) {
                for (reached, way) in self.ways(name) {
                    if rule.what.iter().any(|what| self.is(reached, what)) {
                        offences.push(format!("{name} -> {}: forbidden, {}", way.join(" -> "), rule.why));
                    }
                }
            }
            let needed = self.edges.get(name).into_iter().flatten();
            for rule in needed.filter_map(|needed| RESERVED.iter().find(|rule| rule.what == needed)) {
                if !rule.who.contains(&name.as_str()) {
                    offences.push(format!("{name} -> {}: only {} may", rule.what, rule.who.join(" and ")));
                }
            }
        }
        offences
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a graph of crates: name, folder, dependencies.
    fn graph(crates: &[(&str, &str, &[&str])]) -> Graph {
        let mut graph = Graph::default();
        for (name, folder, needed) in crates {
            graph.add(name, folder, needed.iter().map(|name| (*name).to_owned()));
        }
        graph
    }

    #[test]
    fn allowed_dependencies_are_no_offence() {
        let graph = graph(&[
            ("forward", "net/forward", &["fib", "wire"]),
            ("fib", "net/fib", &["ksync"]),
            ("wire", "net/wire", &[]),
            ("ksync", "kernel/ksync", &["spin"]),
            ("e1000", "drivers/e1000", &["bus_dma", "pktbuf"]),
            ("bus_dma", "kernel/bus_dma", &["pktbuf"]),
            ("pktbuf", "net/pktbuf", &["ksync"]),
        ]);
        assert_eq!(graph.offences(), Vec::<String>::new());
    }

    #[test]
    fn a_forbidden_dependency_is_found_through_others() {
        let graph = graph(&[
            ("forward", "net/forward", &["fib"]),
            ("fib", "net/fib", &["e1000"]),
            ("e1000", "drivers/e1000", &[]),
        ]);
        let offences = graph.offences();
        assert_eq!(offences.len(), 2, "{offences:?}");
        assert!(offences[1].starts_with("forward -> fib -> e1000: forbidden"), "{offences:?}");
    }

    #[test]
    fn a_reserved_library_is_for_its_crates_alone() {
        let graph = graph(&[("wire", "net/wire", &["spin"]), ("ksync", "kernel/ksync", &["spin"])]);
        assert_eq!(graph.offences(), ["wire -> spin: only ksync may"]);
    }

    #[test]
    fn crates_that_depend_on_each_other_in_tests_only_end_the_search() {
        let graph = graph(&[("a", "net/a", &["b"]), ("b", "net/b", &["a"])]);
        assert_eq!(graph.offences(), Vec::<String>::new());
    }
}
