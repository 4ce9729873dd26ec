//! What workers read without a lock: [`Snapshot`], replaced as a whole at each change of routes, addresses, links or settings.

use alloc::{sync::Arc, vec::Vec};

use forward::{ForwardConfig, Tables};
use ifnet::{IfIndex, Interface};

use crate::vlan::Vlans;

/// Everything about the router that a packet's way depends on, as of one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Another number for each snapshot.
    pub(crate) generation: u64,
    /// Routes, addresses, switches.
    pub(crate) tables: Tables,
    /// The ports; the place is the index. Empty once the router is closed, so that no port is kept alive.
    pub(crate) ports: Vec<Arc<dyn Interface>>,
    /// The VLANs among them, by what their frames came with.
    pub(crate) vlans: Vlans,
    /// Bit n is set while interface n is not to be used: what comes in there goes no further.
    pub(crate) shut: u64,
    /// ICMP errors per second and worker.
    pub(crate) icmp_limit: u32,
    /// Set at shutdown: nothing is forwarded or sent any more.
    pub(crate) closed: bool,
}

impl Snapshot {
    /// A router that has nothing yet, or has closed.
    pub(crate) fn empty(fib: fib::Fib, closed: bool) -> Self {
        let config = ForwardConfig { forwarding: false, ..ForwardConfig::default() };
        // Nothing leads anywhere in the first snapshot and the last.
        let generation = if closed { u64::MAX } else { 0 };
        let (tables, ports) = (Tables::new(fib, Vec::new(), config), Vec::new());
        Self { generation, tables, ports, vlans: Vlans::default(), shut: 0, icmp_limit: 0, closed }
    }

    /// Returns whether an interface is not to be used.
    #[inline]
    pub(crate) const fn is_shut(&self, rx: IfIndex) -> bool {
        self.shut.unbounded_shr(rx.0 as u32) & 1 != 0
    }

    #[inline]
    pub(crate) fn port(&self, out: IfIndex) -> Option<&dyn Interface> {
        self.ports.get(out.as_usize()).map(|port| &**port)
    }
}
