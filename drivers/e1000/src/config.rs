//! What the operator may choose about a port.
//!
//! Key types: [`Config`], [`Moderation`]. Plain values, checked once, at attach.

use alloc::string::String;
use core::time::Duration;

use crate::{error::Error, filter::ReceiveFilter, flow::FlowControl, rxsum::Sums, variant::Variant};

/// Interrupt moderation (13.4.18, 13.4.30, 13.4.31).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moderation {
    /// ITR: least time between two interrupts, in units of 256 ns; 0 for none.
    pub itr: u16,
    /// RDTR: delay of the receive interrupt after a frame, in units of 1.024 us. Leave it 0: ITR does the same with a
    /// bound.
    pub rdtr: u16,
    /// RADV: the longest such delay, in units of 1.024 us.
    pub radv: u16,
}

impl Default for Moderation {
    /// 8000 interrupts a second at most (ITR 488 = 125 us), no delay otherwise. QEMU enforces 128 us by itself, so this
    /// costs nothing there.
    fn default() -> Self {
        Self { itr: 488, rdtr: 0, radv: 0 }
    }
}

/// How the interrupts of a port reach the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// All causes by one interrupt: a line (INTx), or the one message of MSI. One queue.
    Single,
    /// A message for each queue and direction and one for the rest (MSI-X), if the part has them.
    PerQueue,
}

/// How a port is to be set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the port, such as `em0`.
    pub name: String,
    /// Index that received packets carry.
    pub if_index: u16,
    /// The part.
    pub variant: &'static Variant,
    /// Longest IP packet in octets, from 68 to [`Variant::max_mtu`]. Above 1500 the buffers of the pool have to be large enough.
    pub mtu: u16,
    /// Receive descriptors: a multiple of 8 in 80..=4096. One always stays unused.
    pub rx_descriptors: u16,
    /// Transmit descriptors: a multiple of 8 in 80..=4096. One always stays unused.
    pub tx_descriptors: u16,
    /// Interrupt moderation.
    pub moderation: Moderation,
    /// How interrupts are delivered.
    pub delivery: Delivery,
    /// Queues in each direction, at least 1. More than one need [`Delivery::PerQueue`] and a part that has them.
    pub queues: u8,
    /// Address filters.
    pub filter: ReceiveFilter,
    /// Which PAUSE frames are offered to the other end.
    pub flow_control: FlowControl,
    /// Whether the part's word is taken for the checksums of IPv4 headers, if it has one to give.
    pub rx_checksum: bool,
    /// Whether every checksum verdict of the part is compared with software's, and none believed: for tests of the part.
    pub verify_checksums: bool,
    /// How long the transmitter may make no progress before it is reset.
    pub watchdog: Duration,
}

impl Config {
    /// Descriptors for reception of a single queue, usually: a burst of some milliseconds.
    pub const RX_DESCRIPTORS: u16 = 2048;
    /// Descriptors for reception of each of several queues, usually.
    ///
    /// Three quarters are more than the shortest frames that QEMU takes from its network at once (1,088: 68 KiB with their lengths), as
    /// they are of a single queue; a thread that has fallen behind gives back so many in one go, see [`RxRing::service`](crate::RxRing::service).
    /// With fewer the 82540EM drops the rest, and the 82574L's host takes the next 1,088 after the first that it got rid of (7.2): what
    /// waits there grows for as long as the overload lasts, without end.
    pub const RX_DESCRIPTORS_OF_SEVERAL: u16 = 1472;
    /// Descriptors for transmission of a single queue, usually. Half of them are what a thread that has fallen behind tells it of in one go; as
    /// many again are on their way meanwhile.
    pub const TX_DESCRIPTORS: u16 = 1024;
    /// Descriptors for transmission of each of several queues, usually.
    pub const TX_DESCRIPTORS_OF_SEVERAL: u16 = 448;

    /// Returns the receive and the transmit descriptors of each of so many queues, usually.
    #[must_use]
    pub const fn descriptors(queues: u8) -> [u16; 2] {
        if queues > 1 {
            [Self::RX_DESCRIPTORS_OF_SEVERAL, Self::TX_DESCRIPTORS_OF_SEVERAL]
        } else {
            [Self::RX_DESCRIPTORS, Self::TX_DESCRIPTORS]
        }
    }

    /// Returns the defaults: descriptors as usual, MTU 1500, own address and broadcast only, one queue, one interrupt, flow control both
    /// ways, watchdog 5 s.
    #[must_use]
    pub fn new(name: &str, if_index: u16, variant: &'static Variant) -> Self {
        Self {
            name: name.into(),
            if_index,
            variant,
            mtu: 1500,
            rx_descriptors: Self::RX_DESCRIPTORS,
            tx_descriptors: Self::TX_DESCRIPTORS,
            moderation: Moderation::default(),
            delivery: Delivery::Single,
            queues: 1,
            filter: ReceiveFilter::default(),
            flow_control: FlowControl::default(),
            rx_checksum: true,
            verify_checksums: false,
            watchdog: Duration::from_secs(5),
        }
    }

    /// Descriptors of the shortest ring: what the family's drivers take, and under a model checker the hardware's own unit of
    /// 128 octets (13.4.27), because every descriptor is more to explore.
    pub const SHORTEST_RING: u16 = if cfg!(any(loom, shuttle)) { 8 } else { 80 };

    /// What is made of checksum verdicts.
    pub(crate) const fn sums(&self) -> Sums {
        match (self.verify_checksums, self.rx_checksum && self.variant.rx_checksum) {
            (true, _) => Sums::Compared,
            (false, true) => Sums::Believed,
            (false, false) => Sums::Ignored,
        }
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        let ring = |length: u16| (Self::SHORTEST_RING..=4096).contains(&length) && length.is_multiple_of(8);
        if !ring(self.rx_descriptors) || !ring(self.tx_descriptors) {
            return Err(Error::RingLength);
        }
        let most = match self.delivery {
            Delivery::Single => 1,
            Delivery::PerQueue => self.variant.queues,
        };
        if !(1..=most).contains(&self.queues) || (self.delivery == Delivery::PerQueue && self.variant.messages == 0) {
            return Err(Error::Queues);
        }
        Ok(())
    }
}
