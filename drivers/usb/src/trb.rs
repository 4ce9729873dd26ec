//! Transfer request blocks: what command, transfer and event rings are made of (xHCI 1.2, 6.4). [`Trb`], a plain value.

/// Octets of one.
pub(crate) const OCTETS: usize = 16;

/// Types (table 6-91).
pub(crate) mod kind {
    pub(crate) const NORMAL: u32 = 1;
    pub(crate) const SETUP: u32 = 2;
    pub(crate) const DATA: u32 = 3;
    pub(crate) const STATUS: u32 = 4;
    pub(crate) const LINK: u32 = 6;
    pub(crate) const ENABLE_SLOT: u32 = 9;
    pub(crate) const DISABLE_SLOT: u32 = 10;
    pub(crate) const ADDRESS_DEVICE: u32 = 11;
    pub(crate) const CONFIGURE_ENDPOINT: u32 = 12;
    pub(crate) const EVALUATE_CONTEXT: u32 = 13;
    pub(crate) const RESET_ENDPOINT: u32 = 14;
    pub(crate) const SET_DEQUEUE: u32 = 16;
    pub(crate) const TRANSFER_EVENT: u32 = 32;
    pub(crate) const COMMAND_EVENT: u32 = 33;
}

/// Completion codes (table 6-90).
pub(crate) mod code {
    pub(crate) const SUCCESS: u8 = 1;
    pub(crate) const STALL: u8 = 6;
    pub(crate) const SHORT_PACKET: u8 = 13;
}

const CYCLE: u32 = 1 << 0;
/// LINK: the cycle state toggles.
const TOGGLE: u32 = 1 << 1;
/// An event is wanted if a packet is short, and at the end.
const ISP: u32 = 1 << 2;
const IOC: u32 = 1 << 5;
/// The data is in the block itself.
const IDT: u32 = 1 << 6;
/// The direction of a data or status stage: to the host.
const IN: u32 = 1 << 16;

/// A block: its four words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trb(pub(crate) [u32; 4]);

impl Trb {
    const fn new(parameter: u64, status: u32, control: u32) -> Self {
        let [a, b, c, d, e, f, g, h] = parameter.to_le_bytes();
        Self([u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]), status, control])
    }

    const fn command(kind: u32, parameter: u64, control: u32) -> Self {
        Self::new(parameter, 0, kind << 10 | control)
    }

    pub(crate) const fn link(to: u64) -> Self {
        Self::new(to, 0, kind::LINK << 10 | TOGGLE)
    }

    pub(crate) const fn enable_slot(slot_type: u32) -> Self {
        Self::command(kind::ENABLE_SLOT, 0, (slot_type & 0x1F) << 16)
    }

    pub(crate) const fn disable_slot(slot: u8) -> Self {
        Self::command(kind::DISABLE_SLOT, 0, (slot as u32) << 24)
    }

    pub(crate) const fn address_device(slot: u8, input: u64) -> Self {
        Self::command(kind::ADDRESS_DEVICE, input, (slot as u32) << 24)
    }

    pub(crate) const fn configure_endpoint(slot: u8, input: u64) -> Self {
        Self::command(kind::CONFIGURE_ENDPOINT, input, (slot as u32) << 24)
    }

    pub(crate) const fn evaluate_context(slot: u8, input: u64) -> Self {
        Self::command(kind::EVALUATE_CONTEXT, input, (slot as u32) << 24)
    }

    pub(crate) const fn reset_endpoint(slot: u8, endpoint: u8) -> Self {
        Self::command(kind::RESET_ENDPOINT, 0, (slot as u32) << 24 | (endpoint as u32) << 16)
    }

    /// `to` has the cycle state in bit 0.
    pub(crate) const fn set_dequeue(slot: u8, endpoint: u8, to: u64) -> Self {
        Self::command(kind::SET_DEQUEUE, to, (slot as u32) << 24 | (endpoint as u32) << 16)
    }

    /// The setup stage of a control transfer; `setup` is the request's eight octets.
    pub(crate) const fn setup(setup: u64, data: Option<Toward>) -> Self {
        let transfer_type = match data {
            None => 0,
            Some(Toward::Device) => 2,
            Some(Toward::Host) => 3,
        };
        Self::new(setup, 8, kind::SETUP << 10 | IDT | transfer_type << 16)
    }

    pub(crate) const fn data(buffer: u64, octets: u32, toward: Toward) -> Self {
        Self::new(buffer, octets, kind::DATA << 10 | ISP | toward.bit())
    }

    /// The status stage, the other way round than the data.
    pub(crate) const fn status(toward: Toward) -> Self {
        Self::new(0, 0, kind::STATUS << 10 | IOC | toward.bit())
    }

    pub(crate) const fn normal(buffer: u64, octets: u32) -> Self {
        Self::new(buffer, octets, kind::NORMAL << 10 | ISP | IOC)
    }

    pub(crate) const fn with_cycle(self, cycle: bool) -> Self {
        let [a, b, c, d] = self.0;
        Self([a, b, c, if cycle { d | CYCLE } else { d & !CYCLE }])
    }

    pub(crate) const fn cycle(self) -> bool {
        self.0[3] & CYCLE != 0
    }

    pub(crate) const fn kind(self) -> u32 {
        self.0[3] >> 10 & 0x3F
    }

    /// Of an event: what it is about, the address of a block.
    pub(crate) const fn parameter(self) -> u64 {
        (self.0[1] as u64) << 32 | self.0[0] as u64
    }

    /// Of an event: how that went.
    pub(crate) const fn code(self) -> u8 {
        self.0[2].to_le_bytes()[3]
    }

    /// Of a transfer event: the octets that did not come or go.
    pub(crate) const fn residue(self) -> u32 {
        self.0[2] & 0x00FF_FFFF
    }

    pub(crate) const fn slot(self) -> u8 {
        self.0[3].to_le_bytes()[3]
    }

    pub(crate) const fn endpoint(self) -> u8 {
        self.0[3].to_le_bytes()[2] & 0x1F
    }
}

/// Where the data of a transfer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toward {
    Device,
    Host,
}

impl Toward {
    const fn bit(self) -> u32 {
        match self {
            Self::Device => 0,
            Self::Host => IN,
        }
    }
}
