//! Address resolution as far as the generator's hosts need it (RFC 826): requests, replies, and reading both.

use std::net::Ipv4Addr;

use wire::{Ipv4Prefix, MacAddr};

use crate::bench::{Extremity, HOSTS, ROUTER};

/// The shortest frame of Ethernet without its check sequence.
const SHORTEST: usize = 60;

/// The EtherType of ARP, and what an ARP packet for IPv4 on Ethernet begins with.
const TYPE: [u8; 2] = [0x08, 0x06];
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];

const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// What somebody asks or says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Asks for an address.
    Asks { sender: Extremity, wanted: Ipv4Addr },
    /// Says where it is.
    Says { sender: Extremity },
}

/// Returns the networks of the hosts at the ports, each with the index of its port.
pub(super) fn networks() -> Vec<(usize, Ipv4Prefix)> {
    HOSTS.iter().map(|host| Ipv4Prefix::containing(host.address, 24)).enumerate().collect()
}

/// Returns whether `wanted`, asked for by `sender` at a port, is an address that is played: of one of the networks there, and not the
/// router's own, which it may ask for to announce it or to see whether somebody else has it (RFC 5227).
pub(super) fn is_played(networks: &[(usize, Ipv4Prefix)], port: usize, sender: Extremity, wanted: Ipv4Addr) -> bool {
    let is_there = networks.iter().any(|(at, network)| *at == port && network.contains(wanted));
    is_there
        && wanted != sender.address
        && !sender.address.is_unspecified()
        && ROUTER.iter().all(|own| own.address != wanted)
}

/// Returns the frame with which `host` asks for an address.
pub(super) fn request(host: Extremity, wanted: Ipv4Addr) -> Vec<u8> {
    frame(REQUEST, MacAddr([0xff; 6]), host, Extremity { mac: MacAddr([0; 6]), address: wanted })
}

/// Returns the frame with which `host` answers `asker`.
pub(super) fn reply(host: Extremity, asker: Extremity) -> Vec<u8> {
    frame(REPLY, asker.mac, host, asker)
}

/// Returns whether a frame is of address resolution.
pub(super) fn is_arp(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&TYPE)
}

/// Reads a frame.
pub(super) fn read(frame: &[u8]) -> Option<Heard> {
    let packet = frame.get(14..42).filter(|_| is_arp(frame))?;
    let (kind, rest) = packet.split_first_chunk::<6>()?;
    let (operation, rest) = rest.split_first_chunk::<2>()?;
    let (mac, rest) = rest.split_first_chunk::<6>()?;
    let (address, rest) = rest.split_first_chunk::<4>()?;
    let wanted = Ipv4Addr::from(*rest.last_chunk::<4>()?);
    let sender = Extremity { mac: MacAddr(*mac), address: Ipv4Addr::from(*address) };
    match *operation {
        REQUEST if *kind == KIND => Some(Heard::Asks { sender, wanted }),
        REPLY if *kind == KIND => Some(Heard::Says { sender }),
        _ => None,
    }
}

fn frame(operation: [u8; 2], to: MacAddr, sender: Extremity, target: Extremity) -> Vec<u8> {
    let mut frame = [&to.0[..], &sender.mac.0, &TYPE, &KIND, &operation].concat();
    for end in [sender, target] {
        frame.extend_from_slice(&end.mac.0);
        frame.extend_from_slice(&end.address.octets());
    }
    frame.resize(SHORTEST, 0);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_answers_are_understood() {
        let asked = request(HOSTS[0], ROUTER[0].address);
        assert_eq!(asked.len(), SHORTEST);
        assert_eq!(read(&asked), Some(Heard::Asks { sender: HOSTS[0], wanted: ROUTER[0].address }));
        // The router's own reader is another one.
        let theirs = wire::Arp::new_checked(&asked[14..]).unwrap();
        assert_eq!((theirs.sender_mac(), theirs.target_ip()), (HOSTS[0].mac, ROUTER[0].address));
        let answered = reply(ROUTER[0], HOSTS[0]);
        assert_eq!(read(&answered), Some(Heard::Says { sender: ROUTER[0] }));
        assert_eq!(answered[..6], HOSTS[0].mac.0);
    }

    #[test]
    fn all_hosts_of_a_network_are_played_but_not_the_router() {
        let mut networks = networks();
        networks.push((1, "10.64.0.0/16".parse().unwrap()));
        let asks = |port, sender: &str, wanted: &str| {
            let sender = Extremity { address: sender.parse().unwrap(), ..ROUTER[1] };
            is_played(&networks, port, sender, wanted.parse().unwrap())
        };
        assert!(
            asks(1, "10.0.2.1", "10.0.2.2") && asks(1, "10.0.2.1", "10.0.2.77") && asks(1, "10.64.0.1", "10.64.9.9")
        );
        assert!(!asks(0, "10.0.1.1", "10.64.9.9") && !asks(1, "10.0.2.1", "10.0.2.1"));
        assert!(!asks(1, "10.64.0.1", "10.64.0.1"), "announced");
        assert!(!asks(1, "0.0.0.0", "10.64.0.1"), "probed");
    }

    #[test]
    fn anything_else_is_not() {
        let mut frame = request(HOSTS[0], ROUTER[0].address);
        assert_eq!(read(&frame[..41]), None);
        frame[21] = 3;
        assert_eq!(read(&frame), None);
        frame[21] = 1;
        frame[12] = 0x86;
        assert_eq!(read(&frame), None);
    }
}
