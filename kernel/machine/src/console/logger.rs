//! The `log` backend: one line per record, stamped with the time since boot once there is a clock.

use core::fmt;

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::hooks;

struct Logger;

static LOGGER: Logger = Logger;

/// Installs the backend at level `info`; a second call changes nothing.
pub(super) fn init() {
    if log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

/// Seconds and microseconds since boot, or nothing before there is a clock.
struct Stamp(Option<u64>);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(nanos) = self.0 else { return Ok(()) };
        let micros = nanos / 1000;
        write!(f, "[{:5}.{:06}] ", micros / 1_000_000, micros % 1_000_000)
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            Level::Error => "error: ",
            Level::Warn => "warning: ",
            Level::Info | Level::Debug | Level::Trace => "",
        };
        super::message(format_args!("{}{level}{}\n", Stamp(hooks::clock()), record.args()));
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::Stamp;

    #[test]
    fn stamps_count_seconds_and_microseconds() {
        assert_eq!(Stamp(Some(61_000_002_999)).to_string(), "[   61.000002] ");
        assert_eq!(Stamp(None).to_string(), "");
    }
}
