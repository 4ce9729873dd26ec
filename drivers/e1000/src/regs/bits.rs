//! What the bits of the registers mean that have more than one or two.
//!
//! Plain data. Section numbers as in [`super`].

use bitflags::bitflags;

bitflags! {
    /// Contents of CTRL (13.4.1).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Ctrl: u32 {
        /// Full duplex, when forced.
        const FD = 1 << 0;
        /// PCI Express masters: stop issuing requests (82571 and later only).
        const GIO_MASTER_DISABLE = 1 << 2;
        /// Link reset; must be 0 on a copper part.
        const LRST = 1 << 3;
        /// Auto-speed detection enable.
        const ASDE = 1 << 5;
        /// Set link up.
        const SLU = 1 << 6;
        /// Invert loss of signal; must be 0 on a copper part.
        const ILOS = 1 << 7;
        /// Speed, when forced: 1000 Mb/s.
        const SPEED_1000 = 2 << 8;
        /// Force speed.
        const FRCSPD = 1 << 11;
        /// Force duplex.
        const FRCDPLX = 1 << 12;
        /// Device reset; clears itself.
        const RST = 1 << 26;
        /// Receive flow control enable.
        const RFCE = 1 << 27;
        /// Transmit flow control enable.
        const TFCE = 1 << 28;
        /// VLAN mode: strip tags.
        const VME = 1 << 30;
        /// PHY reset.
        const PHY_RST = 1 << 31;
        const _ = !0;
    }

    /// Contents of STATUS (13.4.2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Status: u32 {
        /// Full duplex.
        const FD = 1 << 0;
        /// Link up.
        const LU = 1 << 1;
        /// Transmission paused by flow control.
        const TXOFF = 1 << 4;
        /// The low bit of the speed.
        const SPEED_100 = 1 << 6;
        /// The high bit of the speed.
        const SPEED_1000 = 1 << 7;
        /// Master requests are still enabled or pending (82571 and later only).
        const GIO_MASTER_ENABLE = 1 << 19;
        const _ = !0;
    }

    /// Contents of CTRL_EXT (82574 10.2.2.2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct CtrlExt: u32 {
        /// Reading or writing ICR masks the causes of IAM.
        const IAME = 1 << 27;
        /// A driver is in charge of the device, not its firmware.
        const DRV_LOAD = 1 << 28;
        /// The pending bit of a message is cleared when its cause is.
        const PBA_CLR = 1 << 31;
        const _ = !0;
    }

    /// Contents of RCTL (13.4.22).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Rctl: u32 {
        /// Receiver enable.
        const EN = 1 << 1;
        /// Store bad packets.
        const SBP = 1 << 2;
        /// Unicast promiscuous.
        const UPE = 1 << 3;
        /// Multicast promiscuous.
        const MPE = 1 << 4;
        /// Long packet reception.
        const LPE = 1 << 5;
        /// Loopback in the MAC: what is sent is received (82574 10.2.5.1).
        const LBM_MAC = 1 << 6;
        /// Accept broadcasts.
        const BAM = 1 << 15;
        /// Buffer size, its two bits: with both clear 2048 octets, and see [`Rctl::BSEX`].
        const BSIZE_LOW = 1 << 16;
        /// See [`Rctl::BSIZE_LOW`].
        const BSIZE_HIGH = 1 << 17;
        /// VLAN filter enable.
        const VFE = 1 << 18;
        /// Buffer size extension: with BSIZE 1, 2, 3 buffers have 16384, 8192, 4096 octets.
        const BSEX = 1 << 25;
        /// Strip the FCS.
        const SECRC = 1 << 26;
        const _ = !0;
    }

    /// Contents of TCTL (13.4.33) without its two fields, see [`tctl_fields`](super::tctl_fields).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Tctl: u32 {
        /// Transmitter enable.
        const EN = 1 << 1;
        /// Pad short packets (to 64 octets with FCS).
        const PSP = 1 << 3;
        /// Retransmit on late collision.
        const RTLC = 1 << 24;
        const _ = !0;
    }

    /// Interrupt causes: ICR, ICS, IMS and IMC share the layout (13.4.17).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Cause: u32 {
        /// A transmit descriptor with RS was written back.
        const TXDW = 1 << 0;
        /// The transmit queue is empty.
        const TXQE = 1 << 1;
        /// Link status change.
        const LSC = 1 << 2;
        /// Receive sequence error.
        const RXSEQ = 1 << 3;
        /// Free receive descriptors fell below the threshold of RCTL.RDMTS.
        const RXDMT0 = 1 << 4;
        /// Receiver overrun: a frame was lost for want of descriptors.
        const RXO = 1 << 6;
        /// Receive timer: frames have been written to memory.
        const RXT0 = 1 << 7;
        /// Frames of receive queue 0 have been written to memory (82574, with messages).
        const RXQ0 = 1 << 20;
        /// The same for receive queue 1.
        const RXQ1 = 1 << 21;
        /// A transmit descriptor of queue 0 with RS was written back (82574, with messages).
        const TXQ0 = 1 << 22;
        /// The same for transmit queue 1.
        const TXQ1 = 1 << 23;
        /// Any of the causes that concern no queue (82574, with messages).
        const OTHER = 1 << 24;
        const _ = !0;
    }
}
