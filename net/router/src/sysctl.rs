//! The settings by name: `sysctl NAME[=VALUE]`. Names and meanings follow FreeBSD where it has them.
//!
//! Key types: [`Settings`], the values; [`SYSCTLS`], the registry; [`SysctlError`]. Thread context.

use alloc::{
    format,
    string::{String, ToString},
};
use core::fmt;

use forward::ForwardConfig;
use netisr::{DEFAULT_LIMIT, MAX_LIMIT, Policy};

/// The settings that can be changed while running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) forward: ForwardConfig,
    pub(crate) icmp_limit: u32,
    pub(crate) policy: Policy,
    pub(crate) queue_limit: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let forward = ForwardConfig::default();
        Self { forward, icmp_limit: 200, policy: Policy::Direct, queue_limit: DEFAULT_LIMIT }
    }
}

/// Why a setting was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SysctlError {
    /// No setting has this name.
    UnknownName,
    /// The setting can only be read.
    ReadOnly,
    /// The value must be 0 or 1.
    NotABool,
    /// The value must be a number from the first to the second.
    NotInRange(u32, u32),
    /// The value must be direct, hybrid or deferred.
    NotAPolicy,
}

impl fmt::Display for SysctlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownName => f.write_str("no such setting"),
            Self::ReadOnly => f.write_str("can only be read"),
            Self::NotABool => f.write_str("expected 0 or 1"),
            Self::NotInRange(first, last) => write!(f, "expected a number from {first} to {last}"),
            Self::NotAPolicy => f.write_str("expected direct, hybrid or deferred"),
        }
    }
}

impl core::error::Error for SysctlError {}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Sysctl {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub description: &'static str,
    get: fn(&Settings) -> String,
    set: fn(&mut Settings, &str) -> Result<(), SysctlError>,
}

/// All settings, sorted by name.
pub const SYSCTLS: [Sysctl; 7] = [
    Sysctl {
        name: "net.inet.icmp.icmplim",
        description: "ICMP errors per second and worker; 0 sends none",
        get: |s| s.icmp_limit.to_string(),
        set: |s, text| number(text, 0, 1_000_000).map(|n| s.icmp_limit = n),
    },
    Sysctl {
        name: "net.inet.ip.allow_net240",
        description: "treat 240.0.0.0/4 as unicast addresses",
        get: |s| flag(s.forward.allow_net240),
        set: |s, text| boolean(text).map(|on| s.forward.allow_net240 = on),
    },
    Sysctl {
        name: "net.inet.ip.directed_broadcast",
        description: "forward directed broadcasts (RFC 2644 says no)",
        get: |s| flag(s.forward.directed_broadcast),
        set: |s, text| boolean(text).map(|on| s.forward.directed_broadcast = on),
    },
    Sysctl {
        name: "net.inet.ip.forwarding",
        description: "forward packets for others",
        get: |s| flag(s.forward.forwarding),
        set: |s, text| boolean(text).map(|on| s.forward.forwarding = on),
    },
    Sysctl {
        name: "net.inet.ip.ttl",
        description: "time to live of packets this router makes",
        get: |s| s.forward.ttl.to_string(),
        set: |s, text| number(text, 1, 255).map(|n| s.forward.ttl = u8::try_from(n).unwrap_or(u8::MAX)),
    },
    Sysctl {
        name: "net.isr.dispatch",
        description: "where received packets are processed: direct, hybrid or deferred",
        get: |s| s.policy.to_string(),
        set: |s, text| text.parse().map(|policy| s.policy = policy).map_err(|_| SysctlError::NotAPolicy),
    },
    Sysctl {
        name: "net.isr.qlimit",
        description: "packets that may wait in each protocol queue",
        get: |s| s.queue_limit.to_string(),
        set: |s, text| number(text, 1, MAX_QUEUE_LIMIT).map(|n| s.queue_limit = n as usize),
    },
];

/// [`MAX_LIMIT`] as the number that texts are compared with.
const MAX_QUEUE_LIMIT: u32 = 10_240;
const _: () = assert!(MAX_QUEUE_LIMIT as usize == MAX_LIMIT);

impl Settings {
    pub(crate) fn get(&self, name: &str) -> Result<String, SysctlError> {
        Ok((find(name)?.get)(self))
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), SysctlError> {
        (find(name)?.set)(self, value.trim())
    }
}

/// Says whether a setting would be accepted, without changing anything.
///
/// # Errors
/// The reason as text, in the form that [`config::Config::check_sysctls`] wants.
pub fn check_sysctl(name: &str, value: &str) -> Result<(), String> {
    Settings::default().set(name, value).map_err(|error| format!("{error}"))
}

fn find(name: &str) -> Result<&'static Sysctl, SysctlError> {
    const ALL: &[Sysctl] = &SYSCTLS;
    ALL.iter().find(|sysctl| sysctl.name == name).ok_or(SysctlError::UnknownName)
}

fn flag(on: bool) -> String {
    u8::from(on).to_string()
}

fn boolean(text: &str) -> Result<bool, SysctlError> {
    match text {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(SysctlError::NotABool),
    }
}

fn number(text: &str, first: u32, last: u32) -> Result<u32, SysctlError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && (first..=last).contains(number));
    number.ok_or(SysctlError::NotInRange(first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_accepts_what_it_shows() {
        for sysctl in SYSCTLS {
            let mut settings = Settings::default();
            let shown = settings.get(sysctl.name).unwrap();
            settings.set(sysctl.name, &shown).unwrap();
            assert_eq!(settings, Settings::default(), "{}", sysctl.name);
        }
        assert!(SYSCTLS.is_sorted_by_key(|sysctl| sysctl.name));
    }

    #[test]
    fn every_setting_refuses_nonsense_and_stays() {
        for sysctl in SYSCTLS {
            for nonsense in ["", "-1", "+1", "2x", "yes", "99999999999", "1 0"] {
                let mut settings = Settings::default();
                assert!(settings.set(sysctl.name, nonsense).is_err(), "{}={nonsense}", sysctl.name);
                assert_eq!(settings, Settings::default());
            }
        }
        assert_eq!(Settings::default().set("net.inet.ip.tll", "64"), Err(SysctlError::UnknownName));
    }
}
