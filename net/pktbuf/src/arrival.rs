//! Where a packet came from: what a driver says of a frame, in 32 bits.
//!
//! Key type: [`Arrival`]. Plain data; any context.

/// Where a packet came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Origin {
    /// An interface received it.
    Received,
    /// This router made it.
    Local,
}

/// To whom the link-layer destination address of a received frame was addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LinkCast {
    /// To the receiving interface alone.
    Unicast,
    /// To a group.
    Multicast,
    /// To everybody on the link.
    Broadcast,
    /// To another station: seen in promiscuous mode only.
    OtherHost,
}

/// `rx_if` of a packet that no interface received.
const NO_INTERFACE: u16 = u16::MAX;

/// Bits of [`Arrival::notes`]: above these the number of the VLAN.
const LINK_CAST: u16 = 3;
const MADE_HERE: u16 = 1 << 2;
const VLAN_SHIFT: u32 = 4;

/// Where a packet came from, and for whom: all that a driver says of the frames it hands up, made once for many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(4))]
pub struct Arrival {
    rx_if: u16,
    /// The [`LinkCast`], whether it was made here, and the number of the VLAN.
    notes: u16,
}

impl Arrival {
    /// A packet made here.
    pub(crate) const NOWHERE: Self = Self { rx_if: NO_INTERFACE, notes: MADE_HERE | LinkCast::Unicast as u16 };

    /// Says that the interface of index `rx_if` received it, addressed as `link_cast` says and without a VLAN tag.
    #[inline]
    #[must_use]
    pub const fn interface(rx_if: u16, link_cast: LinkCast) -> Self {
        Self { rx_if, notes: link_cast as u16 }
    }

    /// The same, received by the interface of index `rx_if`.
    #[inline]
    #[must_use]
    pub const fn with_interface(self, rx_if: u16) -> Self {
        Self { rx_if, ..self.with_origin(Origin::Received) }
    }

    /// The same, but it had the tag of a VLAN (IEEE 802.1Q), which has been taken off; `number` has twelve bits, and is 0 for none.
    #[inline]
    #[must_use]
    pub const fn with_vlan(self, number: u16) -> Self {
        Self { notes: self.notes & (MADE_HERE | LINK_CAST) | number << VLAN_SHIFT, ..self }
    }

    /// The same from elsewhere.
    #[inline]
    #[must_use]
    pub const fn with_origin(self, origin: Origin) -> Self {
        let made_here = match origin {
            Origin::Received => 0,
            Origin::Local => MADE_HERE,
        };
        Self { notes: self.notes & !MADE_HERE | made_here, ..self }
    }

    /// The same for others.
    #[inline]
    #[must_use]
    pub const fn with_link_cast(self, link_cast: LinkCast) -> Self {
        Self { notes: self.notes & !LINK_CAST | link_cast as u16, ..self }
    }

    /// Returns the index of the interface that received the packet, if one did.
    #[inline]
    #[must_use]
    pub const fn rx_if(self) -> Option<u16> {
        if self.rx_if == NO_INTERFACE { None } else { Some(self.rx_if) }
    }

    /// Returns the number of the VLAN whose tag was taken off; 0 for none.
    #[inline]
    #[must_use]
    pub const fn vlan(self) -> u16 {
        self.notes >> VLAN_SHIFT
    }

    /// Returns where the packet came from.
    #[inline]
    #[must_use]
    pub const fn origin(self) -> Origin {
        if self.notes & MADE_HERE == 0 { Origin::Received } else { Origin::Local }
    }

    /// Returns to whom the received frame was addressed.
    #[inline]
    #[must_use]
    pub const fn link_cast(self) -> LinkCast {
        match self.notes & LINK_CAST {
            0 => LinkCast::Unicast,
            1 => LinkCast::Multicast,
            2 => LinkCast::Broadcast,
            _ => LinkCast::OtherHost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_packet_does_not_disturb_what_was_said_before() {
        let casts = [LinkCast::Unicast, LinkCast::Multicast, LinkCast::Broadcast, LinkCast::OtherHost];
        for (cast, origin) in casts.into_iter().flat_map(|cast| [(cast, Origin::Received), (cast, Origin::Local)]) {
            for vlan in [0, 1, 10, 4095] {
                let said = Arrival::NOWHERE.with_interface(3).with_vlan(vlan).with_link_cast(cast).with_origin(origin);
                assert_eq!((said.rx_if(), said.vlan()), (Some(3), vlan));
                assert_eq!((said.link_cast(), said.origin()), (cast, origin));
                assert_eq!(said.with_vlan(7).with_vlan(vlan), said);
            }
        }
    }
}
