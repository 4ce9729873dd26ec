//! How long frames may be, and what the device has to know of it: buffers, long packets, shares of the FIFO.
//!
//! Key type: [`FrameSizes`]. A frame that is accepted fits one buffer whole, so that nothing is ever put together from several. A longer
//! one (RCTL.LPE lets in all up to 16,384 octets) is split over descriptors by the device (3.2.3), never written past a buffer's
//! end, and refused by the ring as a length error. Manual: 13.4.16 (PBA), 13.4.22 (RCTL.LPE, RCTL.BSIZE, RCTL.BSEX).

use pktbuf::{BufferSize, PacketPool};
use wire::VLAN_TAG_LEN;

use crate::{
    error::{Delay, Error, read_checked},
    hardware,
    regs::{self, Rctl, Reg, RegisterIo},
    tx::HEADER,
    variant::Variant,
};

/// Octets of a frame that are not its packet: header, VLAN tag and FCS.
pub const AROUND_PACKET: u16 = 22;
/// Octets of the FCS, which the device adds and takes off.
const FCS: usize = 4;
/// Longest frame with FCS that is received without RCTL.LPE.
const USUAL_FRAME: usize = 1522;
/// Smallest MTU (RFC 791 3.2).
pub(crate) const SMALLEST_MTU: u16 = 68;
/// Octets that the transmit FIFO holds beside a frame: its descriptor.
const BESIDE_FRAME: usize = 16;

const _: () = assert!(HEADER + VLAN_TAG_LEN + FCS == AROUND_PACKET as usize);

/// What follows from a port's MTU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameSizes {
    /// Longest frame, its VLAN tag included, without FCS.
    pub(crate) longest: usize,
    /// What each receive buffer takes.
    pub(crate) buffer: BufferSize,
}

impl FrameSizes {
    /// Returns what an MTU asks for, if this part and the buffers of `pool` can give it.
    pub(crate) fn new(mtu: u16, variant: &Variant, pool: &PacketPool) -> Result<Self, Error> {
        if !(SMALLEST_MTU..=variant.max_mtu()).contains(&mtu) {
            return Err(Error::Mtu);
        }
        let longest = usize::from(mtu) + HEADER + VLAN_TAG_LEN;
        // An MTU below the usual one changes nothing: what the other side sends is not shorter for it.
        let buffer = BufferSize::holding(longest.max(USUAL_FRAME) + FCS).filter(|size| *size <= pool.buffer_size());
        Ok(Self { longest, buffer: buffer.ok_or(Error::SmallBuffers)? })
    }

    /// Whether frames are received that the part refuses unless it is told not to.
    pub(crate) const fn is_jumbo(self) -> bool {
        self.longest + FCS > USUAL_FRAME
    }

    /// Longest frame on the wire in octets, with its FCS.
    pub(crate) fn on_wire(self) -> u32 {
        u32::try_from(self.longest + FCS).unwrap_or(u32::MAX)
    }

    /// What of RCTL says so.
    pub(crate) fn rctl(self) -> Rctl {
        let size = match self.buffer {
            BufferSize::K2 => Rctl::empty(),
            BufferSize::K4 => Rctl::BSEX | Rctl::BSIZE_HIGH | Rctl::BSIZE_LOW,
            BufferSize::K8 => Rctl::BSEX | Rctl::BSIZE_HIGH,
            BufferSize::K16 => Rctl::BSEX | Rctl::BSIZE_LOW,
        };
        if self.is_jumbo() { size | Rctl::LPE } else { size }
    }
}

impl Variant {
    /// Returns the longest IP packet that the part takes and sends, in a frame that may carry a VLAN tag.
    #[must_use]
    pub const fn max_mtu(&self) -> u16 {
        self.max_frame - AROUND_PACKET
    }
}

/// Returns the KiB of the receive FIFO, given how many it and the transmit FIFO have and the longest frame with FCS: a frame is sent when
/// all of it is in the FIFO, so that two are to have room there and the wire does not wait; one has to. `None` if there is not so much.
fn share(receive: u32, transmit: u32, longest: usize) -> Option<u32> {
    let frame = u32::try_from((longest + BESIDE_FRAME).div_ceil(1024)).ok()?;
    let left = |wanted: u32| (receive + transmit).checked_sub(wanted.max(transmit));
    let two = left(2 * frame).filter(|left| *left >= 2 * frame);
    two.or_else(|| left(frame).filter(|left| *left >= frame))
}

/// Sees to it that the FIFOs have room for frames of these sizes, on a device that has just been reset. The usual ones fit the shares it
/// comes with. New shares are in force after another reset only, and stay for all later ones (13.4.16).
pub(crate) fn share_fifo<R: RegisterIo>(
    regs: &R,
    delay: &dyn Delay,
    variant: &Variant,
    sizes: FrameSizes,
) -> Result<(), Error> {
    if !sizes.is_jumbo() {
        return Ok(());
    }
    let [receive, transmit] = regs::pba_shares(read_checked(regs, Reg::Pba)?);
    let wanted = share(receive, transmit, sizes.longest + FCS).ok_or(Error::Mtu)?;
    if wanted == receive {
        return Ok(());
    }
    regs.write32(Reg::Pba, wanted);
    hardware::reset(regs, delay, variant)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(mtu: u16, device: u16, pool: BufferSize) -> Result<FrameSizes, Error> {
        let variant = Variant::find(0x8086, device).expect("a known part");
        FrameSizes::new(mtu, variant, PacketPool::leak_sized_for_tests(0, pool))
    }

    #[test]
    fn usual_frames_are_received_as_ever() {
        for mtu in [68, 576, 1500] {
            let sizes = sizes(mtu, 0x100e, BufferSize::K16).unwrap();
            assert_eq!((sizes.buffer, sizes.rctl(), sizes.is_jumbo()), (BufferSize::K2, Rctl::empty(), false));
        }
    }

    /// 13.4.22: BSEX is bit 25, BSIZE bits 17:16, LPE bit 5.
    #[test]
    fn long_frames_get_buffers_that_hold_them_whole() {
        let table = [
            (1501, BufferSize::K2, 1 << 5),
            (2026, BufferSize::K2, 1 << 5),
            (2027, BufferSize::K4, 1 << 25 | 3 << 16 | 1 << 5),
            (4074, BufferSize::K4, 1 << 25 | 3 << 16 | 1 << 5),
            (4075, BufferSize::K8, 1 << 25 | 2 << 16 | 1 << 5),
            (9000, BufferSize::K16, 1 << 25 | 1 << 16 | 1 << 5),
            (16_110, BufferSize::K16, 1 << 25 | 1 << 16 | 1 << 5),
        ];
        for (mtu, buffer, rctl) in table {
            let sizes = sizes(mtu, 0x100e, BufferSize::K16).unwrap();
            assert_eq!((sizes.buffer, sizes.rctl().bits()), (buffer, rctl), "{mtu}");
            assert!(sizes.longest + FCS <= sizes.buffer.octets());
        }
    }

    #[test]
    fn what_part_or_buffers_cannot_do_is_refused() {
        assert_eq!(sizes(67, 0x100e, BufferSize::K16), Err(Error::Mtu));
        assert_eq!(sizes(16_111, 0x100e, BufferSize::K16), Err(Error::Mtu));
        assert_eq!(sizes(9213, 0x10d3, BufferSize::K16), Err(Error::Mtu));
        assert!(sizes(9212, 0x10d3, BufferSize::K16).is_ok());
        assert_eq!(sizes(1501, 0x108c, BufferSize::K16), Err(Error::Mtu), "the 82573 receives no long packets");
        assert_eq!(sizes(9000, 0x100e, BufferSize::K8), Err(Error::SmallBuffers));
        assert!(sizes(1500, 0x100e, BufferSize::K2).is_ok());
    }

    #[test]
    fn the_fifo_is_shared_so_that_frames_fit_both_ways() {
        // 8254x: 64 KiB; 82571: 48; 82574: 40.
        assert_eq!(share(48, 16, 1526), Some(48), "there was room before");
        assert_eq!(share(48, 16, 9022), Some(46));
        assert_eq!(share(48, 16, 16_132), Some(32));
        assert_eq!(share(32, 16, 9022), Some(30));
        assert_eq!(share(20, 20, 9022), Some(20));
        assert_eq!(share(32, 8, 9022), Some(22));
        assert_eq!(share(20, 12, 9234), Some(20), "one frame each way");
        assert_eq!(share(10, 6, 9022), None);
    }
}
