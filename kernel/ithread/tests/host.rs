//! What an event counts, says and refuses: scenarios in a fixed order on real threads.

#![cfg(not(any(loom, shuttle)))]

mod rig;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use ithread::{
    DEFAULT_STORM_THRESHOLD, Error, Filter, FilterResult, Handler, IntrEvent, LineControl, Pass, Rearm, Scheduler,
};
use ksync::{cpu::CpuId, time::Instant};
use rig::{Machine, wait_for};

struct Fixed(FilterResult);

impl Filter for Fixed {
    fn filter(&self) -> FilterResult {
        self.0
    }
}

/// A handler that answers from a script and counts its runs; `entered` tells that it has begun.
struct Scripted {
    entered: Arc<AtomicBool>,
    runs: Arc<AtomicU32>,
    stuck: Option<Arc<AtomicBool>>,
    answer: fn(u32) -> Pass,
}

impl Handler for Scripted {
    fn run(&mut self) -> Pass {
        self.entered.store(true, SeqCst);
        while self.stuck.as_ref().is_some_and(|stuck| stuck.load(SeqCst)) {
            std::thread::yield_now();
        }
        (self.answer)(self.runs.fetch_add(1, SeqCst))
    }
}

fn scripted(answer: fn(u32) -> Pass) -> (Arc<AtomicU32>, Box<Scripted>) {
    let runs = Arc::new(AtomicU32::new(0));
    let handler = Scripted { entered: Arc::default(), runs: runs.clone(), stuck: None, answer };
    (runs, Box::new(handler))
}

fn always(result: FilterResult) -> Box<Fixed> {
    Box::new(Fixed(result))
}

#[test]
fn the_description_follows_the_handlers() {
    let (machine, event) = Machine::new();
    let (_, em0) = machine.attach(&event, "em0");
    machine.attach(&event, "em1");
    assert_eq!(event.description().as_str(), "irq10: em0 em1");
    event.remove(em0, Instant::MAX).unwrap();
    assert_eq!(event.description().as_str(), "irq10: em1");
    assert_eq!(machine.names.lock().unwrap().last().unwrap(), "irq10: em1");
    for _ in 0..20 {
        machine.attach(&event, "uhci0");
    }
    assert!(event.description().ends_with(" +"), "{}", event.description());
    let _ = event.quiesce(Instant::MAX).unwrap();
    machine.join();
}

#[test]
fn a_handler_that_says_again_is_run_until_it_is_done() {
    let (machine, event) = Machine::new();
    let (runs, handler) = scripted(|run| if run < 4 { Pass::Again } else { Pass::Done });
    event.add_handler("em0", always(FilterResult::ScheduleThread), handler).unwrap();
    event.handle();
    wait_for(|| runs.load(SeqCst) == 5);
    wait_for(|| !machine.line.is_masked());
    let _ = event.quiesce(Instant::MAX).unwrap();
    let statistics = event.statistics();
    assert_eq!(statistics.handlers[0].runs, 5);
    assert_eq!(statistics.handlers[0].again, 4);
    assert_eq!(statistics.scheduled, 1);
    machine.join();
}

/// Is busy as it re-arms, `times` times; says of each run whether the line is masked.
struct Late {
    times: u32,
    line: Arc<rig::Line>,
    masked: Arc<Mutex<Vec<bool>>>,
}

impl Handler for Late {
    fn run(&mut self) -> Pass {
        self.masked.lock().unwrap().push(self.line.is_masked());
        Pass::Idle
    }

    fn rearm(&mut self) -> Rearm {
        self.times = self.times.wrapping_sub(1);
        if self.times < 3 { Rearm::Busy } else { Rearm::Armed }
    }
}

#[test]
fn a_handler_that_is_busy_as_it_rearms_is_run_again_before_the_line_is_unmasked() {
    let (machine, event) = Machine::new();
    let masked = Arc::new(Mutex::new(Vec::new()));
    let handler = Late { times: 3, line: Arc::clone(&machine.line), masked: Arc::clone(&masked) };
    event.add_handler("em0", always(FilterResult::ScheduleThread), Box::new(handler)).unwrap();
    wait_for(|| !machine.line.is_masked());
    event.handle();
    wait_for(|| masked.lock().unwrap().len() == 4);
    wait_for(|| !machine.line.is_masked());
    let _ = event.quiesce(Instant::MAX).unwrap();
    assert_eq!(*masked.lock().unwrap(), [true; 4]);
    assert_eq!((event.statistics().scheduled, event.statistics().handlers[0].runs), (1, 4));
    machine.join();
}

#[test]
fn only_the_handler_whose_filter_asked_is_run() {
    let (machine, event) = Machine::new();
    let (asked, handler) = scripted(|_| Pass::Done);
    event.add_handler("em0", always(FilterResult::ScheduleThread), handler).unwrap();
    let (idle, handler) = scripted(|_| Pass::Done);
    event.add_handler("em1", always(FilterResult::Stray), handler).unwrap();
    event.handle();
    wait_for(|| asked.load(SeqCst) == 1);
    let _ = event.quiesce(Instant::MAX).unwrap();
    machine.join();
    assert_eq!(idle.load(SeqCst), 0);
    let handlers = event.statistics().handlers;
    assert_eq!((handlers[0].claimed, handlers[0].declined), (1, 0));
    assert_eq!((handlers[1].claimed, handlers[1].declined), (0, 1));
    // A view that allocates nothing counts the same.
    let look = event.look().unwrap();
    assert_eq!((look.interrupts, look.passes), (event.statistics().interrupts, event.statistics().passes));
    assert_eq!(look.description, event.description());
    assert_eq!(event.handler(1), Ok(Some(handlers[1])));
    assert_eq!(event.handler(2), Ok(None));
}

#[test]
fn an_event_without_handlers_masks_counts_and_names_its_strays() {
    let (machine, event) = Machine::new();
    machine.line.unmask(rig::IRQ);
    for _ in 0..3 {
        event.handle();
    }
    assert!(machine.line.is_masked());
    event.report_strays();
    event.report_strays();
    assert_eq!(*machine.notices.lock().unwrap(), ["stray irq10"; 3]);
    for _ in 0..5 {
        event.handle();
    }
    event.report_strays();
    event.handle();
    event.report_strays();
    let notices = machine.notices.lock().unwrap();
    assert_eq!(notices.len(), 6);
    assert_eq!(notices[4], "stray irq10");
    assert_eq!(notices[5], "too many stray irq 10's: not logging anymore");
    assert_eq!(event.statistics().strays, 9);
}

#[test]
fn a_filter_that_handles_everything_needs_no_thread() {
    let (machine, event) = Machine::new();
    event.add_filter("acpi0", always(FilterResult::Handled)).unwrap();
    assert!(!machine.line.is_masked());
    event.handle();
    assert!(!machine.line.is_masked());
    assert!(event.thread().is_none());
    let _ = event.quiesce(Instant::ZERO).unwrap();
    event.handle();
    assert_eq!(event.statistics().strays, 1, "after the quiesce nobody claims it");
    assert!(machine.line.is_masked());
}

#[test]
fn a_quiesced_event_takes_no_handlers() {
    let (_, event) = Machine::new();
    let _ = event.quiesce(Instant::ZERO).unwrap();
    let refused = event.add_filter("late", always(FilterResult::Handled));
    assert_eq!(refused, Err(Error::Dying));
    let (_, handler) = scripted(|_| Pass::Done);
    let refused = event.add_handler("late", always(FilterResult::Handled), handler);
    assert_eq!(refused, Err(Error::Dying));
}

#[test]
fn a_wedged_thread_is_named_with_its_handler_and_the_call_may_be_repeated() {
    let (machine, event) = Machine::new();
    let (runs, mut handler) = scripted(|_| Pass::Done);
    let stuck = Arc::new(AtomicBool::new(true));
    handler.stuck = Some(stuck.clone());
    let entered = handler.entered.clone();
    let id = event.add_handler("em3", always(FilterResult::ScheduleThread), handler).unwrap();
    event.handle();
    wait_for(|| entered.load(SeqCst));
    let deadline = machine_now(&machine) + Duration::from_millis(5);
    let Err(Error::Wedged(wedged)) = event.remove(id, deadline) else {
        panic!("the thread cannot have answered");
    };
    assert_eq!(wedged.to_string(), "interrupt thread \"irq10: em3\" does not answer (running em3)");
    assert_eq!(runs.load(SeqCst), 0);
    stuck.store(false, SeqCst);
    event.remove(id, Instant::MAX).unwrap();
    assert_eq!(event.remove(id, Instant::MAX), Err(Error::NoSuchHandler));
    let _ = event.quiesce(Instant::MAX).unwrap();
    machine.join();
}

fn machine_now(machine: &Arc<Machine>) -> Instant {
    rig::Shared(machine.clone()).now()
}

#[test]
fn a_suspended_device_does_not_stop_its_neighbour_on_the_line() {
    let (machine, event) = Machine::new();
    let (dead, id) = machine.attach(&event, "em0");
    let (live, _) = machine.attach(&event, "em1");
    event.suspend(id, Instant::MAX).unwrap();
    assert!(event.statistics().handlers[0].suspended);
    dead.masked.store(true, SeqCst);
    machine.raise(&dead);
    for round in 1..=10 {
        machine.raise(&live);
        live.wait_served(round);
    }
    assert_eq!(dead.served.load(SeqCst), 0);
    let _ = event.quiesce(Instant::MAX).unwrap();
    machine.join();
}

#[test]
fn the_line_is_masked_while_every_handler_is_suspended() {
    let (machine, event) = Machine::new();
    let (_, id) = machine.attach(&event, "em0");
    event.suspend(id, Instant::MAX).unwrap();
    assert!(machine.line.is_masked());
    event.resume(id).unwrap();
    wait_for(|| !machine.line.is_masked());
    let _ = event.quiesce(Instant::MAX).unwrap();
    machine.join();
}

#[test]
fn binding_routes_the_line() {
    let (machine, event) = Machine::new();
    machine.attach(&event, "em0");
    event.bind(CpuId(3));
    assert_eq!(machine.line.routed.load(SeqCst), 3);
    assert_eq!(event.statistics().cpu, Some(CpuId(3)));
    let _ = event.quiesce(Instant::MAX).unwrap();
    machine.join();
}

#[test]
fn a_screaming_line_is_throttled_named_and_trusted_again_when_it_calms_down() {
    let (machine, event) = Machine::new();
    let (device, _) = machine.attach(&event, "em0");
    device.screams.store(true, SeqCst);
    machine.raise(&device);
    wait_for(|| event.statistics().throttled >= 3);
    let before = event.statistics();
    assert!(before.passes > u64::from(DEFAULT_STORM_THRESHOLD));
    assert_eq!(before.storms, 1);
    device.screams.store(false, SeqCst);
    wait_for(|| machine.notices.lock().unwrap().len() == 2);
    assert_eq!(
        *machine.notices.lock().unwrap(),
        [
            "interrupt storm detected on \"irq10: em0\"; throttling interrupt source",
            "interrupt storm on \"irq10: em0\" is over; source back to normal",
        ]
    );
    let _ = event.quiesce(Instant::MAX).unwrap();
    machine.join();
}

#[test]
fn a_busy_line_that_serves_work_is_never_throttled() {
    let (machine, event) = Machine::new();
    let (device, _) = machine.attach(&event, "em0");
    for round in 1..=3 * DEFAULT_STORM_THRESHOLD {
        machine.raise(&device);
        device.wait_served(round);
    }
    assert_eq!(event.statistics().throttled, 0);
    let _ = event.quiesce(Instant::MAX).unwrap();
    machine.join();
}

#[test]
fn a_line_that_screams_past_every_filter_is_throttled_by_the_thread() {
    let (machine, event) = Machine::new();
    let (_, handler) = scripted(|_| Pass::Done);
    event.add_handler("em0", always(FilterResult::Stray), handler).unwrap();
    for _ in 0..=DEFAULT_STORM_THRESHOLD {
        event.handle();
    }
    wait_for(|| event.statistics().storms == 1);
    wait_for(|| machine.notices.lock().unwrap().len() == 2);
    let _ = event.quiesce(Instant::MAX).unwrap();
    machine.join();
}

#[test]
fn a_screaming_line_without_a_thread_is_masked_and_named() {
    let (machine, event) = Machine::new();
    event.add_filter("acpi0", always(FilterResult::Stray)).unwrap();
    for _ in 0..=DEFAULT_STORM_THRESHOLD {
        event.handle();
    }
    assert!(machine.line.is_masked());
    event.report_strays();
    let notices = machine.notices.lock().unwrap();
    assert_eq!(notices.last().unwrap(), "interrupt storm detected on \"irq10: acpi0\"; interrupt source masked");
}

#[test]
fn an_event_outlives_neither_its_thread_nor_its_handlers() {
    let (machine, event) = Machine::new();
    let (device, _) = machine.attach(&event, "em0");
    let _ = event.quiesce(Instant::MAX).unwrap();
    machine.join();
    let last = Arc::downgrade(&event);
    drop(event);
    assert!(last.upgrade().is_none(), "the thread gave its reference back");
    assert!(device.retired.load(SeqCst));
    let _: Option<Arc<IntrEvent<rig::Shared>>> = last.upgrade();
}
