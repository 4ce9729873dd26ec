//! What views show of the router, without memory of their own: also the debugger's, in a world that stands still.

use core::{fmt, ops::ControlFlow};

use fib::Route;
use ifnet::Interface;
use wire::Ipv4Cidr;

use crate::{Router, RouterError};

/// An interface as a view shows it.
#[derive(Clone, Copy)]
pub struct InterfaceLook<'a> {
    /// The port.
    pub interface: &'a dyn Interface,
    /// Its addresses.
    pub addresses: &'a [Ipv4Cidr],
    /// The longest IP packet that is sent on it, in octets.
    pub mtu: u16,
    /// Whether it is configured to be used.
    pub enabled: bool,
    /// Whether it could send when last looked at.
    pub up: bool,
}

impl fmt::Debug for InterfaceLook<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterfaceLook").field("name", &self.interface.name()).finish_non_exhaustive()
    }
}

impl Router {
    /// Calls `visit` with each route, sorted by address, length and source, until it breaks; allocates nothing.
    ///
    /// # Errors
    /// [`RouterError::Busy`], also in a world that stands still in the middle of a change.
    pub fn visit_routes(&self, visit: &mut dyn FnMut(&Route) -> ControlFlow<()>) -> Result<(), RouterError> {
        self.with_control(|control| {
            // Whether the visitor broke off, it knows itself.
            let _ = control.table.rib().routes().try_for_each(|route| visit(&route));
        })
    }

    /// Calls `visit` with each interface, in the order of their index, until it breaks; allocates nothing.
    ///
    /// # Errors
    /// As [`Router::visit_routes`].
    pub fn visit_interfaces(
        &self,
        visit: &mut dyn FnMut(&InterfaceLook<'_>) -> ControlFlow<()>,
    ) -> Result<(), RouterError> {
        self.with_control(|control| {
            for port in &control.ports {
                let look = InterfaceLook {
                    interface: &*port.interface,
                    addresses: &port.addresses,
                    mtu: port.mtu.min(port.interface.mtu()),
                    enabled: port.enabled,
                    up: port.up,
                };
                if visit(&look).is_break() {
                    return;
                }
            }
        })
    }

    /// Calls `visit` with the name of each of the router's locks and whether somebody holds it.
    ///
    /// # Context
    /// Any; never waits.
    pub fn locks(&self, visit: &mut dyn FnMut(&'static str, bool)) {
        visit("router control", self.control.is_held());
        visit("router reassembly", self.reassembler().is_held());
        visit("arp", self.arp().is_locked());
    }
}
