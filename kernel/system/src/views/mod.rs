//! What `show` shows, and the commands that change settings and routes.
//!
//! Each view writes a table, for the console thread and for the debugger in a stopped world alike: it takes a lock only for the
//! moment of a copy, gives up on one whose holder has been stopped, allocates nothing, and ends when writing fails (the
//! reader of a long listing has had enough). Context: thread, or the debugger in a stopped world.

mod cards;
mod kernel;
mod network;
mod run;

use core::{
    fmt::{self, Write},
    net::Ipv4Addr,
    ops::ControlFlow,
};

use cli::View;
use machine::console::print;
use router::{RouteTarget, SYSCTLS};

use crate::{dump, knobs, net, power, selftest, threads, watchdog};

/// Stands for what a view cannot show.
struct Locked;

impl fmt::Display for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("locked by a CPU that was stopped in the middle of a change")
    }
}

/// Writes one view.
///
/// # Errors
/// Those of `out`.
pub(crate) fn show(view: View, out: &mut dyn Write) -> fmt::Result {
    match view {
        View::Intr => cards::interrupts(out),
        View::Dma => cards::dma(out),
        View::Ring => cards::rings(out),
        View::Statistics => cards::statistics(out),
        View::Threads => threads::show(out),
        View::Pcpu => kernel::processors(out),
        View::Callout => kernel::callouts(out),
        View::Locks => kernel::locks(out),
        View::Run => run::show(out),
        View::Memory => kernel::memory(out),
        View::Version => kernel::version(out),
        View::Shutdown => power::show_all(out),
        View::Watchdog => watchdog::show(out),
        View::Crash => dump::show_previous(out),
        View::Selftest => selftest::show(out),
        View::Log => messages(out),
        View::Interfaces | View::Arp | View::Route | View::Netisr | View::Audit => match net::router() {
            Some(router) => network::show(view, router, out),
            None => writeln!(out, "no data path"),
        },
    }
}

/// Writes the message buffer piece by piece.
fn messages(out: &mut dyn Write) -> fmt::Result {
    let mut written = Ok(());
    machine::console::read_messages(|piece| {
        for chunk in piece.utf8_chunks() {
            written = written.and_then(|()| out.write_str(chunk.valid()));
        }
    });
    written
}

/// Writes one line of a listing that visits; breaks the visit off once writing has failed.
fn until_error(written: &mut fmt::Result, write: impl FnOnce() -> fmt::Result) -> ControlFlow<()> {
    *written = write();
    if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
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
