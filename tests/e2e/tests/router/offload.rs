//! What the cards are asked to do for the router: checksum verdicts, compared with software's and believed; flow control.

use anyhow::{Context, Result, ensure};
use e2e::{Bench, PATIENCE, Plan};
use etherparse::ip_number;
use sluice::{
    host::{FlowSpec, Sizes},
    machine::{Machine, NicModel},
};

use crate::packets;

fn plan() -> Plan {
    let machine = Machine { smp: 2, ..Machine::default() };
    Plan { machine, ..Bench::of(2) }.cards(NicModel::E1000e).alone()
}

/// A packet whose header's checksum is wrong.
fn damaged(bench: &Bench) -> Vec<u8> {
    let header = packets::ip(Bench::host_address(1), ip_number::UDP);
    let mut packet = packets::udp_packet(header, 9, b"with a header that is not right");
    packet[10] ^= 0x40;
    packets::frame(bench, Bench::own_mac(0), &packet)
}

/// Sends traffic of many sizes both ways and damaged packets among it; each of those has to end as a wrong checksum, nothing else
/// may. Returns what the cards' statistics say then.
fn carries(bench: &mut Bench) -> Result<String> {
    const DAMAGED: u64 = 50;
    let frame = damaged(bench);
    for _ in 0..DAMAGED {
        bench.lab.send_frame(bench.host(0), &frame);
    }
    let flow = |from: usize, to: usize| FlowSpec {
        ports: (7000, 9),
        sizes: Sizes::Sweep(18, 1400),
        packets: Some(3000),
        window: 32,
        ..FlowSpec::new(bench.host(from), bench.host(to))
    };
    let flows = [flow(0, 1), flow(1, 0)];
    ensure!(bench.run_perfectly(flows, PATIENCE)? == 6000, "not all arrived");
    let books = bench.router.settled_books()?;
    assert_eq!(books.fate("ip4-bad-checksum"), DAMAGED, "{books:#?}");
    bench.router.command("show statistics")
}

#[test]
fn what_an_82574l_says_of_checksums_is_what_software_says() -> Result<()> {
    let mut bench = plan().tuned("\"hw.em.verify_csum\" = 1").boot_warm()?;
    let shown = carries(&mut bench)?;
    let verdicts: Vec<&str> = shown.lines().filter(|line| line.contains("checksum verdicts: ")).collect();
    ensure!(verdicts.len() == 2, "one line for each card:\n{shown}");
    for line in verdicts {
        let agreed = line.split_whitespace().find_map(|word| word.parse::<u64>().ok()).context("no number")?;
        // Of the header and of UDP.
        ensure!(agreed >= 6000 && line.ends_with("as software's, 0 not, 0 not given"), "{shown}");
    }
    bench.finish()
}

#[test]
fn what_an_82574l_says_of_checksums_is_believed_and_pause_is_agreed_upon() -> Result<()> {
    let mut bench = plan().boot_warm()?;
    let shown = carries(&mut bench)?;
    ensure!(!shown.contains("checksum verdicts"), "nothing is compared:\n{shown}");
    ensure!(shown.contains("em0: 82574L, Link is up 1000 Mbps Full Duplex, flow control RX/TX"), "{shown}");
    // The device's counters are fetched once a second.
    bench.router.wait_until("show statistics", |shown| {
        shown.contains("good_pkts_recvd") && shown.contains("total_octets_txd")
    })?;
    bench.finish()
}

#[test]
fn flow_control_that_is_not_wanted_is_not_offered() -> Result<()> {
    let mut bench = plan().tuned("\"hw.em.fc_setting\" = 0").boot_warm()?;
    let shown = bench.router.command("show statistics")?;
    ensure!(shown.matches("Full Duplex, flow control none").count() == 2, "{shown}");
    ensure!(
        bench.run_perfectly(
            [FlowSpec { packets: Some(500), ..FlowSpec::new(bench.host(0), bench.host(1)) }],
            PATIENCE
        )? == 500
    );
    bench.finish()
}
