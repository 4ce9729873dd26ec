//! A modelled plant: devices and a machine that log what is asked of them, fail as told, and move a clock by hand.

#![allow(dead_code, reason = "each test program uses its part")]

use ksync::time::Instant;
use shutdown::{
    AllJoined, Budgets, Claim, DeviceStopped, Exit, Fault, Faults, Finished, Flushed, Forced, Keeper, Ladder, Past,
    Pending, Plant, Quiesce, Residue, Teardown, Transcript,
};
use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    time::Duration,
};

/// What every device and the plant did, in order.
pub(crate) type Log = Rc<RefCell<Vec<String>>>;
/// The plant's time in nanoseconds.
pub(crate) type Clock = Rc<Cell<u64>>;

/// What a device does wrong.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ills {
    /// So many frames in the rings, one less at each look; `usize::MAX` for ever.
    pub(crate) received: usize,
    pub(crate) unsent: usize,
    /// So many looks find its thread in a pass.
    pub(crate) passes: usize,
    /// Put into the transmit ring by the thread's last pass.
    pub(crate) unsent_after_join: usize,
    pub(crate) wedged: bool,
    pub(crate) dma_stuck: bool,
    pub(crate) sent_late: u64,
    pub(crate) gone: bool,
    pub(crate) unmaskable: bool,
    pub(crate) busy: bool,
    pub(crate) master_stuck: bool,
    /// Every call runs so far past its deadline, or past its start where it has none.
    pub(crate) late: Duration,
}

pub(crate) struct Card {
    pub(crate) name: &'static str,
    pub(crate) log: Log,
    pub(crate) clock: Clock,
    pub(crate) ills: Ills,
}

impl Card {
    fn note(&self, what: &str) {
        self.log.borrow_mut().push(format!("{what} {}", self.name));
        self.clock.set(self.clock.get() + nanos(self.ills.late));
    }
    fn wait_in_vain(&self, deadline: Instant) {
        self.clock.set(self.clock.get().max(deadline.as_nanos()));
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap()
}

fn one_less(count: &mut usize) -> usize {
    let before = *count;
    if before != usize::MAX {
        *count = before.saturating_sub(1);
    }
    before
}

impl Quiesce for Card {
    fn name(&self) -> &str {
        self.name
    }
    fn thread(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        write!(out, "irq11: {}", self.name)
    }
    fn close_ingress(&mut self) -> Result<(), Fault> {
        self.note("close");
        if self.ills.gone { Err(Fault::Gone) } else { Ok(()) }
    }
    fn pending(&mut self) -> Pending {
        self.note("pending");
        let Ills { received, unsent, passes, .. } = &mut self.ills;
        Pending { received: one_less(received), unsent: one_less(unsent), passes: one_less(passes) }
    }
    fn mask(&mut self) -> Result<(), Fault> {
        self.note("mask");
        if self.ills.unmaskable { Err(Fault::StillUnmasked) } else { Ok(()) }
    }
    fn begin_join(&mut self) {
        self.note("ask");
    }
    fn join(&mut self, deadline: Instant) -> Result<(), Fault> {
        self.note("join");
        if self.ills.wedged {
            self.wait_in_vain(deadline);
            return Err(Fault::Wedged);
        }
        self.ills.unsent += self.ills.unsent_after_join;
        Ok(())
    }
    fn close_egress(&mut self) {
        self.note("seal");
    }
    fn explain(&mut self, fault: Fault, say: &mut dyn FnMut(fmt::Arguments<'_>)) {
        self.note("explain");
        if fault == Fault::Wedged {
            say(format_args!("#0 backtrace of {}", self.name));
        }
    }
}

impl Teardown for Card {
    fn stop_dma(&mut self, _: &AllJoined, deadline: Instant) -> Result<(), Fault> {
        self.note("stop");
        if self.ills.gone {
            return Err(Fault::Gone);
        }
        if self.ills.dma_stuck {
            self.wait_in_vain(deadline);
            return Err(Fault::DmaRunning);
        }
        if self.ills.sent_late > 0 { Err(Fault::SentLate(self.ills.sent_late)) } else { Ok(()) }
    }
    fn force_stop(&mut self) -> Forced {
        self.note("force");
        if self.ills.gone { Forced::Absent } else { Forced::BusMasterOff }
    }
    fn tear_down(&mut self, _: DeviceStopped) -> Result<(), Fault> {
        self.note("teardown");
        if self.ills.busy { Err(Fault::Busy(Residue { tags: 1, ..Residue::default() })) } else { Ok(()) }
    }
    fn bus_master_off(&mut self) -> Result<(), Fault> {
        self.note("bme");
        if self.ills.master_stuck { Err(Fault::BusMasterOn) } else { Ok(()) }
    }
}

/// The machine, and what it does wrong.
pub(crate) struct House {
    pub(crate) log: Log,
    pub(crate) clock: Clock,
    /// Everything written, as it would stand on the console.
    pub(crate) console: RefCell<String>,
    /// The record for the next boot.
    pub(crate) kept: RefCell<String>,
    pub(crate) keeper: RefCell<Keeper>,
    pub(crate) must_end_by: Cell<u64>,
    pub(crate) residue: Residue,
    pub(crate) queued: Cell<usize>,
    pub(crate) held: Flushed,
    pub(crate) lost_callouts: bool,
    pub(crate) cpus_running: usize,
    pub(crate) damaged: bool,
    pub(crate) unexplained: i64,
    pub(crate) late: Duration,
    pub(crate) claim: Claim,
    /// A second request that comes in while the CPUs are being parked.
    pub(crate) at_the_last_moment: Option<Exit>,
    /// The panic comes when this is logged.
    pub(crate) panics_at: Option<&'static str>,
}

/// How `yield_to_panic` ends in the model.
pub(crate) struct Yielded;

impl House {
    pub(crate) fn new() -> Self {
        Self {
            log: Log::default(),
            clock: Clock::default(),
            console: RefCell::default(),
            kept: RefCell::default(),
            keeper: RefCell::default(),
            must_end_by: Cell::new(0),
            residue: Residue::default(),
            queued: Cell::new(0),
            held: Flushed::default(),
            lost_callouts: false,
            cpus_running: 0,
            damaged: false,
            unexplained: 0,
            late: Duration::ZERO,
            claim: Claim::new(),
            at_the_last_moment: None,
            panics_at: None,
        }
    }

    pub(crate) fn card(&self, name: &'static str, ills: Ills) -> Card {
        Card { name, log: Rc::clone(&self.log), clock: Rc::clone(&self.clock), ills }
    }

    fn note(&self, what: &str) {
        self.log.borrow_mut().push(what.into());
        self.clock.set(self.clock.get() + nanos(self.late));
        if self.panics_at == Some(what) {
            self.claim.request(Exit::Panic);
        }
    }

    /// What the next boot reads.
    pub(crate) fn past(&self) -> String {
        Past::new(&self.kept.borrow()).to_string()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.console.borrow().lines().map(str::to_owned).collect()
    }

    pub(crate) fn said(&self, line: &str) -> bool {
        self.lines().iter().any(|said| said == line)
    }
}

impl Plant for House {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.clock.get())
    }
    fn relax(&self) {
        self.clock.set(self.clock.get() + 1_000_000);
    }
    fn write(&self, text: fmt::Arguments<'_>) {
        self.console.borrow_mut().push_str(&text.to_string());
    }
    fn keep(&self, transcript: &Transcript) {
        self.keeper.borrow_mut().keep(transcript, &mut *self.kept.borrow_mut()).expect("a string takes all");
    }
    fn must_end_by(&self, deadline: Instant) {
        self.must_end_by.set(deadline.as_nanos());
    }
    fn yield_to_panic(&self) -> ! {
        std::panic::resume_unwind(Box::new(Yielded))
    }
    fn announce(&self) {
        self.note("announce");
    }
    fn queued(&self) -> usize {
        let mut queued = self.queued.get();
        let before = one_less(&mut queued);
        self.queued.set(queued);
        before
    }
    fn flush_held(&self) -> Flushed {
        self.note("flush");
        self.held
    }
    fn join_callouts(&self, deadline: Instant, say: &mut dyn FnMut(fmt::Arguments<'_>)) -> Faults {
        self.note("callouts");
        if !self.lost_callouts {
            return Faults::new();
        }
        self.clock.set(self.clock.get().max(deadline.as_nanos()) + nanos(self.late));
        say(format_args!("#0 backtrace of callouts"));
        vec![("callouts".into(), Fault::Wedged)]
    }
    fn residue(&self) -> Residue {
        self.residue
    }
    fn watch_freed(&self) {
        self.note("watch");
    }
    fn check_freed(&self, say: &mut dyn FnMut(fmt::Arguments<'_>)) -> Faults {
        self.note("tripwire");
        say(format_args!("shutdown: 12 freed frames looked at"));
        if self.damaged { vec![("em0-rx".into(), Fault::Damaged { address: 0x1000, octets: 3 })] } else { vec![] }
    }
    fn park_cpus(&self, deadline: Instant) -> Result<usize, Fault> {
        self.note("park");
        if let Some(exit) = self.at_the_last_moment {
            self.claim.request(exit);
        }
        if self.cpus_running == 0 {
            return Ok(1);
        }
        self.clock.set(self.clock.get().max(deadline.as_nanos()) + nanos(self.late));
        Err(Fault::CpusRunning(self.cpus_running))
    }
    fn account(&self, say: &mut dyn FnMut(fmt::Arguments<'_>)) -> Faults {
        self.note("account");
        say(format_args!("shutdown: audit: unexplained {}", self.unexplained));
        match self.unexplained {
            0 => vec![],
            frames => vec![("audit".into(), Fault::Unexplained(frames))],
        }
    }
}

pub(crate) const BUDGETS: Budgets = Budgets {
    drain: Duration::from_millis(20),
    join: Duration::from_millis(20),
    park: Duration::from_millis(20),
    command: Duration::from_millis(20),
    call: Duration::from_millis(5),
};

/// Asks for `exit` and walks the whole ladder.
pub(crate) fn walk_to(exit: Exit, house: &House, cards: Vec<Card>) -> Finished {
    house.claim.request(exit);
    let owner = house.claim.begin().expect("nobody has begun");
    let devices = cards.into_iter().map(|card| Box::new(card) as Box<dyn Teardown>).collect();
    Ladder::claim(owner, "a test", house, devices, BUDGETS).walk()
}

pub(crate) fn walk(house: &House, cards: Vec<Card>) -> Finished {
    walk_to(Exit::PowerOff, house, cards)
}
