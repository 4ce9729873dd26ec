//! Interfaces that change while the router runs.

use std::net::Ipv4Addr;

use config::Config;
use ifnet::DropReason;
use router::InterfaceError;
use wire::Ipv4Header;

use crate::{
    support::{Bench, EM0, MAC_A, arps, udp},
    vlan::{C20, MAC_C20, R20, across, ask, trunk, warm},
};

/// What the console adds: read as the configuration would be.
fn wanted(name: &str, address: &str) -> config::Interface {
    let text = format!("hostname = \"r\"\n[[interface]]\nname = \"{name}\"\naddresses = [\"{address}\"]\n");
    Config::parse(&text).unwrap().interfaces.remove(0)
}

#[test]
fn a_vlan_that_is_added_is_routed_like_the_others_until_it_is_deleted() {
    const C30: Ipv4Addr = Ipv4Addr::new(10, 30, 0, 2);
    let mut bench = warm();
    let to_30 = udp(&Ipv4Header { destination: C30, ..across() }, 1);
    let send = |bench: &mut Bench| bench.receive_trunk(EM0, &[(10, to_30.clone())]);
    let ask_30 = (30, ask(MAC_A, C30, Ipv4Addr::new(10, 30, 0, 1)));
    bench.receive_trunk(EM0, std::slice::from_ref(&ask_30));
    send(&mut bench);
    assert!(!trunk(&bench).iter().any(|(tag, _)| *tag == 30));
    assert_eq!(bench.dropped(DropReason::EthVlanUnknown), 1);
    assert_eq!(bench.dropped(DropReason::NoRoute), 1);

    bench.router.add_interface(&wanted("em0.30", "10.30.0.1/24")).unwrap();
    assert_eq!(bench.router.vlans_of("em0").unwrap().len(), 3);
    bench.tick_after(100);
    bench.receive_trunk(EM0, std::slice::from_ref(&ask_30));
    drop(trunk(&bench));
    send(&mut bench);
    let sent = trunk(&bench);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].0, 30);

    bench.router.remove_interface("em0.30").unwrap();
    assert_eq!(bench.router.vlans_of("em0").unwrap().len(), 2);
    send(&mut bench);
    bench.receive_trunk(EM0, std::slice::from_ref(&ask_30));
    assert!(!trunk(&bench).iter().any(|(tag, _)| *tag == 30));
    assert_eq!(bench.dropped(DropReason::NoRoute), 2);
    assert_eq!(bench.dropped(DropReason::EthVlanUnknown), 2);
    bench.tick_after(100);

    // Again: it has its place still, and has to learn its neighbour anew.
    bench.router.add_interface(&wanted("em0.30", "10.30.0.1/24")).unwrap();
    bench.tick_after(100);
    drop(trunk(&bench));
    send(&mut bench);
    let asked = trunk(&bench);
    assert_eq!(arps(&asked.iter().map(|(_, frame)| frame.clone()).collect::<Vec<_>>()).len(), 1, "it is asked for");
    bench.receive_trunk(EM0, &[ask_30]);
    assert_eq!(trunk(&bench).iter().filter(|(tag, frame)| *tag == 30 && frame[12..14] == [8, 0]).count(), 1);
    assert_eq!(bench.router.interfaces().unwrap().len(), 5, "two ports, three VLANs");
    bench.assert_conserved();
}

#[test]
fn what_cannot_be_added_or_deleted_changes_nothing() {
    let bench = warm();
    let (routes, generation) = (bench.router.routes().unwrap().len(), bench.router.interfaces().unwrap().len());
    for (name, address, error) in [
        ("em0.10", "10.40.0.1/24", InterfaceError::Exists("em0.10".into())),
        ("em9.10", "10.40.0.1/24", InterfaceError::Unknown("em9".into())),
        ("em1", "10.40.0.1/24", InterfaceError::NotVlan("em1".into())),
        ("em1.7", "10.10.0.129/25", InterfaceError::Overlaps("10.10.0.129/25".parse().unwrap())),
    ] {
        assert_eq!(bench.router.add_interface(&wanted(name, address)), Err(error));
    }
    assert_eq!(bench.router.remove_interface("em1"), Err(InterfaceError::NotVlan("em1".into())));
    assert_eq!(bench.router.remove_interface("em0.11"), Err(InterfaceError::Unknown("em0.11".into())));
    assert_eq!(bench.router.switch_interface("em0", true), Err(InterfaceError::Unknown("em0".into())));
    assert_eq!(bench.router.routes().unwrap().len(), routes);
    assert_eq!(bench.router.interfaces().unwrap().len(), generation);
}

#[test]
fn an_interface_that_is_switched_off_takes_nothing_in_and_nothing_is_routed_there() {
    let mut bench = warm();
    let send = |bench: &mut Bench| bench.receive_trunk(EM0, &[(10, udp(&across(), 1))]);
    send(&mut bench);
    assert_eq!(trunk(&bench).len(), 1);
    bench.router.switch_interface("em0.20", false).unwrap();
    bench.receive_trunk(EM0, &[(20, ask(MAC_C20, C20, R20))]);
    assert_eq!(bench.dropped(DropReason::ForwardingOff), 1);
    bench.tick_after(100);
    drop(trunk(&bench));
    send(&mut bench);
    assert!(!trunk(&bench).iter().any(|(tag, _)| *tag == 20));
    bench.router.switch_interface("em0.20", true).unwrap();
    bench.tick_after(100);
    bench.receive_trunk(EM0, &[(20, ask(MAC_C20, C20, R20))]);
    drop(trunk(&bench));
    send(&mut bench);
    assert_eq!(trunk(&bench).iter().filter(|(tag, _)| *tag == 20).count(), 1);
    bench.assert_conserved();
}
