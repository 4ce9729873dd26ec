//! Ending the machine: the shutdown thread, and what the sequencer asks of this machine and its cards.
//!
//! [`request`] may be called by anybody; one thread walks the ladder ([`run`]), bound to the boot CPU, holding no lock
//! that an interrupt thread takes. [`Card`] is a port as the sequencer sees it, [`Machine`] everything around the ports.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{fmt, time::Duration};

use e1000::TeardownError;
use ksync::{Once, time::Instant};
use machine::{console, cpu, ipi, irq, reset, smp, time};
use shutdown::{
    AllJoined, AllStopped, Budgets, Claim, Claimed, Exit, Fault, Finished, Ladder, Plant, Progress, Quiesce, Residue,
    Teardown,
};

use crate::{
    bus, net,
    port::Port,
    services,
    threads::{self, Thread},
};

static CLAIM: Claim = Claim::new();
static SEQUENCER: Once<Thread> = Once::new();

/// How long the other CPUs have to confirm that they are parked.
const PARK_LIMIT: Duration = Duration::from_secs(1);

/// Asks for the end of the machine; a second request merges with the first.
///
/// # Context
/// Any; does not block: the shutdown thread does the work.
pub(crate) fn request(exit: Exit) {
    match CLAIM.request(exit) {
        Claimed::Owner => log::info!("shutdown: {} requested", exit.as_str()),
        Claimed::Merged(strongest) => log::info!("shutdown: already under way, ends in {}", strongest.as_str()),
    }
    if let Some(thread) = SEQUENCER.get() {
        threads::unpark(thread);
    }
}

/// How long the other CPUs have to obey an NMI.
const NMI_LIMIT: Duration = Duration::from_millis(100);

/// What a panic does after its report: stops the other CPUs by NMI, then every card's DMA. Takes no lock, waits for nothing
/// without a bound.
pub(crate) fn panicked() {
    let _ = CLAIM.request(Exit::Panic);
    ipi::stop_others_by_nmi(NMI_LIMIT);
    services::ports().iter().for_each(|port| port.adapter.stop_blindly());
}

/// Waits for a request and walks the ladder. The body of the shutdown thread.
pub(crate) fn run() -> ! {
    SEQUENCER.call_once(threads::current);
    let exit = loop {
        match CLAIM.strongest() {
            Some(exit) => break exit,
            None => threads::park(),
        }
    };
    let machine = Machine;
    let devices: Vec<Box<dyn Teardown>> =
        services::ports().iter().map(|port| Box::new(Card::new(port)) as Box<dyn Teardown>).collect();
    let finished = Ladder::announce(&machine, exit, devices, Budgets::default())
        .close_ingress()
        .drain()
        .mask()
        .join()
        .stop_dma()
        .tear_down()
        .bus_masters_off()
        .park_cpus();
    report(&finished);
    // Requests that came in meanwhile may have asked for more.
    end(CLAIM.strongest().unwrap_or(exit))
}

/// Prints where every frame went, the time it took, and the uptime.
fn report(finished: &Finished) {
    if let Some(router) = net::router() {
        let audit = router.audit();
        let (fates, own) = (&audit.fates, &audit.local_fates);
        console::message(format_args!(
            "shutdown: audit: received {} = forwarded {} + delivered {} + dropped {} + held {}; own {} = sent {} + \
             dropped {}; unexplained {}\n",
            audit.received,
            fates.forwarded,
            fates.delivered,
            fates.dropped_total(),
            audit.held(),
            audit.originated,
            own.forwarded,
            own.dropped_total() + own.delivered,
            audit.unexplained()
        ));
    }
    let verdict = if finished.transcript.is_clean() { "clean" } else { "forced" };
    console::message(format_args!("shutdown: {verdict}, {} us\n", finished.took.as_micros()));
    console::message(format_args!("shutdown: stray interrupts {}\n", irq::strays()));
    console::message(format_args!("Uptime: {}\n", Uptime(time::now())));
}

/// Ends the machine. Nothing else runs any more.
fn end(exit: Exit) -> ! {
    match exit {
        Exit::Halt => {
            console::message(format_args!("The operating system has halted.\n"));
            console::flush();
        }
        Exit::Reboot => {
            console::message(format_args!("Rebooting...\n"));
            console::flush();
            reset::restart()
        }
        Exit::PowerOff | Exit::Panic => {
            console::message(format_args!("Powering off...\n"));
            console::flush();
            let error = reset::power_off();
            console::message(format_args!("power off failed ({error:?}); it is safe to switch off the machine\n"));
            console::flush();
        }
    }
    cpu::halt_forever()
}

/// A time since boot as `uptime` writes it: `18h32m32s`.
pub(crate) struct Uptime(pub(crate) Instant);

impl fmt::Display for Uptime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
        if days > 0 {
            write!(f, "{days}d")?;
        }
        if seconds >= 3_600 {
            write!(f, "{hours}h")?;
        }
        if seconds >= 60 {
            write!(f, "{minutes}m")?;
        }
        write!(f, "{}s", seconds % 60)
    }
}

/// A port on its way down.
struct Card {
    port: Arc<Port>,
    /// Set by `stop_dma`, taken by `tear_down`.
    stopped: Option<e1000::DmaStopped>,
}

impl Card {
    fn new(port: &Arc<Port>) -> Self {
        Self { port: Arc::clone(port), stopped: None }
    }
}

fn fault(error: e1000::Error) -> Fault {
    match error {
        e1000::Error::Gone => Fault::Gone,
        e1000::Error::StillUnmasked => Fault::StillUnmasked,
        _ => Fault::DmaRunning,
    }
}

impl Quiesce for Card {
    fn name(&self) -> &str {
        &self.port.name
    }

    fn close_ingress(&mut self) -> Result<(), Fault> {
        self.port.adapter.close_ingress().map_err(fault)
    }

    fn drain(&mut self) -> Progress {
        // A device that is gone holds nothing that could still be waited for.
        let received = self.port.adapter.rx_backlog().unwrap_or(0);
        match received + self.port.adapter.tx_backlog() {
            0 => Progress::Idle,
            frames => Progress::Busy(frames),
        }
    }

    fn mask(&mut self) -> Result<(), Fault> {
        let masked = self.port.adapter.mask_interrupts().map_err(fault);
        irq::mask(self.port.line.irq);
        if irq::is_masked(self.port.line.irq) == Some(false) {
            return Err(Fault::StillUnmasked);
        }
        masked
    }

    fn join(&mut self, deadline: Instant) -> Result<(), Fault> {
        if let Err(wedged) = self.port.event.quiesce(deadline) {
            console::message(format_args!("shutdown: join threads: {wedged}\n"));
            return Err(Fault::Wedged);
        }
        self.port.adapter.mask_interrupts().map_err(fault)
    }
}

impl Teardown for Card {
    fn stop_dma(&mut self, _: &AllJoined) -> Result<(), Fault> {
        self.stopped = Some(self.port.adapter.stop_dma().map_err(fault)?);
        Ok(())
    }

    fn force_stop(&mut self) {
        self.port.adapter.stop_blindly();
    }

    fn tear_down(&mut self, _: &AllStopped) -> Result<(), Fault> {
        let (Some(proof), Some(ring)) = (self.stopped.take(), self.port.take_ring()) else {
            return Err(Fault::DmaRunning);
        };
        match self.port.adapter.teardown(proof, ring) {
            Ok(_) => Ok(()),
            Err(TeardownError::Busy(left)) => {
                console::message(format_args!("shutdown: tear down DMA: {left}\n"));
                let busy = left.busy;
                Err(Fault::Busy(Residue {
                    tags: 1 + busy.children as usize,
                    maps: busy.maps as usize,
                    memories: busy.memories as usize,
                }))
            }
            Err(TeardownError::Mismatch(_)) => Err(Fault::DmaRunning),
        }
    }

    fn bus_master_off(&mut self) -> Result<(), Fault> {
        if bus::master_off(self.port.address) { Ok(()) } else { Err(Fault::BusMasterOn) }
    }
}

/// The machine around the cards.
struct Machine;

impl Plant for Machine {
    fn now(&self) -> Instant {
        time::now()
    }

    fn relax(&self) {
        threads::sleep(Duration::from_millis(1));
    }

    fn say(&self, line: fmt::Arguments<'_>) {
        console::message(format_args!("{line}\n"));
    }

    fn announce(&self) {
        services::refuse_new_work();
    }

    fn queued(&self) -> Progress {
        match net::router().map_or(0, |router| router.audit().held_netisr) {
            0 => Progress::Idle,
            frames => Progress::Busy(usize::try_from(frames).unwrap_or(usize::MAX)),
        }
    }

    fn flush_held(&self) -> usize {
        net::flush_held()
    }

    fn join_callouts(&self, deadline: Instant) -> Result<(), Fault> {
        if services::join(deadline) { Ok(()) } else { Err(Fault::Wedged) }
    }

    fn residue(&self) -> Residue {
        bus::residue()
    }

    fn park_cpus(&self) -> Result<usize, Fault> {
        let parked = smp::park_others(PARK_LIMIT);
        for apic_id in &parked.missing {
            console::message(format_args!("shutdown: park CPUs: apic id {apic_id:02} does not answer\n"));
        }
        if parked.missing.is_empty() {
            Ok(parked.confirmed.len())
        } else {
            Err(Fault::CpusRunning(parked.missing.len()))
        }
    }
}
