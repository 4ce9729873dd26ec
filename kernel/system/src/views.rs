//! What `show` shows, and the commands that change settings and routes.
//!
//! Each view writes a table into a `String`, so that no lock is held while the console prints. Context: the console
//! thread.

use alloc::string::String;
use core::{
    fmt::{self, Write},
    net::Ipv4Addr,
};

use cli::View;
use machine::{console::print, frame, heap, irq, time};
use router::{RouteTarget, Router, SYSCTLS};
use shutdown::Uptime;

use crate::{bus, knobs, net, services, threads};

/// Writes one view.
///
/// # Errors
/// Never by itself; `out` is a `String`.
pub(crate) fn show(view: View, out: &mut String) -> fmt::Result {
    match view {
        View::Intr => interrupts(out),
        View::Threads => threads::show(out),
        View::Dma => dma(out),
        View::Memory => memory(out),
        View::Version => version(out),
        View::Log => Ok(()),
        View::Interfaces | View::Arp | View::Route | View::Netisr | View::Audit => match net::router() {
            Some(router) => network(view, router, out),
            None => writeln!(out, "no data path"),
        },
    }
}

fn network(view: View, router: &'static Router, out: &mut String) -> fmt::Result {
    match view {
        View::Interfaces => interfaces(router, out),
        View::Arp => arp(router, out),
        View::Route => routes(router, out),
        View::Netisr => netisr(router, out),
        _ => audit(router, out),
    }
}

fn version(out: &mut String) -> fmt::Result {
    writeln!(out, "Sluice {} on {}", env!("CARGO_PKG_VERSION"), services::hostname())?;
    let cpus = machine::percpu::online().count();
    writeln!(out, "{cpus} CPUs, clock {:?}, up {}", time::clock_source(), Uptime(time::now()))
}

fn interfaces(router: &'static Router, out: &mut String) -> fmt::Result {
    let Ok(interfaces) = net::in_turn(|| router.interfaces()) else { return writeln!(out, "busy, try again") };
    for status in interfaces {
        let (port, s) = (&status.interface, status.interface.statistics());
        let state = match (status.enabled, status.up) {
            (false, _) => "not configured",
            (true, true) => "up",
            (true, false) => "down",
        };
        writeln!(out, "{}: {state} mac {} mtu {}", port.name(), port.mac(), status.mtu)?;
        for address in &status.addresses {
            writeln!(out, "    inet {address}")?;
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
        )?;
    }
    Ok(())
}

fn interrupts(out: &mut String) -> fmt::Result {
    writeln!(out, "{:<24} {:>4} {:>12} {:>8} {:>12} {:>7}", "interrupt", "cpu", "total", "stray", "passes", "storms")?;
    for event in services::events() {
        let s = event.statistics();
        let cpu = s.cpu.map_or(-1, |cpu| i32::from(cpu.0));
        writeln!(
            out,
            "{:<24} {cpu:>4} {:>12} {:>8} {:>12} {:>7}",
            s.description, s.interrupts, s.strays, s.passes, s.storms
        )?;
        for handler in &s.handlers {
            writeln!(
                out,
                "    {:<20} claimed {} declined {} runs {} idle {} again {}{}",
                handler.name,
                handler.claimed,
                handler.declined,
                handler.runs,
                handler.idle,
                handler.again,
                if handler.suspended { " SUSPENDED" } else { "" }
            )?;
        }
    }
    writeln!(out, "vectors without a handler: {} strays", irq::strays())
}

fn dma(out: &mut String) -> fmt::Result {
    writeln!(
        out,
        "{:<28} {:>6} {:>6} {:>6} {:>8} {:>8} {:>9} {:>10}",
        "tag", "maps", "loaded", "memory", "children", "bounced", "deferred", "quarantine"
    )?;
    let Some(root) = bus::tags() else { return Ok(()) };
    let mut result = Ok(());
    root.walk(&mut |depth, name, live| {
        let indent = depth * 2;
        let width = 28_usize.saturating_sub(indent);
        result = result.and(writeln!(
            out,
            "{:indent$}{name:<width$} {:>6} {:>6} {:>6} {:>8} {:>8} {:>9} {:>10}",
            "", live.maps, live.loaded, live.memories, live.children, live.bounced, live.deferred, live.quarantined
        ));
    });
    result
}

fn arp(router: &'static Router, out: &mut String) -> fmt::Result {
    for entry in router.arp().entries(time::now()) {
        let name = services::interface_name(entry.interface.0);
        write!(out, "{:<15} ", entry.ip)?;
        match entry.mac {
            Some(mac) => write!(out, "{mac}")?,
            None => write!(out, "(no answer yet)  ")?,
        }
        write!(out, " {name:<6} {:<10}", entry.state)?;
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

fn routes(router: &'static Router, out: &mut String) -> fmt::Result {
    let Ok(routes) = net::in_turn(|| router.routes()) else { return writeln!(out, "busy, try again") };
    for route in routes {
        let name =
            if route.next_hop.uses_interface() { services::interface_name(route.next_hop.out) } else { "-".into() };
        writeln!(out, "{:<20} {:<10} {name:<6} {}", route.prefix, route.source, route.next_hop.via)?;
    }
    Ok(())
}

fn netisr(router: &'static Router, out: &mut String) -> fmt::Result {
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

fn audit(router: &'static Router, out: &mut String) -> fmt::Result {
    write!(out, "{}", router.audit())
}

fn memory(out: &mut String) -> fmt::Result {
    let frames = frame::usage();
    writeln!(out, "frames: {} of {} free ({} KiB)", frames.free, frames.total, frames.free * 4)?;
    let heap = heap::usage();
    writeln!(
        out,
        "heap: {} used, {} peak, {} mapped of at most {} octets; {} failures",
        heap.used, heap.peak, heap.mapped, heap.limit, heap.failures
    )?;
    if let Some(pool) = net::pool() {
        let census = pool.census();
        writeln!(
            out,
            "packet buffers: {} total = {} free + {} cached + {} owned; low water {}, exhausted {}",
            census.total, census.free, census.cached, census.owned, census.low_water, census.exhausted
        )?;
    }
    Ok(())
}

/// Prints all settings with their values.
pub(crate) fn sysctls() {
    for sysctl in SYSCTLS {
        let value =
            net::router().and_then(|router| net::in_turn(|| router.sysctl_get(sysctl.name)).ok()).unwrap_or_default();
        print(format_args!("{}={value}  # {}\n", sysctl.name, sysctl.description));
    }
    for knob in knobs::all() {
        print(format_args!("{}={}  # {}\n", knob.name, (knob.get)(), knob.description));
    }
}

/// Prints one setting.
pub(crate) fn sysctl(name: &str) {
    if let Some(knob) = knobs::find(name) {
        return print(format_args!("{name}={}\n", (knob.get)()));
    }
    match net::router().map(|router| net::in_turn(|| router.sysctl_get(name))) {
        Some(Ok(value)) => print(format_args!("{name}={value}\n")),
        Some(Err(error)) => print(format_args!("sysctl: {name}: {error}\n")),
        None => print(format_args!("sysctl: no data path\n")),
    }
}

/// Changes one setting.
pub(crate) fn set_sysctl(name: &str, value: &str) {
    if let Some(knob) = knobs::find(name) {
        let before = (knob.get)();
        return match knob.set(value) {
            Ok(()) => print(format_args!("{name}: {before} -> {}\n", (knob.get)())),
            Err(error) => print(format_args!("sysctl: {name}: {error}\n")),
        };
    }
    let Some(router) = net::router() else { return print(format_args!("sysctl: no data path\n")) };
    let before = net::in_turn(|| router.sysctl_get(name)).unwrap_or_default();
    match net::in_turn(|| router.sysctl_set(name, value)) {
        Ok(()) => print(format_args!("{name}: {before} -> {value}\n")),
        Err(error) => print(format_args!("sysctl: {name}: {error}\n")),
    }
}

/// Adds a static route; without a gateway, a black hole.
pub(crate) fn add_route(prefix: &str, gateway: Option<Ipv4Addr>) {
    let Some(router) = net::router() else { return print(format_args!("route: no data path\n")) };
    let Ok(parsed) = prefix.parse() else { return print(format_args!("route: {prefix}: not an IPv4 prefix\n")) };
    let target = gateway.map_or(RouteTarget::Blackhole, RouteTarget::Via);
    match net::in_turn(|| router.add_routes([(parsed, target)])) {
        Ok(()) => print(format_args!("add net {parsed}\n")),
        Err(error) => print(format_args!("route: {prefix}: {error}\n")),
    }
}

/// Deletes a static route.
pub(crate) fn delete_route(prefix: &str) {
    let Some(router) = net::router() else { return print(format_args!("route: no data path\n")) };
    let Ok(parsed) = prefix.parse() else { return print(format_args!("route: {prefix}: not an IPv4 prefix\n")) };
    match net::in_turn(|| router.remove_routes([parsed])) {
        Ok(()) => print(format_args!("delete net {parsed}\n")),
        Err(error) => print(format_args!("route: {prefix}: {error}\n")),
    }
}
