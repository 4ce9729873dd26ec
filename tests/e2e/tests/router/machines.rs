//! Machines that differ from the plain one as real ones do.

use std::{ops::Range, path::Path, thread, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use e2e::{Bench, PATIENCE, Plan, Port, Router, screen, workspace};
use sluice::{
    guest::{Guest, RunFolder},
    host::{FlowSpec, Sizes},
    machine::{Board, Firmware, Machine, Nic, Wire},
    testbed::{self, Testbed},
};

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(Into::into).collect()
}

/// Sends packets from each host to the next.
fn ring(bench: &mut Bench) -> Result<()> {
    let count = bench.hosts.len();
    let flow = |from: usize| FlowSpec {
        ports: (7000, 9),
        sizes: Sizes::Sweep(18, 1400),
        packets: Some(500),
        window: 8,
        ..FlowSpec::new(bench.host(from), bench.host((from + 1) % count))
    };
    let flows: Vec<FlowSpec> = (0..count).map(flow).collect();
    let delivered = bench.run_perfectly(flows, PATIENCE)?;
    ensure!(delivered == 500 * u64::try_from(count)?, "{delivered} were delivered");
    Ok(())
}

fn log_shows(bench: &mut Bench, texts: &[&str]) -> Result<String> {
    let log = bench.router.command("show log")?;
    for text in texts {
        ensure!(log.contains(text), "no {text:?} in:\n{log}");
    }
    Ok(log)
}

#[test]
fn a_machine_without_a_card_that_is_driven_says_which_it_saw() -> Result<()> {
    let extra = words("-netdev hubport,id=other,hubid=9 -device rtl8139,netdev=other,romfile=,addr=0x09");
    let mut bench = Plan { machine: Machine { extra, ..Machine::default() }, ..Bench::of(0) }.boot()?;
    let expected = [
        "no supported network card; this kernel drives 82540EM (8086:100e)",
        "network cards without a driver:",
        "0000:00:09.0 10ec:8139",
    ];
    log_shows(&mut bench, &expected)?;
    bench.router.power_off()
}

/// More processors than the machine's host has by far, and more cards than most machines: every interrupt on a processor of its own.
#[test]
fn twenty_four_processors_forward_between_eight_cards() -> Result<()> {
    let machine = Machine { smp: 24, memory: 1024, ..Machine::default() };
    let mut bench = Plan { machine, ..Bench::of(8) }.alone().boot_warm()?;
    ring(&mut bench)?;
    let shown = bench.router.command("show pcpu")?;
    ensure!(
        (0..24).all(|cpu| shown.lines().any(|line| line.split_whitespace().next() == Some(&cpu.to_string()))),
        "{shown}"
    );
    let shown = bench.router.command("show version")?;
    ensure!(shown.contains("24 CPUs"), "{shown}");
    bench.finish()
}

/// Eight cards in so little memory that their rings as long as usual would take more than all packet buffers.
#[test]
fn eight_cards_forward_in_64_mib_with_shorter_rings() -> Result<()> {
    let machine = Machine { memory: 64, ..Machine::default() };
    let mut bench = Plan { machine, ..Bench::of(8) }.alone().boot_warm()?;
    log_shows(&mut bench, &["descriptors, fewer buffers"])?;
    ring(&mut bench)?;
    bench.finish()
}

/// What `show memory` says of a packet pool.
#[derive(Debug, PartialEq, Eq)]
struct Pool {
    node: u32,
    place: Range<u64>,
    /// Frames in all, free, in caches of threads, and elsewhere.
    frames: [u64; 4],
}

impl Pool {
    /// Reads `packet buffers: node 1: 4864 total = 2560 free + 256 cached + 2048 owned; …; of 2048 octets at 0x118000000-0x1187f8000`.
    fn read(line: &str) -> Option<Self> {
        let (node, rest) = line.strip_prefix("packet buffers: node ")?.split_once(": ")?;
        let (census, rest) = rest.split_once(';')?;
        let numbers: Vec<u64> = census.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let (start, end) = rest.rsplit_once(" at 0x")?.1.split_once("-0x")?;
        let [start, end] = [start, end.trim()].map(|digits| u64::from_str_radix(digits, 16).ok());
        Some(Self { node: node.parse().ok()?, place: start?..end?, frames: numbers.try_into().ok()? })
    }

    fn all(router: &mut Router) -> Result<[Self; 2]> {
        let shown = router.command("show memory")?;
        let mut pools: Vec<Self> = shown.lines().filter_map(Self::read).collect();
        pools.sort_by_key(|pool| pool.node);
        pools.try_into().map_err(|_| anyhow!("not two pools in:\n{shown}"))
    }
}

/// Most memory lies above 4 GiB; two nodes with a socket each, and each with a host bridge: em0 is behind the first's, em1 and em2 behind
/// the second's. Each card's packets lie in its node's memory, wherever they are sent, and come back to their own pool.
///
/// Not on q35: QEMU 7.2 raises another interrupt for a card behind its second host bridge than its firmware says.
#[test]
fn a_server_of_two_sockets_forwards_between_its_host_bridges() -> Result<()> {
    let extra = words(
        "-smp sockets=2,cores=2 -machine max-ram-below-4g=128M \
         -object memory-backend-ram,id=m0,size=512M -object memory-backend-ram,id=m1,size=512M \
         -numa node,nodeid=0,cpus=0-1,memdev=m0 -numa node,nodeid=1,cpus=2-3,memdev=m1",
    );
    let bridges = vec![
        "pxb,id=first,bus_nr=0x20,numa_node=0,bus=pci.0,addr=0x0a".into(),
        "pxb,id=second,bus_nr=0x40,numa_node=1,bus=pci.0,addr=0x0b".into(),
    ];
    let machine = Machine { board: Board::Pc, smp: 4, memory: 1024, bridges, extra, ..Machine::default() };
    let on = |bus, slot| Port { bus: Some(bus), slot: Some(slot), ..Port::default() };
    let ports = vec![on("first", 4), on("second", 5), on("second", 6)];
    let mut bench = Plan { machine, ..Bench::with_ports(ports) }.alone().boot_warm()?;
    ring(&mut bench)?;
    let expected = [
        "numa: 2 nodes",
        "numa: node 1: 2 processors, 512 MiB",
        "em1: <Intel 82540EM Gigabit Ethernet> at device 5.0 on pci65",
    ];
    log_shows(&mut bench, &expected)?;
    // 128 MiB of node 0 below 4 GiB, 384 MiB above; then node 1.
    let second_node = (4 << 30) + (384 << 20);
    let memory = [4 << 30..second_node, second_node..second_node + (512 << 20)];
    let pools = Pool::all(&mut bench.router)?;
    for (pool, memory) in pools.iter().zip(memory) {
        ensure!(memory.start <= pool.place.start && pool.place.end <= memory.end, "{pool:x?} is not in {memory:x?}");
        let [total, free, cached, owned] = pool.frames;
        ensure!(total == free + cached + owned, "{pool:?}");
    }
    // Both nodes send through each card: what comes from the other's pool has to find home.
    let full = |from: usize, to: usize| FlowSpec {
        ports: (7000 + u16::try_from(to).unwrap_or(0), 9),
        packets: Some(20_000),
        window: 64,
        ..FlowSpec::new(bench.host(from), bench.host(to))
    };
    let flows: Vec<FlowSpec> =
        [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)].into_iter().map(|(from, to)| full(from, to)).collect();
    let delivered = bench.run_perfectly(flows, PATIENCE)?;
    ensure!(delivered == 120_000, "{delivered} were delivered");
    let after = Pool::all(&mut bench.router)?;
    // A card that only receives holds a ring of 2048; what was sent last may still lie in its transmit ring, to be taken back later.
    for (pool, cards) in after.iter().zip([1, 2]) {
        let [total, free, cached, owned] = pool.frames;
        ensure!(total == free + cached + owned && owned >= 2048 * cards, "{after:?}");
    }
    let shown = bench.router.command("show intr")?;
    let line = shown.lines().find(|line| line.contains(": em1")).context("no em1")?;
    let mut words = line.split_whitespace().skip_while(|word| !word.starts_with("em"));
    let cpu = words.find(|word| !word.starts_with("em"));
    ensure!(matches!(cpu, Some("2" | "3")), "em1 is to interrupt a CPU of its node: {line}");
    bench.router.guest().console().skip();
    bench.router.guest().console().send_line("poweroff")?;
    let transcript = bench.router.ends_in_order()?;
    for pool in &pools {
        let home = format!("packet pool of node {}: {} frames = ", pool.node, pool.frames[0]);
        let line = transcript.lines().find(|line| line.contains(&home));
        let line = line.with_context(|| format!("no {home:?} in:\n{transcript}"))?;
        ensure!(line.trim_end().ends_with(" + 0 out"), "{line}");
    }
    Ok(())
}

/// There is an IOMMU, and em1's interrupt comes through a root port and two more bridges.
#[test]
fn a_card_behind_three_bridges_is_interrupted_and_an_iommu_is_seen_to_be_off() -> Result<()> {
    let bridges = [
        "pcie-root-port,id=root,bus=pcie.0,chassis=1,slot=1,addr=0x0c",
        "pcie-pci-bridge,id=conventional,bus=root",
        "pci-bridge,id=inner,bus=conventional,chassis_nr=2,addr=0x03",
    ];
    let bridges = bridges.map(Into::into).to_vec();
    let machine = Machine { board: Board::Q35, bridges, extra: words("-device intel-iommu"), ..Machine::default() };
    let on = |bus, slot| Port { bus: Some(bus), slot: Some(slot), ..Port::default() };
    let mut bench = Plan { machine, ..Bench::with_ports(vec![on("pcie.0", 4), on("inner", 2)]) }.alone().boot_warm()?;
    ring(&mut bench)?;
    log_shows(&mut bench, &["iommu: unit at 0xfed90000, segment 0: off, and stays off", "at device 2.0 on pci3"])?;
    bench.finish()
}

/// A table as firmware of a server has it: the console is a 16550 at a port, with an interrupt of the ISA bus.
fn spcr(port: u16, irq: u8) -> Vec<u8> {
    let mut body = vec![0u8; 44];
    body[4..8].copy_from_slice(&[1, 8, 0, 0]);
    body[8..10].copy_from_slice(&port.to_le_bytes());
    (body[16], body[17], body[22]) = (1, irq, 7);
    body
}

#[test]
fn the_console_is_the_serial_port_that_firmware_names() -> Result<()> {
    let table = std::env::temp_dir().join(format!("sluice-spcr-{}", std::process::id()));
    std::fs::write(&table, spcr(0x2E8, 5))?;
    let path = table.to_str().context("a path")?;
    let extra = vec!["-acpitable".into(), format!("sig=SPCR,rev=2,data={path}")];
    let machine = Machine { serial_port: Some((0x2E8, 5)), extra, ..Machine::default() };
    let booted = Plan { machine, ..Bench::of(2) }.boot_warm();
    std::fs::remove_file(&table)?;
    let mut bench = booted?;
    log_shows(
        &mut bench,
        &["console: serial port at Port(2e8), 115200 bit/s: is the console, as firmware's SPCR says"],
    )?;
    let shown = bench.router.command("show intr")?;
    let line = shown.lines().find(|line| line.contains("uart0")).with_context(|| format!("no uart0 in:\n{shown}"))?;
    ensure!(line.trim_start().starts_with("irq5"), "{line}");
    bench.finish()
}

#[test]
fn without_a_serial_port_the_console_is_on_the_screen() -> Result<()> {
    // The only serial port is where the kernel does not look.
    let nics = vec![Nic::new(Wire::Nothing), Nic::new(Wire::Nothing)];
    let machine = Machine { serial_port: Some((0x2E8, 5)), nics, ..Machine::default() };
    let image = e2e::image(Firmware::Bios, "hostname = \"r1\"\n")?;
    let mut guest = Guest::start(&machine, &image, RunFolder::new(workspace())?)?;
    let shows = |guest: &mut Guest, text: &str| -> Result<Vec<String>> {
        for _ in 0..PATIENCE.as_secs() {
            let rows = screen::read(guest)?;
            if rows.iter().any(|row| row.contains(text)) {
                return Ok(rows);
            }
            thread::sleep(Duration::from_secs(1));
        }
        let rows = screen::read(guest)?;
        anyhow::bail!("no {text:?} on the screen:\n{}", rows.join("\n"))
    };
    let rows = shows(&mut guest, "] running")?;
    ensure!(
        rows.iter().any(|row| row.contains("em1: <Intel 82540EM Gigabit Ethernet> at device ")),
        "{}",
        rows.join("\n")
    );
    for key in ["p", "o", "w", "e", "r", "o", "f", "f", "ret"] {
        guest.monitor().human(&format!("sendkey {key}"))?;
        thread::sleep(Duration::from_millis(250));
    }
    let status = guest.wait_exit(PATIENCE)?;
    ensure!(status.success(), "{status}");
    Ok(())
}

/// Firmware leaves a card bus master, as one does that has looked for a boot server.
#[test]
fn a_card_that_firmware_left_running_is_cut_off_before_memory_is_used() -> Result<()> {
    let config = "[[interface]]\nname = \"em0\"\naddresses = [\"10.0.1.1/24\"]\n".to_owned();
    let image = e2e::image(Firmware::Bios, &config)?;
    let nic = Nic { slot: Some(4), ..Nic::new(Wire::Nothing) };
    let machine = Machine { board: Board::Pc, nics: vec![nic], extra: words("-S"), ..Machine::default() };
    let plan = testbed::Plan { machine, config, hosts: Vec::new() };
    let Testbed { mut guest, .. } = Testbed::start(&plan, workspace(), Path::new(&image))?;
    // Slot 4, command: decode everything, bus master. The firmware of this machine only adds to it.
    guest.monitor().human("o/w 0xcf8 0x80002004")?;
    guest.monitor().human("o/h 0xcfc 0x0107")?;
    guest.monitor().resume()?;
    let mut router = Router::running(guest)?;
    let log = router.command("show log")?;
    let at = |text: &str| log.find(text).with_context(|| format!("no {text:?} in:\n{log}"));
    let cut = at("0000:00:04.0: firmware left this network card running; cut off from memory until it is reset")?;
    ensure!(cut < at("] physical memory")?, "too late:\n{log}");
    ensure!(cut < at("em0: <Intel 82540EM")?, "{log}");
    router.power_off()
}

/// How often the interrupt line of the firmware's timer has been raised, as QEMU counts it.
fn timer_interrupts(bench: &mut Bench) -> Result<u64> {
    let counts = bench.router.guest().monitor().human("info irq")?;
    let chip = counts.split("IRQ statistics for ").find(|chip| chip.starts_with("isa-i8259"));
    let line = chip.and_then(|chip| chip.lines().map(str::trim).find_map(|line| line.strip_prefix("0: ")));
    // A line that was never raised is not shown.
    line.map_or(Ok(0), |count| count.trim().parse().with_context(|| counts.clone()))
}

#[test]
fn the_timer_that_firmware_leaves_ticking_is_stopped() -> Result<()> {
    let mut bench = Bench::of(0).boot()?;
    let before = timer_interrupts(&mut bench)?;
    ensure!(before > 0, "firmware has none");
    thread::sleep(Duration::from_secs(1));
    let after = timer_interrupts(&mut bench)?;
    // The last of all may still come; it ticked 18 times a second.
    ensure!(after - before <= 1, "{before}, a second later {after}");
    bench.router.power_off()
}
