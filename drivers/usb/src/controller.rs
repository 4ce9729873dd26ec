//! The host controller: found, taken from firmware, reset ([`Stopped`]), run ([`Controller`]), and stopped again.
//!
//! Polled: its interrupts stay off. One transfer is under way at a time. Context: one thread. Source: xHCI 1.2, 4.2 (set-up), 4.6
//! (commands), 4.9 (rings).

use alloc::{string::String, vec::Vec};

use bus_dma::{Busy, DmaMem, DmaTag};

use crate::{
    Error, Host,
    capabilities::{Capabilities, Firmware},
    device::Device,
    host::wait,
    memory::{Memory, store_words},
    regs::{op, rt},
    ring::{Events, PAGE, Producer},
    trb::{Trb, code, kind},
};

/// How long it may take to halt (16 ms by the specification), to reset, and to do a command. In milliseconds.
const HALT_MILLIS: u32 = 100;
const RESET_MILLIS: u32 = 1000;
const COMMAND_MILLIS: u32 = 5000;
/// Devices at most.
const MOST_SLOTS: u8 = 32;

/// A controller that has been reset: it does no DMA, and nobody else owns it.
#[derive(Debug)]
pub struct Stopped<H> {
    host: H,
    capabilities: Capabilities,
    page: u64,
    was_running: bool,
    firmware: Firmware,
}

impl<H: Host> Stopped<H> {
    /// Takes a controller from firmware, halts and resets it. Its bus mastering may be in either state; until
    /// [`run`](Self::run) it is given no memory.
    ///
    /// # Errors
    /// [`Error::Gone`], [`Error::BadRegister`], [`Error::ControllerTimeout`].
    pub fn take(host: H) -> Result<Self, Error> {
        let capabilities = Capabilities::read(&host)?;
        let firmware = capabilities.take_from_firmware(&host)?;
        let was_running = host.read32(capabilities.operational + op::USBSTS) & op::HCH == 0;
        reset(&host, capabilities.operational)?;
        let page = (host.read32(capabilities.operational + op::PAGESIZE) & 0xFFFF).trailing_zeros();
        if page > 4 {
            return Err(Error::BadRegister("page size"));
        }
        Ok(Self { host, capabilities, page: 1 << (12 + page), was_running, firmware })
    }

    /// Says whether firmware had left it running.
    pub fn was_running(&self) -> bool {
        self.was_running
    }

    /// Returns what firmware did when asked for it.
    pub fn firmware(&self) -> Firmware {
        self.firmware
    }

    /// Gives it memory under a new child `name` of `root`, and lets it run. Its bus mastering is on.
    ///
    /// # Errors
    /// Whatever failed; then it has been stopped again and holds no memory, but in quarantine if it did not stop.
    pub fn run(self, root: &DmaTag, name: &str) -> Result<Controller<H>, Error> {
        let Self { host, capabilities, page, .. } = self;
        let mut memory = Memory::new(root, name, page, capabilities.wide)?;
        let parts = Parts::take(&mut memory, &capabilities, page);
        let parts = match parts {
            Ok(parts) => parts,
            Err(error) => {
                // It was never told of any of that. Nothing else lives under the tag.
                let _ = memory.release(name, []);
                return Err(error);
            }
        };
        let mut controller = Controller { host, capabilities, name: name.into(), memory, parts, devices: Vec::new() };
        match controller.start() {
            Ok(()) => Ok(controller),
            Err(error) => {
                let _ = controller.stop();
                Err(error)
            }
        }
    }
}

/// Halts and resets: afterwards there is no DMA.
fn reset(host: &impl Host, operational: usize) -> Result<(), Error> {
    let [command, status] = [op::USBCMD, op::USBSTS].map(|reg| operational + reg);
    let checked = |reg| Some(host.read32(reg)).filter(|value| *value != u32::MAX).ok_or(Error::Gone);
    // One that has just been powered on is not to be written to before it says so.
    let ready = || Ok((checked(status)? & op::CNR == 0).then_some(()));
    wait(host, RESET_MILLIS, ready)?.ok_or(Error::ControllerTimeout("become ready"))?;
    host.write32(command, checked(command)? & !op::RUN);
    let halted = || Ok((checked(status)? & op::HCH != 0).then_some(()));
    // One that does not halt is reset nevertheless, which is worse for what hangs on it, not for us.
    let _ = wait(host, HALT_MILLIS, halted)?;
    host.write32(command, op::HCRST);
    // Some must not be read for a millisecond after that.
    host.pause(1000);
    let done = || Ok((checked(command)? & op::HCRST == 0 && checked(status)? & op::CNR == 0).then_some(()));
    wait(host, RESET_MILLIS, done)?.ok_or(Error::ControllerTimeout("end its reset"))?;
    wait(host, HALT_MILLIS, halted)?.ok_or(Error::ControllerTimeout("halt"))
}

/// The memory that a controller works with.
#[derive(Debug)]
struct Parts {
    commands: Producer,
    events: Events,
    /// The addresses of the devices' contexts; the first is that of the scratchpads' list.
    contexts: DmaMem,
    scratchpads: Vec<DmaMem>,
}

impl Parts {
    fn take(memory: &mut Memory, capabilities: &Capabilities, page: u64) -> Result<Self, Error> {
        let page = usize::try_from(page).map_err(|_| Error::BadRegister("page size"))?;
        let [commands, events, table, contexts, list] = memory.take([PAGE, PAGE, PAGE, PAGE, 2 * PAGE])?;
        // Kept with the idle ones until all are there, so that a failure on the way leaves nothing behind.
        memory.idle.push(list);
        let (list, start) = (memory.idle.len() - 1, memory.idle.len());
        for _ in 0..capabilities.scratchpads {
            let pad = match memory.take([page]) {
                Ok([pad]) => pad,
                Err(error) => {
                    memory.idle.extend([commands, events, table, contexts]);
                    return Err(error);
                }
            };
            memory.idle.push(pad);
        }
        let pads: Vec<DmaMem> = memory.idle.drain(start..).collect();
        let list = memory.idle.remove(list);
        let mut first = [0, 0];
        if !pads.is_empty() {
            let addresses: Vec<u32> = pads.iter().flat_map(|pad| words(pad.bus_addr().as_u64())).collect();
            store_words(&list, &addresses);
            first = words(list.bus_addr().as_u64());
        }
        store_words(&contexts, &first);
        let scratchpads = pads.into_iter().chain([list]).collect();
        Ok(Self { commands: Producer::new(commands), events: Events::new(events, table), contexts, scratchpads })
    }

    fn into_memory(self) -> impl Iterator<Item = DmaMem> {
        let rings = [self.commands.into_memory(), self.contexts];
        self.scratchpads.into_iter().chain(rings).chain(self.events.into_memory())
    }
}

/// Returns the low and the high word.
pub(crate) fn words(value: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}

/// A controller at work.
///
/// Dropped instead of [stopped](Self::stop), its memory is put in quarantine: it may go on writing there.
#[derive(Debug)]
pub struct Controller<H> {
    pub(crate) host: H,
    pub(crate) capabilities: Capabilities,
    name: String,
    pub(crate) memory: Memory,
    parts: Parts,
    pub(crate) devices: Vec<Device>,
}

impl<H: Host> Controller<H> {
    /// Tells it where everything is, and lets it run.
    fn start(&mut self) -> Result<(), Error> {
        let slots = u32::from(self.capabilities.slots.min(MOST_SLOTS));
        self.write_op(op::CONFIG, slots);
        self.write_op(op::DNCTRL, 0);
        self.write_op64(op::DCBAAP, self.parts.contexts.bus_addr().as_u64());
        // Its bit 0 is the cycle state, as in a dequeue pointer.
        self.write_op64(op::CRCR, self.parts.commands.dequeue_pointer());
        self.write_runtime(rt::ERSTSZ, 1);
        self.write_runtime64(rt::ERDP, self.parts.events.dequeue_pointer());
        self.write_runtime64(rt::ERSTBA, self.parts.events.table());
        // Interrupts off, none pending.
        self.write_runtime(rt::IMAN, rt::IP);
        self.write_op(op::USBCMD, op::RUN);
        let (host, status) = (&self.host, self.capabilities.operational + op::USBSTS);
        let runs = || Ok((host.read32(status) & op::HCH == 0).then_some(()));
        wait(host, HALT_MILLIS, runs)?.ok_or(Error::ControllerTimeout("start"))
    }

    /// Halts and resets it, and gives all its memory back. Not [cancelled](Host::is_cancelled): this is the way out.
    ///
    /// # Errors
    /// Why it did not stop; then its memory is in quarantine, and its tag stays.
    pub fn stop(self) -> Result<(), StopError> {
        let Self { host, capabilities, name, memory, parts, devices } = self;
        // The acknowledgement: halted, and the reset that ends everything has ended. A controller that has gone reaches nothing.
        match reset(&host, capabilities.operational) {
            Ok(()) | Err(Error::Gone) => {}
            Err(error) => return Err(StopError::Running(error)),
        }
        let used = parts.into_memory().chain(devices.into_iter().flat_map(Device::into_memory));
        memory.release(&name, used).map_err(StopError::Busy)
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn read_op(&self, reg: usize) -> u32 {
        self.host.read32(self.capabilities.operational + reg)
    }

    pub(crate) fn write_op(&self, reg: usize, value: u32) {
        self.host.write32(self.capabilities.operational + reg, value);
    }

    fn write_op64(&self, reg: usize, value: u64) {
        let [low, high] = words(value);
        self.write_op(reg, low);
        self.write_op(reg + 4, high);
    }

    fn write_runtime(&self, reg: usize, value: u32) {
        self.host.write32(self.capabilities.runtime + reg, value);
    }

    fn write_runtime64(&self, reg: usize, value: u64) {
        let [low, high] = words(value);
        self.write_runtime(reg, low);
        self.write_runtime(reg + 4, high);
    }

    /// Rings for an endpoint of a device, or for the commands (0, 0).
    pub(crate) fn ring_doorbell(&self, slot: u8, endpoint: u8) {
        self.host.write32(self.capabilities.doorbells + usize::from(slot) * 4, endpoint.into());
    }

    /// Notes where a device's contexts are.
    pub(crate) fn set_context(&self, slot: u8, contexts: &DmaMem) {
        if let Some(cell) = self.parts.contexts.cells().get(usize::from(slot)) {
            cell.store(contexts.bus_addr().as_u64(), ksync::atomic::Ordering::Relaxed);
            self.parts.contexts.sync();
        }
    }

    /// Does a command; returns the event that answers it.
    pub(crate) fn command(&mut self, command: Trb) -> Result<Trb, Error> {
        let address = self.parts.commands.push(command);
        self.ring_doorbell(0, 0);
        let is_answer = |event: &Trb| event.kind() == kind::COMMAND_EVENT && event.parameter() == address;
        let event = self.wait_event(COMMAND_MILLIS, is_answer)?.ok_or(Error::ControllerTimeout("answer a command"))?;
        if event.code() == code::SUCCESS { Ok(event) } else { Err(Error::Command(event.code())) }
    }

    /// Waits for an event; all others meanwhile are dropped: nobody waits for them.
    pub(crate) fn wait_event(&mut self, millis: u32, is: impl Fn(&Trb) -> bool) -> Result<Option<Trb>, Error> {
        let Self { host, parts, capabilities, .. } = self;
        let (status, dequeue) = (capabilities.operational + op::USBSTS, capabilities.runtime + rt::ERDP);
        wait(host, millis, || {
            while let Some(event) = parts.events.pop() {
                let [low, high] = words(parts.events.dequeue_pointer());
                host.write32(dequeue, low | rt::EHB);
                host.write32(dequeue + 4, high);
                if is(&event) {
                    return Ok(Some(event));
                }
            }
            let status = host.read32(status);
            if status == u32::MAX {
                return Err(Error::Gone);
            }
            if status & (op::HSE | op::HCE) != 0 {
                return Err(Error::ControllerFailed);
            }
            if host.is_cancelled() { Err(Error::Cancelled) } else { Ok(None) }
        })
    }
}

/// Why a controller's memory could not be given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopError {
    /// It did not stop.
    Running(Error),
    /// Something is live that should not be: a bug.
    Busy(Busy),
}
