//! A device at a port: its slot, its contexts, its three endpoints, what it is: [`Device`].
//!
//! Source: xHCI 1.2, 4.3 (initialisation), 4.5 and 6.2 (contexts), 4.6.8 (a halted endpoint); USB 2.0, 9.4 (requests).

use alloc::vec;

use arrayvec::ArrayVec;
use bus_dma::DmaMem;

use crate::{
    Controller, Error, Host,
    controller::words,
    descriptor::{self, Bulk, MassStorage},
    memory::store_words,
    ring::{PAGE, Producer},
    trb::Trb,
};

/// Octets of one transfer, at most: what a block of a ring can describe without crossing 64 KiB, halved.
pub(crate) const MOST: usize = 32 * 1024;
/// Octets of a configuration, at most; a stick has 44.
const MOST_CONFIGURATION: usize = 1024;

/// The class of hubs.
const HUB: u8 = 9;

/// Speeds as a port and a slot context number them.
pub(crate) mod speed {
    pub(crate) const FULL: u32 = 1;
    pub(crate) const LOW: u32 = 2;
    pub(crate) const HIGH: u32 = 3;
    pub(crate) const SUPER: u32 = 4;
}

/// The control endpoint's index.
pub(crate) const CONTROL: u8 = 1;
/// Types of endpoints in a context.
const BULK_OUT: u32 = 2;
const CONTROL_TYPE: u32 = 4;
const BULK_IN: u32 = 6;

/// A request on the control endpoint (USB 2.0, 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// bmRequestType.
    pub kind: u8,
    /// bRequest.
    pub request: u8,
    /// wValue.
    pub value: u16,
    /// wIndex.
    pub index: u16,
}

impl Request {
    const fn descriptor(kind: u8) -> Self {
        Self { kind: 0x80, request: 6, value: (kind as u16) << 8, index: 0 }
    }

    const fn set_configuration(number: u8) -> Self {
        Self { kind: 0x00, request: 9, value: number as u16, index: 0 }
    }

    pub(crate) const fn clear_halt(address: u8) -> Self {
        Self { kind: 0x02, request: 1, value: 0, index: address as u16 }
    }

    pub(crate) fn octets(self, length: usize) -> u64 {
        let [value, index] = [self.value, self.index].map(u64::from);
        let length = u64::try_from(length & 0xFFFF).unwrap_or(0);
        u64::from(self.kind) | u64::from(self.request) << 8 | value << 16 | index << 32 | length << 48
    }
}

/// Where a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The controller's port, from 1.
    pub(crate) port: u8,
    pub(crate) speed: u32,
    pub(crate) slot_type: u32,
    /// The hub's port, from 1, if it is behind one; 0 if not.
    pub(crate) behind: u8,
    /// The slot of the hub that translates for a device slower than itself.
    pub(crate) translator: Option<u8>,
}

/// What the controller has to know of a hub.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HubContext {
    pub(crate) ports: u8,
    /// How long its translator thinks: 0 to 3.
    pub(crate) think_time: u8,
}

/// A device that has an address.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) slot: u8,
    place: Place,
    /// The controller's, and what it is told.
    contexts: DmaMem,
    input: DmaMem,
    pub(crate) control: Producer,
    bulk_in: Producer,
    bulk_out: Producer,
    pub(crate) buffer: DmaMem,
    pub(crate) storage: Option<MassStorage>,
    /// What kind it is, and what it is to be set to.
    class: u8,
    configuration: u8,
    /// What the controller has to know of a hub.
    hub: Option<HubContext>,
    /// A transfer is perhaps still under way: nothing more is asked of it.
    pub(crate) lost: bool,
}

impl Device {
    pub(crate) fn into_memory(self) -> impl Iterator<Item = DmaMem> {
        let rings = [self.control, self.bulk_in, self.bulk_out].map(Producer::into_memory);
        rings.into_iter().chain([self.contexts, self.input, self.buffer])
    }

    pub(crate) fn ring(&mut self, endpoint: u8) -> &mut Producer {
        match endpoint {
            CONTROL => &mut self.control,
            in_ if in_ & 1 == 1 => &mut self.bulk_in,
            _ => &mut self.bulk_out,
        }
    }

    /// The slot context, with `entries` contexts in use (6.2.2).
    fn slot_context(&self, entries: u8) -> [u32; 4] {
        let Place { port, speed, behind, translator, .. } = self.place;
        let mut words = [u32::from(entries) << 27 | speed << 20 | u32::from(behind), u32::from(port) << 16, 0, 0];
        if let Some(slot) = translator {
            words[2] = u32::from(slot) | u32::from(behind) << 8;
        }
        if let Some(HubContext { ports, think_time }) = self.hub {
            words[0] |= 1 << 26;
            words[1] |= u32::from(ports) << 24;
            words[2] |= u32::from(think_time) << 16;
        }
        words
    }

    /// Says whether it is a hub.
    pub(crate) fn is_hub(&self) -> bool {
        self.class == HUB
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// Writes an input context: which of the device's contexts go, which come, and these.
    fn write_input(&self, octets: usize, dropped: u32, added: u32, contexts: &[(u8, [u32; 5])]) {
        let stride = octets / 4;
        let mut words = vec![0; 33 * stride];
        let mut put = |at: usize, value: &[u32]| {
            words.iter_mut().skip(at).zip(value).for_each(|(to, from)| *to = *from);
        };
        put(0, &[dropped, added]);
        for (index, context) in contexts {
            put((usize::from(*index) + 1) * stride, context);
        }
        store_words(&self.input, &words);
    }
}

/// The context of an endpoint.
fn endpoint_context(kind: u32, packet: u16, burst: u8, dequeue: u64, average: u32) -> [u32; 5] {
    let [low, high] = words(dequeue);
    // Three errors before it halts.
    [0, 3 << 1 | kind << 3 | u32::from(burst) << 8 | u32::from(packet) << 16, low, high, average]
}

/// The index of an endpoint's context and doorbell.
pub(crate) const fn index(bulk: &Bulk) -> u8 {
    bulk.number * 2 + bulk.toward_host as u8
}

const fn with_length(context: [u32; 4]) -> [u32; 5] {
    [context[0], context[1], context[2], context[3], 0]
}

impl<H: Host> Controller<H> {
    /// Gives a device at a port that is enabled an address, and configures it if it is mass storage. Returns its place among
    /// the devices.
    pub(crate) fn attach(&mut self, place: Place) -> Result<usize, Error> {
        let slot = self.command(Trb::enable_slot(place.slot_type))?.slot();
        if slot == 0 || slot > self.capabilities.slots {
            return Err(Error::BadRegister("slot"));
        }
        let [contexts, input, control, bulk_in, bulk_out, buffer] =
            self.memory.take([PAGE, PAGE, PAGE, PAGE, PAGE, MOST])?;
        let [control, bulk_in, bulk_out] = [control, bulk_in, bulk_out].map(Producer::new);
        self.set_context(slot, &contexts);
        let (storage, lost) = (None, false);
        let (class, configuration, hub) = (0, 0, None);
        let device = Device {
            slot,
            place,
            contexts,
            input,
            control,
            bulk_in,
            bulk_out,
            buffer,
            storage,
            class,
            configuration,
            hub,
            lost,
        };
        self.devices.push(device);
        let number = self.devices.len() - 1;
        match self.set_up(number) {
            Ok(()) => Ok(number),
            Err(error) => {
                self.device(number)?.lost = true;
                // The slot goes, so that another can be tried for the same port. Its memory stays until the end.
                let _ = self.command(Trb::disable_slot(slot));
                Err(error)
            }
        }
    }

    fn set_up(&mut self, number: usize) -> Result<(), Error> {
        self.address(number)?;
        self.read_descriptors(number)?;
        self.configure(number)
    }

    pub(crate) fn device(&mut self, number: usize) -> Result<&mut Device, Error> {
        self.devices.get_mut(number).ok_or(Error::OutOfRange)
    }

    fn address(&mut self, number: usize) -> Result<(), Error> {
        let octets = self.capabilities.context;
        let device = self.device(number)?;
        let packet = match device.place.speed {
            speed::LOW | speed::FULL => 8,
            speed::HIGH => 64,
            _ => 512,
        };
        let control = endpoint_context(CONTROL_TYPE, packet, 0, device.control.dequeue_pointer(), 8);
        let slot = with_length(device.slot_context(1));
        device.write_input(octets, 0, 0b11, &[(0, slot), (CONTROL, control)]);
        let command = Trb::address_device(device.slot, device.input.bus_addr().as_u64());
        self.command(command)?;
        // A device has 2 ms to take its address (USB 2.0, 9.2.6.3).
        self.host.pause(10_000);
        Ok(())
    }

    fn read_descriptors(&mut self, number: usize) -> Result<(), Error> {
        const DEVICE: u8 = 1;
        const CONFIGURATION: u8 = 2;
        let mut head = [0; 8];
        self.control_in(number, Request::descriptor(DEVICE), &mut head)?;
        let [_, DEVICE, _, _, class, _, _, packet] = head else { return Err(Error::BadDescriptor) };
        let octets = self.capabilities.context;
        let device = self.device(number)?;
        device.class = class;
        // At full speed the control endpoint's packets have 8 to 64 octets, and only the device knows.
        if device.place.speed == speed::FULL && packet != 8 {
            if !matches!(packet, 16 | 32 | 64) {
                return Err(Error::BadDescriptor);
            }
            let control = endpoint_context(CONTROL_TYPE, packet.into(), 0, device.control.dequeue_pointer(), 8);
            device.write_input(octets, 0, 0b10, &[(CONTROL, control)]);
            let command = Trb::evaluate_context(device.slot, device.input.bus_addr().as_u64());
            self.command(command)?;
        }
        let mut head = [0; 9];
        self.control_in(number, Request::descriptor(CONFIGURATION), &mut head)?;
        let total = descriptor::total_length(&head).ok_or(Error::BadDescriptor)?.min(MOST_CONFIGURATION);
        let mut whole = [0; MOST_CONFIGURATION];
        let whole = whole.get_mut(..total).ok_or(Error::BadDescriptor)?;
        let came = self.control_in(number, Request::descriptor(CONFIGURATION), whole)?;
        let device = self.device(number)?;
        device.storage = whole.get(..came).and_then(descriptor::mass_storage);
        device.configuration = head[5];
        Ok(())
    }

    fn configure(&mut self, number: usize) -> Result<(), Error> {
        let Some(storage) = self.device(number)?.storage else { return Ok(()) };
        self.configure_endpoints(number, &[storage.bulk_in, storage.bulk_out], false)?;
        self.control_none(number, Request::set_configuration(storage.configuration))
    }

    /// Puts a hub to work, and tells the controller what it is.
    pub(crate) fn configure_hub(&mut self, number: usize, hub: HubContext) -> Result<(), Error> {
        let octets = self.capabilities.context;
        let device = self.usable(number)?;
        device.hub = Some(hub);
        let slot = with_length(device.slot_context(1));
        device.write_input(octets, 0, 1, &[(0, slot)]);
        let command = Trb::configure_endpoint(device.slot, device.input.bus_addr().as_u64());
        self.command(command).map(drop)
    }

    /// Sets a hub's configuration.
    pub(crate) fn choose_configuration(&mut self, number: usize) -> Result<(), Error> {
        let configuration = self.device(number)?.configuration;
        self.control_none(number, Request::set_configuration(configuration))
    }

    /// Tells the controller of endpoints, in place of what it knew of them.
    pub(crate) fn configure_endpoints(&mut self, number: usize, endpoints: &[Bulk], again: bool) -> Result<(), Error> {
        let octets = self.capabilities.context;
        let device = self.usable(number)?;
        let storage = device.storage.ok_or(Error::BadDescriptor)?;
        let entries = index(&storage.bulk_in).max(index(&storage.bulk_out));
        let mut contexts: ArrayVec<(u8, [u32; 5]), 3> = ArrayVec::new();
        contexts.push((0, with_length(device.slot_context(entries))));
        let mut flags = 0;
        for bulk in endpoints.iter().take(2) {
            let kind = if bulk.toward_host { BULK_IN } else { BULK_OUT };
            let dequeue = device.ring(index(bulk)).dequeue_pointer();
            contexts.push((index(bulk), endpoint_context(kind, bulk.packet, bulk.burst, dequeue, 4096)));
            flags |= 1 << index(bulk);
        }
        device.write_input(octets, if again { flags } else { 0 }, 1 | flags, &contexts);
        let command = Trb::configure_endpoint(device.slot, device.input.bus_addr().as_u64());
        self.command(command).map(drop)
    }
}
