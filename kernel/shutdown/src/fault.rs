//! What can go wrong on a rung, and how far force got: plain data, printed and kept.

use crate::device::Pending;
use core::fmt;

/// Why a device, or the machine, failed a stage. The sequencer prints it with the culprit's name and goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Still held frames when the stage's budget was used up.
    Undrained(Pending),
    /// Finished, but after the stage's budget.
    OverBudget,
    /// The interrupt mask did not read back as written.
    StillUnmasked,
    /// An interrupt thread, timer or callback did not acknowledge its end.
    Wedged,
    /// The device did not acknowledge that its DMA stopped.
    DmaRunning,
    /// The device put so many frames on the wire after its transmit ring was last found empty.
    SentLate(u64),
    /// The device reads all ones: it is gone.
    Gone,
    /// DMA resources are still live.
    Busy(Residue),
    /// Bus mastering did not read back as off.
    BusMasterOn,
    /// Memory that was given back has changed since: so many octets, the first at this bus address.
    Damaged {
        /// Bus address of the first octet that changed.
        address: u64,
        /// How many octets changed.
        octets: usize,
    },
    /// So many CPUs did not confirm that they are parked.
    CpusRunning(usize),
    /// So many more frames came than ended (negative: ended than came).
    Unexplained(i64),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undrained(pending) => write!(f, "timed out with {pending}"),
            Self::OverBudget => f.write_str("took longer than the stage may"),
            Self::StillUnmasked => f.write_str("interrupt mask did not take"),
            Self::Wedged => f.write_str("does not acknowledge its end"),
            Self::DmaRunning => f.write_str("does not acknowledge that DMA stopped"),
            Self::SentLate(frames) => write!(f, "sent {frames} frames after its ring was empty"),
            Self::Gone => f.write_str("is gone (reads all ones)"),
            Self::Busy(residue) => write!(f, "still live: {residue}"),
            Self::BusMasterOn => f.write_str("bus mastering is still on"),
            Self::Damaged { address, octets } => {
                write!(f, "{octets} octets of freed memory changed, the first at bus address {address:#x}")
            }
            Self::CpusRunning(count) => write!(f, "{count} CPUs did not park"),
            Self::Unexplained(frames) => write!(f, "{frames} frames unexplained"),
        }
    }
}

/// How far force had to go to stop a device: the ladder of race class R16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forced {
    /// The device's own reset was acknowledged.
    DeviceReset,
    /// A function-level reset through its configuration space was.
    FunctionReset,
    /// Bus mastering read back as off: it cannot reach memory any more, whatever it tries.
    BusMasterOff,
    /// The device is not on the bus any more.
    Absent,
    /// Nothing was acknowledged: the device may still write to memory.
    Nothing,
}

impl fmt::Display for Forced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DeviceReset => "device reset acknowledged",
            Self::FunctionReset => "function-level reset acknowledged",
            Self::BusMasterOff => "bus mastering off",
            Self::Absent => "device is not there",
            Self::Nothing => "nothing was acknowledged",
        })
    }
}

/// DMA resources that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Residue {
    /// Tags not destroyed.
    pub tags: usize,
    /// Maps not destroyed.
    pub maps: usize,
    /// Coherent memory blocks not freed.
    pub memories: usize,
}

impl Residue {
    /// Returns whether nothing is left.
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.tags == 0 && self.maps == 0 && self.memories == 0
    }
}

impl fmt::Display for Residue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tags, {} maps, {} memories", self.tags, self.maps, self.memories)
    }
}
