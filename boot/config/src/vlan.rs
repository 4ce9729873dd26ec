//! VLAN interfaces: `em0.10` is VLAN 10 (IEEE 802.1Q) of the port em0. Thread context.
//!
//! Key type: [`Vlan`]. The port need not be configured itself.

use alloc::{format, string::String};

use toml::Spanned;
use wire::VlanId;

use crate::{Config, ConfigError, Interface, Problem, error::Source, schema};

/// What a VLAN interface is a part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// The name of the port whose frames carry the tag.
    pub port: String,
    /// The VLAN.
    pub id: VlanId,
}

impl Interface {
    /// Returns the name of the port that the interface is, or that it is a VLAN of.
    #[must_use]
    pub fn port(&self) -> &str {
        self.vlan.as_ref().map_or(&self.name, |vlan| &vlan.port)
    }
}

impl Config {
    /// Returns the VLANs of the port of this name.
    pub fn vlans_of(&self, port: &str) -> impl Iterator<Item = VlanId> {
        let vlans = self.interfaces.iter().filter_map(|interface| interface.vlan.as_ref());
        vlans.filter(move |vlan| vlan.port == port).map(|vlan| vlan.id)
    }
}

/// Reads the name of an interface: a port's, or that of a VLAN of it.
pub(crate) fn of_name(source: &Source<'_>, given: &Spanned<String>) -> Result<Option<Vlan>, ConfigError> {
    let name = given.get_ref();
    let (port, number) = name.split_once('.').map_or((name.as_str(), None), |(port, number)| (port, Some(number)));
    let well_formed = (1..=15).contains(&name.len())
        && port.starts_with(|first: char| first.is_ascii_lowercase())
        && port.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let fault = |problem, message| Err(source.error(given.span().start, problem, message));
    if !well_formed {
        return fault(
            Problem::InterfaceName,
            format!("{name:?} is not an interface name such as \"em0\" or \"em0.10\""),
        );
    }
    let Some(number) = number else { return Ok(None) };
    // One name for each: no sign, no zeros in front.
    let is_plain = number.starts_with(|first: char| ('1'..='9').contains(&first));
    let id = number.parse().ok().filter(|_| is_plain).and_then(VlanId::new);
    match id {
        Some(id) => Ok(Some(Vlan { port: port.into(), id })),
        None => {
            let (least, most) = (VlanId::MIN, VlanId::MAX);
            fault(Problem::Vlan, format!("{name:?}: {number:?} is not a VLAN, {least} to {most}"))
        }
    }
}

/// Checks what a VLAN interface and its port, which may come later in the file, say together; the port's MTU is what a VLAN has that
/// says nothing of its own.
pub(crate) fn settle_mtus(
    source: &Source<'_>,
    interfaces: &mut [Interface],
    entries: &[schema::Mtu],
) -> Result<(), ConfigError> {
    let ports: alloc::collections::BTreeMap<String, u16> = {
        let ports = interfaces.iter().filter(|interface| interface.vlan.is_none());
        ports.map(|port| (port.name.clone(), port.mtu)).collect()
    };
    for (interface, given) in interfaces.iter_mut().zip(entries) {
        let Some(vlan) = &interface.vlan else { continue };
        let Some(&most) = ports.get(&vlan.port) else { continue };
        match given {
            None => interface.mtu = most,
            Some(given) if interface.mtu > most => {
                let message = format!("mtu {} is above that of {}, which is {most}", interface.mtu, vlan.port);
                return Err(source.error(given.span().start, Problem::Mtu, message));
            }
            Some(_) => {}
        }
    }
    Ok(())
}
