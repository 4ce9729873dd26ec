//! The modelled machine with a router in it: [`Setup`] says what is wanted, [`Rig`] is it.

use std::{
    boxed::Box,
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool as Plain, AtomicU64 as Count, Ordering::SeqCst},
    },
    time::Duration,
    vec::Vec,
};

use arp::ArpConfig;
use config::Config;
use e1000::{Adapter, Attached};
use ifnet::Interface;
use ithread::IntrEvent;
use ksync::{
    atomic::{AtomicBool, Ordering},
    model,
    rcu::Domain,
};
use nic_model::Machine;
use pktbuf::PacketBatch;
use router::{Audit, PingRequest, Router, Worker, WorkerConfig};
use sched::{Callout, Callouts};
use shutdown::{Budgets, Claim, Edge};

use crate::{
    frames,
    host::{Host, TimerHost},
    line::{Event, Line, Wiring},
    port::{CardFilter, Forwarder, Port, Shared},
};

/// Packet buffers of the machine: rings, and a refill of each worker's cache, which are smaller under a model checker.
const BUFFERS: usize = if cfg!(shuttle) { 96 } else { 600 };
/// A card that acknowledges a master disable: the 82574L.
const LATER: u16 = 0x10d3;
/// How often the timers run.
const TICK: Duration = Duration::from_millis(3);
/// Commands that the console takes: an echo request, and a frame.
const PINGS: u16 = 2;

/// What machine is wanted; the default has two cards with lines of their own, and everything else off.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Both cards on one interrupt line.
    pub shared_line: bool,
    /// Packets go through netisr queues instead of being forwarded in the interrupt thread.
    pub deferred: bool,
    /// The router does not know its neighbours yet.
    pub cold: bool,
    /// Interrupts arrive although the line is masked, as those that are on their way do.
    pub in_flight: bool,
    /// Another CPU sends echo requests, until it is told that there is a shutdown, or is parked.
    pub console: bool,
    /// The cards acknowledge a master disable before their reset, as the family's PCI Express parts do.
    pub later: bool,
    /// Steps that the devices make before the tripwire is looked at, and again after the end.
    pub patience: u32,
    /// What each stage may take.
    pub budgets: Budgets,
}

impl Default for Setup {
    fn default() -> Self {
        let mut budgets = Budgets::default();
        if cfg!(shuttle) {
            // A millisecond is one look here, and a thousand of them are for ever.
            (budgets.drain, budgets.join) = (Duration::from_millis(700), Duration::from_millis(1500));
        }
        Self {
            shared_line: false,
            deferred: false,
            cold: false,
            in_flight: false,
            console: false,
            later: false,
            patience: 0,
            budgets,
        }
    }
}

impl Setup {
    /// The same, with little time for the drain, for scenarios in which it cannot succeed.
    #[must_use]
    pub fn impatient(mut self) -> Self {
        self.budgets.drain = Duration::from_millis(60);
        self
    }

    /// The same, with little time for the threads, for scenarios in which one never answers.
    #[must_use]
    pub fn resigned(mut self) -> Self {
        self.budgets.join = Duration::from_millis(60);
        self
    }
}

std::thread_local! {
    /// The edge that machines made on this thread leave out.
    static WITHOUT: Cell<Option<Edge>> = const { Cell::new(None) };
    /// The PCI device id of the cards of machines made on this thread.
    static PART: Cell<u16> = const { Cell::new(0x100e) };
}

/// Runs `act`; the machines that it makes have cards with this PCI device id.
pub fn on_part<R>(device: u16, act: impl FnOnce() -> R) -> R {
    let before = PART.replace(device);
    let result = act();
    PART.set(before);
    result
}

/// Runs `act`; the ladders of the machines that it makes leave out `edge`.
pub fn without<R>(edge: Edge, act: impl FnOnce() -> R) -> R {
    WITHOUT.set(Some(edge));
    let result = act();
    WITHOUT.set(None);
    result
}

/// Everything that other threads of the machine share.
#[derive(Debug)]
pub(crate) struct Flags {
    /// The devices come to rest.
    pub(crate) power_off: Arc<AtomicBool>,
    /// The netisr thread ends.
    pub(crate) ending: AtomicBool,
    /// The console refuses new work.
    pub(crate) refusing: AtomicBool,
    /// The other CPU is to park.
    pub(crate) parking: AtomicBool,
    /// The other CPU has parked.
    pub(crate) parked: AtomicBool,
    /// Threads that [`crate::plant`] joins with the callouts.
    pub(crate) joined: AtomicBool,
    /// Runs of the timers. Not the checker's, as the ones below.
    pub(crate) ticks: Count,
    /// Memory has been given back: from here on a timer is a broken promise.
    pub(crate) torn_down: Plain,
    /// The rings have been drained.
    pub(crate) drained: Plain,
    /// The machine is over.
    pub(crate) over: Plain,
    /// Frames that ports accepted from the console.
    pub(crate) raw_sent: Count,
    /// A panic has asked.
    pub(crate) panicked: Plain,
    /// Stages that began after that.
    pub(crate) stages_after_panic: Count,
    /// Something happened that must not, in words.
    broken: model::Mutex<Vec<String>>,
}

impl Flags {
    fn new() -> Self {
        Self {
            power_off: Arc::new(AtomicBool::new(false)),
            ending: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            parking: AtomicBool::new(false),
            parked: AtomicBool::new(false),
            joined: AtomicBool::new(false),
            ticks: Count::new(0),
            torn_down: Plain::new(false),
            drained: Plain::new(false),
            over: Plain::new(false),
            raw_sent: Count::new(0),
            panicked: Plain::new(false),
            stages_after_panic: Count::new(0),
            broken: model::Mutex::new(Vec::new()),
        }
    }

    /// Notes a broken promise; the scenario fails at its end, when all of them are known.
    pub(crate) fn broke(&self, promise: &str) {
        let mut broken = self.broken.lock();
        if !broken.iter().any(|other| other == promise) {
            broken.push(promise.into());
        }
    }

    pub(crate) fn all_broken(&self) -> Vec<String> {
        self.broken.lock().clone()
    }
}

/// A machine with a router, at work.
pub struct Rig {
    pub(crate) setup: Setup,
    pub(crate) machine: Machine,
    pub(crate) router: &'static Router,
    pub(crate) host: Host,
    pub(crate) ports: Vec<Port>,
    pub(crate) flags: Arc<Flags>,
    pub(crate) claim: Claim,
    pub(crate) callouts: Callouts<TimerHost>,
    pub(crate) timers: Vec<Callout<TimerHost>>,
    pub(crate) netisr: Option<model::Thread>,
    /// With this worker the shutdown flushes what is held.
    pub(crate) flusher: model::Mutex<Option<Worker>>,
    /// The books before the first frame of the scenario.
    pub(crate) before: Audit,
}

impl std::fmt::Debug for Rig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rig").field("setup", &self.setup).finish_non_exhaustive()
    }
}

impl Rig {
    /// Makes the machine and lets it run.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let machine = Machine::of(if setup.later { LATER } else { PART.get() }, BUFFERS);
        let domain: &'static Domain = Box::leak(Box::new(Domain::new()));
        let arp = ArpConfig { max_entries: 8, max_unresolved: 4, max_held: 16, ..ArpConfig::default() };
        let router: &'static Router = Box::leak(Box::new(Router::new(domain, arp, 1).expect("a router")));
        let (host, flags) = (Host::new(), Arc::new(Flags::new()));
        let ports = attach_all(setup, &machine, router, &host);
        configure(setup, &machine, router, &ports, &host);
        let before = router.audit();
        let callouts = Callouts::new(TimerHost(host.clone()));
        let flusher = model::Mutex::new(Some(worker(&machine, router, "shutdown", false)));
        let mut rig = Self {
            setup,
            machine,
            router,
            host,
            ports,
            flags,
            claim: Claim::without(WITHOUT.get()),
            callouts,
            timers: Vec::new(),
            netisr: None,
            flusher,
            before,
        };
        rig.start();
        rig
    }

    fn start(&mut self) {
        self.start_timers();
        if self.setup.deferred {
            self.start_netisr();
        }
        if self.setup.console {
            self.start_console();
        }
        for port in &self.ports {
            let wiring = Wiring {
                nic: port.nic.clone(),
                line: Arc::clone(&port.line),
                event: Arc::clone(&port.event),
                in_flight: self.setup.in_flight,
                power_off: Arc::clone(&self.flags.power_off),
            };
            self.host.start("device", move || wiring.run());
        }
    }

    /// Timers that re-arm themselves: the router's, and the cards'.
    fn start_timers(&mut self) {
        let mut worker = worker(&self.machine, self.router, "callouts", false);
        let adapters: Vec<_> = self.ports.iter().map(|port| Arc::clone(&port.adapter)).collect();
        let (host, flags) = (self.host.clone(), Arc::clone(&self.flags));
        let tick = self.callouts.create(move |again| {
            if flags.torn_down.load(SeqCst) {
                flags.broke("a timer ran after the memory was given back");
            }
            flags.ticks.fetch_add(1, SeqCst);
            worker.tick(host.time());
            adapters.iter().for_each(|adapter| _ = adapter.tick(host.time()));
            // Only a drain refuses.
            let _ = again.schedule(host.time() + TICK);
        });
        tick.schedule(self.host.time()).expect("nobody has drained it");
        self.timers.push(tick);
        let callouts = self.callouts.clone();
        self.host.start("timers", move || callouts.run());
    }

    fn start_netisr(&mut self) {
        let mut worker = worker(&self.machine, self.router, "netisr 0", false);
        let (host, flags) = (self.host.clone(), Arc::clone(&self.flags));
        let thread = self.host.start("netisr", move || {
            while !flags.ending.load(Ordering::Acquire) {
                if worker.run_netisr(host.time(), 0, 4) == 0 {
                    model::park();
                }
            }
            drop(worker);
            flags.joined.store(true, Ordering::Release);
        });
        let woken = thread.clone();
        self.router.set_waker(move |_| woken.unpark());
        self.netisr = Some(thread);
    }

    /// Another CPU, at which somebody types: `ping`, and commands that send frames past the router's tables.
    fn start_console(&self) {
        let mut worker = worker(&self.machine, self.router, "console", false);
        let (host, flags) = (self.host.clone(), Arc::clone(&self.flags));
        let adapter = Arc::clone(&self.ports[1].adapter);
        self.host.start("console", move || {
            let mut sequence = 0;
            while !flags.parking.load(Ordering::Acquire) {
                let (destination, _) = frames::host(usize::from(sequence % 2 == 1));
                // In this order: whoever is past the drain has been told.
                let late = flags.drained.load(SeqCst);
                let refused = flags.refusing.load(Ordering::Acquire);
                if late && !refused {
                    flags.broke("the console still took orders after the drain");
                }
                if sequence < PINGS && !refused {
                    // Somebody has typed; that it is acted upon takes a moment.
                    let mut moments = model::choose(1200);
                    while moments > 0 && !flags.parking.load(Ordering::Acquire) {
                        moments -= 1;
                        model::yield_now();
                    }
                    if model::choose(2) == 0 {
                        let request = PingRequest { destination, ident: 1, sequence, body_len: 16 };
                        let _ = worker.ping_send(host.time(), request);
                    } else {
                        let accepted = worker.pass(host.time(), |pass| send_frame(pass, &*adapter));
                        flags.raw_sent.fetch_add(accepted, SeqCst);
                    }
                    sequence += 1;
                }
                if flags.over.load(SeqCst) {
                    flags.broke("a CPU still ran when the machine was over");
                    return;
                }
                model::yield_now();
            }
            drop(worker);
            flags.parked.store(true, Ordering::Release);
        });
    }

    /// Puts `count` datagrams on the wire of each port, for the host beside the other port.
    pub fn send(&self, count: u32) {
        for (index, port) in self.ports.iter().enumerate() {
            (0..count).for_each(|serial| port.nic.inject(frames::datagram(index, serial)));
        }
    }

    /// Has a thread put `count` datagrams on the wire of each port, one at a time, while everything goes on.
    pub fn trickle(&self, count: u32) {
        let nics: Vec<_> = self.ports.iter().map(|port| port.nic.clone()).collect();
        self.host.start("wire", move || {
            for serial in 0..count {
                for (index, nic) in nics.iter().enumerate() {
                    nic.inject(frames::datagram(index, serial));
                    model::yield_now();
                }
            }
        });
    }

    /// Has a thread do `act` a number of times, while everything goes on.
    pub fn meanwhile(&self, times: u32, mut act: impl FnMut() + Send + 'static) {
        self.host.start("adversary", move || {
            for _ in 0..times {
                act();
                model::yield_now();
            }
        });
    }

    /// Returns a port's device, to play the adversary with.
    ///
    /// # Panics
    /// If there is no such port.
    #[must_use]
    pub fn nic(&self, port: usize) -> &nic_model::Nic {
        &self.ports[port].nic
    }

    /// Has the thread of a port never come back from its next pass.
    ///
    /// # Panics
    /// If there is no such port.
    pub fn wedge(&self, port: usize) {
        self.ports[port].shared.wedged.store(true, SeqCst);
        self.ports[port].event.schedule(self.ports[port].handler);
        self.wait_for("the thread is stuck", || self.ports[port].shared.stuck.load(SeqCst));
    }

    /// Has the thread of a port stop with frames in hand, which are in no ring, until `millis` milliseconds from now; waits until
    /// it has some.
    ///
    /// # Panics
    /// If there is no such port, or it gets no frames.
    pub fn hold_frames(&self, port: usize, millis: u64) {
        let shared = &self.ports[port].shared;
        shared.holds.store(true, SeqCst);
        self.send(1);
        self.wait_for("the thread has frames in hand", || shared.holding.load(SeqCst));
        let (shared, host, until) =
            (Arc::clone(shared), self.host.clone(), self.host.time() + Duration::from_millis(millis));
        self.host.start("adversary", move || {
            while host.time() < until {
                model::yield_now();
            }
            shared.holds.store(false, SeqCst);
        });
    }

    /// Lets time pass, a millisecond at a time.
    pub fn wait(&self, millis: u32) {
        (0..millis).for_each(|_| self.host.relax());
    }

    /// Waits for some milliseconds, up to a dozen, or not at all: a shutdown may come at any instant.
    pub fn until_any_instant(&self) {
        self.wait(u32::try_from(model::choose(13)).unwrap_or(0));
    }

    /// Waits until `done`, or fails.
    ///
    /// # Panics
    /// If three seconds have passed before.
    pub fn wait_for(&self, what: &str, done: impl Fn() -> bool) {
        for _ in 0..3000 {
            if done() {
                return;
            }
            self.host.relax();
        }
        let events: Vec<_> = self.ports.iter().map(|port| port.event.statistics()).collect();
        panic!("{what}: not within three seconds; {events:?}");
    }
}

/// Sends a frame that needs no neighbour; returns whether the port took it.
fn send_frame(pass: &mut router::Pass<'_>, port: &dyn Interface) -> u64 {
    let Some(mut packet) = pass.cache().alloc() else { return 0 };
    let mut batch = PacketBatch::new();
    packet.append(&frames::arp_request(1)).expect("the frame fits");
    batch.push(packet).expect("an empty batch has room");
    let outcome = port.transmit(&mut batch, pass.cache());
    batch.drain().for_each(|packet| pass.cache().recycle(packet));
    u64::from(outcome.accepted)
}

/// Makes a worker.
pub(crate) fn worker(machine: &Machine, router: &'static Router, name: &str, ingress: bool) -> Worker {
    let config = WorkerConfig { name, workstream: 0, ingress };
    Worker::new(router, machine.pool, &config).expect("there is room for a worker")
}

fn attach_all(setup: Setup, machine: &Machine, router: &'static Router, host: &Host) -> Vec<Port> {
    let mut ports: Vec<Port> = Vec::new();
    for number in 0..2_u8 {
        let shared = ports.first().filter(|_| setup.shared_line);
        let (line, event) = match shared {
            Some(first) => (Arc::clone(&first.line), Arc::clone(&first.event)),
            None => {
                let line = Line::new();
                let event: Arc<Event> = IntrEvent::new(10 + u32::from(number), Arc::clone(&line) as _, host.clone());
                (line, event)
            }
        };
        ports.push(attach(number, machine, router, host, line, event));
    }
    ports
}

fn attach(
    number: u8,
    machine: &Machine,
    router: &'static Router,
    host: &Host,
    line: Arc<Line>,
    event: Arc<Event>,
) -> Port {
    let nic = machine.nic(nic_model::mac(number));
    // Panics are among the scenarios.
    nic.set_faults(|faults| faults.may_be_hurried = true);
    let config = machine.config(number);
    let name = config.name.clone();
    let delay: &'static nic_model::Nic = Box::leak(Box::new(nic.clone()));
    let attached = Adapter::attach(nic.clone(), &machine.root, machine.pool, config, delay);
    let Attached { adapter, mut rx } = attached.expect("a good device attaches");
    let rx = rx.pop().expect("a port has a ring");
    router.attach(Arc::clone(&adapter) as Arc<dyn Interface>).expect("the router has room");
    let shared = Arc::new(Shared::default());
    let filter = CardFilter { adapter: Arc::clone(&adapter), shared: Arc::clone(&shared) };
    let worker = worker(machine, router, &name, true);
    let forwarder = Forwarder {
        adapter: Arc::clone(&adapter),
        shared: Arc::clone(&shared),
        rx,
        worker,
        batch: PacketBatch::new(),
        host: host.clone(),
    };
    let handler = event.add_handler(&name, Box::new(filter), Box::new(forwarder)).expect("the event is alive");
    Port { name, nic, adapter, line, event, handler, shared }
}

/// Gives the router its configuration and, unless it is to be cold, its neighbours; lets the ports run.
fn configure(setup: Setup, machine: &Machine, router: &'static Router, ports: &[Port], host: &Host) {
    ports.iter().for_each(|port| port.adapter.start().expect("a fresh port starts"));
    router.apply(&Config::parse(frames::CONFIG).expect("the configuration is right")).expect("it can be applied");
    if setup.deferred {
        router.sysctl_set("net.isr.dispatch", "deferred").expect("the setting is known");
    }
    if setup.cold {
        return;
    }
    let mut worker = worker(machine, router, "setup", false);
    worker.pass(host.time(), |pass| {
        for index in 0..ports.len() {
            let mut packet = pass.cache().alloc().expect("the pool is full");
            packet.append(&frames::arp_request(index)).expect("the frame fits");
            packet.set_rx_if(u16::try_from(index).unwrap_or(0));
            pass.receive(packet);
        }
    });
    for port in ports {
        port.nic.settle();
        let _ = (port.nic.all_sent(), port.adapter.tx_backlog());
    }
}
