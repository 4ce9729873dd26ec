//! The hardware watchdog: what resets the machine when not even the software watchdog runs any more.
//!
//! The first one found is on unless `hw.watchdog.timeout` is 0. It is fed from the software watchdog's round, and only there, so
//! a CPU that stands still, or an interrupt thread that does not get on, starves it. The shutdown states how long it may take and is
//! not fed any more; a crash gets time for its report; whatever waits for a person (halt, the debugger, a key) stops it.
//!
//! Context: [`find`] and the setting in thread context, the rest any. All atomics are relaxed: each is judged by itself, and a
//! feeding or a start that another overtakes is at worst one too many.

use alloc::{boxed::Box, format, string::String};
use core::{
    fmt::{self, Write},
    time::Duration,
};

use ::watchdog::{
    Error, Watchdog,
    i6300esb::{self, I6300Esb},
    tco::{self, Tco},
};
use ksync::{
    Once,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    time::Instant,
};
use machine::{pci_config::PciConfig, ports::PortWindow, time};
use pci::{PciAddress, PciDevice};

use super::registers::Registers;
use crate::knobs::{self, Access, Knob};

/// Seconds without feeding before the machine is reset, unless set otherwise: longer than the software watchdog takes.
const DEFAULT_TIMEOUT: u32 = 180;
const SHORTEST: u32 = 5;
const LONGEST: u32 = 1200;
/// What a shutdown gets beyond the time it states.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(30);
/// What a crash gets for its report and dump, which may go over a slow line.
const REPORT_TIME: Duration = Duration::from_secs(300);

/// The watchdog in use.
struct Device {
    watchdog: Box<dyn Watchdog>,
    address: PciAddress,
    /// It ended the run before this one.
    fired: bool,
}

static DEVICE: Once<Device> = Once::new();
/// Seconds, as set; 0: off.
static TIMEOUT: AtomicU32 = AtomicU32::new(DEFAULT_TIMEOUT);
/// For how many milliseconds it was started last, as it really counts; 0: it stands.
static ARMED: AtomicU64 = AtomicU64::new(0);
/// What it was started for last, in milliseconds.
static WANTED: AtomicU64 = AtomicU64::new(0);
/// A shutdown or a crash is under way: nobody feeds any more.
static LAST: AtomicBool = AtomicBool::new(false);
static FED: AtomicU32 = AtomicU32::new(0);
static FED_AT: AtomicU64 = AtomicU64::new(0);

pub(super) const KNOB: Knob = Knob {
    name: "hw.watchdog.timeout",
    description: "seconds without a sign of life before the hardware watchdog resets the machine; 0: it is off",
    get: || format!("{}", TIMEOUT.load(Ordering::Relaxed)),
    access: Access::Setting(set_timeout),
};

fn set_timeout(text: &str) -> Result<(), String> {
    let seconds = if text == "0" { 0 } else { knobs::number(text, SHORTEST, LONGEST)? };
    TIMEOUT.store(seconds, Ordering::Relaxed);
    if DEVICE.get().is_none() || LAST.load(Ordering::Relaxed) {
        return Ok(());
    }
    apply().map_err(|error| format!("the device {error}"))
}

/// Brings the device to what is set.
fn apply() -> Result<(), Error> {
    match TIMEOUT.load(Ordering::Relaxed) {
        0 => stop(),
        seconds => arm(Duration::from_secs(seconds.into())),
    }
}

/// Looks for a watchdog among the functions of the machine and starts the first that can be used; says what it did.
pub(crate) fn find(devices: &[PciDevice]) {
    // A card that was put in for the purpose comes before what the chipset has anyway.
    let is_card = |device: &&PciDevice| device.is(i6300esb::PCI_ID.0, i6300esb::PCI_ID.1);
    let is_bridge = |device: &&PciDevice| tco::is_bridge(device.vendor, device.device);
    let cards = devices.iter().filter(is_card).map(|device| (device, open_card(device)));
    let bridges = devices.iter().filter(is_bridge).map(|device| (device, open_bridge(device)));
    for (device, opened) in cards.chain(bridges) {
        match opened {
            Ok(watchdog) => return begin(device.address, watchdog),
            Err(why) => log::warn!("watchdog: {device}: not used: {why}"),
        }
    }
}

fn begin(address: PciAddress, watchdog: Box<dyn Watchdog>) {
    let fired = watchdog.take_fired();
    let name = watchdog.name();
    if fired {
        log::warn!("watchdog: {name} at {address} has reset the machine: it was not fed");
    }
    DEVICE.call_once(|| Device { watchdog, address, fired });
    match apply() {
        Err(error) => log::warn!("watchdog: {name} at {address}: not used: {error}"),
        Ok(()) => match ARMED.load(Ordering::Relaxed) {
            0 => log::info!("watchdog: {name} at {address} is off"),
            millis => {
                log::info!("watchdog: {name} at {address} resets after {} s without a sign of life", millis / 1000);
            }
        },
    }
}

fn open_card(device: &PciDevice) -> Result<Box<dyn Watchdog>, String> {
    let function = device.function(&PciConfig);
    function.wake().map_err(|error| format!("{error}"))?;
    let (address, _) = function.memory_bar(i6300esb::BAR).map_err(|error| format!("{error}"))?;
    function.enable_memory().map_err(|error| format!("{error}"))?;
    let memory = machine::device_registers(address, i6300esb::WINDOW).ok_or("its registers cannot be mapped")?;
    let card = I6300Esb::attach(Registers::new(device.address, memory, None));
    card.map(|card| Box::new(card) as Box<dyn Watchdog>).map_err(|error| format!("{error}"))
}

fn open_bridge(device: &PciDevice) -> Result<Box<dyn Watchdog>, String> {
    let function = device.function(&PciConfig);
    let [pmbase, acpi, rcba] = [tco::PMBASE, tco::ACPI_CNTL, tco::RCBA].map(|offset| function.read(offset));
    let place = tco::Location::decode(pmbase, acpi, rcba).map_err(|error| format!("{error}"))?;
    let memory = machine::device_registers(place.memory, tco::WINDOW).ok_or("its register cannot be mapped")?;
    let ports = PortWindow::new(place.port, tco::PORTS).ok_or("it has no ports")?;
    let timer = Tco::attach(Registers::new(device.address, memory, Some(ports)));
    timer.map(|timer| Box::new(timer) as Box<dyn Watchdog>).map_err(|error| format!("{error}"))
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Starts it anew.
fn arm(span: Duration) -> Result<(), Error> {
    let Some(device) = DEVICE.get() else { return Ok(()) };
    WANTED.store(millis(span), Ordering::Relaxed);
    let started = device.watchdog.start(span);
    ARMED.store(started.as_ref().map_or(0, |real| millis(*real).max(1)), Ordering::Relaxed);
    note_fed(time::now());
    started.map(|_| ())
}

fn stop() -> Result<(), Error> {
    let Some(device) = DEVICE.get() else { return Ok(()) };
    device.watchdog.stop()?;
    ARMED.store(0, Ordering::Relaxed);
    Ok(())
}

fn is_armed() -> bool {
    ARMED.load(Ordering::Relaxed) != 0
}

fn note_fed(now: Instant) {
    FED.fetch_add(1, Ordering::Relaxed);
    FED_AT.store(now.as_nanos(), Ordering::Relaxed);
}

/// Feeds it if `is_well`, unless the end of the run has begun.
pub(super) fn feed(now: Instant, is_well: impl FnOnce() -> bool) {
    let Some(device) = DEVICE.get() else { return };
    if is_armed() && !LAST.load(Ordering::Relaxed) && is_well() {
        device.watchdog.feed();
        note_fed(now);
    }
}

/// Gives a shutdown its time, and no more.
pub(super) fn bound_shutdown(span: Duration) {
    LAST.store(true, Ordering::Relaxed);
    if is_armed() {
        // It has worked before; one that refuses now goes on with the time it had.
        let _ = arm(span.saturating_add(SHUTDOWN_GRACE));
    }
}

/// Gives a crash time for its report, its dump and the wait before the restart, and no more.
pub(crate) fn crash() {
    LAST.store(true, Ordering::Relaxed);
    let wait = u64::try_from(machine::panic::reboot_wait_time()).unwrap_or(0);
    if is_armed() {
        let _ = arm(REPORT_TIME + Duration::from_secs(wait));
    }
}

/// Stops it for as long as a person may take: nothing resets the machine meanwhile.
pub(crate) fn pause() {
    if is_armed() {
        // Locked by firmware, it goes on.
        let _ = stop();
    }
}

/// Goes on after [`pause`].
pub(crate) fn resume() {
    let was_armed = TIMEOUT.load(Ordering::Relaxed) != 0 && WANTED.load(Ordering::Relaxed) != 0;
    if was_armed && !is_armed() {
        let _ = arm(Duration::from_millis(WANTED.load(Ordering::Relaxed)));
    }
}

/// Writes which one there is and how it stands.
pub(super) fn show(out: &mut dyn Write) -> fmt::Result {
    let Some(Device { watchdog, address, fired }) = DEVICE.get() else {
        return writeln!(
            out,
            "hardware: none that is known (Intel 6300ESB, or the TCO timer of Intel's chipsets up to C610)"
        );
    };
    write!(out, "hardware: {} at {address}: ", watchdog.name())?;
    match ARMED.load(Ordering::Relaxed) {
        0 => writeln!(out, "off")?,
        millis => {
            let ago = time::now().saturating_duration_since(Instant::from_nanos(FED_AT.load(Ordering::Relaxed)));
            let fed = FED.load(Ordering::Relaxed);
            writeln!(out, "resets after {} s, fed {fed} times, last {} ms ago", millis / 1000, ago.as_millis())?;
        }
    }
    if *fired { writeln!(out, "hardware: it ended the run before this one") } else { Ok(()) }
}
