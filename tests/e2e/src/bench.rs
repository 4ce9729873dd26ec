//! A router between built-in hosts: [`Bench`], and the [`Port`]s it is planned with.
//!
//! Port `n` (em*n*) has the address 10.0.*n+1*.1/24, and the host at its far end 10.0.*n+1*.2.

use std::{
    fmt::Write as _,
    net::Ipv4Addr,
    path::PathBuf,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use sluice::{
    host::{FlowId, FlowReport, FlowSpec, HostId, HostSpec, Lab},
    machine::{Machine, Nic, NicModel, Wire},
    testbed::{self, Testbed},
};
use wire::{Ipv4Cidr, MacAddr};

use crate::{PATIENCE, Router, router, workspace};

/// Tests that send as much as the router takes have the machine to themselves; others run side by side.
static ORDER: RwLock<()> = RwLock::new(());

/// The place of a bench in that order; held until it is gone.
#[derive(Debug)]
#[expect(dead_code, reason = "guards are held, not read")]
pub(crate) enum Place {
    Alone(RwLockWriteGuard<'static, ()>),
    Beside(RwLockReadGuard<'static, ()>),
}

impl Place {
    pub(crate) fn take(alone: bool) -> Self {
        if alone {
            Self::Alone(ORDER.write().unwrap_or_else(PoisonError::into_inner))
        } else {
            Self::Beside(ORDER.read().unwrap_or_else(PoisonError::into_inner))
        }
    }
}

/// A port of the router, as a test wants it.
#[derive(Clone, Debug, Default)]
pub struct Port {
    /// Its MTU, if it is not to be 1500. The host at its far end has the same if it is more.
    pub mtu: Option<u16>,
    /// Its PCI slot, if it matters.
    pub slot: Option<u8>,
    /// The bridge of the machine that it is behind, if it is.
    pub bus: Option<&'static str>,
}

/// A router between built-in hosts, one for each port.
#[derive(Debug)]
pub struct Bench {
    /// The router.
    pub router: Router,
    /// The hosts' lab.
    pub lab: Lab,
    /// The hosts, in the order of the ports.
    pub hosts: Vec<HostId>,
    _place: Place,
}

/// What a bench is made of, before it boots.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The machine, without its network interfaces.
    pub machine: Machine,
    /// The ports.
    pub ports: Vec<Port>,
    /// What its cards are.
    pub cards: NicModel,
    /// The configuration file, if it is not to be made from the ports.
    pub config: Option<String>,
    /// What else the configuration file says.
    pub more: String,
    /// The disk image, if it is not to be made with that configuration.
    pub image: Option<PathBuf>,
    /// Whether nothing else may run meanwhile.
    pub alone: bool,
}

impl Plan {
    /// Boots the router, and waits until its console answers and every host is plugged in.
    ///
    /// # Errors
    /// When it does not boot.
    pub fn boot(self) -> Result<Bench> {
        let place = Place::take(self.alone);
        let config = self.config.clone().unwrap_or_else(|| self.written_config());
        let image = match &self.image {
            Some(image) => image.clone(),
            None => router::image(self.machine.firmware, &config)?,
        };
        let hosts = self.ports.iter().enumerate().map(|(index, port)| {
            let (address, router) = (cidr(Bench::host_address(index)), Bench::own_address(index));
            let spec = HostSpec::new(&format!("host {index}"), address, router);
            HostSpec { mtu: port.mtu.unwrap_or(spec.mtu).max(spec.mtu), ..spec }
        });
        let nic = |port: &Port| Nic {
            slot: port.slot,
            bus: port.bus.map(Into::into),
            model: self.cards,
            ..Nic::new(Wire::Nothing)
        };
        let machine = Machine { nics: self.ports.iter().map(nic).collect(), ..self.machine };
        let plan = testbed::Plan { machine, config, hosts: hosts.collect() };
        let Testbed { guest, lab, hosts } = Testbed::start(&plan, workspace(), &image)?;
        let router = Router::running(guest)?;
        for host in &hosts {
            lab.wait_connected(*host, PATIENCE)?;
        }
        Ok(Bench { router, lab, hosts, _place: place })
    }

    /// Boots, and waits until every host has reached every other, so that no address is unknown any more.
    ///
    /// # Errors
    /// When that does not happen.
    pub fn boot_warm(self) -> Result<Bench> {
        let mut bench = self.boot()?;
        bench.wait_for_links()?;
        bench.warm_up()?;
        Ok(bench)
    }

    /// The same with cards of another model.
    #[must_use]
    pub fn cards(self, cards: NicModel) -> Self {
        Self { cards, ..self }
    }

    /// The same with settings in the configuration: lines of `[sysctl]`.
    #[must_use]
    pub fn tuned(self, settings: &str) -> Self {
        Self { more: format!("{}[sysctl]\n{settings}\n", self.more), ..self }
    }

    /// Nothing else runs meanwhile.
    #[must_use]
    pub fn alone(self) -> Self {
        Self { alone: true, ..self }
    }

    /// Returns the configuration file that is made from the ports.
    #[must_use]
    pub fn written_config(&self) -> String {
        let mut config = String::new();
        for (index, port) in self.ports.iter().enumerate() {
            let address = Bench::own_address(index);
            // Writing to a String does not fail.
            let _ = writeln!(config, "[[interface]]\nname = \"em{index}\"\naddresses = [\"{address}/24\"]");
            if let Some(mtu) = port.mtu {
                let _ = writeln!(config, "mtu = {mtu}");
            }
        }
        config + &self.more
    }
}

impl Bench {
    /// Plans a bench of so many equal ports on the default machine.
    #[must_use]
    pub fn of(ports: usize) -> Plan {
        Self::with_ports(vec![Port::default(); ports])
    }

    /// Plans a bench of the given ports on the default machine.
    #[must_use]
    pub fn with_ports(ports: Vec<Port>) -> Plan {
        let cards = NicModel::default();
        Plan { machine: Machine::default(), ports, cards, config: None, more: String::new(), image: None, alone: false }
    }

    /// Returns the router's address on a port.
    #[must_use]
    pub fn own_address(port: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, network(port), 1)
    }

    /// Returns the address of the host at a port.
    #[must_use]
    pub fn host_address(port: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, network(port), 2)
    }

    /// Returns the station address of a port.
    #[must_use]
    pub fn own_mac(port: usize) -> MacAddr {
        Nic::new(Wire::Nothing).address(port)
    }

    /// Returns the station address of the host at a port.
    #[must_use]
    pub fn host_mac(&self, port: usize) -> MacAddr {
        self.lab.spec(self.host(port)).mac
    }

    /// Returns the host at a port.
    ///
    /// # Panics
    /// When there is no such port.
    #[must_use]
    pub fn host(&self, port: usize) -> HostId {
        *self.hosts.get(port).expect("a port of this bench")
    }

    /// Waits until all links are up for the router.
    ///
    /// # Errors
    /// When one stays down.
    pub fn wait_for_links(&mut self) -> Result<()> {
        let count = self.hosts.len();
        let is_up = |output: &str| output.lines().filter(|line| line.contains(": up mac ")).count() == count;
        self.router.wait_until("show interfaces", is_up).map(drop)
    }

    /// Lets every host reach its neighbour in the order of ports, and that one it.
    ///
    /// # Errors
    /// When there is no reply.
    pub fn warm_up(&mut self) -> Result<()> {
        for port in 0..self.hosts.len() {
            let next = (port + 1) % self.hosts.len();
            self.lab.ping_until_reply(self.host(port), Self::host_address(next), PATIENCE)?;
        }
        Ok(())
    }

    /// Runs flows to their end, side by side, and returns how they went.
    ///
    /// # Errors
    /// When one does not end.
    pub fn run(&self, flows: impl IntoIterator<Item = FlowSpec>, limit: Duration) -> Result<Vec<FlowReport>> {
        let started: Vec<FlowId> = flows.into_iter().map(|flow| self.lab.start_flow(flow)).collect();
        started.into_iter().map(|flow| self.lab.wait_flow(flow, limit)).collect()
    }

    /// Runs flows to their end and makes sure that every packet arrived once, in order and intact. Returns how many.
    ///
    /// # Errors
    /// When one did not; with the interfaces' and the router's own account.
    pub fn run_perfectly(&mut self, flows: impl IntoIterator<Item = FlowSpec>, limit: Duration) -> Result<u64> {
        let reports = self.run(flows, limit)?;
        self.expect_perfect(&reports)
    }

    /// Makes sure that every packet of these flows arrived once, in order and intact. Returns how many.
    ///
    /// # Errors
    /// As [`run_perfectly`](Self::run_perfectly).
    pub fn expect_perfect(&mut self, reports: &[FlowReport]) -> Result<u64> {
        if let Some(flawed) = reports.iter().find(|report| !report.is_perfect() || !report.is_over) {
            let interfaces = self.router.command("show interfaces")?;
            let audit = self.router.command("show audit")?;
            let netisr = self.router.command("show netisr")?;
            ensure!(false, "a flow is flawed: {flawed:#?}\n{interfaces}\n{audit}\n{netisr}");
        }
        Ok(reports.iter().map(|report| report.delivered).sum())
    }

    /// Ends the test as [`Router::finish`] does.
    ///
    /// # Errors
    /// As there.
    pub fn finish(self) -> Result<()> {
        self.router.finish().context("at the end of the test")
    }
}

fn network(port: usize) -> u8 {
    u8::try_from(port + 1).unwrap_or(u8::MAX)
}

fn cidr(address: Ipv4Addr) -> Ipv4Cidr {
    Ipv4Cidr::new(address, 24).expect("24 is a prefix length")
}
