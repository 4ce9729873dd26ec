//! The configuration file at boot: parsed, checked, applied, or named as bad with line and column.
//!
//! Context: the first thread.

use alloc::{format, string::String};

use config::Config;
use router::Router;

use crate::{knobs, services};

/// Applies the configuration and returns the console's prompt. Without a good one the router comes up and forwards
/// nothing.
pub(crate) fn apply(router: Option<&'static Router>, file: &[u8]) -> String {
    let config = match read(file) {
        Ok(config) => config,
        Err(reason) => {
            log::error!("config: {reason}; not forwarding");
            return prompt(&Config::default());
        }
    };
    services::set_hostname(&config.hostname);
    match router.map(|router| router.apply(&config)) {
        Some(Ok(())) => {
            log::info!(
                "config: {}: {} interfaces, {} routes",
                config.hostname,
                config.interfaces.len(),
                config.routes.len()
            );
        }
        Some(Err(reason)) => log::error!("config: {reason}; not forwarding"),
        None => log::error!("config: no data path to apply it to"),
    }
    prompt(&config)
}

fn read(file: &[u8]) -> Result<Config, String> {
    if file.is_empty() {
        return Err("no configuration in the image".into());
    }
    let mut config = Config::parse_bytes(file).map_err(|error| format!("{error}"))?;
    knobs::take_from(&mut config).map_err(|error| format!("{error}"))?;
    Ok(config)
}

fn prompt(config: &Config) -> String {
    format!("{}> ", config.hostname)
}
