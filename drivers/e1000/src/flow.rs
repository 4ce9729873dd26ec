//! Flow control: PAUSE frames on a full-duplex link, as both ends agree (IEEE 802.3 annexes 28B and 31B).
//!
//! Key types: [`FlowControl`] (what the operator wants), [`Pause`] (what was agreed). The PHY negotiates; the MAC has to be told the
//! outcome by CTRL.RFCE and CTRL.TFCE (13.4.1), because these parts do not take it from the PHY. When to send PAUSE follows from how
//! full the receive FIFO is (FCRTL, FCRTH, 13.4.24).

use core::fmt;

use crate::{
    adapter::{Adapter, Phase},
    error::{Delay, Error, read_checked},
    link::{Duplex, LinkState},
    phy::{self, PhyFault, PhyReg},
    regs::{self, Ctrl, Reg, RegisterIo, Status},
};

/// Where PAUSE frames go to, and their type (13.4.7 to 13.4.9): 01:80:c2:00:00:01, 0x8808.
const ADDRESS: [u32; 2] = [0x00c2_8001, 0x0000_0100];
const ETHER_TYPE: u32 = 0x8808;
/// How long the other end is to wait, in units of 512 bit times: 0.85 ms at 1000 Mbit/s. XON ends it earlier.
const PAUSE_TIME: u32 = 0x0680;
/// FCRTL: send XON as well.
const XON_ENABLE: u32 = 1 << 31;

/// PAUSE and ASM_DIR in the advertisement (IEEE 802.3, 28B.2).
const PAUSE: u16 = 1 << 10;
const ASYMMETRIC: u16 = 1 << 11;
/// Control of the PHY: negotiate, anew.
const NEGOTIATE: u16 = 1 << 12 | 1 << 9;

/// Whether the other end may have us wait, and we it. What comes of it is agreed with the other end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlowControl {
    /// Neither.
    Off,
    /// We wait when we are told to.
    Receive,
    /// We tell the other end to wait.
    Send,
    /// Both.
    #[default]
    Both,
}

impl FlowControl {
    /// Returns what of it is advertised (28B.2): who would only be told to wait has to offer the same as who would do both.
    const fn advertised(self) -> u16 {
        match self {
            Self::Off => 0,
            Self::Receive | Self::Both => PAUSE | ASYMMETRIC,
            Self::Send => ASYMMETRIC,
        }
    }

    /// Returns what is agreed when the other end offers `partner` (table 28B-3).
    const fn agree(self, partner: u16) -> Pause {
        let (symmetric, asymmetric) = (partner & PAUSE != 0, partner & ASYMMETRIC != 0);
        match self {
            Self::Off => Pause::NONE,
            Self::Receive => Pause { receive: symmetric || asymmetric, send: false },
            Self::Send => Pause { receive: false, send: symmetric && asymmetric },
            Self::Both => Pause { receive: symmetric || asymmetric, send: symmetric },
        }
    }
}

/// The flow control in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pause {
    /// We wait when we are told to.
    pub receive: bool,
    /// We tell the other end to wait.
    pub send: bool,
}

impl Pause {
    const NONE: Self = Self { receive: false, send: false };

    fn control(self) -> Ctrl {
        let mut bits = Ctrl::empty();
        bits.set(Ctrl::RFCE, self.receive);
        bits.set(Ctrl::TFCE, self.send);
        bits
    }
}

/// Writes what operators know, such as `RX/TX`.
impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.receive, self.send) {
            (false, false) => "none",
            (true, false) => "RX",
            (false, true) => "TX",
            (true, true) => "RX/TX",
        })
    }
}

/// What is wanted and what is in force; its lock also orders who talks to the PHY.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    wanted: FlowControl,
    agreed: Pause,
}

impl Flow {
    pub(crate) const fn new(wanted: FlowControl) -> Self {
        Self { wanted, agreed: Pause::NONE }
    }
}

/// Returns the marks of the receive FIFO at which the other end is told to stop and to go on, for a FIFO of so many KiB and frames of
/// so many octets; `None` if it is too small to be of use. When stop is said there is room for a frame that is on its way and for
/// one that has just begun.
const fn marks(fifo_kib: u32, longest: u32) -> Option<(u32, u32)> {
    let frame = longest.next_multiple_of(1024);
    match (fifo_kib * 1024).checked_sub(2 * frame) {
        Some(stop) if stop > frame => Some((stop, stop - frame)),
        _ => None,
    }
}

/// Programs the addresses, times and marks; with `off`, so that PAUSE frames are neither understood nor sent.
pub(crate) fn program<R: RegisterIo>(regs: &R, wanted: FlowControl, longest: u32) {
    let is_on = wanted != FlowControl::Off;
    let [low, high] = ADDRESS;
    let marks = marks(regs.read32(Reg::Pba) & regs::PBA_RX, longest).filter(|_| is_on);
    let (stop, go) = marks.map_or((0, 0), |(stop, go)| (stop, go | XON_ENABLE));
    for (reg, value) in [(Reg::Fcal, low), (Reg::Fcah, high), (Reg::Fct, ETHER_TYPE), (Reg::Fcttv, PAUSE_TIME)] {
        regs.write32(reg, if is_on { value } else { 0 });
    }
    regs.write32(Reg::Fcrtl, go);
    regs.write32(Reg::Fcrth, stop);
}

/// Has the PHY offer what is wanted. It negotiates anew if that is not what it offers already, which takes the link down for a moment.
pub(crate) fn advertise<R: RegisterIo>(regs: &R, delay: &dyn Delay, wanted: FlowControl) -> Result<(), PhyFault> {
    let before = phy::read(regs, delay, PhyReg::Advertisement)?;
    let offered = before & !(PAUSE | ASYMMETRIC) | wanted.advertised();
    if offered == before {
        return Ok(());
    }
    phy::write(regs, delay, PhyReg::Advertisement, offered)?;
    let control = phy::read(regs, delay, PhyReg::Control)?;
    phy::write(regs, delay, PhyReg::Control, control | NEGOTIATE)
}

/// Who asks for the outcome of the negotiation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settling {
    /// Anybody who found the link changed.
    LinkChanged,
    /// The thread that has just reset the device: nobody else touches it.
    Reset,
}

impl<R: RegisterIo> Adapter<R> {
    /// Returns the flow control in force; `None` if it is being agreed upon by a CPU that was stopped in the middle of that.
    #[must_use]
    pub fn flow_control(&self) -> Option<Pause> {
        self.flow.look().ok().map(|flow| flow.agreed)
    }

    /// Puts into force what both ends have agreed upon.
    ///
    /// # Context
    /// Thread, after a change of the link or a reset. Takes the flow lock while it asks the PHY, and then the transmit lock of queue 0 for
    /// the one change of CTRL: [`stop_dma`](Self::stop_dma) and a recovery pass through that lock after they have said what they are about,
    /// so that no bit of their CTRL is undone here.
    pub(crate) fn settle_flow(&self, why: Settling) {
        let mut flow = self.flow.lock();
        let is_full_duplex = matches!(self.read_link(), Ok(LinkState::Up(_, Duplex::Full)));
        let partner = || phy::read(&self.regs, self.delay, PhyReg::PartnerAbility);
        let agreed = match flow.wanted {
            FlowControl::Off => Pause::NONE,
            wanted if is_full_duplex => partner().map_or(Pause::NONE, |partner| wanted.agree(partner)),
            _ => Pause::NONE,
        };
        let senders = self.queues.of(0).tx.lock();
        let is_ours = why == Settling::Reset || !self.recovery_wanted();
        if senders.is_none() || !is_ours || !matches!(self.phase(), Phase::Attached | Phase::Running) {
            return;
        }
        let Ok(ctrl) = read_checked(&self.regs, Reg::Ctrl) else { return };
        let ctrl = Ctrl::from_bits_retain(ctrl);
        let told = ctrl.difference(Ctrl::RFCE | Ctrl::TFCE) | agreed.control();
        if told != ctrl {
            self.regs.write32(Reg::Ctrl, told.bits());
        }
        flow.agreed = agreed;
    }

    fn read_link(&self) -> Result<LinkState, Error> {
        read_checked(&self.regs, Reg::Status).map(|status| LinkState::from_status(Status::from_bits_retain(status)))
    }

    /// Programs flow control, which a reset takes away.
    pub(crate) fn program_flow(&self) {
        let wanted = self.flow.lock().wanted;
        program(&self.regs, wanted, self.frames.on_wire());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Table 28B-3 of IEEE 802.3: ours, theirs as (PAUSE, ASM_DIR), and whether each end sends PAUSE.
    #[test]
    fn both_ends_come_to_the_same_agreement() {
        let all = [FlowControl::Off, FlowControl::Receive, FlowControl::Send, FlowControl::Both];
        for (ours, theirs) in all.into_iter().flat_map(|ours| all.map(|theirs| (ours, theirs))) {
            let (here, there) = (ours.agree(theirs.advertised()), theirs.agree(ours.advertised()));
            // Nobody sends PAUSE to one who does not wait.
            assert!(!here.send || there.receive, "{ours:?} {theirs:?}");
            assert!(!there.send || here.receive, "{ours:?} {theirs:?}");
        }
    }

    #[test]
    fn what_is_agreed_is_what_the_standards_table_says() {
        let theirs = [0, ASYMMETRIC, PAUSE, PAUSE | ASYMMETRIC];
        let table = [
            (FlowControl::Off, ["none"; 4]),
            (FlowControl::Receive, ["none", "RX", "RX", "RX"]),
            (FlowControl::Send, ["none", "none", "none", "TX"]),
            (FlowControl::Both, ["none", "RX", "RX/TX", "RX/TX"]),
        ];
        for (ours, row) in table {
            let agreed = theirs.map(|partner| std::format!("{}", ours.agree(partner)));
            assert_eq!(agreed, row, "{ours:?}");
        }
    }

    #[test]
    fn marks_leave_room_for_two_frames_and_lie_a_frame_apart() {
        assert_eq!(marks(48, 1522), Some((45_056, 43_008)));
        assert_eq!(marks(20, 1522), Some((16_384, 14_336)));
        assert_eq!(marks(40, 9234), Some((20_480, 10_240)));
        assert_eq!(marks(16, 9234), None);
        assert_eq!(marks(0, 1522), None);
    }
}
