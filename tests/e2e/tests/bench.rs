//! The measurements on the real router: every frame is checked on the way, and the records say what was measured. No figure
//! is judged here.

use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use e2e::workspace;
use sluice::{
    bench::{
        LONGEST_FRAME, figures,
        generator::{Load, Mode},
        instructions::Metered,
        measure::{Bench, Options},
        meter::{By, Code, Profile},
        peer::Sluice,
        record::{self, Folder},
        scale::{Point, Sweep},
        session::Session,
        table,
    },
    machine::NicModel,
    progress::Progress,
};

#[test]
fn throughput_latency_and_footprint_are_measured_and_recorded() -> Result<()> {
    let path = workspace().folder("tmp")?.join("bench-e2e");
    let progress = Progress::new();
    let sluice = Sluice::build(progress)?;
    let options = Options {
        frames: vec![64],
        duration: Duration::from_millis(300),
        rounds: 1,
        cpus: vec![1],
        rates: Vec::new(),
        dispatch: vec!["direct".into(), "hybrid".into()],
        window: 64,
        cards: NicModel::E1000,
        tagged: false,
        mtu: None,
    };
    let folder = Folder::create(&path)?;
    let subjects: Vec<Box<dyn sluice::bench::Subject>> = vec![Box::new(sluice.clone())];
    let mut bench = Bench { subjects, options, folder, progress, workspace: workspace().clone() };
    bench.throughput()?;
    bench.latency()?;
    bench.options.rates = vec![1500.0];
    bench.latency()?;
    bench.footprint(&sluice)?;
    let records = record::read(&path)?;
    for (measure, figure, count) in [
        ("self-test", "rate_pps", 1),
        ("throughput", "rate_pps", 2),
        ("throughput", "vcpu_us_per_packet", 2),
        ("dispatch", "rate_pps", 4),
        ("latency", "p50_us", 4),
        ("footprint", "boot_ms", 1),
        ("footprint", "memory_mib", 1),
        ("footprint", "image_mib", 1),
    ] {
        let of_kind = records.iter().filter(|record| record.measure == measure);
        let measured = of_kind.filter(|record| record.median(figure).is_some_and(|value| value > 0.0)).count();
        ensure!(measured == count, "{measured} records of {measure} have {figure}: {records:#?}");
    }
    let at_rate =
        records.iter().find(|record| record.text("load") == Some("1500/s")).and_then(|r| r.median("rate_pps"));
    // A busy host may not let so many through.
    ensure!(at_rate.is_some_and(|rate| (1.0..=1600.0).contains(&rate)), "{at_rate:?} packets a second at 1500");
    ensure!(table::of(&records).contains("Throughput, closed loop"), "there is no table");
    let plots = figures::draw(&records, &path)?;
    ensure!(plots.iter().all(|plot| fs::metadata(plot).is_ok_and(|file| file.len() > 0)), "{plots:?}");
    fs::remove_dir_all(&path)?;
    Ok(())
}

#[test]
fn instructions_and_register_accesses_are_counted_by_cpu_and_stage() -> Result<()> {
    let progress = Progress::new();
    let sluice = Sluice::build(progress)?;
    // So many routes are in the image as a file of their own.
    let point = Point { sweep: Sweep::Routes, count: 1000 };
    let mut prepared = Ok(());
    let booted = Metered::boot(&sluice, workspace(), true, progress, |setup| {
        prepared = point.prepare(setup);
        setup.cpus = 2;
    });
    prepared?;
    let mut metered = booted?;
    let load = Load { warm_up: Duration::from_millis(500), ..point.load(32, Duration::from_millis(500)) };
    let (cost, outcome) = metered.cost(&load, &progress.line("Counting"))?;
    metered.stop()?;
    ensure!(cost.packets == outcome.forwarded() && cost.packets > 0, "{} packets", cost.packets);
    ensure!(cost.counted.instructions().len() == 2, "{} CPUs", cost.counted.instructions().len());
    ensure!(cost.accesses_per_packet().1 > 0.0, "nothing was sent: {}", cost.register_table());
    let bytes = fs::read(sluice.kernel())?;
    let code = Code::of(workspace(), &bytes)?;
    let stages = Profile::of(&cost.counted, Some(&code), By::Stage)?.rows;
    for stage in ["driver rx", "driver tx", "bus_dma", "ip", "fib"] {
        ensure!(stages.iter().any(|row| row.name == stage && row.sum() >= cost.packets), "{stage}: {stages:#?}");
    }
    Ok(())
}

/// Every frame is compared octet by octet, its tag too; a router whose VLANs or MTU are not as the frames are lets none through.
#[test]
fn tagged_frames_of_9018_octets_are_forwarded_between_vlans() -> Result<()> {
    let progress = Progress::new();
    let sluice = Sluice::build(progress)?;
    let mut session = Session::boot(&sluice, workspace(), 1, |setup| (setup.tagged, setup.mtu) = (true, Some(9000)))?;
    let load = Load::new(true, LONGEST_FRAME, Mode::Closed { window: 8 }, Duration::from_millis(300));
    let outcome = session.measure(&load, &progress.line("Sending"))?.outcome;
    session.stop()?;
    ensure!(outcome.streams.iter().all(|stream| stream.forwarded > 0) && outcome.lost() == 0, "{outcome:?}");
    Ok(())
}
