//! The names of the device's statistics registers.
//!
//! Plain data. Source: the manual's section 13.7; QEMU's model has them all, and keeps GPRC a copy of TPR (and GPTC of TPT), so
//! that only the totals add up over several readings.

/// The statistics registers this driver reads (13.7). 32 bits each, cleared by reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stat {
    /// CRC Error Count \[CRCERRS\].
    Crcerrs,
    /// Alignment Error Count \[ALGNERRC\].
    Algnerrc,
    /// RX Error Count \[RXERRC\].
    Rxerrc,
    /// Missed Packets Count \[MPC\]: no descriptor or no room in the receive FIFO.
    Mpc,
    /// Excessive Collisions Count \[ECOL\].
    Ecol,
    /// Late Collisions Count \[LATECOL\].
    Latecol,
    /// Sequence Error Count \[SEC\].
    Sec,
    /// Receive Length Error Count \[RLEC\].
    Rlec,
    /// Good Packets Received Count \[GPRC\].
    Gprc,
    /// Good Packets Transmitted Count \[GPTC\].
    Gptc,
    /// Receive No Buffers Count \[RNBC\]: frames that found no descriptor, but may have waited in the FIFO.
    Rnbc,
    /// Receive Undersize Count \[RUC\].
    Ruc,
    /// Receive Fragment Count \[RFC\].
    Rfc,
    /// Receive Oversize Count \[ROC\].
    Roc,
    /// Receive Jabber Count \[RJC\].
    Rjc,
    /// Total Packets Received \[TPR\]: every frame that went to memory.
    Tpr,
    /// Total Packets Transmitted \[TPT\]: every frame that went to the wire.
    Tpt,
}

impl Stat {
    /// All statistics registers of this list.
    pub const ALL: [Self; 17] = [
        Self::Crcerrs,
        Self::Algnerrc,
        Self::Rxerrc,
        Self::Mpc,
        Self::Ecol,
        Self::Latecol,
        Self::Sec,
        Self::Rlec,
        Self::Gprc,
        Self::Gptc,
        Self::Rnbc,
        Self::Ruc,
        Self::Rfc,
        Self::Roc,
        Self::Rjc,
        Self::Tpr,
        Self::Tpt,
    ];

    pub(crate) const fn offset(self) -> u32 {
        match self {
            Self::Crcerrs => 0x4000,
            Self::Algnerrc => 0x4004,
            Self::Rxerrc => 0x400c,
            Self::Mpc => 0x4010,
            Self::Ecol => 0x4018,
            Self::Latecol => 0x4020,
            Self::Sec => 0x4038,
            Self::Rlec => 0x4040,
            Self::Gprc => 0x4074,
            Self::Gptc => 0x4080,
            Self::Rnbc => 0x40a0,
            Self::Ruc => 0x40a4,
            Self::Rfc => 0x40a8,
            Self::Roc => 0x40ac,
            Self::Rjc => 0x40b0,
            Self::Tpr => 0x40d0,
            Self::Tpt => 0x40d4,
        }
    }
}
