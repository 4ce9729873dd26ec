//! DPDK's testpmd as a subject: [`Dpdk`].
//!
//! It runs in the Linux guest of the other peers, polls both cards from user space (uio_pci_generic, huge pages), and in its
//! forward mode `mac` writes the station addresses of each frame and sends it out of the other port. It knows no IP: no
//! ARP, no lookup, no time to live, no checksum. So it is a bound for what drivers and memory cost rather than a router.

use std::{
    fmt::Write as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use super::{
    guest::{self, BOOT_LIMIT, Kit, PROLOGUE, Plan},
    library,
};
use crate::{
    bench::{Behaviour, HOSTS, ROUTER, Running, Setup, Subject},
    prepare::{self, PackageSet},
    progress::Progress,
};

/// The package with testpmd, which needs every library of DPDK's, and one with libraries whose name does not show it.
const PACKAGE: &str = "dpdk-dev";
const PACKAGES: &[&str] = &[PACKAGE, "ibverbs-providers"];

/// The libraries that are opened by name: the cards' driver, the memory pools' ring, and what ending a thread needs.
const PLUGINS: [&str; 3] = ["librte_net_e1000.so.", "librte_mempool_ring.so.", "libgcc_s.so."];

/// Debian's DPDK is compiled for these, which QEMU's plain processor does not have.
const PROCESSOR_FEATURES: &str = "+ssse3,+sse4.1,+sse4.2,+popcnt";

/// Huge pages of 2 MiB for the packet buffers: [`BUFFERS`] of 2.3 KiB, and DPDK's own tables.
const HUGE_PAGES: u32 = 48;
const BUFFERS: u32 = 8192;

/// What is set for speed: bigger rings than the default of 256, and one write of the receive ring's tail for each burst.
const TUNING: &str = "--rxd=1024 --txd=1024 --rxfreet=32 --burst=32";

/// How long testpmd may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// testpmd in a Linux guest.
#[derive(Debug)]
pub struct Dpdk {
    kit: Kit,
    packages: PackageSet,
}

impl Dpdk {
    /// Gets what the guest is made of.
    ///
    /// # Errors
    /// When a package cannot be had.
    pub fn obtain(progress: Progress) -> Result<Self> {
        let kit = Kit::obtain(progress)?;
        let packages = prepare::package_set(kit.workspace(), "dpdk", PACKAGES, progress)?;
        Ok(Self { kit, packages })
    }
}

impl Subject for Dpdk {
    fn name(&self) -> &'static str {
        "dpdk"
    }

    fn describe(&self) -> String {
        let version = self.packages.version(PACKAGE).unwrap_or_else(|| "an unknown DPDK".to_owned());
        format!(
            "testpmd of {version} on {}; forward mode mac, {TUNING}; one polling thread for each processor, at most two",
            self.kit.kernel_version()
        )
    }

    fn boot(&self, setup: &Setup) -> Result<Box<dyn Running>> {
        let root = self.packages.root();
        let plugins = PLUGINS.iter().map(|prefix| library::beginning_with(root, prefix)).collect::<Result<Vec<_>>>()?;
        let drivers = plugins.iter().map(|(name, _)| name.as_str()).filter(|name| name.starts_with("librte_"));
        let drivers: Vec<&str> = drivers.collect();
        let mut initramfs = self.kit.initramfs(&init(&drivers, setup.cpus), &["uio_pci_generic"])?;
        let program = guest::first(root, &["usr/bin/dpdk-testpmd"])?;
        guest::add_program(&mut initramfs, root, "dpdk-testpmd", &program, &plugins)?;
        let plan = Plan {
            initramfs,
            command_line: format!("hugepages={HUGE_PAGES}"),
            processor_features: PROCESSOR_FEATURES,
            extra_memory: 0,
            hostname: "testpmd",
            behaviour: Behaviour::REWRITER,
            power_off: "quit",
        };
        let mut running = self.kit.boot(setup, plan)?;
        wait_links(&mut running)?;
        running.command("start", ANSWER_LIMIT)?;
        Ok(Box::new(running))
    }
}

/// Waits until both links are up, as frames before that are lost.
fn wait_links(running: &mut impl Running) -> Result<()> {
    let deadline = Instant::now() + BOOT_LIMIT;
    loop {
        let summary = running.command("show port summary all", ANSWER_LIMIT)?;
        if links_up(&summary) == ROUTER.len() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!("the links do not come up:\n{summary}");
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// Returns how many ports a summary of testpmd shows as up: the column after the driver's name.
fn links_up(summary: &str) -> usize {
    let rows = summary.lines().filter_map(|line| line.split_once("net_e1000")?.1.split_whitespace().nth(1));
    rows.filter(|status| *status == "up").count()
}

/// Returns the script that starts testpmd; when it ends, so does the machine.
fn init(drivers: &[&str], cpus: u32) -> String {
    let mut text = PROLOGUE.to_owned();
    text += "must insmod /lib/modules/uio.ko\n";
    text += "must insmod /lib/modules/uio_pci_generic.ko\n";
    // The 82540EM, which the driver does not claim by itself.
    text += "must sh -c 'echo 8086 100e > /sys/bus/pci/drivers/uio_pci_generic/new_id'\n";
    text += "mkdir -p /dev/hugepages\n";
    text += "must mount -t hugetlbfs none /dev/hugepages\n";
    let drivers: String = drivers.iter().map(|driver| format!(" -d {driver}")).collect();
    let (places, threads) = places(cpus);
    let peers: String =
        HOSTS.iter().enumerate().map(|(port, host)| format!(" --eth-peer={port},{}", host.mac)).collect();
    // Writing to a String does not fail.
    let _ = writeln!(
        text,
        "setsid cttyhack dpdk-testpmd{drivers} --lcores='{places}' --no-telemetry --in-memory -- --interactive \
         --forward-mode=mac{peers} --nb-cores={threads} --total-num-mbufs={BUFFERS} {TUNING}"
    );
    text += "poweroff -f\n";
    text
}

/// Returns which of DPDK's threads run on which processor, and how many of them forward. The first, which waits for
/// commands, shares a processor with the second.
fn places(cpus: u32) -> (&'static str, u32) {
    if cpus == 1 { ("(0-1)@0", 1) } else { ("(0-1)@0,2@1", 2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_port_sends_to_its_host_and_each_processor_has_a_polling_thread() {
        let script = init(&["librte_net_e1000.so.23"], 1);
        assert!(script.contains("testpmd -d librte_net_e1000.so.23 --lcores='(0-1)@0' "), "{script}");
        assert!(script.contains(" --eth-peer=0,02:48:0a:00:01:02 --eth-peer=1,02:48:0a:00:02:02 "), "{script}");
        assert!(script.contains(" --nb-cores=1 "), "{script}");
        let script = init(&[], 2);
        assert!(script.contains(" --lcores='(0-1)@0,2@1' ") && script.contains(" --nb-cores=2 "), "{script}");
    }

    #[test]
    fn a_link_is_up_when_its_row_says_so() {
        let summary = "Number of available ports: 2\n\
            Port MAC Address       Name         Driver         Status   Link\n\
            0    52:54:00:51:1c:00 0000:00:04.0 net_e1000_em   up       1 Gbps\n\
            1    52:54:00:51:1c:01 0000:00:05.0 net_e1000_em   down     None\n";
        assert_eq!(links_up(summary), 1);
        assert_eq!(links_up(&summary.replace("down", "up")), 2);
        assert_eq!(links_up(""), 0);
    }
}
