//! PCI and DMA of this machine: finding cards, mapping their registers, and the root of all DMA tags.
//!
//! Context: the boot thread, and the shutdown thread for [`master_off`] and [`residue`].

use alloc::vec::Vec;
use core::{fmt, time::Duration};

use bus_dma::{DmaPlatform, DmaTag};
use e1000::Variant;
use ksync::Once;
use machine::{iommu, mmio::MmioWindow, pci_config::PciConfig, platform, time};
use pci::{Bars, Enumeration, Function, PciAddress, PciDevice, PciError};
use shutdown::Residue;

/// The BAR that holds an e1000's registers.
const REGISTER_BAR: u8 = 0;

/// The base class of network controllers.
const NETWORK: u8 = 2;

/// How long a function needs after its reset (PCI Express 3.0, 6.6.2).
const RESET_TIME: Duration = Duration::from_millis(100);

static ROOT: Once<DmaTag> = Once::new();

/// Makes the root of the DMA tags, once.
pub(crate) fn root(platform: &'static dyn DmaPlatform) -> &'static DmaTag {
    ROOT.call_once(|| DmaTag::root("root", platform))
}

/// Returns the root of the DMA tags, for `show dma`.
pub(crate) fn tags() -> Option<&'static DmaTag> {
    ROOT.get()
}

/// Walks all buses of segment 0, from each host bridge that firmware describes, and says what was wrong on the way.
pub(crate) fn enumerate() -> Enumeration {
    // A bus with an interrupt table is a root, or lies behind a bridge; the walk tells which.
    let tables = platform::answers().into_iter().flat_map(|answers| &answers.routing.buses);
    let mut roots: Vec<u8> = tables.filter(|table| table.segment == 0).map(|table| table.bus).collect();
    roots.push(0);
    roots.sort_unstable();
    roots.dedup();
    let found = pci::enumerate(&PciConfig, 0, &roots);
    for fault in &found.faults {
        log::warn!("pci: {}: {}", fault.address, fault.error);
    }
    quiet(&found);
    found
}

/// Cuts network cards off from memory that firmware left running: those on bus 0 and below were at the beginning of the boot, those
/// behind other host bridges are only known now.
fn quiet(found: &Enumeration) {
    for device in found.devices.iter().filter(|device| device.class.base == NETWORK) {
        if Function::new(&PciConfig, device.address).bus_mastering() {
            let how = if master_off(device.address) { "cut off from memory" } else { "CANNOT be cut off from memory" };
            log::warn!("pci: {}: firmware left this network card running; {how}", device.address);
        }
    }
}

/// Says that no card can be used, and which there are.
pub(crate) fn say_none(found: &Enumeration) {
    let is_network = |device: &&PciDevice| device.class.base == NETWORK;
    let (network, others) = found.devices.iter().partition::<Vec<&PciDevice>, _>(is_network);
    log::error!("pci: no supported network card; this kernel drives {Variants}");
    if network.is_empty() {
        log::error!("pci: no network card at all answers; there are:");
        others.iter().for_each(|device| log::error!("pci:   {device}"));
    } else {
        log::error!("pci: network cards without a driver:");
        network.iter().for_each(|device| log::error!("pci:   {device}"));
        log::error!("pci: and {} other functions", others.len());
    }
}

/// Names the network cards that nothing drives, beside those that are driven.
pub(crate) fn say_undriven(found: &Enumeration) {
    let is_driven = |device: &PciDevice| Variant::find(device.vendor, device.device).is_some();
    for device in found.devices.iter().filter(|device| device.class.base == NETWORK && !is_driven(device)) {
        log::warn!("pci: network card without a driver: {device}");
    }
}

/// Writes the names and ids of the cards that are driven.
struct Variants;

impl fmt::Display for Variants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for variant in e1000::VARIANTS {
            write!(f, "{separator}{} (8086:{:04x})", variant.name, variant.device)?;
            separator = ", ";
        }
        Ok(())
    }
}

/// Returns the cards that the driver knows, in PCI order: the first is em0.
pub(crate) fn cards(found: &Enumeration) -> Vec<(PciDevice, &'static Variant)> {
    let known = |device: &PciDevice| Variant::find(device.vendor, device.device).map(|variant| (*device, variant));
    let mut cards: Vec<_> = found.devices.iter().filter_map(known).collect();
    cards.sort_by_key(|(device, _)| device.address);
    cards
}

/// Why a card's registers cannot be reached.
#[derive(Debug, Clone, Copy)]
pub(crate) enum OpenError {
    /// The configuration space says something impossible.
    Pci(PciError),
    /// The window cannot be mapped.
    Map,
    /// An IOMMU that cannot be switched off translates what it would read and write.
    Translated,
}

impl From<PciError> for OpenError {
    fn from(error: PciError) -> Self {
        Self::Pci(error)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pci(error) => error.fmt(f),
            Self::Map => f.write_str("register window cannot be mapped"),
            Self::Translated => f.write_str("an IOMMU translates its DMA and cannot be switched off"),
        }
    }
}

/// Wakes a card and maps its registers; it uses its pin for interrupts, if it has one, and its DMA stays off.
pub(crate) fn open(device: &PciDevice) -> Result<Opened, OpenError> {
    let function = device.function(&PciConfig);
    function.wake()?;
    function.enable_memory()?;
    function.disable_link_power_saving()?;
    function.disable_messages()?;
    function.set_intx_disabled(false)?;
    let bars = function.bars()?;
    Ok(Opened { registers: registers(&bars)?, bars })
}

/// A card whose registers can be reached.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) registers: MmioWindow,
    pub(crate) bars: Bars,
}

/// Maps the registers of a card.
pub(crate) fn registers(bars: &Bars) -> Result<MmioWindow, OpenError> {
    let (address, size) = bars.memory(REGISTER_BAR)?;
    let octets = usize::try_from(size).unwrap_or(usize::MAX).min(e1000::regs::WINDOW as usize);
    machine::device_registers(address, octets).ok_or(OpenError::Map)
}

/// Lets a card do DMA, unless somebody translates its addresses.
pub(crate) fn master_on(device: &PciDevice) -> Result<(), OpenError> {
    if iommu::translates() {
        return Err(OpenError::Translated);
    }
    Ok(device.function(&PciConfig).set_bus_mastering(true)?)
}

/// Forbids a card to do DMA; answers whether that could be read back.
pub(crate) fn master_off(address: PciAddress) -> bool {
    let function = Function::new(&PciConfig, address);
    function.set_bus_mastering(false).is_ok() && !function.bus_mastering()
}

/// Resets a card's function through its configuration space; answers whether it can be reset so and was found reset afterwards:
/// present, and with bus mastering off, as after power-on.
pub(crate) fn reset_function(address: PciAddress) -> bool {
    let function = Function::new(&PciConfig, address);
    if function.reset().is_err() {
        return false;
    }
    time::delay(RESET_TIME);
    function.is_present() && !function.bus_mastering()
}

/// Answers whether a card is on the bus.
pub(crate) fn is_present(address: PciAddress) -> bool {
    Function::new(&PciConfig, address).is_present()
}

/// Watches over DMA memory that is given back from now on.
pub(crate) fn arm_tripwire() {
    if let Some(root) = ROOT.get() {
        root.arm_tripwire();
    }
}

/// Counts what lives below the root tag: everything a device might still reach.
pub(crate) fn residue() -> Residue {
    let mut residue = Residue::default();
    if let Some(root) = ROOT.get() {
        root.walk(&mut |depth, _, live| {
            residue.tags += usize::from(depth > 0);
            residue.maps += live.maps as usize;
            residue.memories += live.memories as usize;
        });
    }
    residue
}
