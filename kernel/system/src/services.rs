//! What runs beside the interrupt threads: callouts, the netisr threads, the serial line; and who is attached where.
//!
//! The list of ports is made at boot and never changes. [`join`] ends everything in here by each thread's own
//! acknowledgement, for the shutdown ladder.

use alloc::{boxed::Box, format, string::String, sync::Arc, vec::Vec};
use core::{fmt, time::Duration};

use ifnet::IfIndex;
use ithread::{Filter, FilterResult};
use ksync::{
    Once, SpinLock,
    atomic::{AtomicBool, Ordering},
    cpu::CpuId,
    time::Instant,
};
use machine::{console, time};
use router::Worker;
use shutdown::{Fault, Faults};

use crate::{
    culprit, debugger, fail_points, hand_over, lines, net,
    port::{Event, Port},
    power,
    threads::{self, Class, KernelCallout, KernelCallouts, Thread},
};

/// How often the cards are looked after, and how often the router is at least.
const CARD_TICK: Duration = Duration::from_secs(1);
/// The shortest time between two looks: after the boot, and while gdb waits, which may interrupt the machine.
const SHORT_TICK: Duration = Duration::from_millis(100);
/// Frames a netisr thread takes before it looks at the time again.
const NETISR_BUDGET: usize = 64;

static PORTS: Once<Vec<Arc<Port>>> = Once::new();
static HOSTNAME: Once<String> = Once::new();

/// The shutdown has been announced.
static REFUSING: AtomicBool = AtomicBool::new(false);
/// Threads that must end before DMA stops.
static ENDING: AtomicBool = AtomicBool::new(false);
/// Protects: the threads that must end before DMA stops; held across: one push, or taking them out.
static MORTALS: SpinLock<Vec<Mortal>> = SpinLock::new(Vec::new());
static NETISRS: Once<Vec<Thread>> = Once::new();
static CALLOUTS: Once<KernelCallouts> = Once::new();
/// What looks after ARP and links.
static ROUTER_CALLOUT: Once<KernelCallout> = Once::new();
/// A card has said that its link has changed, and nobody has looked yet.
static LINK_CHANGED: AtomicBool = AtomicBool::new(false);

/// A thread that the shutdown ends.
struct Mortal {
    name: String,
    /// Set by the thread as its last act.
    ended: Arc<AtomicBool>,
}

/// Returns the cards that were attached.
pub(crate) fn ports() -> &'static [Arc<Port>] {
    PORTS.get().map_or(&[], Vec::as_slice)
}

/// Notes the cards that were attached, once.
pub(crate) fn set_ports(ports: Vec<Arc<Port>>) {
    PORTS.call_once(|| ports);
}

/// Notes the router's name, once.
pub(crate) fn set_hostname(name: &str) {
    HOSTNAME.call_once(|| name.into());
}

/// Returns the router's name.
pub(crate) fn hostname() -> &'static str {
    HOSTNAME.get().map_or(config::DEFAULT_HOSTNAME, String::as_str)
}

/// The name of interface `index`.
pub(crate) struct InterfaceName(pub(crate) u16);

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = ports().get(usize::from(self.0)).map(|port| &*port.name);
        match port.or_else(|| net::router()?.vlan_name(IfIndex(self.0))) {
            Some(name) => f.pad(name),
            None => write!(f, "if{}", self.0),
        }
    }
}

/// Returns the callouts, once they are there.
pub(crate) fn callouts() -> Option<&'static KernelCallouts> {
    CALLOUTS.get()
}

/// Has the router look at the links at once, for one has changed: traffic does not wait for the next tick.
///
/// # Context
/// Thread context, interrupt threads too; may allocate, does not block.
pub(crate) fn link_changed() {
    LINK_CHANGED.store(true, Ordering::Relaxed);
    if let Some(callout) = ROUTER_CALLOUT.get() {
        // Only a drain refuses: then nothing is forwarded any more.
        let _ = callout.schedule(time::now());
    }
}

/// Starts the callouts and one netisr thread per CPU.
///
/// # Errors
/// The name of what could not be started.
#[inline(never)]
pub(crate) fn start(cpus: usize) -> Result<(), &'static str> {
    let mut worker = net::worker("callouts", CpuId::BOOT).map_err(|_| "callouts")?;
    let callouts = CALLOUTS.call_once(threads::callouts);
    let router = again_and_again(callouts, SHORT_TICK, move || {
        // ORDERING: relaxed: the links themselves are read below, and who sets this has this run once more.
        let changed = LINK_CHANGED.swap(false, Ordering::Relaxed);
        let next = if changed || !fail_points::skips_ticks() { worker.tick(time::now()) } else { CARD_TICK };
        hand_over::say_first();
        power::request_due();
        if debugger::gdb::poll() { next.min(SHORT_TICK) } else { next }
    });
    ROUTER_CALLOUT.call_once(|| router);
    let _ = again_and_again(callouts, CARD_TICK, tick_cards);
    spawn("callouts", Class::Callout, CpuId::BOOT, || callouts.run()).ok_or("callouts")?;
    let mut netisrs = Vec::with_capacity(cpus);
    for number in 0..cpus {
        let cpu = CpuId(u16::try_from(number).unwrap_or(0));
        let name = format!("netisr {number}");
        let worker = net::worker(&name, cpu).map_err(|_| "netisr")?;
        netisrs.push(spawn(&name, Class::Netisr, cpu, move || netisr(worker, number)).ok_or("netisr")?);
    }
    NETISRS.call_once(|| netisrs);
    if let Some(router) = net::router() {
        router.set_waker(|workstream| {
            if let Some(thread) = NETISRS.get().and_then(|threads| threads.get(workstream)) {
                threads::unpark(thread);
            }
        });
    }
    Ok(())
}

/// Starts a thread that the shutdown waits for before it stops DMA; `None` if that has begun, or there is no room. The thread ends soon
/// after [`ending`] says so.
pub(crate) fn spawn(name: &str, class: Class, cpu: CpuId, body: impl FnOnce() + Send + 'static) -> Option<Thread> {
    let ended = Arc::new(AtomicBool::new(false));
    let (told, failed) = (Arc::clone(&ended), Arc::clone(&ended));
    {
        // On the list before it runs: what is not there by the time `join` takes the list never runs.
        let mut mortals = MORTALS.lock();
        if ending() {
            return None;
        }
        mortals.push(Mortal { name: String::from(name), ended });
    }
    let mortal = move || {
        body();
        // ORDERING: release pairs with the acquire in `join`: what the thread did happens before the teardown.
        told.store(true, Ordering::Release);
    };
    let thread = threads::spawn(name, class, Some(cpu), Box::new(mortal));
    if thread.is_none() {
        // ORDERING: as above, with nothing done.
        failed.store(true, Ordering::Release);
    }
    thread
}

/// Returns whether the threads that the shutdown waits for are to end.
pub(crate) fn ending() -> bool {
    // ORDERING: acquire pairs with the release in `join`.
    ENDING.load(Ordering::Acquire)
}

/// Has `act` run at the next multiple of `first`, and then at the next one of the period that it returns, again and again, until the
/// callouts end. Periods are multiples of each other, so that what is due as often is due together. Whoever schedules the callout has it
/// run then as well.
fn again_and_again(
    callouts: &KernelCallouts,
    first: Duration,
    mut act: impl FnMut() -> Duration + Send + 'static,
) -> KernelCallout {
    let callout = callouts.create(move |again| {
        let period = act();
        // Only a drain refuses, and then this was the last time.
        let _ = again.schedule(time::now().next_multiple_of(period));
    });
    let _ = callout.schedule(time::now().next_multiple_of(first));
    callout
}

/// Looks after the cards: link, watchdog, statistics, strays. Returns when to do so again.
fn tick_cards() -> Duration {
    ports().iter().for_each(|port| port.tick(time::now()));
    lines::events().for_each(|event| event.report_strays());
    CARD_TICK
}

/// A netisr thread: processes its CPU's queue, parks when it is empty.
fn netisr(mut worker: Worker, workstream: usize) {
    while !ending() {
        if worker.run_netisr(time::now(), workstream, NETISR_BUDGET) < NETISR_BUDGET {
            threads::park();
        } else {
            threads::yield_now();
        }
    }
}

/// Refuses new work from the console from now on: the first rung of the ladder.
pub(crate) fn refuse_new_work() {
    // ORDERING: relaxed; a command that is under way finishes, the next one sees it.
    REFUSING.store(true, Ordering::Relaxed);
    log::info!("shutdown: no more configuration");
}

/// Returns whether the machine is shutting down, so that nothing may be changed or sent from the console.
pub(crate) fn refuses_work() -> bool {
    REFUSING.load(Ordering::Relaxed)
}

/// Ends the callouts, the netisr threads and the events that belong to no card; says of each how that went, and returns those
/// that did not end by `deadline`, having said what they were doing.
pub(crate) fn join(deadline: Instant, say: &mut dyn FnMut(fmt::Arguments<'_>)) -> Faults {
    let limit = deadline.saturating_duration_since(time::now()).as_secs();
    // ORDERING: release pairs with the acquire in `ending`.
    ENDING.store(true, Ordering::Release);
    if let Some(callouts) = CALLOUTS.get() {
        callouts.stop();
    }
    NETISRS.get().into_iter().flatten().for_each(threads::unpark);
    // Those of cards have been waited for; one that did not answer would use up the same time again.
    let is_a_cards = |event: &Arc<Event>| {
        ports().iter().flat_map(|port| &port.interrupts).any(|interrupt| Arc::ptr_eq(&interrupt.event, event))
    };
    let others = || lines::events().filter(|event| !is_a_cards(event));
    others().for_each(|event| event.begin_quiesce());
    let mut faults = Faults::new();
    for event in others() {
        if let Err(wedged) = event.quiesce(deadline) {
            say(format_args!("shutdown: {wedged}"));
            let name = event.description();
            culprit::explain_thread("shutdown", &name, say);
            faults.push((String::from(&*name), Fault::Wedged));
        }
    }
    let mortals = core::mem::take(&mut *MORTALS.lock());
    for Mortal { name, ended } in mortals {
        // ORDERING: acquire pairs with the release in `spawn`.
        while !ended.load(Ordering::Acquire) && time::now() < deadline {
            threads::sleep(Duration::from_millis(1));
        }
        let has_ended = ended.load(Ordering::Acquire);
        let word = if has_ended { "done" } else { "timed out" };
        say(format_args!("Waiting (max {limit} seconds) for system thread `{name}' to stop... {word}"));
        if !has_ended {
            culprit::explain_thread("shutdown", &name, say);
            faults.push((name, Fault::Wedged));
        }
    }
    faults
}

/// The serial line's filter: moves octets into the console's queue.
pub(crate) struct SerialFilter;

impl Filter for SerialFilter {
    fn filter(&self) -> FilterResult {
        console::on_serial_interrupt();
        FilterResult::Handled
    }
}
