//! What is done for a card once a second, whatever it does: link, watchdog, statistics, frames whose interrupt was lost.
//!
//! Context: a timer thread; [`Port::say_link`] any thread.

use e1000::LinkState;
use ksync::time::Instant;

use super::{Interrupt, Port};
use crate::services;

impl Port {
    /// Looks after the card once a second: link, watchdog, statistics.
    pub(crate) fn tick(&self, now: Instant) {
        let report = self.adapter.tick(now);
        if let Some(link) = report.link {
            self.link_changed(link);
        }
        if let Some(hang) = report.hang {
            log::error!("{}: {hang}", self.name);
        }
        let receives = |interrupt: &&Interrupt| Interrupt::receives(interrupt.vector).is_some();
        let receiving = self.interrupts.iter().filter(receives);
        // A thread that is at it, or stuck, has had its interrupt.
        if report.overlooked && receiving.clone().any(|interrupt| !interrupt.event.progress().1) {
            self.lost.bump();
            let times = self.lost.get();
            // Each time while it is rare.
            if times.is_power_of_two() {
                log::warn!("{}: frames waited for a second without an interrupt, {times} times so far", self.name);
            }
        }
        if report.recovering || report.overlooked {
            receiving.for_each(Interrupt::schedule);
        }
        if report.gone {
            log::error!("{}: device is gone (reads all ones)", self.name);
        }
    }

    /// Logs that the link has changed, and has the router look at it.
    pub(super) fn link_changed(&self, link: LinkState) {
        self.say_link(link);
        services::link_changed();
    }

    /// Logs the state of the link, and who may have whom wait on it.
    pub(crate) fn say_link(&self, link: LinkState) {
        match self.adapter.flow_control() {
            Some(pause) if link.is_up() => log::info!("{}: {link}, flow control {pause}", self.name),
            _ => log::info!("{}: {link}", self.name),
        }
    }
}
