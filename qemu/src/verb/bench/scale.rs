//! `bench scale`: instructions per packet against the number of routes, neighbours, interfaces and CPUs.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use sluice::{
    bench::{
        Record,
        instructions::{INSTRUCTIONS, Metered},
        meter::Code,
        peer::Sluice,
        record::Folder,
        scale::{Point, Sweep},
    },
    progress::Progress,
    workspace::Workspace,
};

/// What `bench scale` takes.
#[derive(Args, Debug)]
#[group(skip)]
pub(super) struct Arguments {
    /// What is varied; everything unless given
    #[arg(value_enum)]
    sweeps: Vec<Sweep>,
    /// Varies up to this number only
    #[arg(long, value_name = "N")]
    most: Option<u32>,
    /// Frames of each direction that are on their way
    #[arg(long, value_name = "N", default_value_t = super::BATCH_WINDOW, value_parser = clap::value_parser!(u32).range(1..=4096))]
    window: u32,
    /// For how many seconds each value is measured
    #[arg(long, value_name = "N", default_value_t = 3.0, value_parser = super::traffic::seconds)]
    seconds: f64,
    /// How many values there are of each point; the plot shows their median
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// The folder for records and plots
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Measures, and shows what came of it.
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let (progress, workspace) = (Progress::new(), Workspace::find());
    let router = Sluice::build(progress)?;
    let bytes = fs::read(router.kernel()).with_context(|| format!("cannot read {}", router.kernel().display()))?;
    let code = Code::of(&workspace, &bytes)?;
    let out = arguments.out.clone().unwrap_or_else(|| workspace.target("bench").join("scale"));
    let mut folder = Folder::create(&out)?;
    let sweeps = if arguments.sweeps.is_empty() { Sweep::value_variants() } else { &arguments.sweeps };
    for sweep in sweeps {
        for point in sweep.points().into_iter().filter(|point| arguments.most.is_none_or(|most| point.count <= most)) {
            let record = measure(arguments, &router, &code, point, progress, &workspace)?;
            let middle = record.median(INSTRUCTIONS).unwrap_or(0.0);
            progress.say(&format!("{} {}: {middle:.2} instructions a packet", point.count, sweep.name()));
            folder.put(record)?;
        }
    }
    super::present(folder.records(), &out, progress)
}

/// Boots the router as it is at a point and counts.
fn measure(
    arguments: &Arguments,
    router: &Sluice,
    code: &Code<'_>,
    point: Point,
    progress: Progress,
    workspace: &Workspace,
) -> Result<Record> {
    let mut prepared = Ok(());
    let booted = Metered::boot(router, workspace, false, progress, |setup| prepared = point.prepare(setup));
    prepared?;
    let mut metered = booted?;
    let load = point.load(arguments.window, Duration::from_secs_f64(arguments.seconds));
    let record = Record::new("scale", "sluice").with("over", point.sweep.name()).with("count", point.count);
    let mut record = record.with("window", arguments.window);
    let bar = progress.line("Counting");
    for _ in 0..arguments.rounds {
        let (cost, outcome) = metered.cost(&load, &bar)?;
        cost.add_to(&mut record, Some(code))?;
        record.add("lost_frames", outcome.lost() as f64);
    }
    bar.finish_and_clear();
    metered.stop()?;
    Ok(record)
}
