//! Virtual LANs (IEEE 802.1Q): [`VlanId`] and the tag that carries it. Any context.

use core::fmt;

/// Octets by which a tag makes a frame longer: its EtherType and the control information (IEEE 802.1Q 9.3).
pub const VLAN_TAG_LEN: usize = 4;

/// Returns the number in a tag's control information: its lower twelve bits (IEEE 802.1Q 9.6). Above them are the drop eligible indicator
/// and the priority. It is 0 in a tag that has a priority only.
#[inline]
#[must_use]
pub const fn vlan_number(control: u16) -> u16 {
    control & 0x0fff
}

/// The number of a VLAN: 1 to 4094. 0 in a tag means that there is a priority and no VLAN, 4095 is reserved (IEEE 802.1Q, table 9-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VlanId(u16);

impl VlanId {
    /// The smallest.
    pub const MIN: Self = Self(1);
    /// The greatest.
    pub const MAX: Self = Self(4094);

    /// Returns the VLAN of this number, if it is one's.
    #[inline]
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if Self::MIN.0 <= number && number <= Self::MAX.0 { Some(Self(number)) } else { None }
    }

    /// Returns the number. As control information it is this VLAN's with the lowest priority.
    #[inline]
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_vlans_are_1_to_4094() {
        let numbers = (0..=u16::MAX).filter_map(VlanId::new).map(VlanId::get);
        assert!(numbers.eq(1..=4094));
    }

    #[test]
    fn priority_and_drop_eligibility_are_no_part_of_the_number() {
        assert_eq!([0xf00a, 0xe000, 0x0fff].map(vlan_number), [10, 0, 4095]);
    }
}
