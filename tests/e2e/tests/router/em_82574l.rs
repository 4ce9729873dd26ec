//! The conformance suite of a driver in the virtual machine, for the 82574L with each delivery of its interrupts: attach, traffic, wrap
//! of the rings, links that come and go, overload, stop at full traffic, detach. (The 82540EM goes through it in the other files.)

use anyhow::{Context, Result, ensure};
use e2e::{Bench, PATIENCE, Plan};
use sluice::{
    host::{FlowSpec, Ping, Sizes},
    machine::{Machine, NicModel},
};

/// A flow from each host to each other one.
fn mesh(bench: &Bench, packets: Option<u64>, window: u32) -> Vec<FlowSpec> {
    let count = bench.hosts.len();
    let pairs = (0..count).flat_map(|from| (0..count).map(move |to| (from, to))).filter(|(from, to)| from != to);
    let flow = |(from, to): (usize, usize)| FlowSpec {
        ports: (7000 + u16::try_from(from * 16 + to).unwrap_or(0), 9),
        sizes: Sizes::Sweep(18, 1400),
        packets,
        window,
        ..FlowSpec::new(bench.host(from), bench.host(to))
    };
    pairs.map(flow).collect()
}

fn plan(ports: usize, smp: u32) -> Plan {
    let machine = Machine { smp, ..Machine::default() };
    Plan { machine, ..Bench::of(ports) }.cards(NicModel::E1000e).alone()
}

/// Returns how many interrupts of a handler came, by `show intr`.
fn claimed(shown: &str, handler: &str) -> Result<u64> {
    let line = shown.lines().find(|line| line.trim_start().starts_with(&format!("{handler} ")));
    let line = line.with_context(|| format!("no handler {handler}:\n{shown}"))?;
    let number = line.split("claimed ").nth(1).and_then(|rest| rest.split(' ').next());
    number.and_then(|number| number.parse().ok()).with_context(|| line.to_owned())
}

/// The CPU of the interrupt with this name: its thread runs there.
fn cpu_of(shown: &str, interrupt: &str) -> Result<u64> {
    let line = shown.lines().find(|line| line.contains(&format!(": {interrupt} ")) && line.starts_with("irq"));
    let words = line.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let cpu = words.and_then(|words| words.get(2)?.parse().ok());
    cpu.with_context(|| format!("no interrupt {interrupt}:\n{shown}"))
}

/// Traffic several times around the rings, links that flap under it, and the end while it still runs.
fn conforms(plan: Plan, wired: &str) -> Result<()> {
    let mut bench = plan.boot_warm()?;
    let log = bench.router.command("show log")?;
    ensure!(log.contains("em0: <Intel 82574L Gigabit Ethernet>") && log.contains(wired), "not {wired}:\n{log}");
    let flows = mesh(&bench, Some(3000), 16);
    let count = flows.len() as u64;
    assert_eq!(bench.run_perfectly(flows, PATIENCE)?, count * 3000);
    for _ in 0..2 {
        bench.router.guest().set_link(1, false)?;
        bench.router.wait_until("show interfaces", |shown| shown.contains("em1: down mac"))?;
        bench.router.guest().set_link(1, true)?;
        bench.router.wait_until("show interfaces", |shown| shown.contains("em1: up mac"))?;
    }
    bench.warm_up()?;
    // More than the router takes, and then the end in the middle of it.
    let flood: Vec<_> = mesh(&bench, None, 600).into_iter().map(|flow| bench.lab.start_flow(flow)).collect();
    let enough =
        |shown: &str| e2e::Books::parse(shown).is_ok_and(|books| books.fate("forwarded") > 20_000 + count * 3000);
    bench.router.wait_until("show audit", enough)?;
    bench.router.guest().console().skip();
    bench.router.guest().console().send_line("poweroff")?;
    let transcript = bench.router.ends_in_order()?;
    drop(flood);
    for port in 0..bench.hosts.len() {
        let ledger = transcript.lines().find(|line| line.contains(&format!("shutdown: ledger: em{port}: ")));
        ensure!(ledger.is_some_and(|ledger| ledger.ends_with("difference 0 and 0")), "{ledger:?}");
    }
    Ok(())
}

#[test]
fn two_queues_with_a_message_each_conform_on_two_processors() -> Result<()> {
    conforms(plan(3, 2), "MSI-X, irq 64, 65, 66, 67, 68, 2 queues")
}

#[test]
fn one_queue_with_messages_conforms_on_one_processor() -> Result<()> {
    conforms(plan(2, 1), "MSI-X, irq 64, 65, 66, 1 queues")
}

#[test]
fn the_single_message_conforms() -> Result<()> {
    conforms(plan(2, 2).tuned("\"hw.pci.enable_msix\" = 0"), "MSI, irq 64")
}

#[test]
fn the_pin_conforms() -> Result<()> {
    let settings = "\"hw.pci.enable_msix\" = 0\n\"hw.pci.enable_msi\" = 0";
    conforms(plan(2, 2).tuned(settings), "INTx, irq ")
}

#[test]
fn flows_between_four_ports_use_both_queues_and_each_has_its_thread() -> Result<()> {
    let mut bench = plan(4, 2).boot_warm()?;
    let flows = mesh(&bench, Some(1500), 12);
    assert_eq!(bench.run_perfectly(flows, PATIENCE)?, 12 * 1500);
    let shown = bench.router.command("show intr")?;
    ensure!(shown.contains("irq64: em0:rx0") && shown.contains("irq68: em0:other"), "{shown}");
    for queue in ["rx0", "rx1"] {
        let interrupts = (0..4).map(|port| claimed(&shown, &format!("em{port}:{queue}"))).sum::<Result<u64>>()?;
        ensure!(interrupts > 20, "{queue}: {interrupts}\n{shown}");
    }
    // A flow and the one back are in the same queues, and must not meet on one processor.
    for (queue, places) in [("rx0", [0, 1, 0, 1]), ("rx1", [1, 0, 1, 0])] {
        for (port, place) in places.into_iter().enumerate() {
            assert_eq!(cpu_of(&shown, &format!("em{port}:{queue}"))?, place, "em{port}:{queue}\n{shown}");
        }
    }
    let run = bench.router.command("show run")?;
    // In some of the eight threads, as one pass in 64 is measured.
    for stage in ["receive", "inspect", "rewrite", "send"] {
        let means = run.lines().filter_map(|line| line.trim().strip_prefix(stage)?.split_whitespace().next());
        ensure!(means.filter_map(|mean| mean.parse().ok()).any(|mean: u64| mean > 0), "{stage}\n{run}");
    }
    let rings = bench.router.command("show ring")?;
    ensure!(rings.contains("em3   rx1 1472") && rings.contains("em3   tx1  448"), "{rings}");
    let memory = bench.router.command("show memory")?;
    let buffers =
        memory.lines().find_map(|line| line.strip_prefix("packet buffers: ")?.split(' ').next()?.parse().ok());
    // All of them full, and some beside.
    ensure!(buffers.is_some_and(|buffers: u32| buffers > 4 * 2 * (1472 + 448)), "{memory}");
    let refused = bench.router.command("sysctl hw.em.num_queues=1")?;
    ensure!(refused.contains("read at boot"), "{refused}");
    bench.finish()
}

/// An interrupt that is lost, as emulators and boards lose them, costs a second or two: the tick finds the frames that wait.
fn outlives_lost_interrupts(plan: Plan) -> Result<()> {
    let mut bench = plan.boot_warm()?;
    bench.router.set("debug.fail_point.lose_interrupts", "em0")?;
    for _ in 0..2 {
        // One request into the silence.
        let patient = Ping { limit: PATIENCE, ..Ping::default() };
        let outcome = bench.lab.ping(bench.host(0), Bench::host_address(1), patient);
        ensure!(outcome.reply().is_some(), "{outcome:?}");
    }
    let log = bench.router.command("show log")?;
    ensure!(log.contains("em0: frames waited for a second without an interrupt, 1 times so far"), "{log}");
    bench.router.set("debug.fail_point.lose_interrupts", "off")?;
    let flows = mesh(&bench, Some(1000), 16);
    assert_eq!(bench.run_perfectly(flows, PATIENCE)?, 2000);
    bench.finish()
}

#[test]
fn an_82574l_outlives_lost_interrupts() -> Result<()> {
    outlives_lost_interrupts(plan(2, 2))
}

#[test]
fn an_82540em_outlives_lost_interrupts() -> Result<()> {
    outlives_lost_interrupts(Bench::of(2).alone())
}
