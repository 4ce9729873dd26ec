//! The one router of this machine, its buffers, and the workers that threads take with them.
//!
//! Context: thread, except [`router`], which any context may call.

use alloc::boxed::Box;
use core::time::Duration;

use arp::ArpConfig;
use ksync::{Once, SpinLock, cpu::CpuId, rcu::Domain};
use machine::{
    frame::{self, RunRequest},
    kdb,
    memory::PhysMemory,
    time,
};
use pktbuf::PacketPool;
use router::{Router, RouterError, Worker, WorkerConfig};
use shutdown::Flushed;

use crate::{buffers::Stock, threads};

/// The pool takes at most this share of the memory that is free.
const SHARE: usize = 4;
/// Octets of a physical frame.
const PHYSICAL_FRAME: usize = 4096;

static DOMAIN: Domain = Domain::new();
static ROUTER: Once<Router> = Once::new();
static POOL: Once<PacketPool> = Once::new();
static STOCK: Once<Stock> = Once::new();
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

/// Makes the packet pool, for packets of `mtu` octets, and the router, once.
pub(crate) fn init(cards: usize, mtu: u16, cpus: usize) -> Result<&'static Router, NetError> {
    let (stock, memory) = provide(cards, mtu).ok_or(NetError::NoMemory)?;
    let (start, size) = (memory.phys(), stock.size);
    let pool = POOL.call_once(|| PacketPool::new(memory.into_static(), size));
    STOCK.call_once(|| stock);
    log::info!(
        "pktbuf: {} buffers of {} octets, {} KiB at {start:#x}",
        pool.total(),
        size.octets(),
        pool.total() * size.stride() / 1024
    );
    let router = Router::new(&DOMAIN, ArpConfig::default(), cpus)?;
    Ok(ROUTER.call_once(|| router))
}

/// Finds memory for the buffers: large ones if there is room for enough of them, usual ones as many as there may be.
fn provide(cards: usize, mtu: u16) -> Option<(Stock, PhysMemory)> {
    let allowed = frame::usage().free * PHYSICAL_FRAME / SHARE;
    let first = Stock::choices(mtu).next()?;
    let (stock, memory) = Stock::choices(mtu).find_map(|stock| {
        let wanted = stock.octets(cards);
        let octets = if stock == Stock::USUAL { wanted.min(allowed).max(stock.size.stride()) } else { wanted };
        let fits = octets <= allowed || stock == Stock::USUAL;
        let memory = fits.then(|| PhysMemory::allocate_uncleared(&RunRequest::octets(octets)).ok())??;
        Some((stock, memory))
    })?;
    let [wanted, most] = [first.octets(cards), allowed].map(|octets| octets >> 20);
    if stock.size < first.size {
        log::error!("pktbuf: no buffers of {} octets in {most} MiB: no packets as long as {mtu}", first.size.octets());
    } else if stock.is_short() {
        let [rx, tx] = stock.descriptors(1);
        log::warn!("pktbuf: {wanted} MiB are wanted, {most} there: rings of {rx} and {tx} descriptors, fewer buffers");
    }
    Some((stock, memory))
}

/// Returns which buffers were made, and the rings that go with them.
pub(crate) fn stock() -> Stock {
    STOCK.get().copied().unwrap_or(Stock::USUAL)
}

/// Returns the router; `None` while or where there is none.
pub(crate) fn router() -> Option<&'static Router> {
    ROUTER.get()
}

/// Returns the packet pool.
pub(crate) fn pool() -> Option<&'static PacketPool> {
    POOL.get()
}

/// How long a change waits for its turn, and how often it looks.
const PATIENCE: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(1);

/// Asks the router for something that one thread at a time may ask for: waits while another is at it (the callouts look at
/// the links ten times a second), for a second at most; not at all in a stopped world.
///
/// # Errors
/// Those of `ask`; [`RouterError::Busy`] when the patience ran out.
///
/// # Context
/// Thread; sleeps.
pub(crate) fn in_turn<R>(mut ask: impl FnMut() -> Result<R, RouterError>) -> Result<R, RouterError> {
    let until = time::now() + PATIENCE;
    loop {
        match ask() {
            Err(RouterError::Busy) if time::now() < until && !kdb::is_stopped() => threads::sleep(LOOK),
            answer => return answer,
        }
    }
}

/// Makes a worker for a thread bound to `cpu`.
pub(crate) fn worker(name: &str, cpu: CpuId, ingress: bool) -> Result<Worker, NetError> {
    let (Some(router), Some(pool)) = (ROUTER.get(), POOL.get()) else { return Err(NetError::NoMemory) };
    let workstream = cpu.index() % router.netisr().workstreams().max(1);
    Ok(Worker::new(router, pool, &WorkerConfig { name, workstream, ingress })?)
}

/// Makes the worker for [`flush_held`] while there is time and memory.
pub(crate) fn prepare_flush() -> Result<(), NetError> {
    let worker = worker("shutdown", CpuId::BOOT, false)?;
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
