//! The running system: devices attached to threads, tables and the console.
//!
//! The floor (`machine`) gives processors and lines, `sched` threads, the drivers rings, `router` decisions; here they
//! meet. [`start`] runs once in the first thread and leaves behind: one interrupt thread per line with a card on it, the
//! callouts, a netisr thread per CPU, the console and the shutdown thread. Nothing in here is `unsafe`.
//!
//! - [`mod@port`]: a card at work. [`mod@lines`]: interrupt lines. [`mod@bus`]: PCI and DMA.
//! - [`mod@net`]: the router; [`mod@pools`], [`mod@buffers`]: packet buffers, of which node, how many and how large. [`mod@services`]: what runs beside the interrupt threads.
//! - [`mod@console`], [`mod@views`], [`mod@ping`], [`mod@interfaces`]: the command line. [`mod@power`]: shutdown; [`mod@buttons`], [`mod@watchdog`]:
//!   what else asks for it.
//! - [`mod@nodes`]: what is close together on a machine with several sockets.
//! - [`mod@knobs`]: settings beside the data path's own.
//! - [`mod@debugger`]: the debugger in a stopped world. [`mod@dump`]: the crash dump, and that of the previous run.
//! - [`mod@selftest`]: what a machine is asked before it is trusted; [`mod@stick`]: the stick that its result is left on.
//! - [`mod@threads`]: the scheduler as everything here sees it; the only module that names it.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod attach;
mod buffers;
mod bus;
mod buttons;
mod console;
mod culprit;
mod debug;
mod debugger;
mod dump;
mod fail_points;
mod hand_over;
mod interfaces;
mod knobs;
mod lines;
mod messages;
mod net;
mod nodes;
mod ping;
mod pools;
mod port;
mod power;
mod registers;
mod selftest;
mod services;
mod settings;
mod stick;
mod threads;
mod views;
mod watchdog;

use alloc::{boxed::Box, string::String, vec::Vec};
use core::fmt;

use bus_dma::DmaPlatform;
use ksync::cpu::CpuId;
use machine::{acpi::spcr::SerialInterrupt, hooks, ioapic::Signal, platform};

use threads::Class;

pub use threads::{KernelScheduler, scheduler};

/// Stages [`start`] announces.
pub const STAGES: u32 = 4;

/// The kernel's own file, as far as it is in memory as it was read.
#[derive(Clone, Copy, Debug)]
pub struct KernelFile {
    /// Octets of the whole file.
    pub octets: u64,
    /// What follows the last segment: routes, symbols, the number of the build.
    pub tail: &'static [u8],
}

/// What the kernel binary plugs in.
#[derive(Clone, Copy)]
pub struct Wires {
    /// Memory for DMA.
    pub dma: &'static dyn DmaPlatform,
    /// The configuration file.
    pub configuration: &'static [u8],
    /// What ends in the packed routes that were given when the image was made, if any were.
    pub attached: &'static [u8],
    /// The file that runs.
    pub kernel: KernelFile,
}

impl fmt::Debug for Wires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wires").field("configuration", &self.configuration.len()).finish_non_exhaustive()
    }
}

/// Brings the system up. The body of the first thread, on the boot CPU; returns when everything runs by itself.
///
/// A missing card, a bad configuration, a line that cannot be routed: each is said, and the rest comes up. Without a
/// good configuration nothing is forwarded.
pub fn start(wires: &Wires) {
    let cpus = machine::percpu::online().count();
    hooks::set_panic(power::panicked);
    debugger::install();
    hooks::set_key_wait(watchdog::hardware::pause);
    power::log_previous();
    dump::install();
    machine::boot::stage("network cards");
    let found = bus::enumerate();
    let cards = bus::cards(&found);
    if cards.is_empty() {
        bus::say_none(&found);
    } else {
        bus::say_undriven(&found);
    }
    let read = settings::read(wires.configuration, wires.attached);
    let places: Vec<_> =
        cards.iter().map(|(device, variant)| (nodes::of_card(device), messages::queues(variant))).collect();
    machine::entry::mark("router");
    let router = match net::init(&places, settings::largest_mtu(&read, &cards), cpus) {
        Ok(router) => Some(router),
        Err(error) => {
            log::error!("net: no data path: {error}");
            None
        }
    };
    machine::entry::mark("attach");
    if router.is_some() {
        let wishes = |card: &str| read.as_ref().map(|settings| settings.wishes(card)).unwrap_or_default();
        services::set_ports(attach::attach_all(&cards, bus::root(wires.dma), &wishes));
    }

    machine::boot::stage("configuration");
    let prompt = settings::apply(router, read);

    machine::boot::stage("services");
    if let Some(what) = router.and_then(|_| services::start(cpus).err()) {
        log::error!("services: {what} could not be started");
    }
    if let Err(error) = net::prepare_flush() {
        log::error!("net: no worker for the shutdown: {error}");
    }
    if threads::spawn("shutdown", Class::Shutdown, Some(CpuId::BOOT), Box::new(|| power::run())).is_none() {
        log::error!("shutdown: no thread: reboot and poweroff will not work");
    }
    machine::entry::mark("start cards");
    attach::start_all(services::ports());
    hand_over::ready();
    // Of all cards at once, so that no packet is refused for a route that comes with the next card.
    services::link_changed();
    // From here on packets are forwarded, at a higher priority than this thread's.
    machine::console::release();
    dump::announce();
    start_console(prompt);
    buttons::start();
    watchdog::start();
    watchdog::hardware::find(&found.devices);
    machine::boot::stage("running");
    log::info!("boot: us since the hand-over: {}", machine::entry::Marks);
    machine::console::show_screen();
    selftest::start(wires, &found.devices);
}

/// Starts the console thread, with the serial line's interrupt if it can be had.
fn start_console(prompt: String) {
    let interrupts = serial_interrupt();
    hooks::set_console_input(console::wake);
    let worker = net::worker("console", CpuId::BOOT).ok();
    let prompt: &'static str = Box::leak(prompt.into_boxed_str());
    let body = Box::new(move || console::run(prompt, interrupts, worker));
    if threads::spawn("console", Class::Normal, None, body).is_none() {
        log::error!("console: no thread");
    }
}

/// Routes the serial line's ISA interrupt to the console; answers whether it will come.
fn serial_interrupt() -> bool {
    /// COM1's interrupt on the ISA bus.
    const COM1_IRQ: u8 = 4;
    let Some(platform) = platform::platform() else { return false };
    let (gsi, signal) =
        match platform.serial.filter(|_| machine::console::is_firmwares()).map(|serial| serial.interrupt) {
            None => platform.madt.isa(COM1_IRQ),
            Some(Some(SerialInterrupt::Isa(irq))) => platform.madt.isa(irq),
            Some(Some(SerialInterrupt::Gsi(gsi))) => (gsi, platform.madt.signal_of(gsi).unwrap_or(Signal::ISA)),
            Some(None) => {
                log::info!("uart0: firmware gives it no interrupt; the console polls");
                return false;
            }
        };
    match lines::add_filter(gsi, signal, "uart0", Box::new(services::SerialFilter)) {
        Ok(()) => {
            machine::console::enable_input_interrupt();
            true
        }
        Err(error) => {
            log::warn!("uart0: no interrupt ({error}); the console polls");
            false
        }
    }
}
