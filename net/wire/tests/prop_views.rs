//! Properties of the views: no accessor panics on any bytes, and an independent decoder reads the same.

use core::net::Ipv4Addr;

use etherparse::{ArpPacketSlice, Icmpv4Slice, Ipv4HeaderSlice, PacketBuilder, UdpSlice};
use proptest::{collection::vec, prelude::*};
use wire::{
    Arp, ArpOperation, ArpPacket, EtherType, Ethernet, EthernetHeader, Icmpv4, Ipv4, Ipv4Header, MacAddr, Udp,
    checksum, icmpv4::Message, options,
};

/// Calls every accessor of every view that accepts `bytes`.
fn read_everything(bytes: &[u8]) -> usize {
    let mut seen = 0;
    if let Ok(v) = Ethernet::new_checked(bytes) {
        seen += v.payload().len() + usize::from(v.destination().is_group() && v.source().is_station());
        seen += usize::from(v.ether_type().is_length());
    }
    if let Ok(v) = Arp::new_checked(bytes) {
        seen += usize::from(v.is_ipv4_over_ethernet()) + usize::from(v.operation().is_some());
        seen += usize::from(v.sender_mac() == v.target_mac()) + usize::from(v.sender_ip() == v.target_ip());
    }
    for v in [Ipv4::new_checked(bytes), Ipv4::new_quoted(bytes)].into_iter().flatten() {
        seen += v.payload().len() + v.options().len() + v.header_len() + usize::from(v.is_intact());
        seen += usize::from(v.fragment_offset()) + usize::from(v.is_fragment()) + usize::from(v.ttl());
        seen += options::walk(v.options()).map(|o| o.map_or(1, |o| o.bytes.len())).sum::<usize>();
    }
    if let Ok(v) = Icmpv4::new_checked(bytes) {
        seen += v.body().len() + usize::from(v.is_intact()) + usize::from(v.ident()) + usize::from(v.sequence());
    }
    if let Ok(v) = Udp::new_checked(bytes) {
        seen += v.payload().len() + usize::from(v.is_intact(Ipv4Addr::LOCALHOST, Ipv4Addr::BROADCAST));
    }
    seen + usize::from(checksum::of(bytes))
}

fn mac() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(MacAddr)
}

fn ip() -> impl Strategy<Value = Ipv4Addr> {
    any::<u32>().prop_map(Ipv4Addr::from_bits)
}

prop_compose! {
    fn header()(tos: u8, ident: u16, flags in 0..4_u8, eights in 0..8192_u16, ttl: u8, protocol: u8, source in ip(), destination in ip(), total_len in 20..1500_u16) -> Ipv4Header {
        Ipv4Header {
            tos, total_len, ident, dont_fragment: flags & 1 != 0, more_fragments: flags & 2 != 0,
            fragment_offset: eights * 8, ttl, protocol, source, destination,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_accessor_panics_whatever_the_bytes(bytes in vec(any::<u8>(), 0..128)) {
        read_everything(&bytes);
    }

    #[test]
    fn no_accessor_panics_on_almost_right_packets(ihl in 0..16_u8, len in 0..160_u16, mut bytes in vec(any::<u8>(), 20..128)) {
        bytes[0] = 0x40 | ihl;
        bytes[2..4].copy_from_slice(&len.to_be_bytes());
        read_everything(&bytes);
    }

    #[test]
    fn an_ipv4_header_reads_as_it_was_written_and_as_the_oracle_reads_it(fields in header(), words in 0..=10_usize, fill: u8) {
        let mut packet = vec![0xa5; 1600];
        let options = vec![fill; words * 4];
        let (fixed, rest) = packet.split_first_chunk_mut().unwrap();
        let fields = Ipv4Header { total_len: fields.total_len.max(20 + 4 * u16::try_from(words).unwrap()), ..fields };
        fields.emit_with_options(fixed, &options);
        rest[..options.len()].copy_from_slice(&options);

        let ours = Ipv4::new_checked(&packet).unwrap();
        prop_assert!(ours.is_intact());
        let read = Ipv4Header {
            tos: ours.tos(), total_len: ours.total_len(), ident: ours.ident(), dont_fragment: ours.dont_fragment(),
            more_fragments: ours.more_fragments(), fragment_offset: ours.fragment_offset(), ttl: ours.ttl(),
            protocol: ours.protocol(), source: ours.source(), destination: ours.destination(),
        };
        prop_assert_eq!(read, fields);

        let oracle = Ipv4HeaderSlice::from_slice(&packet).unwrap();
        prop_assert_eq!(oracle.to_header().calc_header_checksum(), ours.checksum());
        prop_assert_eq!(oracle.options(), ours.options());
        prop_assert_eq!(oracle.total_len(), ours.total_len());
        prop_assert_eq!(oracle.fragments_offset().byte_offset(), ours.fragment_offset());
        prop_assert_eq!((oracle.dont_fragment(), oracle.more_fragments()), (ours.dont_fragment(), ours.more_fragments()));
        prop_assert_eq!((oracle.ttl(), oracle.protocol().0), (ours.ttl(), ours.protocol()));
        prop_assert_eq!((oracle.source_addr(), oracle.destination_addr()), (ours.source(), ours.destination()));
    }

    #[test]
    fn the_oracles_datagrams_read_as_it_meant_them(source in ip(), destination in ip(), ports: (u16, u16), ttl: u8, from in mac(), to in mac(), payload in vec(any::<u8>(), 0..256)) {
        let builder = PacketBuilder::ethernet2(from.0, to.0).ipv4(source.octets(), destination.octets(), ttl).udp(ports.0, ports.1);
        let mut frame = Vec::new();
        builder.write(&mut frame, &payload).unwrap();
        let ethernet = Ethernet::new_checked(&frame).unwrap();
        prop_assert_eq!((ethernet.source(), ethernet.destination(), ethernet.ether_type()), (from, to, EtherType::IPV4));
        let ip = Ipv4::new_checked(ethernet.payload()).unwrap();
        prop_assert!(ip.is_intact());
        prop_assert_eq!((ip.source(), ip.destination(), ip.ttl()), (source, destination, ttl));
        let udp = Udp::new_checked(ip.payload()).unwrap();
        prop_assert!(udp.is_intact(source, destination));
        prop_assert_eq!((udp.source_port(), udp.destination_port(), udp.payload()), (ports.0, ports.1, &payload[..]));
        prop_assert_eq!(UdpSlice::from_slice(ip.payload()).unwrap().payload(), udp.payload());
    }

    #[test]
    fn an_echo_reads_as_it_was_written_and_as_the_oracle_reads_it(ident: u16, sequence: u16, body in vec(any::<u8>(), 0..200)) {
        let mut bytes = vec![0xa5; 8];
        bytes.extend(&body);
        Message::EchoRequest { ident, sequence }.emit(&mut bytes).unwrap();
        let ours = Icmpv4::new_checked(&bytes).unwrap();
        prop_assert!(ours.is_intact());
        prop_assert_eq!((ours.ident(), ours.sequence(), ours.body()), (ident, sequence, &body[..]));
        let oracle = Icmpv4Slice::from_slice(&bytes).unwrap();
        prop_assert_eq!(oracle.icmp_type().calc_checksum(oracle.payload()), ours.checksum());
        prop_assert_eq!(oracle.payload(), ours.body());
    }

    #[test]
    fn an_arp_packet_reads_as_it_was_written_and_as_the_oracle_reads_it(request: bool, macs in (mac(), mac()), ips in (ip(), ip())) {
        let operation = if request { ArpOperation::Request } else { ArpOperation::Reply };
        let packet = ArpPacket { operation, sender_mac: macs.0, sender_ip: ips.0, target_mac: macs.1, target_ip: ips.1 };
        let bytes = packet.to_bytes();
        let ours = Arp::new_checked(&bytes).unwrap();
        prop_assert!(ours.is_ipv4_over_ethernet());
        prop_assert_eq!(ours.operation(), Some(operation));
        prop_assert_eq!((ours.sender_mac(), ours.target_mac()), macs);
        prop_assert_eq!((ours.sender_ip(), ours.target_ip()), ips);
        let oracle = ArpPacketSlice::from_slice(&bytes).unwrap();
        prop_assert_eq!((oracle.sender_hw_addr(), oracle.target_hw_addr()), (&macs.0.0[..], &macs.1.0[..]));
        prop_assert_eq!(oracle.sender_protocol_addr(), &ips.0.octets()[..]);
    }

    #[test]
    fn an_ethernet_header_reads_as_it_was_written(destination in mac(), source in mac(), kind: u16) {
        let header = EthernetHeader { destination, source, ether_type: EtherType(kind) };
        let bytes = header.to_bytes();
        let read = Ethernet::new_checked(&bytes).unwrap();
        prop_assert_eq!((read.destination(), read.source(), read.ether_type()), (destination, source, EtherType(kind)));
    }

    #[test]
    fn an_update_equals_recomputation_for_any_word(words in vec(1..=u16::MAX, 2..12), at: usize, new: u16) {
        let bytes = |words: &[u16]| words.iter().flat_map(|w| w.to_be_bytes()).collect::<Vec<u8>>();
        let before = checksum::of(&bytes(&words));
        let mut changed = words.clone();
        let at = at % words.len();
        changed[at] = new;
        prop_assert_eq!(checksum::update(before, words[at], new), checksum::of(&bytes(&changed)));
    }
}
