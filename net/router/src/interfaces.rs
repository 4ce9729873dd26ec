//! Interfaces that change while the router runs: VLANs that come and go, interfaces that are switched off and on.
//!
//! Key type: [`InterfaceError`]. Everything here publishes what it did before it returns. What follows from a state that has changed (routes
//! through the interface, its neighbours, the packets that wait for them) follows at the next [`Worker::tick`](crate::Worker::tick), as when
//! a cable is pulled; an interface that is off takes nothing in from the moment on that it is. Thread context; allocates.

use alloc::{string::String, sync::Arc, vec::Vec};
use core::fmt;

use config::Interface;
use fib::{Route, RouteSource};
use wire::{Ipv4Cidr, VlanId};

use crate::{
    Router, RouterError,
    control::{self, Control, Port, VlanPort},
    vlan::VlanInterface,
};

/// Why an interface is not changed. Nothing has been then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InterfaceError {
    /// There is no such interface, or it is not configured.
    Unknown(String),
    /// It is there already.
    Exists(String),
    /// It is a port, and not a VLAN of one: ports stay.
    NotVlan(String),
    /// The network of this address overlaps one that an interface has.
    Overlaps(Ipv4Cidr),
    /// It cannot be carried out.
    Router(RouterError),
}

impl<E: Into<RouterError>> From<E> for InterfaceError {
    fn from(error: E) -> Self {
        Self::Router(error.into())
    }
}

impl fmt::Display for InterfaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "{name} is not there, or not configured"),
            Self::Exists(name) => write!(f, "{name} is there already"),
            Self::NotVlan(name) => write!(f, "{name} is not a VLAN, such as em0.10"),
            Self::Overlaps(address) => write!(f, "the network of {address} overlaps another interface's"),
            Self::Router(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for InterfaceError {}

/// Works out which interfaces are used: each that is meant to be, a VLAN only with its port, if that is configured itself.
pub(crate) fn settle(ports: &mut [Port]) {
    let meant: Vec<_> = ports.iter().map(|port| port.meant).collect();
    for port in ports {
        let below = port.vlan.as_ref().and_then(|vlan| meant.get(usize::from(vlan.port)).copied().flatten());
        port.enabled = port.meant == Some(true) && below != Some(false);
    }
}

impl Control {
    fn place_of(&self, name: &str) -> Option<usize> {
        self.ports.iter().position(|port| port.interface.name() == name)
    }

    fn add_interface(&mut self, wanted: &Interface) -> Result<(), InterfaceError> {
        let Some(vlan) = &wanted.vlan else { return Err(InterfaceError::NotVlan(wanted.name.clone())) };
        let unknown = || InterfaceError::Unknown(vlan.port.clone());
        let below =
            self.place_of(&vlan.port).and_then(|place| Some((u16::try_from(place).ok()?, self.ports.get(place)?)));
        let (below, port) = below.ok_or_else(unknown)?;
        let (mtu, port) = (port.mtu, Arc::clone(&port.interface));
        let known = self.place_of(&wanted.name);
        if known.and_then(|place| self.ports.get(place)).is_some_and(|port| port.meant.is_some()) {
            return Err(InterfaceError::Exists(wanted.name.clone()));
        }
        let taken = || self.ports.iter().flat_map(|port| &port.addresses);
        let overlaps = |address: &&Ipv4Cidr| taken().any(|other| other.prefix().overlaps(address.prefix()));
        if let Some(address) = wanted.addresses.iter().find(overlaps) {
            return Err(InterfaceError::Overlaps(*address));
        }
        let place = match known {
            // It was there before: its place, and what was counted, are its own still.
            Some(place) => place,
            None => {
                let interface = Arc::new(VlanInterface::new(&wanted.name, vlan.id, port));
                let of = VlanPort { port: below, interface: Arc::clone(&interface), configured: false };
                control::push(&mut self.ports, Port { vlan: Some(of), ..Port::new(interface) })?.as_usize()
            }
        };
        let Some(port) = self.ports.get_mut(place) else { return Ok(()) };
        port.addresses.clone_from(&wanted.addresses);
        (port.mtu, port.meant) = (wanted.mtu.min(mtu), Some(wanted.up));
        port.vlan.iter_mut().for_each(|vlan| vlan.configured = true);
        for route in self.connected(place) {
            if let Err(error) = self.table.insert(route) {
                self.withdraw(place);
                return Err(error.into());
            }
        }
        settle(&mut self.ports);
        Ok(())
    }

    fn remove_interface(&mut self, name: &str) -> Result<(), InterfaceError> {
        let configured = |place: &usize| self.ports.get(*place).is_some_and(|port| port.meant.is_some());
        let place = self.place_of(name).filter(configured).ok_or_else(|| InterfaceError::Unknown(name.into()))?;
        if self.ports.get(place).is_none_or(|port| port.vlan.is_none()) {
            return Err(InterfaceError::NotVlan(name.into()));
        }
        self.withdraw(place);
        settle(&mut self.ports);
        Ok(())
    }

    /// Takes an interface's addresses, and the routes that follow from them.
    fn withdraw(&mut self, place: usize) {
        for route in self.connected(place) {
            self.table.remove(route.prefix, route.source);
        }
        if let Some(port) = self.ports.get_mut(place) {
            port.addresses.clear();
            port.meant = None;
            port.vlan.iter_mut().for_each(|vlan| vlan.configured = false);
        }
    }

    fn connected(&self, place: usize) -> Vec<Route> {
        let port = self.ports.get(place).zip(u16::try_from(place).ok());
        let routes: Vec<Route> = port.into_iter().flat_map(|(port, index)| control::routes_of(index, port)).collect();
        debug_assert!(routes.iter().all(|route| route.source != RouteSource::Static));
        routes
    }

    fn switch_interface(&mut self, name: &str, on: bool) -> Result<(), InterfaceError> {
        let port = self.ports.iter_mut().find(|port| port.interface.name() == name && port.meant.is_some());
        port.ok_or_else(|| InterfaceError::Unknown(name.into()))?.meant = Some(on);
        settle(&mut self.ports);
        Ok(())
    }
}

impl Router {
    /// Adds a VLAN with its addresses and the routes that follow from them. Its MTU is no more than its port's. The port's device is
    /// the caller's to tell.
    ///
    /// # Errors
    /// [`InterfaceError`].
    pub fn add_interface(&self, wanted: &Interface) -> Result<(), InterfaceError> {
        self.change(|control| {
            control.add_interface(wanted)?;
            self.note_vlans(control);
            Ok(())
        })
    }

    /// Removes a VLAN, with its addresses and the routes that follow from them; static routes through it stay, unused.
    ///
    /// # Errors
    /// [`InterfaceError`].
    pub fn remove_interface(&self, name: &str) -> Result<(), InterfaceError> {
        self.change(|control| control.remove_interface(name))
    }

    /// Switches a configured interface, and its VLANs with it, off or on.
    ///
    /// # Errors
    /// [`InterfaceError`].
    pub fn switch_interface(&self, name: &str, on: bool) -> Result<(), InterfaceError> {
        self.change(|control| control.switch_interface(name, on))
    }

    /// Returns the VLANs that are configured on the port of this name.
    ///
    /// # Errors
    /// [`RouterError::Busy`].
    pub fn vlans_of(&self, port: &str) -> Result<Vec<VlanId>, RouterError> {
        use ifnet::Interface;
        self.with_control(|control| {
            let configured = control.vlans().filter(|(_, vlan)| vlan.configured);
            let tags = configured.filter_map(|(_, vlan)| vlan.interface.vlan());
            tags.filter(|(_, of)| *of == port).map(|(id, _)| id).collect()
        })
    }
}
