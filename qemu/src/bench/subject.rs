//! What is measured, whatever it is: [`Subject`], what it is booted with, and what can be asked of it while it runs.
//!
//! The topology is always the same: the subject has [`ROUTER`]'s addresses on its two ports, each a /24, and the generator
//! plays the two [`HOSTS`], one at each port. The generator listens on the ports' sockets and QEMU connects to them
//! (`-netdev stream,server=off`); it answers ARP requests for the hosts' addresses.

use std::{net::Ipv4Addr, path::PathBuf, time::Duration};

use anyhow::{Result, bail};
use wire::{Ipv4Cidr, Ipv4Prefix, MacAddr};

use crate::machine::{Accelerator, Machine, NicModel};

/// One end of a link: who is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extremity {
    /// Its station address.
    pub mac: MacAddr,
    /// Its address, in a /24.
    pub address: Ipv4Addr,
}

/// The hosts that the generator plays, in the order of the ports.
pub const HOSTS: [Extremity; 2] = [
    Extremity { mac: MacAddr([0x02, 0x48, 10, 0, 1, 2]), address: Ipv4Addr::new(10, 0, 1, 2) },
    Extremity { mac: MacAddr([0x02, 0x48, 10, 0, 2, 2]), address: Ipv4Addr::new(10, 0, 2, 2) },
];

/// The subject's ports, in their order. QEMU gives its cards these station addresses.
pub const ROUTER: [Extremity; 2] = [
    Extremity { mac: MacAddr([0x52, 0x54, 0x00, 0x51, 0x1c, 0x00]), address: Ipv4Addr::new(10, 0, 1, 1) },
    Extremity { mac: MacAddr([0x52, 0x54, 0x00, 0x51, 0x1c, 0x01]), address: Ipv4Addr::new(10, 0, 2, 1) },
];

/// The VLANs of the two ports where frames are tagged.
pub const VLANS: [u16; 2] = [10, 20];

/// The longest frame that is sent, in octets, check sequence counted and tag not: that of an MTU of 9000.
pub const LONGEST_FRAME: usize = 9018;

/// The longest frame that everything takes.
pub const USUAL_FRAME: usize = 1518;

/// A plugin for QEMU's TCG: `-plugin LIBRARY,ARGUMENTS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginLoad {
    /// The shared library.
    pub library: PathBuf,
    /// Its arguments, each `name=value`.
    pub arguments: Vec<String>,
}

impl PluginLoad {
    /// Returns the value of QEMU's option `-plugin`.
    #[must_use]
    pub fn option(&self) -> String {
        let library = self.library.display().to_string();
        // QEMU's options separate their parts by commas, so a comma in a value is written twice.
        let words = [library].into_iter().chain(self.arguments.iter().cloned()).map(|word| word.replace(',', ",,"));
        words.collect::<Vec<_>>().join(",")
    }
}

/// What a subject is booted with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The number of processors.
    pub cpus: u32,
    /// The memory in MiB; the subject's own default when not given.
    pub memory: Option<u32>,
    /// The unix stream sockets of the two ports, absolute paths. The generator listens on them before the subject boots.
    pub ports: [PathBuf; 2],
    /// What is loaded into QEMU to count.
    pub plugin: Option<PluginLoad>,
    /// Further static routes, each to one of the [`HOSTS`], or to another address that the generator plays.
    pub routes: Vec<(Ipv4Prefix, Ipv4Addr)>,
    /// Further addresses of the subject, each on the port of that index. The generator plays all other hosts of their networks.
    pub networks: Vec<(usize, Ipv4Cidr)>,
    /// How many cards there are beside the two ports, each with an address and a link, and without traffic. Sluice alone has them.
    pub idle_ports: usize,
    /// What the cards are.
    pub cards: NicModel,
    /// Whether frames are tagged with [`VLANS`]. Sluice alone has them.
    pub tagged: bool,
    /// The longest IP packet in octets where it is not 1500. Sluice alone has another.
    pub mtu: Option<u16>,
    /// Settings (`sysctl`) by the names that Sluice has for them; others ignore them.
    pub settings: Vec<(String, String)>,
}

impl Setup {
    /// Makes a setup of so many processors on the sockets `ports`, and otherwise without anything special.
    #[must_use]
    pub const fn new(cpus: u32, ports: [PathBuf; 2]) -> Self {
        Self {
            cpus,
            memory: None,
            ports,
            plugin: None,
            routes: Vec::new(),
            networks: Vec::new(),
            idle_ports: 0,
            cards: NicModel::E1000,
            tagged: false,
            mtu: None,
            settings: Vec::new(),
        }
    }

    /// Puts onto `machine` what holds for every subject that is a [`Machine`]: processors, memory, plugin.
    pub fn apply(&self, machine: &mut Machine) {
        machine.smp = self.cpus;
        machine.memory = self.memory.unwrap_or(machine.memory);
        if let Some(plugin) = &self.plugin {
            // Nothing but TCG knows plugins.
            machine.accelerator = Some(Accelerator::Tcg);
            machine.extra.extend(["-plugin".to_owned(), plugin.option()]);
        }
    }
}

/// What a subject does to the frames it forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// Whether it is a router: lowers the time to live and updates the header checksum. Otherwise it changes the station
    /// addresses alone.
    pub lowers_ttl: bool,
    /// Whether it answers ARP requests for [`ROUTER`]'s addresses; otherwise its cards have [`ROUTER`]'s station addresses.
    pub answers_arp: bool,
}

impl Behaviour {
    /// A router's.
    pub const ROUTER: Self = Self { lowers_ttl: true, answers_arp: true };
    /// That of something that rewrites station addresses and knows nothing else.
    pub const REWRITER: Self = Self { lowers_ttl: false, answers_arp: false };
}

/// Something that can be measured.
pub trait Subject {
    /// Returns its name in records: `sluice`, `linux`, `linux-tuned`, `dpdk`.
    fn name(&self) -> &str;

    /// Describes what exactly it is: versions, settings.
    fn describe(&self) -> String {
        self.name().to_owned()
    }

    /// Boots it and waits until it forwards, as far as it can tell.
    ///
    /// # Errors
    /// When it does not come up.
    fn boot(&self, setup: &Setup) -> Result<Box<dyn Running>>;
}

/// A subject that runs. Dropping it ends it.
pub trait Running {
    /// Returns QEMU's process id.
    fn process_id(&self) -> u32;

    /// Returns the ids of QEMU's threads that execute the guest's processors (QMP `query-cpus-fast`).
    fn vcpu_threads(&self) -> &[u32];

    /// Returns what it does to frames.
    fn behaviour(&self) -> Behaviour;

    /// Stops its processors until [`resume`](Self::resume), so that another subject has the machine for itself.
    ///
    /// # Errors
    /// When QEMU does not do it.
    fn pause(&mut self) -> Result<()>;

    /// Lets its processors run on.
    ///
    /// # Errors
    /// When QEMU does not do it.
    fn resume(&mut self) -> Result<()>;

    /// Gives its console a command and returns the output.
    ///
    /// # Errors
    /// When it has no console, or does not answer in time.
    fn command(&mut self, line: &str, limit: Duration) -> Result<String> {
        let _ = limit;
        bail!("there is no console to type {line:?} on")
    }

    /// Returns a command that changes nothing and has a short answer, to see whether the console answers.
    fn harmless_command(&self) -> Option<&str> {
        None
    }

    /// Returns everything its console has shown.
    fn transcript(&mut self) -> String {
        String::new()
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it does not end as it should.
    fn stop(self: Box<Self>) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Nic, Wire};

    #[test]
    fn the_cards_have_the_addresses_that_qemu_gives_them() {
        for (index, port) in ROUTER.iter().enumerate() {
            assert_eq!(Nic::new(Wire::Nothing).address(index), port.mac);
        }
    }

    #[test]
    fn a_plugin_is_an_option_of_qemu() {
        let plugin = PluginLoad { library: "/x/a,b.so".into(), arguments: vec!["out=/y".into(), "from=1".into()] };
        assert_eq!(plugin.option(), "/x/a,,b.so,out=/y,from=1");
        let mut machine = Machine::default();
        let setup = Setup { plugin: Some(plugin), memory: Some(64), ..Setup::new(3, ["a".into(), "b".into()]) };
        setup.apply(&mut machine);
        assert_eq!((machine.smp, machine.memory), (3, 64));
        assert_eq!(machine.extra, ["-plugin", "/x/a,,b.so,out=/y,from=1"]);
    }
}
