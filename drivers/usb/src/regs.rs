//! The controller's registers (xHCI 1.2, chapter 5) and extended capabilities (chapter 7). Offsets and bits, nothing else.

/// Capability registers, from the start of the window (5.3).
pub(crate) mod cap {
    /// CAPLENGTH in bits 0-7, HCIVERSION in bits 16-31.
    pub(crate) const LENGTH: usize = 0x00;
    pub(crate) const HCSPARAMS1: usize = 0x04;
    pub(crate) const HCSPARAMS2: usize = 0x08;
    pub(crate) const HCCPARAMS1: usize = 0x10;
    pub(crate) const DBOFF: usize = 0x14;
    pub(crate) const RTSOFF: usize = 0x18;
    /// Octets that all of these take.
    pub(crate) const END: usize = 0x20;

    /// HCCPARAMS1: addresses of 64 bits.
    pub(crate) const AC64: u32 = 1 << 0;
    /// HCCPARAMS1: contexts of 64 octets.
    pub(crate) const CSZ: u32 = 1 << 2;
    /// HCCPARAMS1: port power is switched.
    pub(crate) const PPC: u32 = 1 << 3;
}

/// Operational registers, from CAPLENGTH (5.4).
pub(crate) mod op {
    pub(crate) const USBCMD: usize = 0x00;
    pub(crate) const USBSTS: usize = 0x04;
    pub(crate) const PAGESIZE: usize = 0x08;
    pub(crate) const DNCTRL: usize = 0x14;
    pub(crate) const CRCR: usize = 0x18;
    pub(crate) const DCBAAP: usize = 0x30;
    pub(crate) const CONFIG: usize = 0x38;
    /// The first port's registers, and how far apart those of two ports are.
    pub(crate) const PORTS: usize = 0x400;
    pub(crate) const PORT_STRIDE: usize = 0x10;

    /// USBCMD: run.
    pub(crate) const RUN: u32 = 1 << 0;
    /// USBCMD: reset.
    pub(crate) const HCRST: u32 = 1 << 1;
    /// USBSTS: halted.
    pub(crate) const HCH: u32 = 1 << 0;
    /// USBSTS: could not reach memory.
    pub(crate) const HSE: u32 = 1 << 2;
    /// USBSTS: not ready to be used.
    pub(crate) const CNR: u32 = 1 << 11;
    /// USBSTS: stopped over an error of its own.
    pub(crate) const HCE: u32 = 1 << 12;
}

/// Runtime registers of interrupter 0, from RTSOFF (5.5.2).
pub(crate) mod rt {
    pub(crate) const IMAN: usize = 0x20;
    pub(crate) const ERSTSZ: usize = 0x28;
    pub(crate) const ERSTBA: usize = 0x30;
    pub(crate) const ERDP: usize = 0x38;
    /// Octets up to the end of interrupter 0.
    pub(crate) const END: usize = 0x40;
    /// ERDP: written one, the handler is not busy any more.
    pub(crate) const EHB: u32 = 1 << 3;
    /// IMAN: pending, cleared by a one.
    pub(crate) const IP: u32 = 1 << 0;
}

/// PORTSC (5.4.8).
pub(crate) mod portsc {
    /// Something is connected.
    pub(crate) const CCS: u32 = 1 << 0;
    /// Enabled; written one, it is disabled.
    pub(crate) const PED: u32 = 1 << 1;
    /// Over-current.
    pub(crate) const OCA: u32 = 1 << 3;
    /// In reset; written one, a reset begins.
    pub(crate) const PR: u32 = 1 << 4;
    /// Powered.
    pub(crate) const PP: u32 = 1 << 9;
    /// Connection changed, and all other changes; cleared by ones.
    pub(crate) const CHANGES: u32 = 0x7F << 17;
    /// The reset has ended.
    pub(crate) const PRC: u32 = 1 << 21;
    /// The warm reset has ended.
    pub(crate) const WRC: u32 = 1 << 19;
    /// Written one, a warm reset begins.
    pub(crate) const WPR: u32 = 1 << 31;
    /// What is written back as it was read: power, indicators and wake bits. All else acts when it is written.
    pub(crate) const KEPT: u32 = PP | 0b11 << 14 | 0b111 << 25;

    /// The number of the speed, as in a slot context.
    pub(crate) const fn speed(value: u32) -> u32 {
        value >> 10 & 0xF
    }

    /// The state of the link.
    pub(crate) const fn link(value: u32) -> u32 {
        value >> 5 & 0xF
    }
}

/// Extended capabilities (7).
pub(crate) mod ext {
    /// USB legacy support (7.1): who owns the controller, and what makes an SMI.
    pub(crate) const LEGACY: u32 = 1;
    /// Supported protocol (7.2).
    pub(crate) const PROTOCOL: u32 = 2;

    /// USBLEGSUP: firmware owns the controller.
    pub(crate) const BIOS_OWNED: u32 = 1 << 16;
    /// USBLEGSUP: the system owns it.
    pub(crate) const OS_OWNED: u32 = 1 << 24;
    /// USBLEGCTLSTS: the SMI enables, all of which go off: bits 0, 4, 13, 14 and 15.
    pub(crate) const SMI_ENABLES: u32 = 1 << 0 | 1 << 4 | 0b111 << 13;
    /// USBLEGCTLSTS: what is cleared by ones: bits 29 to 31.
    pub(crate) const SMI_EVENTS: u32 = 0b111 << 29;
}
