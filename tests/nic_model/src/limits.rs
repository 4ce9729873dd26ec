//! How long frames may be: what is refused at the wire, how much goes into each buffer, and what the FIFOs hold.
//!
//! Methods of [`Device`]. Manual: 13.4.16 (PBA), 13.4.22 (RCTL), 3.2.3 (a frame longer than its buffer goes on in the next).

use e1000::{
    DmaStop, Reg, Stat,
    regs::{PBA_RX, Rctl},
};

use crate::registers::Device;

/// Octets of the FCS, which frames here do not have.
const FCS: usize = 4;

impl Device {
    /// KiB of all FIFOs: 64 before PCI Express, 40 for the parts with messages, 48 for the others.
    const fn fifo_kib(&self) -> u32 {
        match (self.variant.dma_stop, self.variant.messages) {
            (DmaStop::Reset, _) => 64,
            (DmaStop::MasterDisable, 0) => 48,
            (DmaStop::MasterDisable, _) => 40,
        }
    }

    /// Sets how much of the FIFO memory reception gets; the rest is for sending. In force after the next reset.
    pub(crate) fn write_pba(&mut self, value: u32) {
        let receive = value & PBA_RX;
        let transmit = self.fifo_kib().saturating_sub(receive);
        self.set(Reg::Pba, receive | transmit << 16);
    }

    /// Sets the shares the device comes with.
    pub(crate) fn share_fifo_at_power_on(&mut self) {
        self.write_pba(match self.fifo_kib() {
            64 => 48,
            48 => 32,
            _ => 20,
        });
        self.fifos = self.pba();
    }

    /// Octets of the receive and the transmit FIFO as PBA says.
    pub(crate) fn pba(&self) -> [usize; 2] {
        let pba = self.get(Reg::Pba);
        [pba & PBA_RX, pba >> 16 & PBA_RX].map(|kib| kib as usize * 1024)
    }

    /// Returns whether a frame of `octets` is not let in, counted.
    pub(crate) fn turns_away(&mut self, octets: usize) -> bool {
        let longest = if self.get(Reg::Rctl) & Rctl::LPE.bits() != 0 { 16_384 } else { 1522 };
        let stat = match octets + FCS {
            on_wire if on_wire > longest => Stat::Roc,
            on_wire if on_wire > self.fifos[0] => Stat::Mpc,
            _ => return false,
        };
        self.count(stat);
        true
    }

    /// Octets of each receive buffer.
    pub(crate) fn buffer_octets(&self) -> usize {
        let rctl = self.get(Reg::Rctl);
        let shift = rctl >> 16 & 3;
        // Bits 17:16: 2048, 1024, 512, 256; with bit 25 sixteen times that, and then the first is reserved.
        let is_extended = rctl & Rctl::BSEX.bits() != 0;
        assert!(!is_extended || shift != 0, "RCTL.BSIZE 0 is reserved with BSEX");
        (2048 >> shift) * if is_extended { 16 } else { 1 }
    }

    /// Returns whether a frame of so many octets can be sent: with its descriptor it has to be in the FIFO whole.
    pub(crate) const fn holds_for_sending(&self, octets: usize) -> bool {
        octets + FCS + 16 <= self.fifos[1]
    }
}
