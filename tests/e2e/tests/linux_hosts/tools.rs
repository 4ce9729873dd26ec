//! What Linux's tools have to say about the router.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    Site,
    hosts::{Host, LOW_MTU, Server},
};

/// What of iperf3's UDP test may not arrive: the receiver's own socket overflows when it is not let run. The router's own losses
/// are looked for in its books.
const UDP_TOLERANCE_PERCENT: f64 = 5.0;

pub(crate) fn pings(site: &mut Site) -> Result<()> {
    let (a, b) = (Host::A, Host::B);
    for (from, target) in [(a, b.address()), (b, a.address()), (a, b.gateway()), (b, a.gateway()), (a, a.gateway())] {
        let said = site.hosts.run(from, "ping", &["-n", "-c", "20", "-i", "0.05", "-W", "10", &target])?;
        ensure!(said.contains("20 received, 0% packet loss") && !said.contains("DUP!"), "{said}");
        let ttl = if target.ends_with(".2") { "ttl=63" } else { "ttl=64" };
        ensure!(said.contains(ttl), "{ttl} was expected\n{said}");
    }
    let said = site.hosts.run(a, "ping", &["-n", "-c", "3", "-i", "0.1", "-t", "1", &b.gateway()])?;
    ensure!(said.contains("3 received"), "the router answers for all its addresses, whatever the TTL\n{said}");
    Ok(())
}

pub(crate) fn long_pings(site: &mut Site) -> Result<()> {
    for size in ["1", "1372", "1373", "1472", "4000", "30000", "65507"] {
        let arguments = ["-n", "-c", "3", "-i", "0.1", "-W", "10", "-M", "dont", "-s", size, &Host::B.address()];
        let said = site.hosts.run(Host::A, "ping", &arguments)?;
        ensure!(said.contains("3 received, 0% packet loss"), "{said}");
    }
    for gateway in [Host::A.gateway(), Host::B.gateway()] {
        let arguments = ["-n", "-c", "3", "-i", "0.1", "-W", "10", "-s", "1472", &gateway];
        let said = site.hosts.run(Host::A, "ping", &arguments)?;
        ensure!(said.contains("3 received, 0% packet loss"), "{said}");
    }
    Ok(())
}

pub(crate) fn traceroutes(site: &mut Site) -> Result<()> {
    for how in ["-U", "-I"] {
        let arguments = ["-n", how, "-w", "10", "-q", "2", &Host::B.address()];
        let said = site.hosts.run(Host::A, "traceroute", &arguments)?;
        let hops: Vec<(&str, &str)> = said.lines().filter_map(hop).collect();
        let (router, target) = (Host::A.gateway(), Host::B.address());
        ensure!(hops == [("1", router.as_str()), ("2", target.as_str())], "{said}");
        ensure!(!said.contains('*') && !said.contains('!'), "{said}");
    }
    // A network without a route: the router itself says so.
    let said = site.hosts.run(Host::A, "traceroute", &["-n", "-w", "10", "-q", "1", "203.0.113.1"])?;
    ensure!(said.contains(&Host::A.gateway()) && said.contains("!N"), "{said}");
    Ok(())
}

/// Reads number and address of a line of traceroute.
fn hop(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split_whitespace();
    let (number, address) = (words.next()?, words.next()?);
    number.parse::<u8>().ok().map(|_| (number, address))
}

pub(crate) fn path_mtu(site: &mut Site) -> Result<()> {
    let said = site.hosts.run(Host::A, "tracepath", &["-n", &Host::B.address()])?;
    ensure!(said.contains(&format!("pmtu {LOW_MTU}")) && said.contains("reached"), "{said}");
    ensure!(said.contains(&format!("Resume: pmtu {LOW_MTU} hops 2 back 2")), "{said}");
    // The kernel has learned it from the router's ICMP and refuses what is longer.
    let route = site.hosts.run(Host::A, "ip", &["route", "get", &Host::B.address()])?;
    ensure!(route.contains(&format!("mtu {LOW_MTU}")), "{route}");
    let fits = ["-n", "-c", "2", "-i", "0.1", "-W", "10", "-M", "do", "-s", "1372", &Host::B.address()];
    let said = site.hosts.run(Host::A, "ping", &fits)?;
    ensure!(said.contains("2 received"), "{said}");
    Ok(())
}

/// Runs iperf3 from A and returns its report; `reverse` makes B send.
fn iperf3(site: &Site, reverse: bool, arguments: &[&str]) -> Result<Value> {
    let _server = Server::iperf3(&site.hosts, Host::B)?;
    let address = Host::B.address();
    let direction: &[&str] = if reverse { &["--reverse"] } else { &[] };
    let all = [&["--json", "--client", &address, "--port", "5201"], direction, arguments].concat();
    let said = site.hosts.run(Host::A, "iperf3", &all)?;
    serde_json::from_str(&said).with_context(|| format!("iperf3 wrote {said}"))
}

pub(crate) fn tcp(site: &mut Site) -> Result<()> {
    for reverse in [false, true] {
        // So many octets, however long it takes. The sender ends when it has written them, and what its socket still
        // holds is not received any more: a small window keeps that little.
        let octets = 4_000_000;
        let report = iperf3(site, reverse, &["--window", "64K", "--bytes", &octets.to_string()])?;
        let received =
            report.pointer("/end/sum_received/bytes").and_then(Value::as_u64).context("no octets received")?;
        ensure!(received >= octets * 9 / 10, "{received} of {octets} octets were received");
        let rate = report.pointer("/end/sum_received/bits_per_second").and_then(Value::as_f64).unwrap_or(0.0);
        println!("TCP {}: {:.1} Mbit/s", if reverse { "B to A" } else { "A to B" }, rate / 1e6);
    }
    Ok(())
}

pub(crate) fn udp(site: &mut Site) -> Result<()> {
    let before = site.router.settled_books()?;
    for reverse in [false, true] {
        let report = iperf3(site, reverse, &["--udp", "--length", "1200", "--bitrate", "10M", "--time", "3"])?;
        let number = |name: &str| report.pointer(&format!("/end/sum/{name}")).and_then(Value::as_f64);
        let (packets, lost) = (number("packets").context("no packets")?, number("lost_percent").context("no loss")?);
        ensure!(packets > 1000.0 && lost <= UDP_TOLERANCE_PERCENT, "{lost} % of {packets} packets were lost");
        println!("UDP {}: {packets} packets, {lost} % lost", if reverse { "B to A" } else { "A to B" });
    }
    let after = site.router.settled_books()?;
    for reason in ["tx-ring-full", "no-buffer", "netisr-full", "arp-hold-replaced", "no-route"] {
        ensure!(after.fate(reason) == before.fate(reason), "the router dropped packets: {reason}: {after:#?}");
    }
    Ok(())
}
