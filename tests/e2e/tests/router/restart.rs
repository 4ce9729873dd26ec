//! Restarting and switching off from the console, under traffic as well.

use anyhow::{Result, ensure};
use e2e::{Bench, PATIENCE};
use ktest::console::{REBOOTING, RUNNING};
use sluice::host::FlowSpec;

#[test]
fn reboot_really_restarts_and_the_router_forwards_again() -> Result<()> {
    let mut bench = Bench::of(2).boot_warm()?;
    let boots = |bench: &mut Bench| bench.router.transcript().matches(RUNNING).count();
    assert_eq!(boots(&mut bench), 1);
    let flow = || FlowSpec { packets: Some(500), ..FlowSpec::new(bench.host(0), bench.host(1)) };
    let flows = [flow(), flow()];
    let [one, other] = flows;
    bench.run_perfectly([one], PATIENCE)?;
    bench.router.guest().console().send_line("reboot")?;
    bench.router.guest().wait_for("shutdown: clean", PATIENCE)?;
    bench.router.guest().wait_for(REBOOTING, PATIENCE)?;
    bench.router.wait_for_console()?;
    assert_eq!(boots(&mut bench), 2, "exactly one more boot");
    bench.wait_for_links()?;
    bench.warm_up()?;
    bench.run_perfectly([other], PATIENCE)?;
    let books = bench.router.settled_books()?;
    ensure!(books.fate("forwarded") < 1000, "the counters began anew: {books:#?}");
    bench.finish()
}

#[test]
fn the_power_goes_in_order_while_every_port_is_under_traffic() -> Result<()> {
    let bench = Bench::of(3).alone().boot_warm()?;
    let flows = [(0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2)];
    let start = |(from, to): (usize, usize)| {
        let ports = (6000 + u16::try_from(from * 8 + to).unwrap_or(0), 9);
        bench.lab.start_flow(FlowSpec { ports, window: 32, ..FlowSpec::new(bench.host(from), bench.host(to)) })
    };
    let flows = flows.map(start);
    let moves = || flows.iter().all(|flow| bench.lab.report(*flow).delivered > 500);
    let deadline = std::time::Instant::now() + PATIENCE;
    while !moves() {
        ensure!(std::time::Instant::now() < deadline, "the flows do not move");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let Bench { router, lab, .. } = bench;
    router.power_off()?;
    for flow in flows {
        let report = lab.report(flow);
        assert_eq!(
            (report.damaged, report.duplicated, report.reordered, report.wrong_header),
            (0, 0, 0, 0),
            "{report:?}"
        );
    }
    Ok(())
}
