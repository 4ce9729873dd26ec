//! What can go wrong outside the data path. Plain data.

use core::fmt;

use config::ConfigError;
use fib::FibError;
use wire::Ipv4Prefix;

use crate::{MAX_INTERFACES, SysctlError};

/// Why the router cannot do what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouterError {
    /// Somebody else is changing the configuration; try again.
    Busy,
    /// The router has been closed for shutdown.
    Closed,
    /// There are as many interfaces as there can be.
    TooManyInterfaces,
    /// There are as many workers as there can be.
    TooManyWorkers,
    /// The gateway of the route for this prefix is on no connected network, or is this router itself.
    BadGateway(Ipv4Prefix),
    /// There is no static route for this prefix.
    NoSuchRoute(Ipv4Prefix),
    /// The routes do not fit.
    Fib(FibError),
    /// A setting was refused.
    Sysctl(SysctlError),
    /// A worker did not come to the end of its pass within the caller's patience.
    StuckWorker,
}

impl From<FibError> for RouterError {
    fn from(error: FibError) -> Self {
        Self::Fib(error)
    }
}

impl From<SysctlError> for RouterError {
    fn from(error: SysctlError) -> Self {
        Self::Sysctl(error)
    }
}

impl fmt::Display for RouterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("the configuration is being changed, try again"),
            Self::Closed => f.write_str("the router is shutting down"),
            Self::TooManyInterfaces => write!(f, "more than {MAX_INTERFACES} interfaces, ports and VLANs"),
            Self::TooManyWorkers => f.write_str("too many worker threads"),
            Self::BadGateway(prefix) => write!(f, "the gateway of {prefix} is on no connected network"),
            Self::NoSuchRoute(prefix) => write!(f, "no static route for {prefix}"),
            Self::Fib(error) => error.fmt(f),
            Self::Sysctl(error) => error.fmt(f),
            Self::StuckWorker => f.write_str("a worker does not come to the end of its pass"),
        }
    }
}

impl core::error::Error for RouterError {}

/// Why a configuration cannot be applied. Nothing has been changed then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// It does not fit the machine or the settings there are; with the place in its text.
    Config(ConfigError),
    /// It cannot be carried out.
    Router(RouterError),
}

impl From<ConfigError> for ApplyError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl<E: Into<RouterError>> From<E> for ApplyError {
    fn from(error: E) -> Self {
        Self::Router(error.into())
    }
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Router(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ApplyError {}
