//! The control plane: what was configured, and making a [`Snapshot`] of it.
//!
//! Held by one thread at a time (taken out of the router while it works, so that no lock is held while memory is allocated and tables
//! are built). Thread context.

use alloc::{string::String, sync::Arc, vec::Vec};

use config::{Config, RouteTarget};
use fib::{NextHop, NextHopKind, Rib, Route, RouteSource, Table};
use forward::{IfConfig, Tables};
use ifnet::{IfIndex, Interface};
use ksync::rcu::Retired;
use wire::{Ipv4Cidr, Ipv4Prefix};

use crate::{
    ApplyError, MAX_INTERFACES, RouterError, interfaces,
    snapshot::Snapshot,
    sysctl::Settings,
    vlan::{VlanInterface, Vlans},
};

/// One port and what was configured for it.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) interface: Arc<dyn Interface>,
    pub(crate) addresses: Vec<Ipv4Cidr>,
    /// The configured limit; the interface's own limit counts as well.
    pub(crate) mtu: u16,
    pub(crate) enabled: bool,
    /// Whether it is meant to be used, by itself; `None` if it is not configured.
    pub(crate) meant: Option<bool>,
    /// Whether it could send when last looked at.
    pub(crate) up: bool,
    /// What makes it a VLAN, if it is one.
    pub(crate) vlan: Option<VlanPort>,
}

/// A VLAN and its port.
#[derive(Clone, Debug)]
pub(crate) struct VlanPort {
    /// The index of the port whose frames carry the tag.
    pub(crate) port: u16,
    pub(crate) interface: Arc<VlanInterface>,
    /// Whether it is still configured. It keeps its place if not, so that whatever was counted for it stays its own.
    pub(crate) configured: bool,
}

impl Port {
    pub(crate) fn new(interface: Arc<dyn Interface>) -> Self {
        let mtu = interface.mtu();
        let mut port =
            Self { interface, addresses: Vec::new(), mtu, enabled: true, meant: None, up: false, vlan: None };
        port.up = port.is_up();
        port
    }

    fn is_up(&self) -> bool {
        self.enabled && self.interface.running() && self.interface.link_up()
    }
}

/// All that was configured.
pub(crate) struct Control {
    pub(crate) ports: Vec<Port>,
    /// The routes; what readers have of them follows in place.
    pub(crate) table: Table,
    pub(crate) settings: Settings,
    /// Replaced snapshots that some pass may still be reading.
    pub(crate) retired: Vec<Retired<Snapshot>>,
    pub(crate) closed: bool,
    /// The limit that the protocol queues were given.
    pub(crate) queue_limit: usize,
    /// How many snapshots have been made.
    generation: u64,
}

/// What [`Control::apply`] replaced.
pub(crate) struct Before {
    ports: Vec<Port>,
    rib: Rib,
    settings: Settings,
}

/// Which interfaces changed their state, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkChanges {
    pub(crate) up: u64,
    pub(crate) down: u64,
}

impl Control {
    /// A router that has no interfaces and does not forward: what it stays as if its configuration is bad.
    pub(crate) fn new() -> Result<Self, RouterError> {
        let mut settings = Settings::default();
        settings.forward.forwarding = false;
        let queue_limit = settings.queue_limit;
        let table = Table::new(Rib::new())?;
        Ok(Self { ports: Vec::new(), table, settings, retired: Vec::new(), closed: false, queue_limit, generation: 0 })
    }

    pub(crate) fn attach(&mut self, interface: Arc<dyn Interface>) -> Result<IfIndex, RouterError> {
        if self.closed {
            return Err(RouterError::Closed);
        }
        push(&mut self.ports, Port::new(interface))
    }

    /// Replaces everything configured by `config`, or changes nothing. Returns what was there before.
    pub(crate) fn apply(&mut self, config: &Config) -> Result<Before, ApplyError> {
        if self.closed {
            return Err(RouterError::Closed.into());
        }
        let cards = self.ports.iter().filter(|port| port.vlan.is_none());
        let names: Vec<&str> = cards.map(|card| card.interface.name()).collect();
        config.check_interfaces(&names)?;
        config.check_sysctls(crate::sysctl::check_sysctl)?;
        let mut settings = Settings::default();
        for sysctl in &config.sysctls {
            settings.set(&sysctl.name, &sysctl.value)?;
        }
        let mut ports = self.ports.clone();
        add_vlans(&mut ports, config)?;
        let find = |name: &str| config.interfaces.iter().find(|wanted| wanted.name == name);
        for port in &mut ports {
            let wanted = find(port.interface.name());
            port.addresses = wanted.map(|wanted| wanted.addresses.clone()).unwrap_or_default();
            port.mtu = wanted.map_or(port.interface.mtu(), |wanted| wanted.mtu);
            port.meant = wanted.map(|wanted| wanted.up);
            if let Some(vlan) = &mut port.vlan {
                vlan.configured = wanted.is_some();
            }
        }
        interfaces::settle(&mut ports);
        ports.iter_mut().for_each(|port| port.up = port.is_up());
        let mut rib = connected_routes(&ports)?;
        for route in &config.routes {
            let route = static_route(&rib, route.prefix, route.target)?;
            rib.insert(route)?;
        }
        Ok(self.replace(Before { ports, rib, settings }))
    }

    /// Takes back an [`apply`](Self::apply) that could not be published.
    pub(crate) fn restore(&mut self, before: Before) {
        self.replace(before);
    }

    fn replace(&mut self, new: Before) -> Before {
        Before {
            ports: core::mem::replace(&mut self.ports, new.ports),
            rib: self.table.replace(new.rib),
            settings: core::mem::replace(&mut self.settings, new.settings),
        }
    }

    pub(crate) fn add_route(&mut self, prefix: Ipv4Prefix, target: RouteTarget) -> Result<(), RouterError> {
        let route = static_route(self.table.rib(), prefix, target)?;
        self.table.insert(route)?;
        Ok(())
    }

    pub(crate) fn remove_route(&mut self, prefix: Ipv4Prefix) -> Result<(), RouterError> {
        let removed = self.table.remove(prefix, RouteSource::Static);
        removed.map(|_| ()).ok_or(RouterError::NoSuchRoute(prefix))
    }

    /// Looks at all links; returns which changed since the last look.
    pub(crate) fn look_at_links(&mut self) -> LinkChanges {
        let mut changes = LinkChanges::default();
        for (place, port) in self.ports.iter_mut().enumerate() {
            let up = port.is_up();
            if up != port.up {
                port.up = up;
                *(if up { &mut changes.up } else { &mut changes.down }) |= 1 << place;
            }
        }
        changes
    }

    /// Makes the snapshot of the present state; routes of interfaces that are down are left out (RFC 1812 5.3.12.3).
    pub(crate) fn snapshot(&mut self) -> Result<Snapshot, RouterError> {
        if self.closed {
            return Ok(Snapshot::empty(Rib::new().build()?, true));
        }
        self.table.set_down((0_u16..).zip(&self.ports).filter(|(_, port)| !port.up).map(|(index, _)| index));
        self.table.commit()?;
        let interfaces = (0_u16..).zip(&self.ports).map(|(index, port)| IfConfig {
            index: IfIndex(index),
            mtu: port.mtu.min(port.interface.mtu()),
            mac: port.interface.mac(),
            addresses: port.addresses.clone(),
            up: port.up,
        });
        let unused = (0_u64..).zip(&self.ports).filter(|(_, port)| !port.enabled);
        self.generation += 1;
        Ok(Snapshot {
            generation: self.generation,
            tables: Tables::new(self.table.fib().clone(), interfaces.collect(), self.settings.forward),
            ports: self.ports.iter().map(|port| Arc::clone(&port.interface)).collect(),
            vlans: Vlans::new(
                self.vlans()
                    .filter(|(_, vlan)| vlan.configured)
                    .map(|(index, vlan)| (vlan.port, index, Arc::clone(&vlan.interface))),
            ),
            shut: unused.fold(0, |shut, (index, _)| shut | 1 << index),
            icmp_limit: self.settings.icmp_limit,
            closed: false,
        })
    }

    /// Returns all VLANs, each with its index.
    pub(crate) fn vlans(&self) -> impl Iterator<Item = (u16, &VlanPort)> {
        (0_u16..).zip(&self.ports).filter_map(|(index, port)| Some((index, port.vlan.as_ref()?)))
    }

    pub(crate) fn sysctl(&self, name: &str) -> Result<String, RouterError> {
        Ok(self.settings.get(name)?)
    }
}

/// Appends an interface; its place is its index.
pub(crate) fn push(ports: &mut Vec<Port>, port: Port) -> Result<IfIndex, RouterError> {
    let index = u16::try_from(ports.len()).ok().filter(|&index| usize::from(index) < MAX_INTERFACES);
    let index = index.ok_or(RouterError::TooManyInterfaces)?;
    ports.push(port);
    Ok(IfIndex(index))
}

/// Appends the VLANs of a configuration that are not there yet. Their ports are.
fn add_vlans(ports: &mut Vec<Port>, config: &Config) -> Result<(), RouterError> {
    for (wanted, vlan) in config.interfaces.iter().filter_map(|wanted| Some((wanted, wanted.vlan.as_ref()?))) {
        if ports.iter().any(|port| port.interface.name() == wanted.name) {
            continue;
        }
        let found = (0_u16..).zip(ports.iter()).find(|(_, port)| port.interface.name() == vlan.port);
        let Some((index, port)) = found else { continue };
        let interface = Arc::new(VlanInterface::new(&wanted.name, vlan.id, Arc::clone(&port.interface)));
        let vlan = VlanPort { port: index, interface: Arc::clone(&interface), configured: true };
        push(ports, Port { vlan: Some(vlan), ..Port::new(interface) })?;
    }
    Ok(())
}

/// Makes the routes that follow from the interfaces' addresses.
fn connected_routes(ports: &[Port]) -> Result<Rib, RouterError> {
    let mut rib = Rib::new();
    for route in (0_u16..).zip(ports).flat_map(|(index, port)| routes_of(index, port)) {
        rib.insert(route)?;
    }
    Ok(rib)
}

/// Returns the routes that follow from one interface's addresses.
pub(crate) fn routes_of(index: u16, port: &Port) -> impl Iterator<Item = Route> {
    port.addresses.iter().flat_map(move |cidr| {
        let local =
            |address, next_hop| Route { prefix: Ipv4Prefix::host(address), source: RouteSource::Local, next_hop };
        let network = (cidr.len() < 32).then(|| {
            let next_hop = NextHop::connected(index);
            Route { prefix: cidr.prefix(), source: RouteSource::Connected, next_hop }
        });
        let broadcasts = [cidr.broadcast(), cidr.network()].into_iter().flatten();
        let broadcasts = broadcasts.map(move |address| local(address, NextHop::broadcast(index)));
        [Some(local(cidr.address(), NextHop::local(index))), network].into_iter().flatten().chain(broadcasts)
    })
}

/// Returns the static route that is asked for, with the interface through which its gateway is reached.
fn static_route(rib: &Rib, prefix: Ipv4Prefix, target: RouteTarget) -> Result<Route, RouterError> {
    let next_hop = match target {
        RouteTarget::Blackhole => NextHop::BLACKHOLE,
        RouteTarget::Unreachable => NextHop::UNREACHABLE,
        RouteTarget::Via(gateway) => {
            let connected = rib.lookup(gateway).filter(|route| route.next_hop.via == NextHopKind::Connected);
            NextHop::gateway(connected.ok_or(RouterError::BadGateway(prefix))?.next_hop.out, gateway)
        }
    };
    Ok(Route { prefix, source: RouteSource::Static, next_hop })
}
