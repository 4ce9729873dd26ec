//! Descriptors, as far as a stick has them (USB 3.2, 9.6; Mass Storage Bulk-Only Transport 1.0, 4). Pure functions over octets that a
//! device has sent, which may be anything.

/// Types of descriptors.
const CONFIGURATION: u8 = 2;
const INTERFACE: u8 = 4;
const ENDPOINT: u8 = 5;
const COMPANION: u8 = 48;

/// An interface of mass storage, with the SCSI command set, by bulk transfers only.
const BULK_ONLY: [u8; 3] = [0x08, 0x06, 0x50];

/// An endpoint for bulk transfers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bulk {
    /// 1 to 15.
    pub(crate) number: u8,
    pub(crate) toward_host: bool,
    pub(crate) packet: u16,
    /// Packets of a burst, less one; of USB 3.
    pub(crate) burst: u8,
}

/// An interface that can be driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MassStorage {
    pub(crate) configuration: u8,
    pub(crate) interface: u8,
    pub(crate) bulk_in: Bulk,
    pub(crate) bulk_out: Bulk,
}

/// Splits a configuration into its descriptors; ends at one whose length cannot be.
fn descriptors(octets: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = octets;
    core::iter::from_fn(move || {
        let length = usize::from(*rest.first()?);
        let (one, after) = rest.split_at_checked(length).filter(|_| length >= 2)?;
        rest = after;
        Some(one)
    })
}

/// Returns the octets that the whole configuration has, as its first nine say.
pub(crate) fn total_length(head: &[u8]) -> Option<usize> {
    match head {
        [_, CONFIGURATION, low, high, ..] => Some(usize::from(u16::from_le_bytes([*low, *high]))),
        _ => None,
    }
}

/// Finds the first interface in its first setting that is mass storage by bulk transfers only, with an endpoint each way.
pub(crate) fn mass_storage(octets: &[u8]) -> Option<MassStorage> {
    let [_, CONFIGURATION, _, _, _, configuration, ..] = octets else { return None };
    let mut interface = None;
    let (mut bulk_in, mut bulk_out): (Option<Bulk>, Option<Bulk>) = (None, None);
    // The endpoint that a companion is about.
    let mut last_toward_host = None;
    for one in descriptors(octets) {
        match *one {
            [_, INTERFACE, number, alternate, _, class, subclass, protocol, ..] => {
                if bulk_in.is_some() && bulk_out.is_some() {
                    break;
                }
                let is_it = alternate == 0 && [class, subclass, protocol] == BULK_ONLY;
                interface = is_it.then_some(number);
                (bulk_in, bulk_out, last_toward_host) = (None, None, None);
            }
            [_, ENDPOINT, address, attributes, low, high, ..] => {
                last_toward_host = None;
                let number = address & 0xF;
                if interface.is_none() || attributes & 0b11 != 0b10 || number == 0 {
                    continue;
                }
                let toward_host = address & 0x80 != 0;
                let place = if toward_host { &mut bulk_in } else { &mut bulk_out };
                if place.is_none() {
                    let packet = u16::from_le_bytes([low, high]) & 0x7FF;
                    *place = Some(Bulk { number, toward_host, packet, burst: 0 });
                    last_toward_host = Some(toward_host);
                }
            }
            [_, COMPANION, burst, ..] => {
                let place = match last_toward_host {
                    Some(true) => &mut bulk_in,
                    Some(false) => &mut bulk_out,
                    None => continue,
                };
                if let Some(bulk) = place {
                    bulk.burst = burst.min(15);
                }
            }
            _ => {}
        }
    }
    let found =
        MassStorage { configuration: *configuration, interface: interface?, bulk_in: bulk_in?, bulk_out: bulk_out? };
    (found.bulk_in.packet > 0 && found.bulk_out.packet > 0).then_some(found)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    /// A configuration as a stick of USB 3 has it: in its first setting bulk only, in the second by streams.
    fn stick() -> Vec<u8> {
        let parts: [&[u8]; 9] = [
            &[9, 2, 0, 0, 1, 1, 0, 0x80, 50],
            &[9, 4, 0, 0, 2, 8, 6, 0x50, 0],
            &[7, 5, 0x81, 2, 0, 4, 0],
            &[6, 48, 3, 0, 0, 0],
            &[7, 5, 0x02, 2, 0, 4, 0],
            &[6, 48, 15, 0, 0, 0],
            &[9, 4, 0, 1, 4, 8, 6, 0x62, 0],
            &[7, 5, 0x83, 2, 0, 4, 0],
            &[6, 48, 9, 5, 0, 0],
        ];
        parts.concat()
    }

    #[test]
    fn a_stick_is_recognised_by_its_first_setting() {
        let found = mass_storage(&stick()).unwrap();
        assert_eq!((found.configuration, found.interface), (1, 0));
        assert_eq!(found.bulk_in, Bulk { number: 1, toward_host: true, packet: 1024, burst: 3 });
        assert_eq!(found.bulk_out, Bulk { number: 2, toward_host: false, packet: 1024, burst: 15 });
    }

    #[test]
    fn a_keyboard_and_half_a_stick_are_none() {
        let keyboard =
            [&[9, 2, 34, 0, 1, 1, 0, 0x80, 50][..], &[9, 4, 0, 0, 1, 3, 1, 1, 0], &[7, 5, 0x81, 3, 8, 0, 10]];
        assert_eq!(mass_storage(&keyboard.concat()), None);
        assert_eq!(mass_storage(&stick()[..31]), None, "one way only");
        let mut empty = stick();
        empty[18 + 4] = 0;
        empty[18 + 5] = 0;
        assert_eq!(mass_storage(&empty), None, "packets of no octets");
    }

    #[test]
    fn whatever_octets_there_are_nothing_breaks() {
        let good = stick();
        for at in 0..good.len() {
            for value in [0, 1, 2, 0x7F, 0xFF] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = mass_storage(&bad);
                let _ = mass_storage(&bad[..at]);
                let _ = total_length(&bad[..at]);
            }
        }
        assert_eq!(mass_storage(&[0; 64]), None);
    }
}
