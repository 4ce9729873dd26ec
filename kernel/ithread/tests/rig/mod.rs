//! A machine for the interrupt protocol: devices, a level-triggered line, threads and a clock.
//!
//! Runs on loom's threads or on real ones (`ksync::model`). Interrupts are delivered to whoever raises a cause while the line is
//! open, and to the interrupt thread when it opens the line and goes to sleep, as on a CPU whose interrupts are on.
//!
//! Hardware state is kept in `std` atomics, which loom neither schedules around nor reorders: wires have no store buffer. What is
//! modelled is the protocol's own synchronisation, and the [`RaceCell`]s that it protects.

use std::{
    string::String,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
    vec::Vec,
};

use ithread::{Filter, FilterResult, Handler, HandlerId, IntrEvent, LineControl, Notice, Pass, Rearm, Scheduler};
use ksync::{
    atomic::{AtomicBool as LineBit, Ordering::Relaxed},
    cpu::CpuId,
    model::{self, RaceCell},
    time::Instant,
};

pub(crate) const IRQ: u32 = 10;

/// A device with one cause bit and one mask bit.
pub(crate) struct Device {
    pub(crate) cause: AtomicBool,
    pub(crate) masked: AtomicBool,
    /// Once more there is a cause, after the handler's last pass and before it lets the device interrupt again.
    pub(crate) comes_late: AtomicBool,
    /// Never quiets down, whatever the handler does.
    pub(crate) screams: AtomicBool,
    /// Runs of the handler that found the cause.
    pub(crate) served: AtomicU32,
    /// Touched by the filter and by the handler; whoever tears down writes.
    pub(crate) filter_memory: RaceCell,
    pub(crate) handler_memory: RaceCell,
    pub(crate) retired: AtomicBool,
    watcher: model::Thread,
}

impl Device {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            cause: AtomicBool::new(false),
            masked: AtomicBool::new(false),
            comes_late: AtomicBool::new(false),
            screams: AtomicBool::new(false),
            served: AtomicU32::new(0),
            filter_memory: RaceCell::new(),
            handler_memory: RaceCell::new(),
            retired: AtomicBool::new(false),
            watcher: model::current(),
        })
    }

    fn asserts(&self) -> bool {
        self.cause.load(SeqCst) && !self.masked.load(SeqCst)
    }

    /// Waits (on the thread that made the device) until the handler has found the cause `times` times.
    pub(crate) fn wait_served(&self, times: u32) {
        wait_for(|| self.served.load(SeqCst) >= times);
    }
}

/// Parks until `done`; a wakeup that never comes is a deadlock that loom reports, and a failed deadline on real threads.
pub(crate) fn wait_for(done: impl Fn() -> bool) {
    #[cfg(not(any(loom, shuttle)))]
    let give_up = std::time::Instant::now() + Duration::from_secs(10);
    while !done() {
        #[cfg(any(loom, shuttle))]
        model::park();
        #[cfg(not(any(loom, shuttle)))]
        {
            assert!(std::time::Instant::now() < give_up, "nothing happened for ten seconds");
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}

pub(crate) struct DeviceFilter(pub(crate) Arc<Device>);

impl Filter for DeviceFilter {
    fn filter(&self) -> FilterResult {
        self.0.filter_memory.write();
        if !self.0.asserts() {
            return FilterResult::Stray;
        }
        self.0.masked.store(true, SeqCst);
        FilterResult::ScheduleThread
    }
}

pub(crate) struct DeviceHandler(pub(crate) Arc<Device>);

impl Handler for DeviceHandler {
    fn run(&mut self) -> Pass {
        self.0.handler_memory.write();
        if self.0.screams.load(SeqCst) {
            return Pass::Idle;
        }
        if !self.0.cause.swap(false, SeqCst) {
            return Pass::Idle;
        }
        self.0.served.fetch_add(1, SeqCst);
        self.0.watcher.unpark();
        Pass::Done
    }

    fn rearm(&mut self) -> Rearm {
        self.0.handler_memory.write();
        if self.0.comes_late.swap(false, SeqCst) {
            self.0.cause.store(true, SeqCst);
            return Rearm::Busy;
        }
        self.0.masked.store(false, SeqCst);
        Rearm::Armed
    }

    fn retire(self: Box<Self>) {
        self.0.handler_memory.write();
        self.0.retired.store(true, SeqCst);
    }
}

/// The line's mask bit and what was done to it.
pub(crate) struct Line {
    /// A switch point for loom, but no synchronisation: relaxed read-modify-writes, which also read the newest value, as wires do.
    masked: LineBit,
    pub(crate) routed: AtomicU64,
}

impl Line {
    pub(crate) fn is_masked(&self) -> bool {
        self.masked.fetch_or(false, Relaxed)
    }
}

impl LineControl for Line {
    fn mask(&self, _irq: u32) {
        self.masked.swap(true, Relaxed);
    }

    fn unmask(&self, _irq: u32) {
        self.masked.swap(false, Relaxed);
    }

    fn eoi(&self, _irq: u32) {}

    fn route(&self, _irq: u32, cpu: CpuId) {
        self.routed.store(u64::from(cpu.0), SeqCst);
    }
}

/// What the event sees of the machine.
pub(crate) struct Machine {
    pub(crate) line: Arc<Line>,
    pub(crate) devices: Mutex<Vec<Arc<Device>>>,
    event: Mutex<Weak<IntrEvent<Shared>>>,
    threads: Mutex<Vec<model::JoinHandle<()>>>,
    clock: AtomicU64,
    pub(crate) names: Mutex<Vec<String>>,
    pub(crate) notices: Mutex<Vec<String>>,
}

/// The scheduler handed to the event.
#[derive(Clone)]
pub(crate) struct Shared(pub(crate) Arc<Machine>);

impl Machine {
    pub(crate) fn new() -> (Arc<Self>, Arc<IntrEvent<Shared>>) {
        let line = Arc::new(Line { masked: LineBit::new(true), routed: AtomicU64::new(u64::MAX) });
        let machine = Arc::new(Self {
            line: line.clone(),
            devices: Mutex::default(),
            event: Mutex::default(),
            threads: Mutex::default(),
            clock: AtomicU64::new(0),
            names: Mutex::default(),
            notices: Mutex::default(),
        });
        let event = IntrEvent::new(IRQ, line, Shared(machine.clone()));
        *machine.event.lock().unwrap() = Arc::downgrade(&event);
        (machine, event)
    }

    /// Plugs a new device into the line.
    pub(crate) fn attach(&self, event: &Arc<IntrEvent<Shared>>, name: &str) -> (Arc<Device>, HandlerId) {
        let device = Device::new();
        self.devices.lock().unwrap().push(device.clone());
        let filter = Box::new(DeviceFilter(device.clone()));
        let handler = Box::new(DeviceHandler(device.clone()));
        let id = event.add_handler(name, filter, handler).expect("the event is alive");
        (device, id)
    }

    /// The device raises its cause, and the line interrupts if it is open.
    pub(crate) fn raise(&self, device: &Device) {
        device.cause.store(true, SeqCst);
        self.deliver();
    }

    /// Interrupts if the line is asserted and open.
    pub(crate) fn deliver(&self) {
        let asserted = self.devices.lock().unwrap().clone().iter().any(|device| device.asserts());
        if asserted && !self.line.is_masked() {
            let event = self.event.lock().unwrap().upgrade();
            if let Some(event) = event {
                event.handle();
            }
        }
    }

    /// Waits for the interrupt threads to end.
    pub(crate) fn join(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap());
        for thread in threads {
            thread.join().expect("the interrupt thread ended well");
        }
    }

    pub(crate) fn advance(&self, span: Duration) {
        let nanos = u64::try_from(span.as_nanos()).expect("a short span");
        self.clock.fetch_add(nanos, SeqCst);
    }
}

impl Scheduler for Shared {
    type Thread = model::Thread;

    fn spawn(&self, name: &str, _cpu: Option<CpuId>, body: Box<dyn FnOnce() + Send>) -> Option<model::Thread> {
        self.0.names.lock().unwrap().push(name.into());
        let handle = model::spawn(body);
        let thread = handle.thread().clone();
        self.0.threads.lock().unwrap().push(handle);
        Some(thread)
    }

    fn current(&self) -> model::Thread {
        model::current()
    }

    fn unpark(&self, thread: &model::Thread) {
        thread.unpark();
    }

    fn park(&self) {
        self.0.deliver();
        model::park();
    }

    fn park_until(&self, deadline: Instant) {
        self.0.deliver();
        if deadline == Instant::MAX {
            return model::park();
        }
        // Nobody else moves the clock: sleeping is what makes time pass.
        self.0.clock.fetch_max(deadline.as_nanos(), SeqCst);
        model::yield_now();
    }

    fn sleep(&self, span: Duration) {
        self.0.advance(span);
        model::yield_now();
    }

    fn yield_now(&self) {
        model::yield_now();
    }

    /// The model's own scheduler decides; yielding is always worth a try.
    fn is_contended(&self) -> bool {
        true
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.clock.fetch_add(1000, SeqCst))
    }

    fn rename(&self, _thread: &model::Thread, name: &str) {
        self.0.names.lock().unwrap().push(name.into());
    }

    fn bind(&self, _thread: &model::Thread, _cpu: CpuId) {}

    fn notice(&self, notice: Notice<'_>) {
        self.0.notices.lock().unwrap().push(notice.to_string());
    }
}
