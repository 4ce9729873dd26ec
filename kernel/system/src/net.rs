//! The one router of this machine, and the workers that threads take with them.
//!
//! Context: thread, except [`router`], which any context may call.

use alloc::boxed::Box;
use core::time::Duration;

use arp::ArpConfig;
use ksync::{Once, SpinLock, cpu::CpuId, rcu::Domain};
use machine::{kdb, time};
use pktbuf::PacketPool;
use router::{InterfaceError, Router, RouterError, Worker, WorkerConfig};
use shutdown::Flushed;

use crate::{
    pools::{self, Card},
    threads,
};

static DOMAIN: Domain = Domain::new();
static ROUTER: Once<&'static Router> = Once::new();
/// Protects: the worker with which the shutdown thread flushes what is held; held across: that flush.
static FLUSHER: SpinLock<Option<Box<Worker>>> = SpinLock::new(None);

/// Why there is no data path.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NetError {
    /// No memory for packet buffers.
    NoMemory,
    /// The router refused.
    Router(RouterError),
}

impl From<RouterError> for NetError {
    fn from(error: RouterError) -> Self {
        Self::Router(error)
    }
}

impl core::fmt::Display for NetError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoMemory => f.write_str("no memory for packet buffers"),
            Self::Router(error) => error.fmt(f),
        }
    }
}

/// Makes the packet pools, for these cards and packets of `mtu` octets, and the router, once.
pub(crate) fn init(cards: &[Card], mtu: u16, cpus: usize) -> Result<&'static Router, NetError> {
    if !pools::init(cards, mtu) {
        return Err(NetError::NoMemory);
    }
    // Boxed at once: a router is too large for this stack to have it twice.
    let router = Router::new(&DOMAIN, ArpConfig::default(), cpus).map(Box::new)?;
    Ok(*ROUTER.call_once(|| Box::leak(router)))
}

/// Returns the router; `None` while or where there is none.
pub(crate) fn router() -> Option<&'static Router> {
    ROUTER.get().copied()
}

/// How long a change waits for its turn, and how often it looks.
const PATIENCE: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(1);

/// An error that may say that somebody else is at it.
pub(crate) trait Busy {
    /// Whether it does.
    fn is_busy(&self) -> bool;
}

impl Busy for RouterError {
    fn is_busy(&self) -> bool {
        *self == Self::Busy
    }
}

impl Busy for InterfaceError {
    fn is_busy(&self) -> bool {
        *self == Self::Router(RouterError::Busy)
    }
}

/// Asks the router for something that one thread at a time may ask for: waits while another is at it (the callouts look at
/// the links now and then), for a second at most; not at all in a stopped world.
///
/// # Errors
/// Those of `ask`; [`RouterError::Busy`] when the patience ran out.
///
/// # Context
/// Thread; sleeps.
pub(crate) fn in_turn<R, E: Busy>(mut ask: impl FnMut() -> Result<R, E>) -> Result<R, E> {
    let until = time::now() + PATIENCE;
    loop {
        match ask() {
            Err(error) if error.is_busy() && time::now() < until && !kdb::is_stopped() => threads::sleep(LOOK),
            answer => return answer,
        }
    }
}

/// Makes a worker for a thread bound to `cpu`, with buffers of that CPU's node.
pub(crate) fn worker(name: &str, cpu: CpuId) -> Result<Worker, NetError> {
    make_worker(name, cpu, pools::of_cpu(cpu).ok_or(NetError::NoMemory)?, false)
}

/// Makes a worker for the thread that serves a card's interrupt on `cpu`, with buffers of the pool that fills the card's rings.
pub(crate) fn ingress_worker(name: &str, cpu: CpuId, pool: &'static PacketPool) -> Result<Worker, NetError> {
    make_worker(name, cpu, pool, true)
}

// A worker is large while it is being made: on a frame of its own, which is gone before the thread goes deeper.
#[inline(never)]
fn make_worker(name: &str, cpu: CpuId, pool: &'static PacketPool, ingress: bool) -> Result<Worker, NetError> {
    let router = router().ok_or(NetError::NoMemory)?;
    let workstream = cpu.index() % router.netisr().workstreams().max(1);
    Ok(Worker::new(router, pool, &WorkerConfig { name, workstream, ingress })?)
}

/// Makes the worker for [`flush_held`] while there is time and memory.
pub(crate) fn prepare_flush() -> Result<(), NetError> {
    let worker = worker("shutdown", CpuId::BOOT)?;
    *FLUSHER.lock() = Some(Box::new(worker));
    Ok(())
}

/// Drops what waits for address resolution, in protocol queues or for its other fragments, counted; returns how many packets that were.
pub(crate) fn flush_held() -> Flushed {
    let Some(mut worker) = FLUSHER.lock().take() else { return Flushed::default() };
    let flushed = worker.flush_held(time::now());
    let count = |packets| usize::try_from(packets).unwrap_or(usize::MAX);
    Flushed { arp: count(flushed.arp), netisr: count(flushed.netisr), fragments: count(flushed.reassembly) }
}
