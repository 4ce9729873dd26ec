//! The device's own sequences: reset, programming of the two halves, stopping.
//!
//! Plain functions over [`RegisterIo`], in the order of the manual's chapter 14. Thread context; every wait is bounded.
//! What differs on QEMU's model is said where it matters.

use bus_dma::{BusAddr, DmaMem};
use ksync::time::Instant;

use crate::{
    config::Moderation,
    desc::{self, RxLayout},
    error::{Delay, Error, Polled, poll, read_checked},
    regs::{self, Cause, Ctrl, CtrlExt, Rctl, Reg, RegisterIo, Status, Tctl},
    rxsum::Sums,
    variant::{DmaStop, Variant},
};

/// Time for CTRL.RST to clear: 100 ms, where the manual speaks of microseconds (13.4.1).
const RESET_BUDGET: (u32, u32) = (1000, 100);
/// Time after the reset in which the device reloads itself from its EEPROM (5.6.1) and must be left alone.
const RELOAD_MICROS: u32 = 5000;
/// The same where EECD says when it is over: 20 ms at most.
const RELOAD_BUDGET: (u32, u32) = (200, 100);
/// Time for pending master requests: 80 ms, the bus's own limit for one transaction being 50 ms.
const MASTER_BUDGET: (u32, u32) = (800, 100);

/// The causes this driver unmasks. No TXDW: finished transmit descriptors are found in memory, by the next transmit
/// and by the tick, so that a transmit costs no interrupt.
pub(crate) const CAUSES: Cause = Cause::LSC.union(Cause::RXSEQ).union(RX_CAUSES);
/// Those of them that say that there are frames.
pub(crate) const RX_CAUSES: Cause = Cause::RXDMT0.union(Cause::RXO).union(Cause::RXT0);

/// The key of the hash that chooses a frame's receive queue (82574 7.1.11.1.2): the same word all over, which gives both directions of
/// a conversation the same queue.
const RSS_KEY: u32 = u32::from_le_bytes([0x6d, 0x5a, 0x6d, 0x5a]);
/// The queues of four entries of the redirection table, in turn: bit 7 of an entry (82574 10.2.5.16).
const IN_TURN: u32 = 0x8000_8000;

/// The causes of a receive queue, of a transmit queue, and those of no queue, of a device that has a message for each.
pub(crate) const fn rx_cause(queue: u8) -> Cause {
    if queue == 0 { Cause::RXQ0 } else { Cause::RXQ1 }
}
pub(crate) const fn tx_cause(queue: u8) -> Cause {
    if queue == 0 { Cause::TXQ0 } else { Cause::TXQ1 }
}
pub(crate) const OTHER_CAUSES: Cause = Cause::OTHER.union(Cause::LSC);
/// The causes that their message clears. Not [`Cause::OTHER`], which stands for several and is cleared by hand.
const AUTO_CLEARED: Cause = Cause::RXQ0.union(Cause::RXQ1).union(Cause::TXQ0).union(Cause::TXQ1);

/// Masks every interrupt cause (posted).
pub(crate) fn mask_all<R: RegisterIo>(regs: &R) {
    regs.write32(Reg::Imc, regs::ALL_ONES);
}

/// Resets the device: afterwards it does no DMA, every interrupt is masked and no cause is pending.
///
/// Parts on PCI Express are asked to end their master requests first (82574 5.2.5.3.2); whether they do is seen in [`stop`].
///
/// Both halves are switched off before the reset. The manual does not ask for it, but QEMU up to 7.2 clears CTRL.RST
/// and resets nothing: there, what a boot loader or we left enabled would go on. RCTL is only written if the receiver
/// is on, since QEMU stops reception for a second at each write to it.
pub(crate) fn reset<R: RegisterIo>(regs: &R, delay: &dyn Delay, variant: &Variant) -> Result<(), Error> {
    begin_reset(regs, delay, variant)?.finish(regs, delay, variant)
}

/// A device that has been reset, does no DMA any more, and loads its registers from its EEPROM: to be left alone until [`Self::finish`].
#[must_use]
pub(crate) struct Reloading {
    since: Instant,
}

/// Does the first half of [`reset`], after which there is time for what does not need the device.
pub(crate) fn begin_reset<R: RegisterIo>(regs: &R, delay: &dyn Delay, variant: &Variant) -> Result<Reloading, Error> {
    mask_all(regs);
    // No new transmit work; what is in the FIFO may leave.
    regs.write32(Reg::Tctl, Tctl::PSP.bits());
    let rctl = Rctl::from_bits_retain(read_checked(regs, Reg::Rctl)?);
    if rctl.contains(Rctl::EN) {
        regs.write32(Reg::Rctl, rctl.difference(Rctl::EN).bits());
    }
    if variant.dma_stop == DmaStop::MasterDisable {
        let _ = disable_master(regs, delay);
    }
    let ctrl = read_checked(regs, Reg::Ctrl)?;
    // Writes have arrived, by the read; transfers that were under way end.
    delay.micros(10);
    regs.write32(Reg::Ctrl, ctrl | Ctrl::RST.bits());
    // The device must not be read for a microsecond after the write (13.4.1).
    delay.micros(10);
    let cleared = poll(regs, delay, Reg::Ctrl, RESET_BUDGET, |ctrl| ctrl & Ctrl::RST.bits() == 0);
    match cleared {
        Polled::Done(_) => {}
        Polled::TimedOut => return Err(Error::ResetTimeout),
        Polled::Gone => return Err(Error::Gone),
    }
    Ok(Reloading { since: delay.now() })
}

impl Reloading {
    /// Waits for what is left of the reload. Afterwards every interrupt is masked and no cause is pending.
    pub(crate) fn finish<R: RegisterIo>(self, regs: &R, delay: &dyn Delay, variant: &Variant) -> Result<(), Error> {
        match variant.dma_stop {
            DmaStop::Reset => {
                let gone = delay.now().saturating_duration_since(self.since).as_micros();
                delay.micros(RELOAD_MICROS.saturating_sub(u32::try_from(gone).unwrap_or(u32::MAX)));
            }
            // A device without an EEPROM never says so; what it lacks is seen when its address is read.
            DmaStop::MasterDisable => {
                let _ = poll(regs, delay, Reg::Eecd, RELOAD_BUDGET, |eecd| eecd & regs::EECD_AUTO_RD != 0);
            }
        }
        // Reset clears the mask; firmware that ran meanwhile may have set it again.
        mask_all(regs);
        read_checked(regs, Reg::Icr)?;
        Ok(())
    }
}

/// Brings the link up by auto-negotiation, without flow control until that is agreed (14.3, 14.8), and leaving VLAN tags alone.
pub(crate) fn set_link_up<R: RegisterIo>(regs: &R) -> Result<(), Error> {
    let forced = Ctrl::LRST | Ctrl::ILOS | Ctrl::FRCSPD | Ctrl::FRCDPLX | Ctrl::RFCE | Ctrl::TFCE;
    let cleared = forced | Ctrl::VME | Ctrl::PHY_RST | Ctrl::RST;
    let ctrl = Ctrl::from_bits_retain(read_checked(regs, Reg::Ctrl)?);
    regs.write32(Reg::Ctrl, (ctrl.difference(cleared) | Ctrl::SLU | Ctrl::ASDE).bits());
    regs.write32(Reg::Wuc, 0);
    Ok(())
}

/// Has VLAN tags taken off what is received and inserted in what says so from now on (9.2).
pub(crate) fn enable_tags<R: RegisterIo>(regs: &R) {
    if let Ok(ctrl) = read_checked(regs, Reg::Ctrl) {
        regs.write32(Reg::Ctrl, ctrl | Ctrl::VME.bits());
    }
}

/// Where a descriptor ring lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingPlace {
    pub(crate) base: BusAddr,
    /// Octets; a multiple of 128.
    pub(crate) octets: u32,
}

impl RingPlace {
    /// Describes a ring of `descriptors` at the start of `memory`.
    pub(crate) fn of(memory: &DmaMem, descriptors: usize) -> Self {
        let octets = u32::try_from(descriptors * desc::OCTETS).unwrap_or(0);
        Self { base: memory.bus_addr(), octets }
    }
}

/// Programs a queue's receive ring, empty (14.4). Reception starts when RCTL.EN is written.
pub(crate) fn program_receive_ring<R: RegisterIo>(regs: &R, queue: u8, ring: RingPlace) {
    let base = ring.base.as_u64();
    regs.write32(Reg::Rdbal(queue), regs::low_half(base));
    regs.write32(Reg::Rdbah(queue), regs::high_half(base));
    regs.write32(Reg::Rdlen(queue), ring.octets);
    regs.write32(Reg::Rdh(queue), 0);
    regs.write32(Reg::Rdt(queue), 0);
}

/// Programs what the receive rings share: the layout of descriptors, and which queue a frame goes to.
pub(crate) fn program_receive<R: RegisterIo>(
    regs: &R,
    variant: &Variant,
    (queues, sums): (u8, Sums),
    moderation: &Moderation,
) {
    regs.write32(Reg::Rdtr, u32::from(moderation.rdtr));
    regs.write32(Reg::Radv, u32::from(moderation.radv));
    regs.write32(Reg::Itr, u32::from(moderation.itr));
    let hash = if queues > 1 { regs::RXCSUM_PCSD } else { 0 };
    // What TCP and UDP say is the hosts' business, unless the part is being tried.
    let looks = match sums {
        Sums::Ignored => 0,
        Sums::Believed => regs::RXCSUM_IPOFLD,
        Sums::Compared => regs::RXCSUM_IPOFLD | regs::RXCSUM_TUOFLD,
    };
    regs.write32(Reg::Rxcsum, hash | looks);
    if variant.rx_layout == RxLayout::Extended {
        regs.write32(Reg::Rfctl, regs::RFCTL_EXTEN);
        regs.write32(Reg::Mrqc, 0);
    }
    if queues > 1 {
        for word in 0..regs::RSSRK_WORDS {
            regs.write32(Reg::Rssrk(word), RSS_KEY);
        }
        for word in 0..regs::RETA_WORDS {
            regs.write32(Reg::Reta(word), IN_TURN);
        }
        regs.write32(Reg::Mrqc, regs::MRQC_RSS);
    }
}

/// Gives each cause its message (82574 7.4.2). They stay masked.
pub(crate) fn program_messages<R: RegisterIo>(regs: &R, moderation: &Moderation) {
    let control = CtrlExt::from_bits_retain(regs.read32(Reg::CtrlExt));
    regs.write32(Reg::CtrlExt, (control.difference(CtrlExt::IAME) | CtrlExt::PBA_CLR).bits());
    regs.write32(Reg::Ivar, regs::ivar([0, 1, 2, 3, 4]));
    regs.write32(Reg::Eiac, AUTO_CLEARED.bits());
    for message in 0..regs::MESSAGES {
        regs.write32(Reg::Eitr(message), u32::from(moderation.itr));
    }
}

/// Programs a queue's transmit ring, empty (14.5). Transmission starts when TCTL.EN is written.
pub(crate) fn program_transmit<R: RegisterIo>(regs: &R, queue: u8, ring: RingPlace) {
    let base = ring.base.as_u64();
    regs.write32(Reg::Tdbal(queue), regs::low_half(base));
    regs.write32(Reg::Tdbah(queue), regs::high_half(base));
    regs.write32(Reg::Tdlen(queue), ring.octets);
    regs.write32(Reg::Tdh(queue), 0);
    regs.write32(Reg::Tdt(queue), 0);
}

/// Programs what the transmit rings share.
pub(crate) fn program_transmitter<R: RegisterIo>(regs: &R, variant: &Variant, queues: u8) {
    if variant.dma_stop == DmaStop::MasterDisable {
        for queue in 0..queues {
            regs.write32(Reg::Txdctl(queue), regs.read32(Reg::Txdctl(queue)) | regs::TXDCTL_REQUIRED);
        }
    }
    regs.write32(Reg::Tidv, 0);
    regs.write32(Reg::Tadv, 0);
    regs.write32(Reg::Tipg, regs::TIPG_COPPER);
}

/// Enables the transmitter.
pub(crate) fn enable_transmit<R: RegisterIo>(regs: &R) {
    regs.write32(Reg::Tctl, (Tctl::EN | Tctl::PSP | Tctl::RTLC).bits() | regs::tctl_fields());
}

/// Switches the transmitter off; it ends what it is at. Reads back, so that the write has arrived when this returns.
pub(crate) fn disable_transmit<R: RegisterIo>(regs: &R) -> Result<(), Error> {
    regs.write32(Reg::Tctl, Tctl::PSP.bits() | regs::tctl_fields());
    read_checked(regs, Reg::Tctl).map(|_| ())
}

/// Enables the receiver with these filter modes; the FCS stays off the frames.
pub(crate) fn enable_receive<R: RegisterIo>(regs: &R, mode: Rctl) {
    regs.write32(Reg::Rctl, (mode | Rctl::EN | Rctl::SECRC).bits());
}

/// Closes the receiver at the wire; the ring's contents stay valid.
///
/// Reads back, so that the write has arrived when this returns.
pub(crate) fn disable_receive<R: RegisterIo>(regs: &R, mode: Rctl) -> Result<(), Error> {
    regs.write32(Reg::Rctl, (mode | Rctl::SECRC).bits());
    read_checked(regs, Reg::Rctl).map(|_| ())
}

/// Masks every cause and checks that the device took it.
pub(crate) fn mask_and_verify<R: RegisterIo>(regs: &R) -> Result<(), Error> {
    mask_all(regs);
    match read_checked(regs, Reg::Ims)? & regs::MASKABLE {
        0 => Ok(()),
        _ => Err(Error::StillUnmasked),
    }
}

/// Stops all DMA and sees the device acknowledge it: master disable where the part has it, and reset.
pub(crate) fn stop<R: RegisterIo>(regs: &R, delay: &dyn Delay, variant: &Variant) -> Result<(), Error> {
    mask_all(regs);
    regs.write32(Reg::Rctl, 0);
    regs.write32(Reg::Tctl, 0);
    let acknowledged = match variant.dma_stop {
        DmaStop::Reset => Ok(()),
        DmaStop::MasterDisable => disable_master(regs, delay),
    };
    reset(regs, delay, variant)?;
    acknowledged?;
    // A reset that was acknowledged leaves both halves off. Believe it when it can be read.
    let receiver = read_checked(regs, Reg::Rctl)? & Rctl::EN.bits();
    let transmitter = read_checked(regs, Reg::Tctl)? & Tctl::EN.bits();
    if receiver | transmitter == 0 { Ok(()) } else { Err(Error::ResetTimeout) }
}

fn disable_master<R: RegisterIo>(regs: &R, delay: &dyn Delay) -> Result<(), Error> {
    // One that is stuck in an earlier reset is not told to begin another, after which it could not be asked anything.
    let ctrl = Ctrl::from_bits_retain(read_checked(regs, Reg::Ctrl)?).difference(Ctrl::RST);
    regs.write32(Reg::Ctrl, (ctrl | Ctrl::GIO_MASTER_DISABLE).bits());
    let idle = |status| status & Status::GIO_MASTER_ENABLE.bits() == 0;
    match poll(regs, delay, Reg::Status, MASTER_BUDGET, idle) {
        Polled::Done(_) => Ok(()),
        Polled::TimedOut => Err(Error::MasterPending),
        Polled::Gone => Err(Error::Gone),
    }
}

/// For a panic: tells the device to stop, in four posted writes, without waiting for anything.
pub(crate) fn stop_blindly<R: RegisterIo>(regs: &R) {
    mask_all(regs);
    regs.write32(Reg::Rctl, 0);
    regs.write32(Reg::Tctl, 0);
    regs.write32(Reg::Ctrl, Ctrl::RST.bits());
}
