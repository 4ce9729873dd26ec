//! What all workers share: [`Router`].

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::fmt;

use arp::{ArpConfig, ArpTable};
use config::Config;
use fib::Rib;
use forward::Reassembler;
use ifnet::{IfIndex, Interface};
use ksync::{
    Once, SpinLock,
    atomic::{AtomicUsize, Ordering},
    rcu::{Domain, Guard, Rcu},
};
use netisr::{DEFAULT_LIMIT, Netisr, Source};
use wire::Ipv4Cidr;

use crate::{
    ApplyError, Audit, InterfaceAudit, MAX_INTERFACES, PingReply, RouterError, WorkerCounters,
    control::{Control, LinkChanges},
    ping::PingTable,
    snapshot::Snapshot,
};

/// How many workers there can be, over the life of the router.
pub const MAX_WORKERS: usize = 128;

/// How long [`Worker::tick`](crate::Worker::tick) waits for passes that still read a replaced snapshot, in looks.
pub(crate) const RECLAIM_PATIENCE: u32 = 10_000;

type Waker = Box<dyn Fn(usize) + Send + Sync>;

/// The router: routes, interfaces, neighbours, queues and settings. Lives as long as the machine (`'static`).
///
/// Changes are made by one thread at a time and published as a whole; the data path never waits for them.
pub struct Router {
    domain: &'static Domain,
    snapshot: Rcu<Snapshot>,
    /// Protects nothing but the place: whoever changes the configuration takes it out, works without a lock, and puts it back.
    pub(crate) control: SpinLock<Option<Box<Control>>>,
    workers: [Once<Arc<WorkerCounters>>; MAX_WORKERS],
    enrolled: AtomicUsize,
    arp: ArpTable,
    netisr: Netisr,
    pings: PingTable,
    /// The VLANs there ever were, by their index, which stays theirs.
    vlans: [Once<VlanBook>; MAX_INTERFACES],
    /// Protects the pieces of datagrams for us; held for one look at them, while no other lock is.
    reassembler: SpinLock<Reassembler>,
    waker: Once<Waker>,
}

/// What stays of a VLAN when the router has been closed.
struct VlanBook {
    name: Box<str>,
    port: IfIndex,
}

/// An interface as the operator sees it.
#[derive(Clone, Debug)]
pub struct InterfaceStatus {
    /// Its number.
    pub index: IfIndex,
    /// The port.
    pub interface: Arc<dyn Interface>,
    /// Its addresses.
    pub addresses: Vec<Ipv4Cidr>,
    /// The longest IP packet that is sent on it, in octets.
    pub mtu: u16,
    /// Whether it is configured to be used.
    pub enabled: bool,
    /// Whether it could send when last looked at.
    pub up: bool,
}

impl Router {
    /// Makes a router without interfaces that does not forward until a configuration is applied.
    ///
    /// # Errors
    /// [`RouterError::Fib`] if there is no memory.
    ///
    /// # Context
    /// Thread; allocates.
    pub fn new(domain: &'static Domain, arp: ArpConfig, workstreams: usize) -> Result<Self, RouterError> {
        Ok(Self {
            domain,
            snapshot: Rcu::new(domain, Snapshot::empty(Rib::new().build()?, false)),
            control: SpinLock::new(Some(Box::new(Control::new()?))),
            workers: [const { Once::new() }; MAX_WORKERS],
            enrolled: AtomicUsize::new(0),
            arp: ArpTable::new(arp),
            netisr: Netisr::new(workstreams, DEFAULT_LIMIT),
            pings: PingTable::new(),
            vlans: [const { Once::new() }; MAX_INTERFACES],
            reassembler: SpinLock::new(Reassembler::new()),
            waker: Once::new(),
        })
    }

    /// Adds a port; the first one gets index 0. Frames from it are tagged with this index
    /// ([`PacketBuf::set_rx_if`](pktbuf::PacketBuf::set_rx_if)).
    ///
    /// # Errors
    /// [`RouterError::TooManyInterfaces`], [`RouterError::Busy`], [`RouterError::Closed`].
    pub fn attach(&self, interface: Arc<dyn Interface>) -> Result<IfIndex, RouterError> {
        self.change(|control| control.attach(interface))
    }

    /// Sets what wakes the netisr thread of a workstream. Only the first call counts.
    pub fn set_waker(&self, waker: impl Fn(usize) + Send + Sync + 'static) {
        self.waker.call_once(|| Box::new(waker));
    }

    /// Replaces addresses, routes and settings by those of `config`, all at once, or changes nothing.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub fn apply(&self, config: &Config) -> Result<(), ApplyError> {
        self.with_control(|control| {
            let before = control.apply(config)?;
            if let Err(error) = self.publish(control) {
                control.restore(before);
                return Err(error.into());
            }
            self.note_vlans(control);
            Ok(())
        })?
    }

    /// Notes the names of new VLANs, which stay theirs.
    pub(crate) fn note_vlans(&self, control: &Control) {
        for (index, vlan) in control.vlans() {
            if let Some(book) = self.vlans.get(usize::from(index)) {
                book.call_once(|| VlanBook { name: vlan.interface.name().into(), port: IfIndex(vlan.port) });
            }
        }
    }

    /// Returns all interfaces in the order of their index.
    ///
    /// # Errors
    /// [`RouterError::Busy`].
    pub fn interfaces(&self) -> Result<Vec<InterfaceStatus>, RouterError> {
        self.with_control(|control| {
            let status = |(index, port): (u16, &crate::control::Port)| InterfaceStatus {
                index: IfIndex(index),
                interface: Arc::clone(&port.interface),
                addresses: port.addresses.clone(),
                mtu: port.mtu.min(port.interface.mtu()),
                enabled: port.enabled,
                up: port.up,
            };
            (0_u16..).zip(&control.ports).map(status).collect()
        })
    }

    /// Returns the value of a setting; [`SYSCTLS`](crate::SYSCTLS) lists them.
    ///
    /// # Errors
    /// [`RouterError::Sysctl`], [`RouterError::Busy`].
    pub fn sysctl_get(&self, name: &str) -> Result<String, RouterError> {
        self.with_control(|control| control.sysctl(name))?
    }

    /// Changes a setting.
    ///
    /// # Errors
    /// [`RouterError::Sysctl`], [`RouterError::Busy`].
    pub fn sysctl_set(&self, name: &str, value: &str) -> Result<(), RouterError> {
        self.change(|control| Ok(control.settings.set(name, value)?))
    }

    /// Takes out a reply to an echo request of `ident` (see [`Worker::ping_send`](crate::Worker::ping_send)).
    pub fn ping_poll(&self, ident: u16) -> Option<PingReply> {
        self.pings.take(ident)
    }

    /// Returns the neighbours, for `show arp` and for their counters.
    #[must_use]
    pub fn arp(&self) -> &ArpTable {
        &self.arp
    }

    /// Returns the protocol queues, for `show netisr`.
    #[must_use]
    pub fn netisr(&self) -> &Netisr {
        &self.netisr
    }

    /// Returns the counters of all workers there ever were.
    pub fn workers(&self) -> impl Iterator<Item = &WorkerCounters> {
        self.workers.iter().filter_map(|worker| worker.get().map(|counters| &**counters))
    }

    /// Adds up the books. Exact when the router is quiet.
    #[must_use]
    pub fn audit(&self) -> Audit {
        Audit {
            received: self.workers().map(WorkerCounters::received).sum(),
            originated: self.workers().map(WorkerCounters::originated).sum(),
            fates: self.workers().map(WorkerCounters::fates).sum(),
            local_fates: self.workers().map(WorkerCounters::local_fates).sum(),
            held_arp: self.arp.held() as u64,
            held_netisr: self.netisr.queued() as u64,
            held_reassembly: self.reassembler.lock().held() as u64,
        }
    }

    /// Adds up where the frames of one interface went. Exact when the router is quiet.
    #[must_use]
    pub fn audit_interface(&self, interface: IfIndex) -> InterfaceAudit {
        let books = self.workers().map(|worker| worker.of_interface(interface));
        let empty = InterfaceAudit { received: 0, fates: ifnet::FateSnapshot::ZERO };
        books.fold(empty, |mut sum, (received, fates)| {
            sum.received += received;
            sum.fates += &fates;
            sum
        })
    }

    /// The same for a card: its frames, and those that came through it with the tag of a VLAN.
    #[must_use]
    pub fn audit_port(&self, port: IfIndex) -> InterfaceAudit {
        let is_vlan = |vlan: &Once<VlanBook>| vlan.get().is_some_and(|vlan| vlan.port == port);
        let vlans = (0_u16..).zip(&self.vlans).filter(|(_, vlan)| is_vlan(vlan)).map(|(index, _)| IfIndex(index));
        vlans.map(|vlan| self.audit_interface(vlan)).fold(self.audit_interface(port), |mut sum, book| {
            sum.received += book.received;
            sum.fates += &book.fates;
            sum
        })
    }

    /// Returns the name of a VLAN by its index, also of one that is not configured any more.
    ///
    /// # Context
    /// Any; takes no lock.
    #[must_use]
    pub fn vlan_name(&self, index: IfIndex) -> Option<&str> {
        self.vlans.get(index.as_usize())?.get().map(|vlan| &*vlan.name)
    }

    /// Stops forwarding for good and lets go of all ports: from here on, what is received is dropped as
    /// [`ShuttingDown`](ifnet::DropReason::ShuttingDown). To be called after the workers have drained their rings and
    /// [`Worker::flush_held`](crate::Worker::flush_held) has emptied the queues. May be called again after an error.
    ///
    /// # Errors
    /// [`RouterError::StuckWorker`] if a pass did not end while `relax` returned true; the ports may still be in use then.
    /// [`RouterError::Busy`] if the configuration was in use all that time.
    ///
    /// # Context
    /// Thread, not within a pass; waits for the passes under way, calling `relax` (yield, sleep) meanwhile.
    pub fn close(&self, mut relax: impl FnMut() -> bool) -> Result<(), RouterError> {
        self.arp.close();
        self.netisr.close();
        loop {
            let closed = self.change(|control| {
                control.closed = true;
                control.ports.clear();
                Ok(())
            });
            match closed {
                Err(RouterError::Busy) if relax() => {}
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        loop {
            match self.reclaim(&mut relax) {
                Err(RouterError::Busy) if relax() => {}
                reclaimed => return reclaimed,
            }
        }
    }

    /// Frees replaced snapshots that nobody reads any more.
    pub(crate) fn reclaim(&self, relax: impl FnMut() -> bool) -> Result<(), RouterError> {
        self.with_control(|control| {
            if control.retired.is_empty() && control.table.uncollected() == 0 {
                return Ok(());
            }
            let grace = control.table.collect(self.domain, relax).map_err(|_| RouterError::StuckWorker)?;
            let retired = core::mem::take(&mut control.retired);
            control.retired.extend(retired.into_iter().filter_map(|retired| retired.reclaim(&grace).err()));
            Ok(())
        })?
    }

    /// As much of [`reclaim`](Self::reclaim) as is possible without sleeping.
    pub(crate) fn reclaim_soon(&self) {
        let mut looks = 0;
        // A pass that is still going on will have ended by one of the next ticks.
        let _ = self.reclaim(|| {
            core::hint::spin_loop();
            looks += 1;
            looks < RECLAIM_PATIENCE
        });
    }

    /// Looks at the links and publishes what follows from a change.
    pub(crate) fn look_at_links(&self) -> LinkChanges {
        let changes = self.with_control(|control| {
            let changes = control.look_at_links();
            if changes != LinkChanges::default() {
                self.publish(control)?;
            }
            Ok::<_, RouterError>(changes)
        });
        // Busy: whoever is changing the configuration publishes; the next tick looks again.
        changes.and_then(|changes| changes).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn snapshot<'g>(&'g self, guard: &'g Guard<'_>) -> &'g Snapshot {
        self.snapshot.read(guard)
    }

    pub(crate) fn domain(&self) -> &'static Domain {
        self.domain
    }

    pub(crate) fn pings(&self) -> &PingTable {
        &self.pings
    }

    pub(crate) fn reassembler(&self) -> &SpinLock<Reassembler> {
        &self.reassembler
    }

    pub(crate) fn register_source(&self) -> Result<Source, RouterError> {
        self.netisr.register_source().map_err(|_| RouterError::TooManyWorkers)
    }

    #[cold]
    pub(crate) fn wake(&self, workstream: usize) {
        if let Some(waker) = self.waker.get() {
            waker(workstream);
        }
    }

    /// Enters a worker's counters into the books.
    pub(crate) fn enrol(&self, counters: Arc<WorkerCounters>) -> Result<(), RouterError> {
        let place = self.enrolled.fetch_add(1, Ordering::Relaxed);
        let worker = self.workers.get(place).ok_or(RouterError::TooManyWorkers)?;
        worker.call_once(|| counters);
        Ok(())
    }

    /// Changes the configuration and publishes the result; an error publishes nothing.
    pub(crate) fn change<R, E: From<RouterError>>(
        &self,
        work: impl FnOnce(&mut Control) -> Result<R, E>,
    ) -> Result<R, E> {
        let result = self.with_control(|control| {
            let result = work(control)?;
            self.publish(control)?;
            Ok(result)
        });
        result.map_err(E::from).and_then(|result| result)
    }

    pub(crate) fn publish(&self, control: &mut Control) -> Result<(), RouterError> {
        let retired = self.snapshot.publish(control.snapshot()?);
        control.retired.push(retired);
        if self.netisr.policy() != control.settings.policy {
            self.netisr.set_policy(control.settings.policy);
        }
        if control.queue_limit != control.settings.queue_limit {
            control.queue_limit = control.settings.queue_limit;
            self.netisr.set_limit(control.queue_limit);
        }
        Ok(())
    }

    pub(crate) fn with_control<R>(&self, work: impl FnOnce(&mut Control) -> R) -> Result<R, RouterError> {
        // A look, for the debugger's sake: the lock is held for an instant, unless its holder has been stopped in that instant.
        let taken = self.control.look().map_err(|_| RouterError::Busy)?.take();
        let mut control = taken.ok_or(RouterError::Busy)?;
        let result = work(&mut control);
        *self.control.lock() = Some(control);
        Ok(result)
    }
}

impl fmt::Debug for Router {
    /// Takes no lock.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workers = self.enrolled.load(Ordering::Relaxed);
        f.debug_struct("Router").field("workers", &workers).field("arp", &self.arp).finish_non_exhaustive()
    }
}
