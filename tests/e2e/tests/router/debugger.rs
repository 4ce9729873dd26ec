//! The debugger on the console of a whole router: ways in, every command, breakpoints under traffic, and out again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::{Bench, PATIENCE, Router};
use serde_json::json;
use sluice::host::{FlowId, FlowSpec};

/// What the debugger asks with.
const PROMPT: &str = "db> ";

/// Stops the router by `command` and returns what the debugger says on entry.
fn enter(router: &mut Router, command: &str) -> Result<String> {
    let console = router.guest().console();
    console.skip();
    console.send_line(command)?;
    entered(router)
}

/// Waits for the debugger and returns what it says on entry.
fn entered(router: &mut Router) -> Result<String> {
    router.guest().wait_for(PROMPT, PATIENCE).context("the debugger does not come")
}

/// Gives the debugger a line and returns its answer.
fn ask(router: &mut Router, line: &str) -> Result<String> {
    let console = router.guest().console();
    console.skip();
    console.send_line(line)?;
    router.guest().wait_for("\n", PATIENCE).with_context(|| format!("no echo of {line:?}"))?;
    let answer = router.guest().wait_for(PROMPT, PATIENCE);
    let answer = answer.with_context(|| format!("no end of the answer to {line:?}"))?;
    Ok(answer.strip_suffix(PROMPT).unwrap_or(&answer).to_owned())
}

/// Asks, and makes sure that each of `parts` is in the answer.
fn expect(router: &mut Router, line: &str, parts: &[&str]) -> Result<String> {
    let answer = ask(router, line)?;
    for part in parts {
        ensure!(answer.contains(part), "{line}: {part:?} was expected:\n{answer}");
    }
    Ok(answer)
}

/// Lets the router go on.
fn leave(router: &mut Router) -> Result<()> {
    let console = router.guest().console();
    console.skip();
    console.send_line("c")?;
    console.wait_prompt(PATIENCE).context("the router does not go on").map(drop)
}

/// Lets a router go on whose console had no command to finish, and waits for its prompt.
fn leave_idle(router: &mut Router) -> Result<()> {
    router.guest().console().send_line("c")?;
    router.guest().console().skip();
    router.guest().console().send_line("")?;
    router.guest().console().wait_prompt(PATIENCE).context("the router does not go on").map(drop)
}

fn traffic(bench: &Bench) -> FlowId {
    bench.lab.start_flow(FlowSpec { window: 4, ..FlowSpec::new(bench.host(0), bench.host(1)) })
}

/// Ends a flow, which may have lost packets while the router stood still, and sends others that may not.
fn traffic_flows_again(mut bench: Bench, flow: FlowId) -> Result<()> {
    bench.lab.stop_flow(flow);
    bench.lab.wait_flow(flow, PATIENCE)?;
    let (one, two) = (bench.host(0), bench.host(1));
    let flows = [
        FlowSpec { packets: Some(2000), ..FlowSpec::new(one, two) },
        FlowSpec { packets: Some(2000), ..FlowSpec::new(two, one) },
    ];
    let delivered = bench.run_perfectly(flows, PATIENCE)?;
    ensure!(delivered == 4000, "{delivered} of 4000");
    // The books: every frame has an explanation, after the stop as before.
    bench.finish()
}

#[test]
fn every_command_of_the_debugger_answers() -> Result<()> {
    let mut bench = Bench::of(2).boot_warm()?;
    let router = &mut bench.router;
    let banner = enter(router, "sysctl debug.kdb.enter=1")?;
    for part in ["KDB: enter: manual escape to debugger", "[ cpu ", "(console)", "Stopped at "] {
        ensure!(banner.contains(part), "{part:?} was expected:\n{banner}");
    }
    for (line, parts) in [
        ("help", &["alltrace", "show:", "callout"][..]),
        ("ps", &["name", ": em0", ": em1", "console", "shutdown", "idle: cpu0", "* "]),
        ("show registers", &["rip", "rsp", "rflags"]),
        ("show reg cpu 1", &["rip"]),
        ("show ring", &["em0   rx  2048", "em0   tx  1024", "em1   rx  2048", "to serve 0", "to clean"]),
        ("show intr", &[": em0", "claimed", "uart0"]),
        ("show dma", &["em0", "quarantine"]),
        ("show ifnet", &["em0: up mac", "em1: up mac", "inet 10.0.1.1/24"]),
        ("show arp", &["10.0.1.2", "em0", "2 entries"]),
        ("show route", &["10.0.2.0/24", "em1"]),
        ("show netisr", &["dispatch direct"]),
        ("show audit", &["forwarded", "unexplained                                 0"]),
        ("show pcpu", &["apic id", "(console)"]),
        ("show callout", &["system::services::", " ms"]),
        ("show locks", &["free  heap", "free  em0 transmit ring", "free  arp", "free  sched run queue 0"]),
        ("show memory", &["packet buffers:", "heap:", "packet buffers:"]),
        ("show shutdown", &["no shutdown has been asked for"]),
        ("show msgbuf", &["em0: Link is up"]),
        ("show version", &["2 CPUs"]),
        ("show breaks", &["no breakpoints"]),
        ("x/4xg $rsp", &[":"]),
        ("x/2xb $rip", &[":"]),
        ("x dead0000", &["*** error reading from address 0xdead0000: not mapped ***"]),
        ("break 10", &["there is no code there"]),
        ("break $rsp", &["there is no code there"]),
        ("frobnicate", &["no such command"]),
    ] {
        expect(router, line, parts)?;
    }
    leave(router)?;
    // The other way in: carriage return, tilde, control-B.
    router.guest().console().skip();
    router.guest().console().send(b"\r~\x02")?;
    let banner = entered(router)?;
    ensure!(banner.contains("KDB: enter: manual escape to debugger"), "{banner}");
    leave_idle(router)?;
    let flow = traffic(&bench);
    traffic_flows_again(bench, flow)
}

#[test]
fn the_debugger_steps_and_goes_on_time_and_again_under_traffic() -> Result<()> {
    let mut bench = Bench::of(2).boot_warm()?;
    let flow = traffic(&bench);
    for _ in 0..5 {
        let banner = enter(&mut bench.router, "debug")?;
        let mut places = vec![place(&banner)?];
        for _ in 0..3 {
            places.push(place(&ask(&mut bench.router, "step")?)?);
        }
        // An empty line steps once more.
        places.push(place(&ask(&mut bench.router, "")?)?);
        ensure!(places.windows(2).all(|pair| pair[0] != pair[1]), "{places:?}");
        leave(&mut bench.router)?;
    }
    traffic_flows_again(bench, flow)
}

/// Returns where a banner says that the router stopped.
fn place(banner: &str) -> Result<String> {
    let line = banner.lines().find_map(|line| line.strip_prefix("Stopped at "));
    line.map(str::to_owned).with_context(|| format!("no place in {banner:?}"))
}

#[test]
fn names_of_code_are_known() -> Result<()> {
    let mut bench = Bench::of(2).boot_warm()?;
    let router = &mut bench.router;
    let banner = enter(router, "debug")?;
    ensure!(banner.contains("Stopped at sluice_kdb_raise"), "{banner}");
    for (line, parts) in [
        ("trace", &["#0 ", "#1 ", ".rs:", "system::console::run"][..]),
        ("trace cpu 0", &["#0 "]),
        ("trace cpu 1", &["#0 "]),
        ("trace cpu 7", &["no such CPU"]),
        ("alltrace", &["Tracing thread 0", "sched::core_state::Core", "ithread::", "system::power::run"]),
        ("list TxRing::reclaim", &["drivers/e1000/src/tx.rs:"]),
        ("list $rip", &["sluice_kdb_raise"]),
        ("show symbol e1000::tx::TxRing::reclaim+4", &["e1000::tx::TxRing::reclaim+0x4", "drivers/e1000/src/tx.rs:"]),
        ("show symbol fmt", &["symbols end in that"]),
        ("x/a $rsp", &["0x"]),
        ("list 10", &["no line is known"]),
        ("list no::such::thing", &["no such symbol"]),
    ] {
        expect(router, line, parts)?;
    }
    // A thread that sleeps is traced from where it was switched away.
    let threads = ask(router, "ps")?;
    let id = threads.lines().find(|line| line.ends_with(": em0")).and_then(|line| line.split_whitespace().next());
    let id = id.context("no thread of em0")?;
    expect(router, &format!("trace thread {id}"), &["sched::core_state::Core", "ithread::", "#3 "])?;
    leave(router)?;
    bench.finish()
}

#[test]
fn a_breakpoint_in_the_forwarding_path_stops_the_traffic_with_a_lock_held_and_lets_it_go() -> Result<()> {
    /// Runs with the lock of the transmit ring held.
    const HELD: &str = "e1000::tx::TxRing::reclaim";
    let mut bench = Bench::of(2).boot_warm()?;
    enter(&mut bench.router, "debug")?;
    expect(&mut bench.router, &format!("break {HELD}"), &[&format!("breakpoint at {HELD}")])?;
    expect(&mut bench.router, "show breaks", &[HELD])?;
    bench.router.guest().console().skip();
    bench.router.guest().console().send_line("c")?;
    let flow = traffic(&bench);
    for _ in 0..3 {
        let banner = entered(&mut bench.router)?;
        ensure!(banner.contains(&format!("Breakpoint at {HELD}: drivers/e1000/src/tx.rs:")), "{banner}");
        expect(&mut bench.router, "show locks", &["HELD  em", "transmit ring"])?;
        expect(&mut bench.router, "show ring", &["em0   rx", "locked by a CPU that was stopped", "em1   rx"])?;
        expect(&mut bench.router, "show ifnet", &["em1: up mac"])?;
        expect(&mut bench.router, "trace", &["#0 ", HELD, "#1 ", "e1000::adapter::Adapter<system::registers::Bar>"])?;
        let stepped = ask(&mut bench.router, "step")?;
        ensure!(stepped.contains(&format!("Stopped at {HELD}+")), "{stepped}");
        bench.router.guest().console().skip();
        bench.router.guest().console().send_line("c")?;
    }
    entered(&mut bench.router)?;
    expect(&mut bench.router, "delete 0", &["removed"])?;
    leave_idle(&mut bench.router)?;
    traffic_flows_again(bench, flow)
}

#[test]
fn a_router_whose_every_cpu_spins_with_interrupts_off_is_entered_by_nmi_and_reset() -> Result<()> {
    let mut plan = Bench::of(2);
    plan.machine.smp = 1;
    let mut bench = plan.boot_warm()?;
    bench.router.guest().console().skip();
    bench.router.guest().console().send_line("sysctl debug.fail_point.wedge_cpu=0")?;
    bench.router.guest().wait_for("spins with interrupts off", PATIENCE)?;
    std::thread::sleep(Duration::from_secs(1));
    // It says so just before it does; an NMI that comes in between is repeated.
    let deadline = Instant::now() + PATIENCE;
    loop {
        bench.router.guest().monitor().execute("inject-nmi", json!({}))?;
        let banner = entered(&mut bench.router)?;
        if banner.contains("(wedge)") {
            break;
        }
        ensure!(Instant::now() < deadline, "it never spins: {banner}");
        bench.router.guest().console().send_line("c")?;
        // One that comes while the machine is still on its way out of the debugger is taken for a second press.
        std::thread::sleep(Duration::from_secs(1));
    }
    let registers = ask(&mut bench.router, "show registers")?;
    let flags = registers.lines().find_map(|line| line.strip_prefix("rflags")).context("no flags")?;
    let flags = u64::from_str_radix(flags.trim().trim_start_matches("0x"), 16)?;
    ensure!(flags & 0x200 == 0, "interrupts are on: {registers}");
    expect(&mut bench.router, "ps", &["wedge"])?;
    expect(&mut bench.router, "trace", &["system::fail_points::wedge_cpu"])?;
    expect(&mut bench.router, "show ring", &["em1   tx"])?;
    bench.router.guest().console().send_line("reset")?;
    bench.router.wait_for_console()?;
    bench.wait_for_links()?;
    bench.warm_up()?;
    bench.finish()
}

#[test]
fn an_nmi_enters_the_debugger_and_reboot_leaves_it_in_order() -> Result<()> {
    let mut bench = Bench::of(2).boot_warm()?;
    bench.router.guest().console().skip();
    bench.router.guest().monitor().execute("inject-nmi", json!({}))?;
    let banner = entered(&mut bench.router)?;
    ensure!(banner.contains("KDB: enter: non-maskable interrupt"), "{banner}");
    expect(&mut bench.router, "show reg cpu 0", &["rip"])?;
    expect(&mut bench.router, "show reg cpu 1", &["rip"])?;
    bench.router.guest().console().send_line("reboot")?;
    bench.router.guest().wait_for("reboot requested by the debugger", PATIENCE)?;
    bench.router.guest().wait_for("shutdown: clean", PATIENCE)?;
    bench.router.wait_for_console()?;
    bench.finish()
}
