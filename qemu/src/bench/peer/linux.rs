//! Linux as a router: [`Linux`], as Debian ships its kernel or at the best tuning that is known for forwarding.
//!
//! The guest is made of Debian's packages: the kernel, the module e1000 or e1000e, busybox as `init`'s shell, iproute2 and ethtool.
//! No firewall and no connection tracking is loaded, and IPv6 is off, so that nothing but IPv4 forwarding is measured.

use std::fmt::Write as _;

use anyhow::Result;

use super::guest::{Kit, PROLOGUE, Plan};
use crate::{
    bench::{Behaviour, ROUTER, Running, Setup, Subject},
    machine::NicModel,
    progress::Progress,
};

/// The guest's name, and so its prompt.
const HOSTNAME: &str = "linux";

/// How many routes fit into a mebibyte of the guest's memory, at least, beyond what it has anyway.
const ROUTES_PER_MEBIBYTE: usize = 2000;

/// What is set differently from how the kernel is shipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tuning {
    name: &'static str,
    /// Parameters of the kernel's command line.
    kernel: &'static [&'static str],
    /// Parameters of the module e1000, one value for each card. The module e1000e has none of these.
    module: &'static [&'static str],
    /// Descriptors of each ring where they are no parameters of the module (ethtool -G).
    ring: Option<u16>,
    sysctls: &'static [(&'static str, &'static str)],
    /// Features of the cards that are switched off (ethtool -K).
    features_off: &'static [&'static str],
}

/// As shipped.
const SHIPPED: Tuning = Tuning { name: "linux", kernel: &[], module: &[], ring: None, sysctls: &[], features_off: &[] };

/// Best known for forwarding small packets through a card without offloads of use to a router.
const TUNED: Tuning = Tuning {
    name: "linux-tuned",
    kernel: &[
        // Neither the mitigations' flushes and indirect calls, nor clearing memory that is written at once anyway.
        "mitigations=off",
        "init_on_alloc=0",
        "init_on_free=0",
        "page_alloc.shuffle=0",
        "hardened_usercopy=off",
        "randomize_kstack_offset=off",
        // No security module, audit, or watchdog.
        "lsm=",
        "audit=0",
        "nowatchdog",
        "preempt=none",
        // The clock that is read at every interrupt is not given up for a slower one.
        "tsc=reliable",
    ],
    module: &["RxDescriptors=1024,1024", "TxDescriptors=1024,1024"],
    ring: Some(1024),
    sysctls: &[
        ("net.ipv4.ip_early_demux", "0"),
        ("net.core.netdev_budget", "600"),
        // The ring is the queue: fair queueing costs instructions for each packet, and a gigabit card has room.
        ("net.core.default_qdisc", "noqueue"),
    ],
    // Nothing is gained by merging packets that are taken apart again, and none of them are merged here.
    features_off: &["gro"],
};

/// A Linux guest that forwards.
#[derive(Debug)]
pub struct Linux {
    kit: Kit,
    tuning: Tuning,
}

impl Linux {
    /// Makes a router of Linux as it is shipped: `linux`.
    ///
    /// # Errors
    /// When a package cannot be had.
    pub fn shipped(progress: Progress) -> Result<Self> {
        Ok(Self { kit: Kit::obtain(progress)?, tuning: SHIPPED })
    }

    /// Makes a router of Linux at its best tuning: `linux-tuned`.
    ///
    /// # Errors
    /// When a package cannot be had.
    pub fn tuned(progress: Progress) -> Result<Self> {
        Ok(Self { kit: Kit::obtain(progress)?, tuning: TUNED })
    }
}

impl Subject for Linux {
    fn name(&self) -> &str {
        self.tuning.name
    }

    fn describe(&self) -> String {
        format!("{}; {}", self.kit.kernel_version(), self.tuning.describe())
    }

    fn boot(&self, setup: &Setup) -> Result<Box<dyn Running>> {
        let mut initramfs = self.kit.initramfs(&init(&self.tuning, setup), &[driver(setup.cards)])?;
        initramfs.file("etc/routes", routes(setup).as_bytes());
        let plan = Plan {
            initramfs,
            command_line: self.tuning.kernel.join(" "),
            processor_features: "",
            extra_memory: setup.routes.len().div_ceil(ROUTES_PER_MEBIBYTE),
            hostname: HOSTNAME,
            behaviour: Behaviour::ROUTER,
            power_off: "poweroff -f",
        };
        Ok(Box::new(self.kit.boot(setup, plan)?))
    }
}

impl Tuning {
    /// Describes the settings, for records.
    fn describe(&self) -> String {
        let sysctls = self.sysctls.iter().map(|(name, value)| format!("{name}={value}"));
        let off = self.features_off.iter().map(|feature| format!("{feature} off"));
        let settings: Vec<String> = [self.kernel, self.module].concat().iter().map(|text| (*text).to_owned()).collect();
        let settings: Vec<String> = settings.into_iter().chain(sysctls).chain(off).collect();
        let settings = if settings.is_empty() { "as shipped".to_owned() } else { settings.join(" ") };
        format!("e1000; {settings}; no netfilter, no IPv6; with several processors one card on each")
    }
}

/// Returns the name of the module that drives these cards.
const fn driver(cards: NicModel) -> &'static str {
    match cards {
        NicModel::E1000 => "e1000",
        NicModel::E1000e => "e1000e",
    }
}

/// Returns the script that makes the guest a router.
fn init(tuning: &Tuning, setup: &Setup) -> String {
    let cpus = setup.cpus;
    let mut text = PROLOGUE.to_owned();
    // Writing to a String does not fail.
    let driver = driver(setup.cards);
    let parameters = if setup.cards == NicModel::E1000 { tuning.module.join(" ") } else { String::new() };
    let _ = writeln!(text, "must insmod /lib/modules/{driver}.ko {parameters}");
    text +=
        "must sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1\n";
    for (name, value) in tuning.sysctls {
        let _ = writeln!(text, "must sysctl -qw {name}={value}");
    }
    for (index, port) in ROUTER.iter().enumerate() {
        for feature in tuning.features_off {
            let _ = writeln!(text, "must ethtool -K eth{index} {feature} off");
        }
        if let Some(ring) = tuning.ring.filter(|_| setup.cards != NicModel::E1000) {
            let _ = writeln!(text, "must ethtool -G eth{index} rx {ring} tx {ring}");
        }
        let _ = writeln!(text, "must ip address add {}/24 dev eth{index}", port.address);
        let _ = writeln!(text, "must ip link set eth{index} up");
    }
    if cpus > 1 {
        for index in 0..ROUTER.len() {
            let mask = 1 << (index % cpus as usize);
            // One line of a card, or the messages of its queues.
            let irqs = format!("sed -n 's/^ *\\([0-9]*\\):.* eth{index}\\(-.*\\)*$/\\1/p' /proc/interrupts");
            let _ = writeln!(text, "for irq in $({irqs}); do");
            let _ = writeln!(text, "must sh -c \"echo {mask:x} > /proc/irq/$irq/smp_affinity\"; done");
        }
    }
    for index in 0..ROUTER.len() {
        let _ = writeln!(text, "until [ \"$(cat /sys/class/net/eth{index}/carrier)\" = 1 ]; do usleep 50000; done");
    }
    text += "must /usr/bin/ip -batch /etc/routes\n";
    let _ = writeln!(text, "export PS1='{HOSTNAME}> '");
    text += "while :; do setsid cttyhack sh; done\n";
    text
}

/// Returns a setup's routes as commands of `ip -batch`.
fn routes(setup: &Setup) -> String {
    setup.routes.iter().fold(String::new(), |mut text, (prefix, via)| {
        let _ = writeln!(text, "route add {prefix} via {via}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::HOSTS;

    #[test]
    fn what_is_tuned_is_in_the_script_and_in_the_description() {
        let setup = |cpus| Setup::new(cpus, ["a".into(), "b".into()]);
        let (shipped, tuned) = (init(&SHIPPED, &setup(1)), init(&TUNED, &setup(1)));
        assert!(
            tuned.contains("insmod /lib/modules/e1000.ko RxDescriptors=1024,1024 TxDescriptors=1024,1024\n"),
            "{tuned}"
        );
        assert!(tuned.contains("ethtool -K eth0 gro off") && tuned.contains("ethtool -K eth1 gro off"), "{tuned}");
        assert!(tuned.contains("sysctl -qw net.ipv4.ip_early_demux=0"), "{tuned}");
        for word in ["Descriptors", "ethtool", "early_demux"] {
            assert!(!shipped.contains(word), "{shipped}");
        }
        for script in [shipped, tuned] {
            assert!(script.contains("ip address add 10.0.1.1/24 dev eth0\n"), "{script}");
            assert!(script.contains("ip address add 10.0.2.1/24 dev eth1\n"), "{script}");
            assert!(script.contains("net.ipv4.ip_forward=1 "), "{script}");
        }
        let description = TUNED.describe();
        for word in ["mitigations=off", "RxDescriptors=1024,1024", "net.core.netdev_budget=600", "gro off"] {
            assert!(description.contains(word), "{description}");
        }
        assert!(SHIPPED.describe().contains("as shipped"));
    }

    #[test]
    fn each_card_has_a_processor_of_its_own_where_there_are_several() {
        let setup = |cpus| Setup::new(cpus, ["a".into(), "b".into()]);
        assert!(!init(&SHIPPED, &setup(1)).contains("smp_affinity"));
        let script = init(&SHIPPED, &setup(2));
        let first = script.find("echo 1 > /proc/irq/").unwrap();
        let second = script.find("echo 2 > /proc/irq/").unwrap();
        assert!(script[..first].contains(" eth0\\(-.*\\)*$/"), "{script}");
        assert!(script[first..second].contains(" eth1\\(-.*\\)*$/"), "{script}");
    }

    #[test]
    fn an_82574l_has_a_driver_of_its_own_whose_rings_ethtool_sets() {
        let setup = Setup { cards: NicModel::E1000e, ..Setup::new(1, ["a".into(), "b".into()]) };
        let script = init(&TUNED, &setup);
        assert!(script.contains("insmod /lib/modules/e1000e.ko \n") && !script.contains("Descriptors="), "{script}");
        assert!(script.contains("ethtool -G eth1 rx 1024 tx 1024"), "{script}");
        assert!(!init(&SHIPPED, &setup).contains("ethtool"));
    }

    #[test]
    fn routes_are_added_in_one_go() {
        let mut setup = Setup::new(1, ["a".into(), "b".into()]);
        assert_eq!(routes(&setup), "");
        setup.routes.push(("192.168.0.0/16".parse().unwrap(), HOSTS[1].address));
        setup.routes.push(("172.16.0.0/12".parse().unwrap(), HOSTS[0].address));
        assert_eq!(routes(&setup), "route add 192.168.0.0/16 via 10.0.2.2\nroute add 172.16.0.0/12 via 10.0.1.2\n");
    }
}
