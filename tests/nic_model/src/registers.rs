//! The register file: what reads and writes do.
//!
//! Key type: [`Device`], the state of the device. Offsets are the driver's, semantics the manual's chapter 13.

use std::collections::HashMap;

use e1000::{
    DmaStop, Reg, Stat, Variant, Vector,
    desc::RxLayout,
    regs::{Cause, Ctrl, EECD_AUTO_RD, MASKABLE, RAH_AV, RFCTL_EXTEN, Rctl, Status, Tctl, high_half, low_half},
};
use wire::MacAddr;

use crate::{engine::Engine, faults::Faults};

/// How long the device loads its registers from its EEPROM after a reset (5.6.1). EECD says when that is over.
const RELOAD_MICROS: u32 = 5000;

/// The state of the device.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) variant: &'static Variant,
    /// MSI-X is enabled in the configuration space: each cause of a queue is raised by itself.
    pub(crate) messages: bool,
    /// Octets of the receive and the transmit FIFO, since the last reset.
    pub(crate) fifos: [usize; 2],
    /// Plain registers, by offset.
    plain: HashMap<u32, u32>,
    pub(crate) icr: u32,
    pub(crate) ims: u32,
    pub(crate) link: u32,
    pub(crate) faults: Faults,
    pub(crate) engine: Engine,
    pub(crate) eeprom: [u16; 3],
    /// Registers of the PHY, by number. Not touched by a reset of the device.
    phy: [u16; 32],
    /// How often the PHY was told to negotiate anew.
    pub(crate) negotiations: u32,
    /// How often each register was written, by offset.
    pub(crate) writes: HashMap<u32, u64>,
    /// CTRL reads until RST clears.
    reset_reads: u32,
    /// Microseconds left in which it loads its registers and must be left alone.
    reloading: u32,
    /// The driver has looked at the clock since the reset.
    looked: bool,
    /// Microseconds that have passed.
    pub(crate) clock: u64,
    pub(crate) resets: u32,
    /// PCI COMMAND.BME: without it the device reaches no memory.
    pub(crate) bus_master: bool,
    /// When an interrupt arrives that was raised before its cause was masked or cleared.
    pub(crate) in_flight: Option<u64>,
}

/// A PHY that negotiates, offers PAUSE both ways, and has found a partner that offers none.
fn phy() -> [u16; 32] {
    let mut registers = [0; 32];
    (registers[0], registers[4], registers[5]) = (0x1140, 0x0de1, 0x41e1);
    registers
}

impl Device {
    pub(crate) fn new(variant: &'static Variant, mac: MacAddr) -> Self {
        let [a, b, c, d, e, f] = mac.octets();
        let mut device = Self {
            variant,
            messages: false,
            fifos: [0; 2],
            plain: HashMap::new(),
            icr: 0,
            ims: 0,
            link: (Status::LU | Status::FD | Status::SPEED_1000).bits(),
            faults: Faults::default(),
            engine: Engine::default(),
            eeprom: [[a, b], [c, d], [e, f]].map(u16::from_le_bytes),
            phy: phy(),
            negotiations: 0,
            writes: HashMap::new(),
            reset_reads: 0,
            reloading: 0,
            looked: false,
            clock: 0,
            resets: 0,
            bus_master: true,
            in_flight: None,
        };
        device.preload_address();
        device.share_fifo_at_power_on();
        // What a boot loader may have left behind: everything enabled, interrupts unmasked.
        device.set(Reg::Rctl, Rctl::EN.bits());
        device.set(Reg::Tctl, Tctl::EN.bits());
        device.ims = MASKABLE;
        device
    }

    pub(crate) fn get(&self, reg: Reg) -> u32 {
        self.plain.get(&reg.offset()).copied().unwrap_or(0)
    }

    pub(crate) fn set(&mut self, reg: Reg, value: u32) {
        self.plain.insert(reg.offset(), value);
    }

    fn preload_address(&mut self) {
        let [a, b, c] = self.eeprom.map(u32::from);
        let absent = self.faults.address_not_preloaded;
        self.set(Reg::Ral(0), if absent { 0 } else { a | b << 16 });
        self.set(Reg::Rah(0), if absent { 0 } else { c | RAH_AV });
        self.set(Reg::Eecd, EECD_AUTO_RD);
    }

    /// The layout in which receive descriptors are written back.
    pub(crate) fn layout(&self) -> RxLayout {
        if self.get(Reg::Rfctl) & RFCTL_EXTEN != 0 { RxLayout::Extended } else { RxLayout::Legacy }
    }

    /// Sends the message of one cause that is pending and unmasked, which clears it if EIAC says so (82574 7.4.2).
    pub(crate) fn take_message(&mut self) -> Option<Vector> {
        if self.faults.gone || !self.messages {
            return None;
        }
        let causes = [
            (Cause::RXQ0, Vector::Rx(0)),
            (Cause::RXQ1, Vector::Rx(1)),
            (Cause::TXQ0, Vector::Tx(0)),
            (Cause::TXQ1, Vector::Tx(1)),
            (Cause::OTHER, Vector::Other),
        ];
        let pending = self.icr & self.ims;
        let (cause, vector) = causes.into_iter().find(|(cause, _)| pending & cause.bits() != 0)?;
        let entry = self.get(Reg::Ivar) >> (4 * u32::from(vector.message()));
        assert_eq!(entry & 0xf, 8 | u32::from(vector.message()), "the entry of {vector} in IVAR");
        self.icr &= !(cause.bits() & self.get(Reg::Eiac));
        Some(vector)
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, micros: u32) {
        self.clock += u64::from(micros);
        self.reloading = self.reloading.saturating_sub(micros);
    }

    /// Lets pass what the driver was busy since its first look after a reset.
    pub(crate) fn look_at_clock(&mut self) {
        if std::mem::replace(&mut self.looked, true) {
            self.pass(self.faults.busy_after_reset);
        }
    }

    /// Counts an access; returns whether the device still answers.
    fn answers(&mut self, reg: Reg) -> bool {
        let allowed = self.reloading == 0 || self.faults.may_be_hurried || matches!(reg, Reg::Ctrl | Reg::Eecd);
        assert!(allowed, "{reg:?}: the device needs {} us more after its reset", self.reloading);
        if self.faults.gone_after > 0 {
            self.faults.gone_after -= 1;
            self.faults.gone |= self.faults.gone_after == 0;
        }
        !self.faults.gone
    }

    pub(crate) fn read(&mut self, reg: Reg) -> u32 {
        if !self.answers(reg) {
            return u32::MAX;
        }
        match reg {
            Reg::Icr => self.read_icr(),
            Reg::Ims => self.ims,
            Reg::Imc | Reg::Ics => 0,
            Reg::Status => self.link | self.master_status() | self.engine.pause_status(),
            Reg::Stat(stat) if stat.is_wide() => self.get(reg),
            Reg::Stat(_) => self.plain.remove(&reg.offset()).unwrap_or(0),
            Reg::StatHigh(stat) => {
                self.plain.remove(&Reg::Stat(stat).offset());
                self.plain.remove(&reg.offset()).unwrap_or(0)
            }
            Reg::Ctrl => self.read_ctrl(),
            Reg::Eecd if self.reloading > 0 => self.get(reg) & !EECD_AUTO_RD,
            _ => self.get(reg),
        }
    }

    /// Reading clears. 13.4.17.
    fn read_icr(&mut self) -> u32 {
        let spurious = self.faults.spurious_causes > 0;
        self.faults.spurious_causes -= u32::from(spurious);
        std::mem::take(&mut self.icr) | if spurious { Cause::RXT0.bits() } else { 0 }
    }

    /// STATUS.GIO_MASTER_ENABLE: requests may be pending, until they have been disabled and the device has come to rest.
    fn master_status(&self) -> u32 {
        let disabled = self.get(Reg::Ctrl) & Ctrl::GIO_MASTER_DISABLE.bits() != 0;
        let pending = !disabled || self.faults.master_stuck || self.engine.has_late();
        if pending { Status::GIO_MASTER_ENABLE.bits() } else { 0 }
    }

    fn read_ctrl(&mut self) -> u32 {
        let ctrl = self.get(Reg::Ctrl);
        if ctrl & Ctrl::RST.bits() == 0 || self.faults.never_resets {
            return ctrl;
        }
        match self.reset_reads.checked_sub(1) {
            Some(left) => self.reset_reads = left,
            None => self.set(Reg::Ctrl, ctrl & !Ctrl::RST.bits()),
        }
        ctrl
    }

    pub(crate) fn write(&mut self, reg: Reg, value: u32) {
        if !self.answers(reg) {
            return;
        }
        *self.writes.entry(reg.offset()).or_default() += 1;
        match reg {
            Reg::Ctrl => self.write_ctrl(value),
            Reg::Ims => self.ims |= value & MASKABLE,
            Reg::Imc if self.faults.mask_stuck => {}
            Reg::Imc => self.ims &= !value,
            Reg::Ics => self.icr |= value & MASKABLE,
            Reg::Icr => self.icr &= !value,
            Reg::Eerd => self.write_eerd(value),
            Reg::Mdic => self.write_mdic(value),
            Reg::Status | Reg::Stat(_) | Reg::StatHigh(_) => {}
            Reg::Rctl if self.faults.receives_after_stop => self.set(reg, value | self.get(reg) & Rctl::EN.bits()),
            Reg::Tctl => self.write_tctl(value),
            Reg::Pba => self.write_pba(value),
            // Ring pointers have 16 bits; lengths are multiples of 128 octets.
            Reg::Rdh(_) | Reg::Rdt(_) | Reg::Tdh(_) | Reg::Tdt(_) => self.set(reg, value & 0xffff),
            Reg::Rdlen(_) | Reg::Tdlen(_) => self.set(reg, value & 0x000f_ff80),
            _ => self.set(reg, value),
        }
    }

    fn write_tctl(&mut self, value: u32) {
        let kept = if self.faults.sends_after_stop { self.get(Reg::Tctl) & Tctl::EN.bits() } else { 0 };
        if value & Tctl::EN.bits() == 0 {
            self.faults.transmit_stalled = false;
        }
        self.set(Reg::Tctl, value | kept);
    }

    fn write_ctrl(&mut self, value: u32) {
        self.set(Reg::Ctrl, value);
        if value & Ctrl::RST.bits() == 0 || self.faults.never_resets {
            return;
        }
        self.resets += 1;
        if self.faults.reset_is_hollow {
            self.set(Reg::Ctrl, value & !Ctrl::RST.bits());
            return;
        }
        self.engine.reset(self.faults);
        let pba = self.get(Reg::Pba);
        let kept: Vec<_> = if self.faults.runs_after_reset { self.plain.drain().collect() } else { Vec::new() };
        self.plain.clear();
        self.plain.extend(kept);
        // PBA survives, and only now is it heeded. 13.4.16.
        self.set(Reg::Pba, pba);
        self.fifos = self.pba();
        self.set(Reg::Ctrl, value);
        if self.faults.runs_after_reset {
            self.set(Reg::Rctl, Rctl::EN.bits());
        }
        (self.icr, self.ims, self.reset_reads) = (0, 0, 2);
        self.looked = false;
        self.reloading = RELOAD_MICROS;
        (self.faults.transmit_stuck, self.faults.transmit_stalled) = (false, false);
        self.preload_address();
    }

    /// Reads or writes a register of the PHY, which is there at once. 13.4.15.
    fn write_mdic(&mut self, value: u32) {
        const READY: u32 = 1 << 28;
        let [low, high, ..] = value.to_le_bytes();
        let (register, address, operation) = (value >> 16 & 0x1f, value >> 21 & 0x1f, value >> 26 & 3);
        assert_eq!(address, 1, "the only PHY is number 1");
        assert!(value & READY == 0 && matches!(operation, 1 | 2), "MDIC {value:#x}");
        self.set(Reg::Mdic, value);
        if self.faults.phy_dead {
            return;
        }
        let place = &mut self.phy[register as usize];
        if operation == 1 {
            *place = u16::from_le_bytes([low, high]);
            if register == 0 && *place & 1 << 9 != 0 {
                *place &= !(1 << 9);
                self.negotiations += 1;
            }
        }
        let data = u32::from(self.phy[register as usize]);
        self.set(Reg::Mdic, value & 0xffff_0000 | data | READY);
    }

    /// A register of the PHY.
    pub(crate) fn phy_register(&mut self, number: u8) -> &mut u16 {
        &mut self.phy[usize::from(number % 32)]
    }

    /// Whether what is sent is received: by RCTL.LBM on PCI Express, by the PHY before.
    pub(crate) fn is_looped(&self) -> bool {
        match self.variant.dma_stop {
            DmaStop::MasterDisable => self.get(Reg::Rctl) & Rctl::LBM_MAC.bits() != 0,
            DmaStop::Reset => self.phy[0] & 1 << 14 != 0,
        }
    }

    fn write_eerd(&mut self, value: u32) {
        let layout = self.variant.eerd;
        let word = (value >> layout.address_shift & 0xff) as usize;
        let data = self.eeprom.get(word).copied().map_or(0xffff, u32::from);
        let done = if self.faults.eeprom_dead { 0 } else { layout.done };
        self.set(Reg::Eerd, data << 16 | done);
    }

    pub(crate) fn count(&mut self, stat: Stat) {
        let count = self.get(Reg::Stat(stat));
        self.set(Reg::Stat(stat), count.saturating_add(1));
    }

    /// Adds octets to a wide count.
    fn count_octets(&mut self, stat: Stat, octets: u64) {
        let count = u64::from(self.get(Reg::StatHigh(stat))) << 32 | u64::from(self.get(Reg::Stat(stat)));
        let count = count + octets;
        self.set(Reg::Stat(stat), low_half(count));
        self.set(Reg::StatHigh(stat), high_half(count));
    }

    /// Counts a good frame, without its FCS here, as 13.7 says.
    pub(crate) fn count_frame(&mut self, frame: &[u8], sent: bool) {
        let octets = frame.len().max(60) + 4;
        let sizes = if sent {
            [Stat::Ptc64, Stat::Ptc127, Stat::Ptc255, Stat::Ptc511, Stat::Ptc1023, Stat::Ptc1522]
        } else {
            [Stat::Prc64, Stat::Prc127, Stat::Prc255, Stat::Prc511, Stat::Prc1023, Stat::Prc1522]
        };
        let size = [64, 127, 255, 511, 1023].iter().position(|most| octets <= *most).unwrap_or(5);
        let (all, good, in_all, in_good, broadcast, multicast) = if sent {
            (Stat::Tpt, Stat::Gptc, Stat::Tot, Stat::Gotc, Stat::Bptc, Stat::Mptc)
        } else {
            (Stat::Tpr, Stat::Gprc, Stat::Tor, Stat::Gorc, Stat::Bprc, Stat::Mprc)
        };
        [all, good, sizes[size]].into_iter().for_each(|stat| self.count(stat));
        [in_all, in_good].into_iter().for_each(|stat| self.count_octets(stat, octets as u64));
        let to = frame.first_chunk::<6>().map(|octets| MacAddr(*octets));
        match to {
            Some(to) if to.is_broadcast() => self.count(broadcast),
            Some(to) if to.is_group() => self.count(multicast),
            _ => {}
        }
    }

    pub(crate) fn raise(&mut self, causes: Cause) {
        self.icr |= causes.bits();
        if self.messages && causes.contains(Cause::LSC) {
            self.icr |= Cause::OTHER.bits();
        }
    }

    /// The level of INTA#, as it arrives at the interrupt controller.
    pub(crate) fn asserted(&mut self) -> bool {
        if self.faults.gone || self.messages {
            return false;
        }
        let asserted = self.icr & self.ims != 0;
        match self.in_flight {
            None if asserted && self.faults.late_interrupt > 0 => {
                self.in_flight = Some(self.engine.steps + u64::from(self.faults.late_interrupt));
                false
            }
            Some(due) if due > self.engine.steps => false,
            Some(_) => {
                self.in_flight = None;
                true
            }
            None => asserted,
        }
    }

    pub(crate) fn receiving(&self) -> bool {
        self.get(Reg::Rctl) & Rctl::EN.bits() != 0
    }

    pub(crate) fn transmitting(&self) -> bool {
        self.get(Reg::Tctl) & Tctl::EN.bits() != 0 && !self.faults.transmit_stuck && !self.faults.transmit_stalled
    }
}
