//! The stick that the machine was booted from, looked for at every xHCI controller, and the text that is left on it: [`Search`].
//!
//! USB is driven for this alone, once, after a self-test: controllers are taken from firmware, and halted again in the end with all memory
//! given back. A keyboard that firmware drives behind one of them is lost by that. Until then they are firmware's: if it left them
//! running, they reach its own memory, which nobody else uses.
//!
//! Context: a thread that the shutdown waits for; it gives up when that begins.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::time::Duration;

use fat::{
    Sectors,
    stick::{Answer, Booted},
};
use machine::{
    mmio::MmioWindow,
    pci_config::{OwnRegisters, PciConfig},
    time,
};
use pci::{PciAddress, PciDevice};
use usb::{Controller, Disk, Firmware, Host, Pipes, Role, Stopped, bulk_only::Transport};

use crate::{KernelFile, Wires, bus, services, threads};

/// The class of USB host controllers, and their programming interfaces.
const SERIAL_BUS: u8 = 0x0C;
const USB: u8 = 0x03;
const XHCI: u8 = 0x30;
const EHCI: u8 = 0x20;
/// The vendor whose chipsets have ports that can be at either.
const INTEL: u16 = 0x8086;
/// The BAR that holds an xHCI controller's registers.
const REGISTER_BAR: u8 = 0;
/// Octets of registers that are mapped, at most.
const MOST_REGISTERS: u64 = 0x1_0000;

/// What is looked for, and where.
pub(crate) struct Search {
    kernel: KernelFile,
    configuration: &'static [u8],
    /// All USB host controllers.
    controllers: Vec<PciDevice>,
}

/// A disk that has the very files that run.
struct Candidate {
    controller: usize,
    device: usize,
    unit: u8,
    name: String,
    /// Where the result goes, or why there is no such place.
    place: Result<fat::File, &'static str>,
}

impl Search {
    pub(crate) fn new(wires: &Wires, devices: &[PciDevice]) -> Self {
        let is_usb = |device: &&PciDevice| device.class.base == SERIAL_BUS && device.class.sub == USB;
        let controllers = devices.iter().filter(is_usb).copied().collect();
        Self { kernel: wires.kernel, configuration: wires.configuration, controllers }
    }

    /// Writes a text to the stick. Returns which that is.
    ///
    /// # Errors
    /// Why it was not written, in words.
    pub(crate) fn leave(&self, text: &str) -> Result<String, String> {
        let is_xhci = |device: &&PciDevice| device.class.interface == XHCI;
        let (driven, others): (Vec<_>, Vec<_>) = self.controllers.iter().partition(is_xhci);
        if driven.is_empty() && others.is_empty() {
            return Err("there is no USB controller".into());
        }
        if driven.is_empty() {
            return Err("there are USB controllers, but none is of the kind that is driven (xHCI)".into());
        }
        let mut running: Vec<(PciAddress, Controller<Registers>)> = Vec::new();
        let mut failed = Vec::new();
        let of_intel = |device: &&PciDevice| device.vendor == INTEL;
        let has_older = others.iter().copied().any(|device| of_intel(&device) && device.class.interface == EHCI);
        for (number, device) in driven.into_iter().enumerate() {
            if has_older && of_intel(&device) {
                connect_ports(device.address);
            }
            match open(device, number) {
                Ok(controller) => running.push((device.address, controller)),
                Err(reason) => {
                    log::warn!("usb: {device}: {reason}");
                    failed.push(device.address);
                }
            }
        }
        let outcome = if running.is_empty() {
            Err("no USB controller works".into())
        } else {
            self.look_and_write(&mut running, text)
        };
        for (address, controller) in running {
            if let Err(error) = controller.stop() {
                log::error!("usb: {address}: did not stop, what it reaches is not used again: {error:?}");
            }
            failed.push(address);
        }
        for address in failed {
            if !bus::master_off(address) {
                log::error!("usb: {address}: CANNOT be cut off from memory");
            }
        }
        outcome
    }

    fn look_and_write(
        &self,
        running: &mut [(PciAddress, Controller<Registers>)],
        text: &str,
    ) -> Result<String, String> {
        let (mut disks, mut candidates) = (0, Vec::new());
        for (number, (address, controller)) in running.iter_mut().enumerate() {
            let found = match controller.scan() {
                Ok(found) => found,
                Err(usb::Error::Cancelled) => return Err(usb::Error::Cancelled.to_string()),
                Err(error) => {
                    log::warn!("usb: {address}: {error}");
                    continue;
                }
            };
            for device in found {
                let at = match device.behind {
                    0 => format!("{address} port {}", device.port),
                    behind => format!("{address} port {}.{behind}", device.port),
                };
                match device.outcome {
                    Ok(Role::Other | Role::Hub(_)) => {}
                    Ok(Role::Storage(storage)) => {
                        let units = self.units(controller, storage, &at, &mut |unit, name, place| {
                            candidates.push(Candidate { controller: number, device: storage, unit, name, place });
                        });
                        disks += units;
                    }
                    Err(error) => log::warn!("usb: {at}: {error}"),
                }
            }
        }
        if services::ending() {
            return Err(usb::Error::Cancelled.to_string());
        }
        let mut candidates = candidates.into_iter();
        let candidate = match (candidates.next(), candidates.next(), disks) {
            (None, _, 0) => return Err("there is no USB stick; the machine was booted from another disk".into()),
            (None, ..) => return Err(format!("none of {disks} USB disks is the one that the machine was booted from")),
            (Some(one), Some(other), _) => {
                return Err(format!("{} and {} are alike, one of them was booted from", one.name, other.name));
            }
            (Some(one), None, _) => one,
        };
        let Candidate { controller, device, unit, name, place } = candidate;
        let file = place.map_err(|reason| format!("{name}: {reason}"))?;
        let (_, controller) = running.get_mut(controller).ok_or("no such controller")?;
        let transport = Transport::new(controller.storage(device));
        let disk = Disk::open(transport, unit).map_err(|error| format!("{name}: {error}"))?;
        fat::stick::overwrite(&mut Blocks(disk), &file, text).map_err(|error| format!("{name}: {error}"))?;
        Ok(name)
    }

    /// Looks at each unit of a device, and tells those that have the files that run. Returns how many are disks.
    fn units(
        &self,
        controller: &mut Controller<Registers>,
        device: usize,
        at: &str,
        tell: &mut dyn FnMut(u8, String, Result<fat::File, &'static str>),
    ) -> usize {
        let booted = Booted {
            kernel_octets: self.kernel.octets,
            kernel_tail: self.kernel.tail,
            configuration: self.configuration,
        };
        let last = match Transport::new(controller.storage(device)).last_unit() {
            Ok(last) => last,
            Err(error) => {
                log::warn!("usb: {at}: {error}");
                return 0;
            }
        };
        let mut disks = 0;
        for unit in 0..=last {
            let disk = match Disk::open(Transport::new(controller.storage(device)), unit) {
                Ok(disk) => disk,
                // A reader without a card.
                Err(usb::Error::NoMedium) => continue,
                Err(error) => {
                    log::warn!("usb: {at}: {error}");
                    continue;
                }
            };
            disks += 1;
            let name = format!("{}, {at}", disk.identity());
            let mut blocks = Blocks(disk);
            match fat::stick::find(&mut blocks, &booted) {
                Ok(Answer::Another) => log::info!("usb: {name}: another disk"),
                Ok(Answer::Booted(file)) => tell(unit, name, Ok(file)),
                Ok(Answer::NoPlace(reason)) => tell(unit, name, Err(reason)),
                Err(error) => log::warn!("usb: {name}: {error}"),
            }
        }
        disks
    }
}

/// Has the chipsets of Intel's 7 to 9 series (and C600) connect all ports that can be at either to the xHCI controller: firmware may have left
/// them, and the stick, at the older controllers beside it. Where there are no such registers, nothing comes of it.
///
/// Source: Intel 8 Series/C220 PCH datasheet, 17.1.32 to 17.1.35: masks of what can be switched, and what is.
fn connect_ports(address: PciAddress) {
    const USB_2: (u16, u16) = (0xD4, 0xD0);
    const USB_3: (u16, u16) = (0xDC, 0xD8);
    let registers = OwnRegisters::of(address);
    for (mask, switch) in [USB_3, USB_2] {
        registers.write16(switch, registers.read16(mask));
    }
}

/// Takes a controller from firmware and lets it run for us.
fn open(device: &PciDevice, number: usize) -> Result<Controller<Registers>, String> {
    let function = device.function(&PciConfig);
    let text = |error: pci::PciError| error.to_string();
    if function.wake().map_err(text)? {
        threads::sleep(Duration::from_millis(10));
    }
    function.enable_memory().map_err(text)?;
    let (address, size) = function.memory_bar(REGISTER_BAR).map_err(text)?;
    let octets = usize::try_from(size.min(MOST_REGISTERS)).map_err(|_| "its registers are too many")?;
    let window = machine::device_registers(address, octets).ok_or("its registers cannot be mapped")?;
    let root = bus::tags().ok_or("there is no DMA")?;
    let stopped = Stopped::take(Registers { window }).map_err(|error| error.to_string())?;
    match stopped.firmware() {
        Firmware::Absent => {}
        Firmware::GaveUp => log::info!("usb: {device}: taken from firmware; a USB keyboard works no more"),
        Firmware::Silent => log::warn!("usb: {device}: firmware did not give it up and was not waited for any longer"),
    }
    bus::master_on(device).map_err(|error| error.to_string())?;
    stopped.run(root, &format!("xhci{number}")).map_err(|error| error.to_string())
}

/// The registers of a controller, and the machine's time.
#[derive(Debug)]
struct Registers {
    window: MmioWindow,
}

impl Host for Registers {
    fn window(&self) -> usize {
        self.window.len()
    }

    fn read32(&self, offset: usize) -> u32 {
        self.window.read32(offset)
    }

    fn write32(&self, offset: usize, value: u32) {
        self.window.write32(offset, value);
    }

    fn pause(&self, micros: u32) {
        let span = Duration::from_micros(micros.into());
        if span >= Duration::from_millis(1) { threads::sleep(span) } else { time::delay(span) }
    }

    fn is_cancelled(&self) -> bool {
        services::ending()
    }
}

/// A disk as a volume's reader sees it.
struct Blocks<P>(Disk<P>);

const _: () = assert!(usb::BLOCK == fat::SECTOR);

impl<P: Pipes> Sectors for Blocks<P> {
    type Error = usb::Error;

    fn count(&self) -> u32 {
        self.0.blocks()
    }

    fn read(&mut self, first: u32, into: &mut [u8]) -> Result<(), usb::Error> {
        self.0.read(first, into)
    }

    fn write(&mut self, first: u32, from: &[u8]) -> Result<(), usb::Error> {
        self.0.write(first, from)
    }

    fn flush(&mut self) -> Result<(), usb::Error> {
        self.0.flush()
    }
}
