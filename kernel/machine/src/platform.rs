//! The platform's share of the boot, in order: tables, interrupt controllers, clock, firmware's bytecode, the way out.
//!
//! [`bring_up`] leaves interrupts enabled on the bootstrap processor, every line masked, and the timer idle. [`start_cpus`] starts
//! the others. What can be lived without (bytecode, HPET, MCFG) is a log line; what cannot is a [`PlatformError`]. Thread context,
//! once.

use ksync::{Once, cpu::CpuId};
use pci_types::{ConfigRegionAccess, PciAddress};

use crate::{
    acpi::{self, AcpiError, Answers, Pin, Platform, Route},
    apic::{self, ModeError},
    boot::{self, BootRecord},
    console, cpu, entry, hooks,
    ioapic::Signal,
    iommu, ipi, irq, kdb,
    map::FirmwareTables,
    numa,
    pci_config::{self, PciConfig},
    percpu, power_button, reset,
    smp::{self, SmpError},
    time::{self, NoClock},
    timer::{self, TimerStopped},
};

/// Stages [`bring_up`] and [`start_cpus`] announce.
pub const STAGES: u32 = 5;

/// What the machine cannot be run without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlatformError {
    /// The loader found no ACPI root pointer.
    NoAcpi,
    /// Firmware's tables are unusable.
    Acpi(AcpiError),
    /// The local APIC is unusable.
    Apic(ModeError),
    /// No I/O APIC answers.
    NoIoApic,
    /// No clock can be calibrated.
    Clock(NoClock),
    /// The local timer does not count.
    Timer(TimerStopped),
}

static PLATFORM: Once<Platform> = Once::new();
static ANSWERS: Once<Answers> = Once::new();

/// Firmware's tables; `None` before [`bring_up`].
#[must_use]
pub fn platform() -> Option<&'static Platform> {
    PLATFORM.get()
}

/// What firmware's bytecode said; `None` before [`bring_up`] or if it failed.
#[must_use]
pub fn answers() -> Option<&'static Answers> {
    ANSWERS.get()
}

/// Brings the platform up. Interrupts are off on entry and on at return.
pub fn bring_up(record: &BootRecord) -> Result<&'static Platform, PlatformError> {
    boot::stage("firmware tables");
    let rsdp = record.rsdp.ok_or(PlatformError::NoAcpi)?;
    let found = acpi::discover(&FirmwareTables, rsdp).map_err(PlatformError::Acpi)?;
    let platform = PLATFORM.call_once(|| found);
    pci_config::init(&platform.ecam);
    if let Some(serial) = &platform.serial {
        console::use_serial(serial);
    }
    log::info!(
        "acpi: {} processors, {} I/O APICs, {} PCI windows, HPET {}",
        platform.madt.processors.iter().filter(|processor| processor.enabled).count(),
        platform.madt.io_apics.len(),
        pci_config::windows(),
        if platform.hpet.is_some() { "yes" } else { "no" },
    );

    if let Some(nodes) = &platform.nodes {
        numa::announce(nodes);
    }
    // Before interrupts are routed and cards may do DMA: both would be remapped.
    iommu::quiet(&platform.remapping);

    boot::stage("interrupt controllers");
    let mode = apic::init_bsp().map_err(PlatformError::Apic)?;
    smp::init_bsp();
    hooks::set_cpu(percpu::current_cpu);
    hooks::set_interrupt(|vector, _| irq::dispatch(vector));
    hooks::set_nmi(kdb::nmi::arrived);
    if irq::init(&platform.madt) == 0 {
        return Err(PlatformError::NoIoApic);
    }
    ipi::init();
    log::info!("apic: {mode:?}, id {}", percpu::block(CpuId::BOOT).apic_id());

    boot::stage("clock and timer");
    let calibration = time::init(platform.hpet, &platform.fadt).map_err(PlatformError::Clock)?;
    hooks::set_clock(|| time::now().as_nanos());
    entry::mark("timer");
    let method = timer::init().map_err(PlatformError::Timer)?;
    log::info!(
        "time: {:?} at {} kHz by {:?}; timer {method:?}",
        time::clock_source(),
        calibration.hz / 1_000,
        calibration.reference,
    );
    if !time::is_invariant() {
        // It is one all the same while nobody changes the frequency, and no state deeper than a halt is entered: nobody here does.
        log::info!("time: the processor does not promise that its time stamp counter is invariant");
    }
    cpu::enable_interrupts();

    boot::stage("firmware bytecode");
    #[cfg(target_os = "none")]
    match acpi::aml::interrogate(platform) {
        Ok(found) => {
            ANSWERS.call_once(|| found);
        }
        Err(failure) => log::error!("acpi: bytecode failed ({failure:?}): routing by interrupt line, no power-off"),
    }
    reset::init(&platform.fadt, answers().and_then(|answers| answers.s5));
    power_button::init(&platform.fadt);
    if let Some(answers) = answers() {
        log::info!("acpi: {} interrupt routes, power-off {:?}", answers.routing.len(), answers.s5);
    }
    Ok(platform)
}

/// Starts the other processors into `entry`; see [`smp::start_all`].
pub fn start_cpus(platform: &Platform, entry: smp::Entry) -> Result<smp::Report, SmpError> {
    boot::stage("processors");
    let report = smp::start_all(&platform.madt.processors, entry)?;
    log::info!("smp: {} processors, {} left out", report.online, report.left_out.len());
    Ok(report)
}

/// Where the interrupt pin of a PCI function arrives: by firmware's routing, else by the interrupt line register that firmware
/// programmed for the 8259s. `None` if the function has no pin, or nobody knows. Thread context.
#[must_use]
pub fn pci_route(address: PciAddress) -> Option<Route> {
    // SAFETY: reading configuration space is harmless.
    let [line, pin, ..] = unsafe { PciConfig.read(address, 0x3C) }.to_le_bytes();
    let pin = Pin::from_register(pin)?;
    let by_table = answers().and_then(|answers| {
        let routing = &answers.routing;
        routing.lookup(address.segment(), address.bus(), address.device(), pin, pci_config::bridge_to)
    });
    by_table.or_else(|| by_line(line))
}

/// The fallback. Lines 0 and 255 mean "none".
fn by_line(line: u8) -> Option<Route> {
    if line == 0 || line >= 16 {
        return None;
    }
    let madt = &platform()?.madt;
    let (gsi, _) = madt.isa(line);
    log::warn!("pci: interrupt by line register {line}: firmware's routing has no answer");
    Some(Route { gsi, signal: madt.signal_of(gsi).unwrap_or(Signal::PCI) })
}
