//! Static routes as the operator changes them; what [`Worker`](crate::Worker)s read of them follows in place where it can.

use alloc::vec::Vec;

use config::RouteTarget;
use fib::Route;
use wire::Ipv4Prefix;

use crate::{Router, RouterError, control::Control, router::RECLAIM_PATIENCE};

/// How many replaced pieces of the routing table wait for the next [`Worker::tick`](crate::Worker::tick) at most.
const MUCH_REPLACED: usize = 512;

impl Router {
    /// Adds static routes (or replaces those for the same prefixes) and publishes them together.
    ///
    /// # Errors
    /// The first that cannot be added; those before it have been.
    pub fn add_routes(&self, routes: impl IntoIterator<Item = (Ipv4Prefix, RouteTarget)>) -> Result<(), RouterError> {
        let mut routes = routes.into_iter();
        self.change_routes(|control| {
            routes.try_for_each(|(prefix, target)| {
                self.make_room(control);
                control.add_route(prefix, target)
            })
        })
    }

    /// Removes static routes and publishes the change.
    ///
    /// # Errors
    /// The first that is not there; those before it have been removed.
    pub fn remove_routes(&self, prefixes: impl IntoIterator<Item = Ipv4Prefix>) -> Result<(), RouterError> {
        let mut prefixes = prefixes.into_iter();
        self.change_routes(|control| {
            prefixes.try_for_each(|prefix| {
                self.make_room(control);
                control.remove_route(prefix)
            })
        })
    }

    /// Returns all routes, usable or not, sorted by prefix.
    ///
    /// # Errors
    /// [`RouterError::Busy`].
    pub fn routes(&self) -> Result<Vec<Route>, RouterError> {
        self.with_control(|control| control.table.rib().routes().collect())
    }

    /// Changes routes, which readers see at once where the table has room for it; else publishes it anew. An error does not take back the
    /// changes before it.
    fn change_routes(&self, work: impl FnOnce(&mut Control) -> Result<(), RouterError>) -> Result<(), RouterError> {
        self.with_control(|control| {
            let changed = work(control);
            if control.table.commit()? {
                self.publish(control)?;
            }
            changed
        })?
    }

    /// Makes what replaced routes took free again, if it is much and no pass is in the way.
    fn make_room(&self, control: &mut Control) {
        if control.table.uncollected() >= MUCH_REPLACED {
            let mut looks = 0;
            // If a pass is in the way the table grows instead.
            let _ = control.table.collect(self.domain(), || {
                core::hint::spin_loop();
                looks += 1;
                looks < RECLAIM_PATIENCE
            });
        }
    }
}
