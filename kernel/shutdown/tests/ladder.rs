//! The ladder over devices that log what was asked of them.

use ksync::time::Instant;
use shutdown::{
    AllJoined, AllStopped, Budgets, Exit, Fault, Finished, Ladder, Outcome, Plant, Progress, Quiesce, Residue, Stage,
    Teardown,
};
use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    time::Duration,
};

/// What every device and the plant did, in order.
type Log = Rc<RefCell<Vec<String>>>;

struct Card {
    name: &'static str,
    log: Log,
    /// `drain` answers busy so many times.
    busy: usize,
    /// Set to `busy` by the join: what the thread's last pass left in the ring.
    busy_after_join: usize,
    wedged: bool,
    dma_stuck: bool,
}

impl Card {
    fn note(&self, what: &str) {
        self.log.borrow_mut().push(format!("{what} {}", self.name));
    }
}

impl Quiesce for Card {
    fn name(&self) -> &str {
        self.name
    }
    fn close_ingress(&mut self) -> Result<(), Fault> {
        self.note("close");
        Ok(())
    }
    fn drain(&mut self) -> Progress {
        self.note("drain");
        if self.busy > 0 {
            self.busy -= 1;
            return Progress::Busy(1);
        }
        Progress::Idle
    }
    fn mask(&mut self) -> Result<(), Fault> {
        self.note("mask");
        Ok(())
    }
    fn join(&mut self, _: Instant) -> Result<(), Fault> {
        self.note("join");
        self.busy = self.busy_after_join;
        if self.wedged { Err(Fault::Wedged) } else { Ok(()) }
    }
}

impl Teardown for Card {
    fn stop_dma(&mut self, _: &AllJoined) -> Result<(), Fault> {
        self.note("stop");
        if self.dma_stuck { Err(Fault::DmaRunning) } else { Ok(()) }
    }
    fn force_stop(&mut self) {
        self.note("force");
    }
    fn tear_down(&mut self, _: &AllStopped) -> Result<(), Fault> {
        self.note("teardown");
        Ok(())
    }
    fn bus_master_off(&mut self) -> Result<(), Fault> {
        self.note("bme");
        Ok(())
    }
}

struct House {
    log: Log,
    clock: Cell<u64>,
    said: RefCell<Vec<String>>,
    residue: Residue,
}

impl Plant for House {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.clock.get())
    }
    fn relax(&self) {
        self.clock.set(self.clock.get() + 1_000_000);
    }
    fn say(&self, line: fmt::Arguments<'_>) {
        self.said.borrow_mut().push(line.to_string());
    }
    fn announce(&self) {
        self.log.borrow_mut().push("announce".into());
    }
    fn queued(&self) -> Progress {
        Progress::Idle
    }
    fn flush_held(&self) -> usize {
        self.log.borrow_mut().push("flush".into());
        2
    }
    fn join_callouts(&self, _: Instant) -> Result<(), Fault> {
        self.log.borrow_mut().push("callouts".into());
        Ok(())
    }
    fn residue(&self) -> Residue {
        self.residue
    }
    fn park_cpus(&self) -> Result<usize, Fault> {
        self.log.borrow_mut().push("park".into());
        Ok(1)
    }
}

fn house(log: &Log) -> House {
    House { log: Rc::clone(log), clock: Cell::new(0), said: RefCell::default(), residue: Residue::default() }
}

fn card(name: &'static str, log: &Log) -> Card {
    Card { name, log: Rc::clone(log), busy: 0, busy_after_join: 0, wedged: false, dma_stuck: false }
}

fn walk(house: &House, cards: Vec<Card>) -> Finished {
    let devices = cards.into_iter().map(|card| Box::new(card) as Box<dyn Teardown>).collect();
    let budgets = Budgets { drain: Duration::from_millis(20), join: Duration::from_millis(20) };
    Ladder::announce(house, Exit::PowerOff, devices, budgets)
        .close_ingress()
        .drain()
        .mask()
        .join()
        .stop_dma()
        .tear_down()
        .bus_masters_off()
        .park_cpus()
}

#[test]
fn every_device_passes_a_stage_before_any_device_enters_the_next() {
    let log = Log::default();
    let finished = walk(&house(&log), vec![card("em0", &log), card("em1", &log)]);
    let expected = [
        "announce",
        "close em0",
        "close em1",
        "drain em0",
        "drain em1",
        "flush",
        "drain em0",
        "drain em1",
        "mask em0",
        "mask em1",
        "join em0",
        "join em1",
        "callouts",
        "drain em0",
        "drain em1",
        "stop em0",
        "stop em1",
        "teardown em0",
        "teardown em1",
        "bme em0",
        "bme em1",
        "park",
    ];
    assert_eq!(*log.borrow(), expected);
    assert!(finished.transcript.is_clean());
    assert_eq!(finished.transcript.records().len(), 9);
}

#[test]
fn one_wedged_thread_keeps_every_device_from_being_freed() {
    let log = Log::default();
    let mut wedged = card("em1", &log);
    wedged.wedged = true;
    let finished = walk(&house(&log), vec![card("em0", &log), wedged]);
    let log = log.borrow();
    assert!(!log.iter().any(|entry| entry.starts_with("teardown") || entry.starts_with("stop")), "{log:?}");
    assert!(log.contains(&"force em0".into()) && log.contains(&"force em1".into()) && log.contains(&"bme em1".into()));
    let records = finished.transcript.records();
    let join = records.iter().find(|r| r.stage == Stage::Join).unwrap();
    assert_eq!(join.outcome, Outcome::Faulted(vec![("em1".into(), Fault::Wedged)]));
    let tear_down = records.iter().find(|r| r.stage == Stage::TearDown).unwrap();
    assert_eq!(tear_down.outcome, Outcome::Quarantined);
}

#[test]
fn a_device_whose_dma_does_not_stop_is_quarantined_and_the_ladder_still_ends() {
    let log = Log::default();
    let mut stuck = card("em0", &log);
    stuck.dma_stuck = true;
    let finished = walk(&house(&log), vec![stuck, card("em1", &log)]);
    assert!(!log.borrow().iter().any(|entry| entry.starts_with("teardown")));
    assert_eq!(log.borrow().last().unwrap(), "park");
    assert!(!finished.transcript.is_clean());
}

#[test]
fn a_drain_that_never_ends_is_cut_off_at_its_budget_and_named() {
    let log = Log::default();
    let mut busy = card("em0", &log);
    busy.busy = usize::MAX;
    let house = house(&log);
    let finished = walk(&house, vec![busy]);
    let drain = &finished.transcript.records()[2];
    assert_eq!(drain.outcome, Outcome::Faulted(vec![("em0".into(), Fault::TimedOut)]));
    assert!(drain.took >= Duration::from_millis(20) && drain.took < Duration::from_millis(60), "{:?}", drain.took);
    assert!(house.said.borrow().iter().any(|line| line == "shutdown: drain: em0 timed out"));
}

#[test]
fn frames_sent_by_a_threads_last_pass_leave_before_dma_stops() {
    let log = Log::default();
    let mut late = card("em0", &log);
    late.busy_after_join = 2;
    assert!(walk(&house(&log), vec![late]).transcript.is_clean());
    let log = log.borrow();
    let at = |what: &str| log.iter().position(|entry| entry == what).unwrap();
    let drains = log.iter().skip(at("join em0")).take_while(|entry| *entry != "stop em0");
    assert_eq!(drains.filter(|entry| *entry == "drain em0").count(), 3);
}

#[test]
fn a_short_drain_is_waited_for() {
    let log = Log::default();
    let mut busy = card("em0", &log);
    busy.busy = 3;
    assert!(walk(&house(&log), vec![busy]).transcript.is_clean());
}

#[test]
fn dma_resources_left_in_the_machine_are_a_fault_that_counts_them() {
    let log = Log::default();
    let mut house = house(&log);
    house.residue = Residue { tags: 1, maps: 2, memories: 0 };
    let finished = walk(&house, vec![card("em0", &log)]);
    let record = finished.transcript.records().iter().find(|r| r.stage == Stage::TearDown).unwrap();
    assert_eq!(record.outcome, Outcome::Faulted(vec![("bus_dma".into(), Fault::Busy(house.residue))]));
    assert!(house.said.borrow().iter().any(|line| line.contains("1 tags, 2 maps, 0 memories")));
}
