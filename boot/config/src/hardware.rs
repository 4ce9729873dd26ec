//! Checks of a configuration against the machine it is for. Thread context.

use alloc::{format, string::String, vec::Vec};

use crate::{Config, ConfigError, Problem};

/// Returns the name of the network interface that PCI enumeration finds at `index`, counted from zero.
#[must_use]
pub fn interface_name(index: usize) -> String {
    format!("em{index}")
}

impl Config {
    /// Checks that every configured interface is one of the ports `present`, or a VLAN of one.
    ///
    /// # Errors
    /// [`Problem::NoSuchInterface`] for the first that is not.
    pub fn check_interfaces(&self, present: &[impl AsRef<str>]) -> Result<(), ConfigError> {
        let is_absent = |name: &str| present.iter().all(|candidate| candidate.as_ref() != name);
        let Some(absent) = self.interfaces.iter().find(|interface| is_absent(interface.port())) else { return Ok(()) };
        let names: Vec<&str> = present.iter().map(AsRef::as_ref).collect();
        let there = if names.is_empty() { "none".into() } else { names.join(", ") };
        let message = format!("interface {} does not exist on this machine (there: {there})", absent.port());
        Err(ConfigError::at(absent.at, Problem::NoSuchInterface, message))
    }

    /// Asks `accepts` about every sysctl; it answers with the reason when it refuses a name or a value.
    ///
    /// # Errors
    /// [`Problem::Sysctl`] for the first that is refused.
    pub fn check_sysctls(&self, mut accepts: impl FnMut(&str, &str) -> Result<(), String>) -> Result<(), ConfigError> {
        for sysctl in &self.sysctls {
            accepts(&sysctl.name, &sysctl.value)
                .map_err(|why| ConfigError::at(sysctl.at, Problem::Sysctl, format!("sysctl {}: {why}", sysctl.name)))?;
        }
        Ok(())
    }
}
