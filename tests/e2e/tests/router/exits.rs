//! Every way out of a run that is not a typed `poweroff`: button, keys, halt; and the books that the last lines close.

use anyhow::{Context, Result, ensure};
use e2e::{Bench, PATIENCE};
use ktest::console::REBOOTING;
use sluice::host::FlowSpec;

/// The last line before the processors stop for good.
const HALTED: &str = "The operating system has halted.";

#[test]
fn the_power_button_switches_off_in_order() -> Result<()> {
    let mut bench = Bench::of(2).boot_warm()?;
    bench.router.guest().monitor().execute("system_powerdown", serde_json::json!({}))?;
    let transcript = bench.router.ends_in_order()?;
    ensure!(transcript.contains("shutdown: poweroff requested by the power button, 2 devices"), "{transcript}");
    Ok(())
}

#[test]
fn ctrl_alt_del_restarts_in_order_and_the_next_boot_knows_how_it_went() -> Result<()> {
    let mut bench = Bench::of(2).boot_warm()?;
    bench.router.guest().monitor().human("sendkey ctrl-alt-delete")?;
    bench.router.guest().wait_for("shutdown: reboot requested by ctrl-alt-del, 2 devices", PATIENCE)?;
    bench.router.guest().wait_for("shutdown: clean", PATIENCE)?;
    bench.router.guest().wait_for(REBOOTING, PATIENCE)?;
    bench.router.guest().wait_for("previous shutdown: reboot, clean, ", PATIENCE)?;
    bench.router.wait_for_console()?;
    let shown = bench.router.command("show shutdown")?;
    for line in [
        "previous shutdown: reboot, clean, ",
        "shutdown: reboot requested by ctrl-alt-del, 2 devices, ends within ",
        "seconds) for system thread `irq",
        "shutdown: join threads...done",
        "shutdown: audit: total: received ",
        "Uptime: ",
        "no shutdown has been asked for",
    ] {
        ensure!(shown.contains(line), "no {line:?} in:\n{shown}");
    }
    bench.wait_for_links()?;
    bench.warm_up()?;
    bench.finish()
}

#[test]
fn a_machine_without_a_serial_line_is_halted_and_woken_by_its_keyboard() -> Result<()> {
    let mut bench = Bench::of(2).boot_warm()?;
    for key in ["h", "a", "l", "x", "backspace", "t", "ret"] {
        bench.router.guest().monitor().human(&format!("sendkey {key}"))?;
        // Each key is a press and a release that QEMU puts apart; typed faster, its queue overflows.
        std::thread::sleep(std::time::Duration::from_millis(250));
    }
    bench.router.guest().wait_for("shutdown: halt requested by a command", PATIENCE)?;
    bench.router.guest().wait_for("shutdown: clean", PATIENCE)?;
    bench.router.guest().wait_for(HALTED, PATIENCE)?;
    ensure!(bench.router.guest().is_running(), "halted is not switched off");
    std::thread::sleep(std::time::Duration::from_secs(1));
    bench.router.guest().monitor().human("sendkey spc")?;
    bench.router.guest().wait_for(REBOOTING, PATIENCE)?;
    bench.router.guest().wait_for("previous shutdown: halt, clean, ", PATIENCE)?;
    bench.router.wait_for_console()?;
    bench.finish()
}

#[test]
fn a_thread_that_spins_is_named_with_its_backtrace_and_its_card_is_stopped_by_force() -> Result<()> {
    let mut bench = Bench::of(2).boot_warm()?;
    // em1's thread is on the other CPU than the sequencer, so that it is seen where it runs.
    bench.router.set("debug.fail_point.wedge_ithread", "em1")?;
    // The pass in which it spins is any that a frame asks for; a warm host asks for none.
    let flow = bench.lab.start_flow(FlowSpec { packets: Some(3), ..FlowSpec::new(bench.host(1), bench.host(0)) });
    // On a busy host the command could overtake the frame.
    std::thread::sleep(std::time::Duration::from_secs(1));
    bench.router.guest().console().send_line("poweroff")?;
    let status = bench.router.guest().wait_exit(PATIENCE)?;
    bench.lab.stop_flow(flow);
    let transcript = bench.router.transcript();
    ensure!(status.success(), "QEMU ended with {status}\n{transcript}");
    for text in [
        ": em1' to stop... timed out",
        ": em1) runs on cpu 1:",
        "fail_points::",
        "shutdown: stop DMA: em0 by force: device reset acknowledged; its memory stays",
        "shutdown: stop DMA: em1 by force: device reset acknowledged; its memory stays",
        "shutdown: tear down DMA...quarantined: nothing freed",
        "shutdown: forced, ",
    ] {
        ensure!(transcript.contains(text), "no {text:?} in:\n{transcript}");
    }
    ensure!(line(&transcript, "shutdown: audit: total: ")?.ends_with("unexplained 0"), "{transcript}");
    for port in ["em0", "em1"] {
        let ledger = line(&transcript, &format!("shutdown: ledger: {port}: "))?;
        ensure!(ledger.ends_with("difference 0 and 0"), "what nobody fetched is named too: {ledger}");
    }
    Ok(())
}

#[test]
fn a_cpu_that_stands_still_is_found_by_the_watchdog_and_the_machine_restarts() -> Result<()> {
    let mut bench = Bench::of(2).boot_warm()?;
    bench.router.set("debug.watchdog", "5")?;
    bench.router.set("kern.panic_reboot_wait_time", "0")?;
    let start = bench.router.transcript().len();
    bench.router.guest().console().send_line("sysctl debug.fail_point.wedge_cpu=1")?;
    let report = bench.router.wait_past_panic(start, "previous shutdown: ")?;
    let (place, panic) = ("cpu 1 runs thread ", "panic: watchdog timeout: no thread has run on cpu 1 for 5 seconds");
    let at = |text: &str| report.find(text).with_context(|| format!("no {text:?} in:\n{report}"));
    ensure!(at(place)? < at(panic)?, "{report}");
    ensure!(report.get(at(place)?..at(panic)?).is_some_and(|trace| trace.contains("fail_points::")), "{report}");
    ensure!(at("previous shutdown: panic")? > at(REBOOTING)?, "{report}");
    Ok(())
}

#[test]
fn each_ports_equation_adds_up_to_the_frames_its_host_sent() -> Result<()> {
    const PACKETS: u64 = 700;
    let mut bench = Bench::of(2).alone().boot_warm()?;
    let flow = |from, to| FlowSpec { packets: Some(PACKETS), ..FlowSpec::new(bench.host(from), bench.host(to)) };
    let flows = [flow(0, 1), flow(1, 0)];
    bench.run_perfectly(flows, PATIENCE)?;
    bench.router.guest().console().send_line("poweroff")?;
    let transcript = bench.router.ends_in_order()?;
    let mut total = 0;
    for port in ["em0", "em1"] {
        let books = line(&transcript, &format!("shutdown: audit: {port}: "))?;
        let received = number(books, "received ")?;
        ensure!(number(books, "forwarded ")? >= PACKETS, "{books}");
        ensure!(received == sum_of_fates(books)? && books.ends_with("unexplained 0"), "{books}");
        total += received;
        let ledger = line(&transcript, &format!("shutdown: ledger: {port}: "))?;
        ensure!(ledger.ends_with("difference 0 and 0"), "{ledger}");
        ensure!(number(ledger, "handed up ")? == received, "{ledger}\n{books}");
    }
    let all = line(&transcript, "shutdown: audit: total: ")?;
    ensure!(number(all, "received ")? == total, "{all}");
    // Both flows, in the order of the hosts, and what warmed them up.
    let sent: u64 = (0..2).map(|port| bench.lab.counters(bench.host(port)).sent).sum();
    ensure!(sent == total, "the hosts have sent {sent} frames; {all}");
    Ok(())
}

fn line<'t>(transcript: &'t str, start: &str) -> Result<&'t str> {
    let found = transcript.lines().find_map(|line| line.trim_end().split_once(start)).map(|(_, rest)| rest);
    found.with_context(|| format!("no line {start:?}:\n{transcript}"))
}

/// Returns the number that follows `word`.
fn number(text: &str, word: &str) -> Result<u64> {
    let rest = text.split_once(word).with_context(|| format!("no {word:?} in {text:?}"))?.1;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().with_context(|| format!("no number behind {word:?} in {text:?}"))
}

/// Adds up the right-hand side of the equation.
fn sum_of_fates(books: &str) -> Result<u64> {
    let right = books.split_once(" = ").and_then(|(_, rest)| rest.split(';').next()).context("an equation")?;
    right.split(" + ").map(|fate| fate.rsplit(' ').next().context("a fate")?.parse::<u64>().context("a count")).sum()
}
