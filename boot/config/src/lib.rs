//! The configuration file: one TOML schema that the host and the kernel both read.
//!
//! [`Config::parse`] turns the text into a [`Config`] that is consistent in itself, or into a [`ConfigError`] with the
//! line and column of the first offence. What only the machine can tell (which interfaces are there, which sysctls
//! exist) is asked afterwards by [`Config::check_interfaces`] and [`Config::check_sysctls`], whose errors point into
//! the same text.
//!
//! Allocates; thread context only. Parsing is bounded: texts over [`MAX_BYTES`] are refused, and the TOML parser
//! limits its nesting. The format is TOML 1.0 (toml.io); addresses are written as in RFC 4632 section 3.1.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod error;
mod hardware;
pub mod routes;
mod rules;
mod schema;
mod vlan;

use alloc::{string::String, vec::Vec};
use core::net::Ipv4Addr;

use error::Source;
pub use error::{ConfigError, Problem};
pub use hardware::interface_name;
pub use vlan::Vlan;
use wire::{Ipv4Cidr, Ipv4Prefix};

/// The longest text that is looked at, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// The name a router has when its configuration gives none.
pub const DEFAULT_HOSTNAME: &str = "sluice";

/// The maximum transmission unit of an Ethernet interface unless configured lower, in octets (RFC 894).
pub const DEFAULT_MTU: u16 = 1500;

/// The largest maximum transmission unit, in octets: what the longest Ethernet frame of the 8254x carries. Other cards may take less.
pub const MAX_MTU: u16 = 16_110;

/// The smallest maximum transmission unit that IPv4 allows, in octets (RFC 791 section 3.2).
pub const MIN_MTU: u16 = 68;

/// A place in the text of the configuration, both counted from one; columns count characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column in characters.
    pub column: u32,
}

/// A configuration that is consistent in itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The router's name, as its console prompts with it.
    pub hostname: String,
    /// The interfaces in the order of the file; names are unique.
    pub interfaces: Vec<Interface>,
    /// The static routes in the order of the file; prefixes are unique.
    pub routes: Vec<Route>,
    /// The settings in the order of their names, which are unique.
    pub sysctls: Vec<Sysctl>,
}

impl Default for Config {
    fn default() -> Self {
        Self { hostname: DEFAULT_HOSTNAME.into(), interfaces: Vec::new(), routes: Vec::new(), sysctls: Vec::new() }
    }
}

/// One `[[interface]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The name, such as `em0`, or `em0.10` of a VLAN.
    pub name: String,
    /// Of which port it is a VLAN, if it is one.
    pub vlan: Option<Vlan>,
    /// The addresses, each with its network; no two interfaces' networks overlap.
    pub addresses: Vec<Ipv4Cidr>,
    /// The maximum transmission unit in octets, [`MIN_MTU`]` ..= `[`MAX_MTU`]; of a VLAN at most its port's, if that is configured.
    pub mtu: u16,
    /// Whether the interface is to be brought up.
    pub up: bool,
    /// Where its name stands in the text.
    pub at: Position,
}

/// One `[[route]]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destinations.
    pub prefix: Ipv4Prefix,
    /// What becomes of packets to them.
    pub target: RouteTarget,
    /// Where its prefix stands in the text.
    pub at: Position,
}

/// What a static route does with packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteTarget {
    /// Sends them to this router, which is on a connected network.
    Via(Ipv4Addr),
    /// Drops them in silence.
    Blackhole,
    /// Drops them and answers with an ICMP error (RFC 792, type 3).
    Unreachable,
}

/// One line of `[sysctl]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// The name, such as `net.isr.dispatch`.
    pub name: String,
    /// The value as the console would take it; numbers in decimal, truth values as `1` and `0`.
    pub value: String,
    /// Where its value stands in the text.
    pub at: Position,
}

impl Config {
    /// Parses a configuration and checks that it is consistent in itself.
    ///
    /// # Context
    /// Thread context; allocates in proportion to the text.
    ///
    /// # Errors
    /// [`ConfigError`] for the first offence found, with its place in the text.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        if text.len() > MAX_BYTES {
            let at = Position { line: 1, column: 1 };
            return Err(ConfigError::at(at, Problem::TooLong, "the configuration is over 1 MiB long"));
        }
        let source = Source::new(text);
        let file = toml::from_str(text).map_err(|error| source.toml_error(&error))?;
        rules::check(&source, file)
    }

    /// Parses the bytes of a configuration file, as [`parse`](Self::parse).
    ///
    /// # Context
    /// Thread context; allocates in proportion to the text.
    ///
    /// # Errors
    /// Also [`Problem::NotText`] for bytes that are not UTF-8.
    pub fn parse_bytes(bytes: &[u8]) -> Result<Self, ConfigError> {
        match core::str::from_utf8(bytes) {
            Ok(text) => Self::parse(text),
            Err(error) => {
                let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
                let text = core::str::from_utf8(valid).unwrap_or_default();
                Err(Source::new(text).error(text.len(), Problem::NotText, "the file is not UTF-8 text"))
            }
        }
    }
}
