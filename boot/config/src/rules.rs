//! The rules that make a configuration consistent in itself. Thread context.
//!
//! One function per rule's subject, in the order of the file, so that the first offence is also the first that a
//! reader of the file meets.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::net::Ipv4Addr;

use toml::Spanned;
use wire::{Ipv4Cidr, Ipv4Prefix, PrefixError};

use crate::{
    Config, ConfigError, DEFAULT_HOSTNAME, DEFAULT_MTU, Interface, MAX_MTU, MIN_MTU, Position, Problem, Route,
    RouteTarget, Sysctl, error::Source, schema, vlan,
};

type Result<T> = core::result::Result<T, ConfigError>;

/// Checks the parts of a file and puts them together.
pub(crate) fn check(source: &Source<'_>, file: schema::File) -> Result<Config> {
    let hostname = hostname(source, file.hostname)?;
    let mut interfaces: Vec<Interface> = Vec::with_capacity(file.interface.len());
    let mut mtus = Vec::with_capacity(file.interface.len());
    for mut entry in file.interface {
        mtus.push(entry.mtu.take());
        let interface = interface(source, entry, mtus.last().and_then(Option::as_ref), &interfaces)?;
        interfaces.push(interface);
    }
    vlan::settle_mtus(source, &mut interfaces, &mtus)?;
    let routes = routes(source, &file.route, &interfaces)?;
    let sysctls = file.sysctl.into_iter().map(|(name, value)| sysctl(source, name, value)).collect::<Result<_>>()?;
    Ok(Config { hostname, interfaces, routes, sysctls })
}

/// Takes a label of RFC 1123 section 2.1: 1 to 63 letters, digits and inner hyphens.
fn hostname(source: &Source<'_>, given: Option<Spanned<String>>) -> Result<String> {
    let Some(given) = given else { return Ok(DEFAULT_HOSTNAME.into()) };
    let name = given.get_ref();
    let well_formed = (1..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if !well_formed {
        let message = format!("{name:?} is not a host name (1 to 63 letters, digits and inner hyphens)");
        return Err(fault(source, &given, Problem::Hostname, message));
    }
    Ok(given.into_inner())
}

/// Checks one interface against those before it.
fn interface(
    source: &Source<'_>,
    entry: schema::Interface,
    mtu: Option<&Spanned<i64>>,
    before: &[Interface],
) -> Result<Interface> {
    let vlan = vlan::of_name(source, &entry.name)?;
    let name = entry.name.get_ref();
    if let Some(other) = before.iter().find(|other| other.name == *name) {
        let message = format!("interface {name} is already configured in line {}", other.at.line);
        return Err(fault(source, &entry.name, Problem::DuplicateInterface, message));
    }
    let mut addresses = Vec::with_capacity(entry.addresses.len());
    for given in &entry.addresses {
        let address = address(source, given)?;
        overlap(source, given, address, name, &addresses, before)?;
        addresses.push(address);
    }
    let at = position(source, &entry.name);
    let mtu = self::mtu(source, mtu)?;
    Ok(Interface { name: entry.name.into_inner(), vlan, addresses, mtu, up: entry.up.unwrap_or(true), at })
}

/// Takes a maximum transmission unit that IPv4 and the longest frames of any card allow.
fn mtu(source: &Source<'_>, given: Option<&Spanned<i64>>) -> Result<u16> {
    let Some(given) = given else { return Ok(DEFAULT_MTU) };
    match u16::try_from(*given.get_ref()) {
        Ok(mtu) if (MIN_MTU..=MAX_MTU).contains(&mtu) => Ok(mtu),
        _ => {
            let message = format!("mtu {} is not within {MIN_MTU} to {MAX_MTU}", given.get_ref());
            Err(fault(source, given, Problem::Mtu, message))
        }
    }
}

/// Takes an address that a host on an Ethernet can have (RFC 1812 section 4.2.2.11).
fn address(source: &Source<'_>, given: &Spanned<String>) -> Result<Ipv4Cidr> {
    let refuse = |why: String| Err(fault(source, given, Problem::Address, format!("{}: {why}", given.get_ref())));
    let cidr: Ipv4Cidr = match given.get_ref().parse() {
        Ok(cidr) => cidr,
        Err(PrefixError::Length) => return refuse(PrefixError::Length.to_string()),
        Err(_) => return refuse("expected an address and a prefix length such as 192.0.2.1/24".into()),
    };
    let ip = cidr.address();
    if let Err(why) = unicast(ip) {
        return refuse(why.into());
    }
    if cidr.len() == 0 {
        return refuse("a network of every address cannot be connected".into());
    }
    if cidr.network() == Some(ip) {
        return refuse(format!("this is the network {} itself, not an address in it", cidr.prefix()));
    }
    if cidr.broadcast() == Some(ip) {
        return refuse(format!("this is the broadcast address of {}", cidr.prefix()));
    }
    Ok(cidr)
}

/// Refuses addresses that name no single host (RFC 1122 section 3.2.1.3; class E by RFC 1112 section 4).
fn unicast(ip: Ipv4Addr) -> core::result::Result<(), &'static str> {
    match ip.octets()[0] {
        0 => Err("addresses in 0.0.0.0/8 mean \"this network\""),
        127 => Err("addresses in 127.0.0.0/8 never leave a host"),
        224..=239 => Err("this is a multicast address"),
        240..=255 => Err("addresses in 240.0.0.0/4 are reserved"),
        _ => Ok(()),
    }
}

/// Refuses an address whose network collides with another one. Several addresses in the very same network on one
/// interface are how a router gets a second name there, so those are allowed.
fn overlap(
    source: &Source<'_>,
    given: &Spanned<String>,
    new: Ipv4Cidr,
    name: &str,
    own: &[Ipv4Cidr],
    before: &[Interface],
) -> Result<()> {
    let refuse = |message: String| Err(fault(source, given, Problem::Overlap, message));
    for old in own {
        if old.address() == new.address() {
            return refuse(format!("{} is already an address of {name}", new.address()));
        }
        if old.prefix() != new.prefix() && old.prefix().overlaps(new.prefix()) {
            return refuse(format!("{} overlaps {} on {name} itself", new.prefix(), old.prefix()));
        }
    }
    for other in before {
        if let Some(old) = other.addresses.iter().find(|old| old.prefix().overlaps(new.prefix())) {
            return refuse(format!("{} overlaps {} of {}", new.prefix(), old.prefix(), other.name));
        }
    }
    Ok(())
}

/// Checks the routes. There may be many, so those before are found in a map.
fn routes(source: &Source<'_>, entries: &[schema::Route], interfaces: &[Interface]) -> Result<Vec<Route>> {
    let mut before: BTreeMap<Ipv4Prefix, Position> = BTreeMap::new();
    let mut routes = Vec::with_capacity(entries.len());
    for entry in entries {
        let route = route(source, entry, interfaces)?;
        if let Some(other) = before.insert(route.prefix, route.at) {
            let message = format!("there is already a route to {} in line {}", route.prefix, other.line);
            return Err(fault(source, &entry.prefix, Problem::DuplicateRoute, message));
        }
        routes.push(route);
    }
    Ok(routes)
}

/// Checks one route against the interfaces.
fn route(source: &Source<'_>, entry: &schema::Route, interfaces: &[Interface]) -> Result<Route> {
    let prefix = prefix(source, &entry.prefix)?;
    let target = match (&entry.via, entry.blackhole, entry.unreachable) {
        (Some(given), false, false) => RouteTarget::Via(via(source, given, interfaces)?),
        (None, true, false) => RouteTarget::Blackhole,
        (None, false, true) => RouteTarget::Unreachable,
        _ => {
            let message = format!("the route to {prefix} needs one of via, blackhole = true and unreachable = true");
            return Err(fault(source, &entry.prefix, Problem::RouteTarget, message));
        }
    };
    let connected = |interface: &&Interface| interface.addresses.iter().any(|cidr| cidr.prefix() == prefix);
    if let Some(interface) = interfaces.iter().find(connected) {
        let message = format!("{prefix} is the network that {} is connected to", interface.name);
        return Err(fault(source, &entry.prefix, Problem::DuplicateRoute, message));
    }
    Ok(Route { prefix, target, at: position(source, &entry.prefix) })
}

/// Takes a network prefix and, given an address in a network instead, says which network that is.
fn prefix(source: &Source<'_>, given: &Spanned<String>) -> Result<Ipv4Prefix> {
    given.get_ref().parse().map_err(|error| {
        let written = given.get_ref();
        let message = match (error, written.parse::<Ipv4Cidr>()) {
            (PrefixError::HostBits, Ok(cidr)) => format!("{written}: {error}; the network is {}", cidr.prefix()),
            _ => format!("{written}: {error}"),
        };
        fault(source, given, Problem::Prefix, message)
    })
}

/// Takes a next router that a connected network can reach.
fn via(source: &Source<'_>, given: &Spanned<String>, interfaces: &[Interface]) -> Result<Ipv4Addr> {
    let refuse = |message: String| Err(fault(source, given, Problem::Via, message));
    let Ok(ip) = given.get_ref().parse::<Ipv4Addr>() else {
        return refuse(format!("via {}: expected an address such as 192.0.2.1", given.get_ref()));
    };
    let mut on_link = interfaces.iter().flat_map(|interface| &interface.addresses).filter(|c| c.prefix().contains(ip));
    let Some(first) = on_link.next() else {
        return refuse(format!("via {ip} is not on a network that an interface is connected to"));
    };
    if first.network() == Some(ip) || first.broadcast() == Some(ip) {
        return refuse(format!("via {ip} is the network or broadcast address of {}", first.prefix()));
    }
    if first.address() == ip || on_link.any(|cidr| cidr.address() == ip) {
        return refuse(format!("via {ip} is an address of this router"));
    }
    Ok(ip)
}

/// Takes a sysctl; names are dotted words, values become what the console would be given.
fn sysctl(source: &Source<'_>, name: Spanned<String>, value: Spanned<schema::Value>) -> Result<Sysctl> {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !name.get_ref().split('.').all(word) {
        let message = format!("{:?} is not a sysctl name such as \"net.isr.dispatch\"", name.get_ref());
        return Err(fault(source, &name, Problem::Sysctl, message));
    }
    let at = position(source, &value);
    let value = match value.into_inner() {
        schema::Value::Truth(truth) => u8::from(truth).to_string(),
        schema::Value::Number(number) => number.to_string(),
        schema::Value::Text(text) => text,
    };
    Ok(Sysctl { name: name.into_inner(), value, at })
}

/// Makes the error that points at `place`.
fn fault<T>(source: &Source<'_>, place: &Spanned<T>, problem: Problem, message: impl Into<String>) -> ConfigError {
    source.error(place.span().start, problem, message)
}

fn position<T>(source: &Source<'_>, place: &Spanned<T>) -> Position {
    source.position(place.span().start)
}
