//! The exchange of full buffers for fresh ones, slot by slot: what a frame costs the driver.
//!
//! Key type: [`Exchange`].

use core::mem::replace;

use bus_dma::{DmaMap, FromDevice};
use ksync::atomic::{DeviceU64, Ordering};
use pktbuf::{Arrival, BufferSize, HEADROOM, LinkCast, PacketBuf, PoolCache};
use wire::vlan_number;

use super::odd::{self, Odd, Pass};
use crate::{
    desc::{RxLayout, WORDS},
    frames::FrameSizes,
};

/// Octets of a receive buffer, unless frames are long.
const USUAL_BUFFER: usize = BufferSize::K2.octets();

/// Shortest frame that is handed up: an Ethernet header. Shorter ones can only come from a broken device.
const SHORTEST: usize = crate::tx::HEADER;

/// A descriptor's words.
type Descriptor = [DeviceU64; WORDS];

/// Returns the descriptor before and a slot's own, if they are two.
#[inline]
pub(super) const fn neighbours(pair: &[Descriptor]) -> Option<(&Descriptor, &Descriptor)> {
    if let [before, own] = pair { Some((before, own)) } else { None }
}

/// The exchange for one layout of descriptors, with frames of the usual length or without.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange<const EXTENDED: bool, const JUMBO: bool> {
    sizes: FrameSizes,
    if_index: u16,
}

impl<const EXTENDED: bool, const JUMBO: bool> Exchange<EXTENDED, JUMBO> {
    #[inline]
    pub(super) const fn new(sizes: FrameSizes, if_index: u16) -> Self {
        Self { sizes, if_index }
    }

    /// Serves good frames while there are any in `slots`, of each of which `split` makes the descriptor before and its own. `held` is the
    /// address for the descriptor before the first of them, and then for the last one served. Returns how many, and what stopped it early.
    #[inline]
    pub(super) fn all<'a, P>(
        self,
        slots: impl Iterator<Item = (&'a mut DmaMap<FromDevice>, P)>,
        split: impl Fn(P) -> Option<(&'a Descriptor, &'a Descriptor)>,
        held: &mut u64,
        cache: &mut PoolCache,
        pass: &mut Pass,
        sink: &mut impl FnMut(PacketBuf),
    ) -> (usize, Option<Odd>) {
        let layout = if EXTENDED { RxLayout::Extended } else { RxLayout::Legacy };
        // The device refuses what is longer than usual, unless it was told not to: then it lets everything in.
        let (buffer, longest) =
            if JUMBO { (self.sizes.buffer.octets(), self.sizes.longest) } else { (USUAL_BUFFER, USUAL_BUFFER) };
        let from = Arrival::interface(self.if_index, LinkCast::Unicast);
        let (mut run, mut octets, mut odd) = (0, 0, None);
        let (vouched, voided) = layout.vouched();
        let (mut doubt, mut address) = (0, *held);
        for (map, pair) in slots {
            let Some((before, [_, rest])) = split(pair) else { break };
            // ORDERING: acquire pairs with the device's write-back: DD is written after the frame and the length.
            let word = rest.load(Ordering::Acquire);
            let length = usize::from(layout.decode(word).length);
            let has_length = length.wrapping_sub(SHORTEST) <= longest - SHORTEST;
            let mut from = from;
            if !layout.is_good(word) || !has_length {
                if !layout.is_good_and_tagged(word) || !has_length {
                    odd = Some(Odd::Frame(layout.decode(word)));
                    break;
                }
                // Nothing here heeds priorities: with a tag that has one and no VLAN, a frame is as one without (IEEE 802.1Q 6.9.1).
                from = from.with_vlan(vlan_number(layout.decode(word).tag));
            }
            let Some(mut fresh) = cache.take() else {
                odd = Some(Odd::NoBuffer);
                break;
            };
            let _ = fresh.set_window(HEADROOM, buffer);
            let (mut packet, segment) = match map.exchange(fresh) {
                Ok(full) => full,
                Err((fresh, _)) => {
                    cache.recycle(fresh);
                    odd = Some(Odd::NoBuffer);
                    break;
                }
            };
            // Plain stores, the address first: the descriptor before is ours until RDT passes it, see `publish`.
            let [base, status] = before;
            base.store(replace(&mut address, segment.addr.as_u64()), Ordering::Relaxed);
            status.store(0, Ordering::Relaxed);
            run += 1;
            octets += length as u64;
            if EXTENDED {
                doubt |= word ^ vouched;
            }
            let _ = packet.set_received(length, from);
            if packet.front().is_some_and(|&[first]| first & 1 != 0) {
                odd::note_group(&mut packet, pass);
            }
            sink(packet);
        }
        *held = address;
        pass.octets += octets;
        pass.doubt |= doubt & (vouched | voided);
        (run, odd)
    }
}
