//! The serial console as somebody who types fast meets it.

use anyhow::{Result, ensure};
use e2e::{Bench, PATIENCE};
use sluice::host::FlowSpec;

/// Longer than the receive buffer of the serial port, and with no two letters alike side by side.
const TEXT: &str = "abcdefghijklmnopqrstuvwxyz0123456789";

/// How often it is typed.
const ROUNDS: usize = 150;

#[test]
fn what_is_typed_arrives_in_the_order_of_typing() -> Result<()> {
    let mut bench = Bench::of(2).boot_warm()?;
    // Traffic, so that the console's thread and the interrupts of the line meet on both processors.
    let flow = bench.lab.start_flow(FlowSpec { window: 4, ..FlowSpec::new(bench.host(0), bench.host(1)) });
    for round in 0..ROUNDS {
        let word = format!("{TEXT}-{round}");
        let answer = bench.router.command(&word)?;
        ensure!(answer.starts_with(&format!("{word}: unknown command")), "round {round}: {word} became {answer:?}");
    }
    bench.lab.stop_flow(flow);
    let report = bench.lab.wait_flow(flow, PATIENCE)?;
    bench.expect_perfect(&[report])?;
    bench.finish()
}

#[test]
fn every_command_of_the_console_answers() -> Result<()> {
    let mut bench = Bench::of(2).boot_warm()?;
    for (command, answer) in [
        ("help", "poweroff"),
        ("show interfaces", "em1: up mac "),
        ("show intr", "em0"),
        ("show statistics", "em0: 82540EM, Link is up 1000 Mbps Full Duplex"),
        ("show threads", "console"),
        ("show dma", "em0"),
        ("show arp", "10.0.1.2"),
        ("show route", "10.0.2.0/24"),
        ("show netisr", "dispatch direct"),
        ("show memory", "packet buffers: "),
        ("show log", "em0: Link is up"),
        ("show audit", "unexplained"),
        ("netstat --audit", "unexplained"),
        ("show version", "2 CPUs"),
        ("sysctl", "net.isr.dispatch=direct"),
        ("sysctl net.isr.dispatch=nonsense", "expected direct, hybrid or deferred"),
        ("sysctl net.no.such", "no such setting"),
        ("ping 10.0.1.2 1", "1 packets received"),
        ("route add 203.0.113.0/24 via 192.0.2.1", "on no connected network"),
        ("frobnicate", "unknown command"),
    ] {
        let said = bench.router.command(command)?;
        ensure!(said.contains(answer), "{command}: {answer:?} was expected:\n{said}");
    }
    bench.finish()
}
