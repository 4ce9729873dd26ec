//! The data path's views: interfaces, neighbours, routes, dispatch, conservation.
//!
//! Context: thread, or the debugger in a stopped world.

use core::fmt::{self, Write};

use cli::View;
use machine::time;
use router::{InterfaceLook, Router, RouterError};

use super::{Locked, until_error};
use crate::{net, services::InterfaceName};

/// Writes one of these views.
pub(super) fn show(view: View, router: &'static Router, out: &mut dyn Write) -> fmt::Result {
    match view {
        View::Interfaces => interfaces(router, out),
        View::Arp => arp(router, out),
        View::Route => routes(router, out),
        View::Netisr => netisr(router, out),
        _ => write!(out, "{}", router.audit()),
    }
}

/// Writes what a visit of the configuration came to.
fn outcome(visited: Result<(), RouterError>, written: fmt::Result, out: &mut dyn Write) -> fmt::Result {
    if visited.is_err() {
        writeln!(out, "the configuration is being changed; try again")?;
    }
    written
}

fn interfaces(router: &'static Router, out: &mut dyn Write) -> fmt::Result {
    let mut written = Ok(());
    let visited =
        net::in_turn(|| router.visit_interfaces(&mut |look| until_error(&mut written, || interface(look, out))));
    outcome(visited, written, out)
}

fn interface(look: &InterfaceLook<'_>, out: &mut dyn Write) -> fmt::Result {
    let (port, s) = (look.interface, look.interface.statistics());
    let state = match (look.enabled, look.up) {
        (false, _) => "not configured",
        (true, true) => "up",
        (true, false) => "down",
    };
    writeln!(out, "{}: {state} mac {} mtu {}", port.name(), port.mac(), look.mtu)?;
    for address in look.addresses {
        writeln!(out, "    inet {address}")?;
    }
    if let Some((vlan, parent)) = port.vlan() {
        // What concerns the device is its port's.
        writeln!(out, "    vlan: {vlan} parent interface: {parent}")?;
        return writeln!(
            out,
            "    rx {} packets {} octets; tx {} packets {} octets, ring full {}",
            s.rx_packets, s.rx_octets, s.tx_packets, s.tx_octets, s.tx_ring_full
        );
    }
    writeln!(
        out,
        "    rx {} packets {} octets, multicast {} broadcast {}, missed {} no buffer {} crc {} length {} other {}",
        s.rx_packets,
        s.rx_octets,
        s.rx_multicast,
        s.rx_broadcast,
        s.rx_missed,
        s.rx_no_buffer,
        s.rx_crc_errors,
        s.rx_length_errors,
        s.rx_errors
    )?;
    writeln!(
        out,
        "    tx {} packets {} octets, done {} discarded {}, ring full {} errors {}; interrupts {} resets {} link {}",
        s.tx_packets,
        s.tx_octets,
        s.tx_done,
        s.tx_discarded,
        s.tx_ring_full,
        s.tx_errors,
        s.interrupts,
        s.watchdog_resets,
        s.link_changes
    )
}

fn arp(router: &'static Router, out: &mut dyn Write) -> fmt::Result {
    let (mut from, now) = (0, time::now());
    loop {
        let entry = match router.arp().entry(from, now) {
            Ok(Some((place, entry))) => {
                from = place + 1;
                entry
            }
            Ok(None) => break,
            Err(_) => return writeln!(out, "{Locked}"),
        };
        write!(out, "{:<15} ", entry.ip)?;
        match entry.mac {
            Some(mac) => write!(out, "{mac}")?,
            None => write!(out, "(no answer yet)  ")?,
        }
        write!(out, " {:<8} {:<10}", InterfaceName(entry.interface.0), entry.state)?;
        if let Some(age) = entry.age {
            write!(out, " age {} s", age.as_secs())?;
        }
        writeln!(out, " held {}", entry.held)?;
    }
    let s = router.arp().statistics();
    writeln!(
        out,
        "{} entries, {} unresolved, {} packets held; requests sent {} received {}, replies sent {} received {}, \
         timeouts {}, conflicts {}",
        s.entries,
        s.unresolved,
        s.held,
        s.requests_sent,
        s.requests_received,
        s.replies_sent,
        s.replies_received,
        s.timeouts,
        s.conflicts
    )
}

fn routes(router: &'static Router, out: &mut dyn Write) -> fmt::Result {
    let mut written = Ok(());
    let visited = net::in_turn(|| {
        router.visit_routes(&mut |route| {
            until_error(&mut written, || {
                write!(out, "{:<20} {:<10} ", route.prefix, route.source)?;
                if route.next_hop.uses_interface() {
                    write!(out, "{:<8}", InterfaceName(route.next_hop.out))?;
                } else {
                    write!(out, "{:<8}", "-")?;
                }
                writeln!(out, " {}", route.next_hop.via)
            })
        })
    });
    outcome(visited, written, out)
}

fn netisr(router: &'static Router, out: &mut dyn Write) -> fmt::Result {
    let netisr = router.netisr();
    writeln!(out, "dispatch {}, {} workstreams", netisr.policy(), netisr.workstreams())?;
    writeln!(
        out,
        "{:>4} {:>6} {:>6} {:>12} {:>12} {:>8} {:>12} {:>12}",
        "WSID", "Len", "WMark", "Disp'd", "HDisp'd", "QDrops", "Queued", "Handled"
    )?;
    for workstream in 0..netisr.workstreams() {
        if let Some(s) = netisr.statistics(workstream) {
            writeln!(
                out,
                "{workstream:>4} {:>6} {:>6} {:>12} {:>12} {:>8} {:>12} {:>12}",
                s.len, s.watermark, s.dispatched, s.hybrid_dispatched, s.queue_drops, s.queued, s.handled
            )?;
        }
    }
    Ok(())
}
