//! The device as tests and driver hold it.
//!
//! Key types: [`Nic`] (a handle; clones are the same device), [`Wired`] (a frame on its way in).

use std::sync::Arc;

use e1000::{
    Delay, Reg, RegisterIo, Variant, Vector,
    desc::RxErrors,
    regs::{Cause, Status},
};
use ksync::{
    atomic::{AtomicBool, Ordering},
    model::{self, JoinHandle, Mutex, MutexGuard},
    time::Instant,
};
use wire::MacAddr;

use crate::{faults::Faults, iommu::Iommu, registers::Device};

/// A frame on its way in, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wired {
    /// The frame without FCS.
    pub octets: Vec<u8>,
    /// Errors the device will report.
    pub errors: RxErrors,
    /// Descriptors it will be spread over.
    pub pieces: usize,
    /// A length the device claims, whatever it wrote.
    pub claimed_length: Option<u16>,
}

impl Wired {
    /// A good frame.
    #[must_use]
    pub fn good(octets: Vec<u8>) -> Self {
        Self { octets, errors: RxErrors::empty(), pieces: 1, claimed_length: None }
    }
}

/// A handle of one device.
#[derive(Clone, Debug)]
pub struct Nic {
    device: Arc<Mutex<Device>>,
    memory: &'static Iommu,
}

impl Nic {
    /// Makes a device of a kind with `mac` in its EEPROM, link up, on the bus of `memory`. Not reset yet: everything is
    /// enabled, as a careless boot loader leaves it.
    #[must_use]
    pub fn new(memory: &'static Iommu, variant: &'static Variant, mac: MacAddr) -> Self {
        Self { device: Arc::new(Mutex::new(Device::new(variant, mac))), memory }
    }

    /// Enables MSI-X in the configuration space: from now on there is a message for each vector, and no line.
    pub fn enable_messages(&self) {
        self.device().messages = true;
    }

    /// Takes the message of a vector that has something to say.
    #[must_use]
    pub fn message(&self) -> Option<Vector> {
        self.device().take_message()
    }

    fn device(&self) -> MutexGuard<'_, Device> {
        self.device.lock()
    }

    /// Moves one thing. Returns whether there was anything.
    pub fn step(&self) -> bool {
        self.device().step(self.memory)
    }

    /// Steps until nothing moves; at most 100,000 steps.
    pub fn settle(&self) {
        for _ in 0..100_000 {
            if !self.step() {
                return;
            }
        }
        panic!("the device does not come to rest");
    }

    /// Runs the device in a thread of its own until `stop` is set.
    #[must_use]
    pub fn spawn(&self, stop: Arc<AtomicBool>) -> JoinHandle<()> {
        let nic = self.clone();
        model::spawn(move || {
            while !stop.load(Ordering::Acquire) {
                if !nic.step() {
                    model::yield_now();
                }
            }
        })
    }

    /// Puts a good frame on the wire, to be received by a later step.
    pub fn inject(&self, octets: Vec<u8>) {
        self.inject_wired(Wired::good(octets));
    }

    /// Puts any frame on the wire.
    pub fn inject_wired(&self, wired: Wired) {
        self.device().engine.incoming.push_back(wired);
    }

    /// Returns the frames on their way in that the device has not looked at.
    #[must_use]
    pub fn incoming(&self) -> usize {
        self.device().engine.incoming.len()
    }

    /// Takes the oldest frame the device has sent.
    #[must_use]
    pub fn sent(&self) -> Option<Vec<u8>> {
        self.device().engine.outgoing.pop_front()
    }

    /// Takes all frames the device has sent.
    #[must_use]
    pub fn all_sent(&self) -> Vec<Vec<u8>> {
        self.device().engine.outgoing.drain(..).collect()
    }

    /// Changes the faults.
    pub fn set_faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.device().faults);
    }

    /// Returns the faults as they are now.
    #[must_use]
    pub fn peek_faults(&self) -> Faults {
        self.device().faults
    }

    /// Overwrites the EEPROM's copy of the address.
    pub fn set_eeprom(&self, mac: MacAddr) {
        let [a, b, c, d, e, f] = mac.octets();
        self.device().eeprom = [[a, b], [c, d], [e, f]].map(u16::from_le_bytes);
    }

    /// Sets the link's STATUS bits and raises LSC.
    pub fn set_link(&self, status: Status) {
        let mut device = self.device();
        device.link = status.bits();
        device.raise(Cause::LSC);
    }

    /// Sets what the other end offers in auto-negotiation: register 5 of the PHY.
    pub fn set_partner(&self, ability: u16) {
        *self.device().phy_register(5) = ability;
    }

    /// Returns what we offer in auto-negotiation, and how often it was begun anew.
    #[must_use]
    pub fn negotiated(&self) -> (u16, u32) {
        let mut device = self.device();
        (*device.phy_register(4), device.negotiations)
    }

    /// Raises causes out of nothing.
    pub fn raise(&self, causes: Cause) {
        self.device().raise(causes);
    }

    /// Says whether what the device sends comes back to it.
    #[must_use]
    pub fn is_looped(&self) -> bool {
        self.device().is_looped()
    }

    /// Says whether the interrupt line is asserted.
    #[must_use]
    pub fn interrupting(&self) -> bool {
        self.device().asserted()
    }

    /// Switches bus mastering, as PCI COMMAND.BME does; returns whether it is as wanted then.
    pub fn set_bus_master(&self, on: bool) -> bool {
        let mut device = self.device();
        if !device.faults.bus_master_stuck {
            device.bus_master = on;
        }
        device.bus_master == on
    }

    /// Returns whether the device can reach memory.
    #[must_use]
    pub fn is_bus_master(&self) -> bool {
        self.device().bus_master
    }

    /// Looks at a register without the side effects of reading it.
    #[must_use]
    pub fn peek(&self, reg: Reg) -> u32 {
        let device = self.device();
        match reg {
            Reg::Icr => device.icr,
            Reg::Ims => device.ims,
            _ => device.get(reg),
        }
    }

    /// Sets a register to what a device may show and a driver cannot write.
    pub fn poke(&self, reg: Reg, value: u32) {
        self.device().set(reg, value);
    }

    /// Returns how often a register was written.
    #[must_use]
    pub fn writes(&self, reg: Reg) -> u64 {
        self.device().writes.get(&reg.offset()).copied().unwrap_or(0)
    }

    /// Returns how often the device was reset.
    #[must_use]
    pub fn resets(&self) -> u32 {
        self.device().resets
    }

    /// Returns the frames the device has written to memory.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.device().engine.delivered
    }

    /// Returns the frames that no filter let through, or that came while the receiver was off.
    #[must_use]
    pub fn ignored(&self) -> u64 {
        self.device().engine.ignored
    }

    /// Returns the microseconds that have passed: what the driver waited, and what it was busy.
    #[must_use]
    pub fn clock(&self) -> u64 {
        self.device().clock
    }

    /// Returns the frames sent that were shorter than 60 octets.
    #[must_use]
    pub fn runts(&self) -> u64 {
        self.device().engine.runts
    }
}

impl RegisterIo for Nic {
    fn read32(&self, reg: Reg) -> u32 {
        self.device().read(reg)
    }

    fn write32(&self, reg: Reg, value: u32) {
        let mut device = self.device();
        if reg == Reg::Icr && device.faults.moves_before_icr {
            device.step(self.memory);
        }
        device.write(reg, value);
    }
}

impl Delay for Nic {
    /// Waiting is when the device works.
    fn micros(&self, micros: u32) {
        self.device().pass(micros);
        self.step();
    }

    fn now(&self) -> Instant {
        let mut device = self.device();
        device.look_at_clock();
        Instant::from_nanos(device.clock * 1000)
    }
}
