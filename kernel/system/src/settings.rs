//! The configuration file at boot: parsed, checked, applied, or named as bad with line and column.
//!
//! Context: the first thread.

use alloc::{format, string::String};

use config::{
    Config, DEFAULT_MTU,
    routes::{self, Packed},
};
use e1000::Variant;
use pci::PciDevice;
use router::Router;

use crate::{attach::Wishes, knobs, services};

/// What the configuration file says, and the routes that were given when the image was made.
pub(crate) struct Settings<'f> {
    config: Config,
    routes: Packed<'f>,
}

impl Settings<'_> {
    /// Returns what is wanted of the card of this name.
    pub(crate) fn wishes(&self, card: &str) -> Wishes {
        let own = self.config.interfaces.iter().filter(|interface| interface.port() == card);
        let mtu = own.map(|interface| interface.mtu).max().unwrap_or_default();
        Wishes { mtu, vlans: self.config.vlans_of(card).collect() }
    }
}

/// Reads the configuration file and what is attached to the kernel, and sets what has to be known before the cards are attached.
///
/// # Errors
/// Why it cannot be used.
pub(crate) fn read<'f>(file: &[u8], attached: &'f [u8]) -> Result<Settings<'f>, String> {
    if file.is_empty() {
        return Err("there is no configuration on the disk (Cfg.txt)".into());
    }
    let parts = routes::split(attached).map_err(|routes::DamagedRoutes| "the routes in the image are damaged")?;
    let config = Config::parse_bytes(file).map_err(|error| format!("{error}"))?;
    knobs::tune(&config);
    Ok(Settings { config, routes: parts.routes })
}

/// Returns the largest MTU that any interface is to have, as far as one of these cards can do it.
pub(crate) fn largest_mtu(read: &Result<Settings<'_>, String>, cards: &[(PciDevice, &'static Variant)]) -> u16 {
    let wanted = read.iter().flat_map(|settings| &settings.config.interfaces).map(|interface| interface.mtu);
    let possible = cards.iter().map(|(_, variant)| variant.max_mtu());
    wanted.max().unwrap_or(DEFAULT_MTU).min(possible.max().unwrap_or(DEFAULT_MTU))
}

/// Applies the configuration and returns the console's prompt. Without a good one the router comes up and forwards
/// nothing.
pub(crate) fn apply(router: Option<&'static Router>, read: Result<Settings<'_>, String>) -> String {
    let checked = read.and_then(|Settings { mut config, routes }| {
        knobs::take_from(&mut config).map_err(|error| format!("{error}"))?;
        Ok((config, routes))
    });
    let (config, routes) = match checked {
        Ok(checked) => checked,
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
            router.into_iter().for_each(|router| add_routes(router, routes));
        }
        Some(Err(reason)) => log::error!("config: {reason}; not forwarding"),
        None => log::error!("config: no data path to apply it to"),
    }
    prompt(&config)
}

/// Adds the routes of the file of routes in the image, if it has one.
fn add_routes(router: &Router, routes: Packed<'_>) {
    let (mut count, mut is_damaged) = (0_usize, false);
    let intact = routes.iter().map_while(|route| {
        is_damaged = route.is_err();
        route.ok().inspect(|_| count += 1)
    });
    let mut intact = intact.peekable();
    // Without any there is nothing to publish.
    let added = if intact.peek().is_some() { router.add_routes(intact) } else { Ok(()) };
    match added {
        Ok(()) if is_damaged => log::error!("routes: only the first {count} could be read"),
        Ok(()) if count > 0 => log::info!("routes: {count} from the image"),
        Ok(()) => {}
        Err(reason) => log::error!("routes: number {count}: {reason}; those before it are there"),
    }
}

fn prompt(config: &Config) -> String {
    format!("{}> ", config.hostname)
}
