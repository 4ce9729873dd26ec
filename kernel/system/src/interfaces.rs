//! The commands that change interfaces: a VLAN added or deleted, an interface switched off or on.
//!
//! The router is asked first; what it has taken the cards are told ([`tell_card`]). A VLAN that is new to its card gets through its filter a
//! moment later than the router knows it, one that goes a moment later than it is gone: what comes between is counted as of an
//! unknown VLAN. What is changed here is not written into the configuration. Context: the console's thread.

use alloc::{format, string::String};

use config::Config;
use e1000::ReceiveFilter;
use machine::console::print;

use crate::{net, services};

/// Adds a VLAN, and says so.
pub(crate) fn add(name: &str, addresses: &[String]) {
    let done = read(name, addresses).and_then(|wanted| {
        let router = net::router().ok_or("no data path")?;
        net::in_turn(|| router.add_interface(&wanted)).map_err(|error| format!("{error}"))?;
        tell_card(wanted.port())
    });
    match done {
        Ok(()) => print(format_args!("add interface {name}\n")),
        Err(error) => print(format_args!("interface: {error}\n")),
    }
}

/// Deletes a VLAN, and says so.
pub(crate) fn delete(name: &str) {
    let Some(router) = net::router() else { return print(format_args!("interface: no data path\n")) };
    let removed = net::in_turn(|| router.remove_interface(name)).map_err(|error| format!("{error}"));
    match removed.and_then(|()| tell_card(name.split_once('.').map_or(name, |(port, _)| port))) {
        Ok(()) => print(format_args!("delete interface {name}\n")),
        Err(error) => print(format_args!("interface: {error}\n")),
    }
}

/// Switches an interface off or on, and says so.
pub(crate) fn switch(name: &str, on: bool) {
    let Some(router) = net::router() else { return print(format_args!("interface: no data path\n")) };
    match net::in_turn(|| router.switch_interface(name, on)) {
        Ok(()) => print(format_args!("{name}: {}\n", if on { "up" } else { "down" })),
        Err(error) => print(format_args!("interface: {error}\n")),
    }
}

/// Reads name and addresses as the configuration would.
fn read(name: &str, addresses: &[String]) -> Result<config::Interface, String> {
    let text = format!("hostname = \"r\"\n[[interface]]\nname = {name:?}\naddresses = {addresses:?}\n");
    let config = Config::parse(&text).map_err(|error| error.message)?;
    let read = config.interfaces.into_iter().next().ok_or("nothing to add")?;
    // As long as its port's.
    Ok(config::Interface { mtu: config::MAX_MTU, ..read })
}

/// Has a card let in the VLANs that its port now has: all frames without a tag if it has none, and then tags are not looked at.
fn tell_card(name: &str) -> Result<(), String> {
    let router = net::router().ok_or("no data path")?;
    let vlans = net::in_turn(|| router.vlans_of(name)).map_err(|error| format!("{error}"))?;
    let port = services::ports().iter().find(|port| &*port.name == name).ok_or("no such card")?;
    port.adapter.set_filter(ReceiveFilter { vlans, ..ReceiveFilter::default() });
    Ok(())
}
