//! What can go wrong between here and a stick: [`Error`].

use core::fmt;

use bus_dma::DmaError;

/// Why something was not done. Each is final for what was asked; nothing is retried behind the caller's back but what
/// says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The registers read all ones: the controller is not there any more.
    Gone,
    /// A register says something that cannot be.
    BadRegister(&'static str),
    /// The controller did not do this in time.
    ControllerTimeout(&'static str),
    /// The controller stopped with an error of its own.
    ControllerFailed,
    /// No memory for the device.
    Dma(DmaError),
    /// A command ended with this completion code (xHCI 1.2, table 6-90).
    Command(u8),
    /// Nothing came of a transfer in time.
    TransferTimeout,
    /// The device refused (a STALL handshake).
    Stalled,
    /// A transfer ended with this completion code.
    Transfer(u8),
    /// The port did not come up after its reset.
    Port,
    /// A descriptor makes no sense, or is of another kind.
    BadDescriptor,
    /// The status that follows a command is not 13 octets long.
    ShortStatus,
    /// The status does not begin as one.
    BadSignature,
    /// The status is of another command.
    WrongTag,
    /// The status says what cannot be.
    BadStatus,
    /// The device says that device and host disagree about what is going on.
    Phase,
    /// Fewer octets came or went than there should have been.
    ShortTransfer,
    /// The device failed a command and says why: sense key, additional code and its qualifier (SPC-4, 4.5).
    Sense(Sense),
    /// The device did not become ready in time; with the last reason it gave.
    NotReady(Sense),
    /// There is no medium in it.
    NoMedium,
    /// It has another block size than 512 octets.
    BlockSize(u32),
    /// It has no block, or more than 32 bits can count.
    Capacity,
    /// What was asked for lies behind its end, or is no whole number of blocks.
    OutOfRange,
    /// Somebody wants this to end.
    Cancelled,
}

/// What a device says about a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sense {
    /// The sense key, 0 to 15.
    pub key: u8,
    /// The additional sense code.
    pub code: u8,
    /// Its qualifier.
    pub qualifier: u8,
}

impl From<DmaError> for Error {
    fn from(error: DmaError) -> Self {
        Self::Dma(error)
    }
}

impl fmt::Display for Sense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.key {
            2 => "not ready",
            3 => "medium error",
            4 => "hardware error",
            5 => "illegal request",
            6 => "unit attention",
            7 => "write-protected",
            _ => "failure",
        };
        write!(f, "{what} (sense {:x}/{:02x}/{:02x})", self.key, self.code, self.qualifier)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the controller reads all ones"),
            Self::BadRegister(which) => write!(f, "the controller's {which} makes no sense"),
            Self::ControllerTimeout(what) => write!(f, "the controller does not {what}"),
            Self::ControllerFailed => f.write_str("the controller stopped with an error"),
            Self::Dma(error) => write!(f, "{error}"),
            Self::Command(code) => write!(f, "the controller refused a command (completion code {code})"),
            Self::TransferTimeout => f.write_str("the device does not answer"),
            Self::Stalled => f.write_str("the device refused a request"),
            Self::Transfer(code) => write!(f, "a transfer failed (completion code {code})"),
            Self::Port => f.write_str("the port did not come up after its reset"),
            Self::BadDescriptor => f.write_str("its descriptors make no sense"),
            Self::ShortStatus => f.write_str("its status is not 13 octets long"),
            Self::BadSignature => f.write_str("its status has no signature"),
            Self::WrongTag => f.write_str("its status is that of another command"),
            Self::BadStatus => f.write_str("its status says what cannot be"),
            Self::Phase => f.write_str("it lost track of a command (phase error)"),
            Self::ShortTransfer => f.write_str("a transfer was cut short"),
            Self::Sense(sense) => sense.fmt(f),
            Self::NotReady(sense) => write!(f, "it does not become ready: {sense}"),
            Self::NoMedium => f.write_str("there is no medium in it"),
            Self::BlockSize(octets) => write!(f, "its blocks have {octets} octets, not 512"),
            Self::Capacity => f.write_str("its size makes no sense"),
            Self::OutOfRange => f.write_str("that lies behind its end"),
            Self::Cancelled => f.write_str("the machine is shutting down"),
        }
    }
}
