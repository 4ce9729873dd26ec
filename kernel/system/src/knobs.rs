//! Settings of the system beside the data path's own: `sysctl debug.…`, `sysctl kern.…`.
//!
//! Each module offers its settings as a list of [`Knob`]s, and [`ALL`] names the lists. They are read and changed like the
//! router's settings: on the console, and in `[sysctl]` of the configuration, where actions are refused.
//!
//! Context: thread.

use alloc::{format, string::String};

use config::{Config, ConfigError};

use crate::{attach, debug, debugger, dump, fail_points, messages, selftest, watchdog};

/// One setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Knob {
    /// Its name, as FreeBSD calls it where it has it.
    pub(crate) name: &'static str,
    /// What it is, in one line.
    pub(crate) description: &'static str,
    /// Returns its value as text.
    pub(crate) get: fn() -> String,
    /// What can be done with it.
    pub(crate) access: Access,
}

/// What can be done with a setting.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Access {
    /// It is only read.
    ReadOnly,
    /// It is set, at boot or later; the function says why it refuses a value.
    Setting(fn(&str) -> Result<(), String>),
    /// It is set by the configuration, before there are cards, and only read afterwards.
    Tunable(fn(&str) -> Result<(), String>),
    /// Writing it does something at once, so a configuration cannot hold it.
    Action(fn(&str) -> Result<(), String>),
}

/// The lists of all modules.
pub(crate) const ALL: &[&[Knob]] = &[
    attach::KNOBS,
    debug::KNOBS,
    debugger::KNOBS,
    debugger::gdb::KNOBS,
    dump::KNOBS,
    fail_points::KNOBS,
    messages::KNOBS,
    selftest::KNOBS,
    watchdog::KNOBS,
];

/// Returns every setting.
pub(crate) fn all() -> impl Iterator<Item = &'static Knob> {
    ALL.iter().copied().flatten()
}

/// Finds a setting by name.
pub(crate) fn find(name: &str) -> Option<&'static Knob> {
    all().find(|knob| knob.name == name)
}

impl Knob {
    /// Sets it, or does what it stands for.
    ///
    /// # Errors
    /// Why it refuses.
    pub(crate) fn set(&self, value: &str) -> Result<(), String> {
        match self.access {
            Access::ReadOnly => Err("can only be read".into()),
            Access::Tunable(_) => Err("is read at boot: it belongs into [sysctl] of the configuration".into()),
            Access::Setting(set) | Access::Action(set) => set(value),
        }
    }

    fn set_at_boot(&self, value: &str) -> Result<(), String> {
        match self.access {
            Access::Action(_) => Err("is an action and no setting; it cannot be configured".into()),
            Access::ReadOnly | Access::Setting(_) => self.set(value),
            Access::Tunable(set) => set(value),
        }
    }
}

/// Sets what has to be known before the cards are attached. A value that is refused is reported by [`take_from`], later.
pub(crate) fn tune(config: &Config) {
    for sysctl in &config.sysctls {
        if let Some(Access::Tunable(set)) = find(&sysctl.name).map(|knob| knob.access) {
            let _ = set(&sysctl.value);
        }
    }
}

/// Applies the settings of a configuration that are ours and takes them out of it; the rest is the router's.
///
/// # Errors
/// The first that is refused, with its line and column.
pub(crate) fn take_from(config: &mut Config) -> Result<(), ConfigError> {
    config.check_sysctls(|name, value| find(name).map_or(Ok(()), |knob| knob.set_at_boot(value)))?;
    config.sysctls.retain(|sysctl| find(&sysctl.name).is_none());
    Ok(())
}

/// Reads a value that is 0 or 1.
///
/// # Errors
/// What was expected.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err("expected 0 or 1".into()),
    }
}

/// Reads a number from `first` to `last`.
///
/// # Errors
/// What was expected.
pub(crate) fn number(text: &str, first: u32, last: u32) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (first..=last).contains(number));
    number.ok_or_else(|| format!("expected a number from {first} to {last}"))
}
