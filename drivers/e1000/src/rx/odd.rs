//! What is not a good frame in a fresh buffer: refusing it, giving the slot back as it is; and frames to groups.

use bus_dma::PreRead;
use pktbuf::{LinkCast, PacketBuf};
use wire::MacAddr;

use super::RxRing;
use crate::{
    desc::{RxErrors, RxStatus, RxWriteback},
    stats::RxCounters,
};

/// What a pass has counted so far.
#[derive(Default)]
pub(super) struct Pass {
    /// Not 0 if the device does not vouch for a frame.
    pub(super) doubt: u64,
    /// Descriptors served without handing anything up.
    pub(super) refused: u64,
    pub(super) octets: u64,
    /// Frames to any group, those to everybody among them.
    pub(super) groups: u64,
    pub(super) broadcast: u64,
}

/// Why the next descriptor is not served as usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Odd {
    /// It was not done when it was looked at, or what was in it is not a whole good frame.
    Frame(RxWriteback),
    /// There is no fresh buffer for it, or none that the device can reach.
    NoBuffer,
}

impl RxRing {
    /// Refuses what is in the next descriptor, if the device is done with it (returns whether it is): counts the frame, once however
    /// many descriptors it spans, and arms the descriptor again.
    #[cold]
    pub(super) fn refuse(&mut self, odd: Odd, counters: &RxCounters, pass: &mut Pass) -> bool {
        // What was seen, not what is there now: the device may have written the descriptor since.
        let written = match odd {
            Odd::Frame(written) if !written.done() => return false,
            Odd::Frame(written) => written,
            Odd::NoBuffer => {
                pass.refused += 1;
                counters.no_buffer.bump();
                self.arm_again();
                return true;
            }
        };
        pass.refused += 1;
        let last = written.status.contains(RxStatus::EOP);
        if self.skipping || !last {
            if !self.skipping {
                counters.length_errors.bump();
            }
            self.skipping = !last;
        } else if written.errors.contains(RxErrors::CE) {
            counters.crc_errors.bump();
        } else if written.errors.intersects(RxErrors::FRAME) {
            counters.errors.bump();
        } else {
            counters.length_errors.bump();
        }
        self.arm_again();
        true
    }

    /// Has the next slot given back to the device with the buffer it has.
    #[cold]
    pub(super) fn arm_again(&mut self) {
        let index = self.next;
        let Some(map) = self.maps.get_mut(index) else { return };
        map.sync(PreRead);
        if let Some(segment) = map.segments().first().copied() {
            self.write_before(segment);
        }
    }
}

/// Notes of a frame, and counts, that it is addressed to a group.
#[cold]
pub(super) fn note_group(packet: &mut PacketBuf, pass: &mut Pass) {
    let broadcast = packet.front().is_some_and(|octets| MacAddr(*octets).is_broadcast());
    packet.set_link_cast(if broadcast { LinkCast::Broadcast } else { LinkCast::Multicast });
    pass.groups += 1;
    pass.broadcast += u64::from(broadcast);
}
