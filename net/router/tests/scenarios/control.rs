//! Configuration, routes, links and settings while traffic flows.

use std::{net::Ipv4Addr, ops::ControlFlow, sync::atomic::Ordering, time::Duration};

use config::Config;
use ifnet::DropReason;
use router::{ApplyError, RouteTarget, RouterError, SYSCTLS, SysctlError};
use wire::{Icmpv4, Ipv4Header};

use crate::support::{A, B, Bench, CONFIG, EM0, EM1, MAC_A, MAC_B, arps, good, udp};

#[test]
fn a_router_without_configuration_forwards_nothing_and_counts_everything() {
    let mut bench = Bench::unconfigured(2);
    bench.receive(EM0, &udp(&good(), 0));
    bench.learn(EM0, A, MAC_A);
    assert!(bench.ports.iter().all(|port| port.take().is_empty()));
    assert_eq!(bench.assert_conserved().fates.dropped_total(), 2);
}

#[test]
fn a_configuration_that_does_not_fit_changes_nothing() {
    let mut bench = Bench::warm();
    for (from, to) in [("em1", "em7"), ("198.51.100.9", "203.0.113.9"), ("198.51.100.9", "198.51.100.1")] {
        let Ok(config) = Config::parse(&CONFIG.replacen(from, to, 1)) else { continue };
        assert!(bench.router.apply(&config).is_err(), "{to}");
    }
    let bad = format!("{CONFIG}\n[sysctl]\n\"net.isr.dispatch\" = \"sideways\"\n");
    let error = bench.router.apply(&Config::parse(&bad).unwrap()).unwrap_err();
    assert!(matches!(&error, ApplyError::Config(e) if e.line > 1), "{error}");
    bench.receive(EM0, &udp(&good(), 0));
    assert_eq!(bench.ports[1].take_ip().len(), 1);
}

#[test]
fn a_new_configuration_takes_effect_with_the_next_pass() {
    let mut bench = Bench::warm();
    let config = format!("{CONFIG}\n[sysctl]\n\"net.inet.ip.forwarding\" = 0\n");
    bench.router.apply(&Config::parse(&config).unwrap()).unwrap();
    bench.receive(EM0, &udp(&good(), 0));
    assert_eq!(bench.dropped(DropReason::ForwardingOff), 1);
    bench.router.apply(&Config::parse(CONFIG).unwrap()).unwrap();
    bench.receive(EM0, &udp(&good(), 0));
    assert_eq!(bench.ports[1].take_ip().len(), 1);
    bench.assert_conserved();
}

#[test]
fn routes_that_come_and_go_many_times_take_effect_with_the_next_packet() {
    let mut bench = Bench::warm();
    let host = wire::Ipv4Prefix::host(B);
    let mut forwarded = 0;
    for round in 0..600 {
        bench.router.add_routes([(host, RouteTarget::Blackhole)]).unwrap();
        bench.receive(EM0, &udp(&good(), round));
        bench.router.remove_routes([host]).unwrap();
        bench.receive(EM0, &udp(&good(), round));
        forwarded += bench.ports[1].take_ip().len();
    }
    assert_eq!((bench.dropped(DropReason::RouteBlackhole), forwarded), (600, 600));
    bench.assert_conserved();
}

#[test]
fn rfc1812_5_3_12_3_routes_of_a_link_that_is_down_are_withdrawn_and_come_back() {
    let mut bench = Bench::warm();
    bench.ports[1].link.store(false, Ordering::Relaxed);
    bench.tick_after(100);
    bench.receive(EM0, &udp(&good(), 0));
    let error = bench.ports[0].take_ip();
    let error = Icmpv4::new_checked(&error[0][20..]).unwrap();
    assert_eq!((error.kind(), error.code()), (3, 0));
    assert_eq!(bench.dropped(DropReason::NoRoute), 1);
    assert!(!bench.router.interfaces().unwrap()[1].up);

    bench.ports[1].link.store(true, Ordering::Relaxed);
    bench.tick_after(100);
    let announced = arps(&bench.ports[1].take());
    assert_eq!(announced.len(), 1, "RFC 5227 2.3: our address is announced when the link comes up");
    bench.learn(EM1, B, MAC_B);
    bench.receive(EM0, &udp(&good(), 0));
    assert_eq!(bench.ports[1].take_ip().len(), 1);
    bench.assert_conserved();
}

#[test]
fn packets_on_their_way_into_a_link_that_just_failed_are_counted() {
    let mut bench = Bench::warm();
    bench.ports[1].link.store(false, Ordering::Relaxed);
    bench.receive(EM0, &udp(&good(), 0));
    bench.ports[1].link.store(true, Ordering::Relaxed);
    bench.ports[1].running.store(false, Ordering::Relaxed);
    bench.receive(EM0, &udp(&good(), 0));
    assert_eq!(bench.dropped(DropReason::TxLinkDown), 1);
    assert_eq!(bench.dropped(DropReason::TxNotRunning), 1);
    bench.assert_conserved();
}

#[test]
fn a_link_that_fails_gives_up_what_was_held_for_it() {
    let mut bench = Bench::cold();
    bench.receive_all(EM0, &[udp(&good(), 0), udp(&good(), 1)]);
    bench.ports[1].link.store(false, Ordering::Relaxed);
    bench.tick_after(100);
    assert_eq!(bench.dropped(DropReason::ArpFlushed), 2);
    assert_eq!(bench.assert_conserved().held_arp, 0);
}

#[test]
fn rfc1812_7_4_static_routes_come_and_go_without_loss_elsewhere() {
    let mut bench = Bench::warm();
    for n in 0..50_u32 {
        let prefix = |i: u32| format!("172.16.{n}.{i}/32").parse().unwrap();
        bench.router.add_routes((0..100).map(|i| (prefix(i), RouteTarget::Via(B)))).unwrap();
        bench.receive(EM0, &udp(&good(), n));
        bench.receive(EM0, &udp(&Ipv4Header { destination: prefix(7).addr(), ..good() }, n));
        if n % 2 == 0 {
            bench.router.remove_routes((0..100).map(prefix)).unwrap();
        }
        bench.tick_after(100);
    }
    assert_eq!(bench.ports[1].take_ip().len(), 100);
    assert_eq!(bench.router.routes().unwrap().len(), 8 + 2 + 25 * 100);
    bench.assert_conserved();
}

#[test]
fn views_go_through_routes_and_interfaces_until_they_have_seen_enough() {
    let bench = Bench::warm();
    let (mut routes, mut names) = (Vec::new(), Vec::new());
    let visited = bench.router.visit_routes(&mut |route| {
        routes.push(*route);
        ControlFlow::Continue(())
    });
    assert_eq!((visited, &routes), (Ok(()), &bench.router.routes().unwrap()));
    let visited = bench.router.visit_interfaces(&mut |look| {
        names.push((look.interface.name().to_owned(), look.addresses.to_vec(), look.mtu, look.enabled, look.up));
        if names.len() == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(visited, Ok(()));
    let all = bench.router.interfaces().unwrap();
    let first = all.iter().take(2).map(|status| {
        (status.interface.name().to_owned(), status.addresses.clone(), status.mtu, status.enabled, status.up)
    });
    assert_eq!(names, first.collect::<Vec<_>>());
    // A visitor that asks for the configuration again is refused, not deadlocked.
    let mut again = None;
    let _ = bench.router.visit_routes(&mut |_| {
        again = Some(bench.router.visit_routes(&mut |_| ControlFlow::Continue(())));
        ControlFlow::Break(())
    });
    assert_eq!(again, Some(Err(RouterError::Busy)));
}

#[test]
fn routes_that_cannot_be_are_refused() {
    let bench = Bench::warm();
    let prefix = "172.16.0.0/12".parse().unwrap();
    for gateway in ["203.0.113.1", "192.0.2.1", "192.0.2.255", "10.0.0.1"] {
        let route = (prefix, RouteTarget::Via(gateway.parse().unwrap()));
        assert_eq!(bench.router.add_routes([route]), Err(RouterError::BadGateway(prefix)), "{gateway}");
    }
    assert_eq!(bench.router.remove_routes([prefix]), Err(RouterError::NoSuchRoute(prefix)));
    let connected = "192.0.2.0/24".parse().unwrap();
    assert_eq!(bench.router.remove_routes([connected]), Err(RouterError::NoSuchRoute(connected)));
}

#[test]
fn settings_can_be_read_and_changed_by_name() {
    let bench = Bench::warm();
    for sysctl in SYSCTLS {
        assert!(bench.router.sysctl_get(sysctl.name).is_ok(), "{}", sysctl.name);
    }
    assert_eq!(bench.router.sysctl_get("net.inet.ip.forwarding").unwrap(), "1");
    bench.router.sysctl_set("net.isr.dispatch", "hybrid").unwrap();
    assert_eq!(bench.router.netisr().policy(), netisr::Policy::Hybrid);
    assert_eq!(bench.router.sysctl_set("net.isr.dispatch", "x"), Err(RouterError::Sysctl(SysctlError::NotAPolicy)));
    assert_eq!(bench.router.sysctl_get("no.such"), Err(RouterError::Sysctl(SysctlError::UnknownName)));
}

#[test]
fn the_ttl_of_our_own_packets_is_the_one_set() {
    let mut bench = Bench::warm();
    bench.router.sysctl_set("net.inet.ip.ttl", "9").unwrap();
    bench.receive(EM0, &udp(&Ipv4Header { ttl: 1, ..good() }, 0));
    assert_eq!(bench.ports[0].take_ip()[0][8], 9);
}

#[test]
fn the_router_wants_its_ticks_soon_while_packets_come_or_are_made_and_rarely_when_none_do() {
    const SOON: Duration = Duration::from_millis(100);
    const RARELY: Duration = Duration::from_secs(1);
    let mut bench = Bench::warm();
    let after = |bench: &mut Bench, millis: u64| {
        bench.now = bench.now + Duration::from_millis(millis);
        bench.worker.tick(bench.now)
    };
    assert_eq!(after(&mut bench, 100), SOON);
    assert_eq!(after(&mut bench, 2100), RARELY);
    bench.receive_all(EM0, &[udp(&good(), 0)]);
    assert_eq!(after(&mut bench, 900), SOON, "a packet has come");
    assert_eq!(after(&mut bench, 2100), RARELY);
    // Nobody is there: what is sent is the question who it is.
    bench.receive_all(EM0, &[udp(&Ipv4Header { destination: Ipv4Addr::new(198, 51, 100, 77), ..good() }, 0)]);
    for _ in 0..30 {
        assert_eq!(after(&mut bench, 100), SOON, "a neighbour that stays silent is asked in time");
    }
}
