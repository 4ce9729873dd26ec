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
        record::{Folder, median},
        scale::{COUNT, Point, Sweep},
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
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=4096))]
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
        let mut curve = Record::new("scale", "sluice").with("over", sweep.name()).with("window", arguments.window);
        for point in sweep.points().into_iter().filter(|point| arguments.most.is_none_or(|most| point.count <= most)) {
            let values = measure(arguments, &router, &code, point, progress, &workspace)?;
            // One value of the curve for each figure of the point.
            let figure = |name: &String| values.median(name).unwrap_or(0.0);
            let spread = values.values(INSTRUCTIONS).iter().copied();
            let (least, most) = spread.fold((f64::INFINITY, 0.0_f64), |(a, b), value| (a.min(value), b.max(value)));
            let middle = median(values.values(INSTRUCTIONS)).unwrap_or(0.0);
            println!(
                "{:>9} {:12} {middle:>8.2} instructions a packet ({least:.2}..{most:.2})",
                point.count,
                sweep.name()
            );
            curve.add(COUNT, f64::from(point.count));
            values.figures.keys().for_each(|name| curve.add(name, figure(name)));
        }
        folder.put(curve)?;
    }
    progress.say(&format!("The records are in {}", out.display()));
    Ok(())
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
    let mut values = Record::new("scale", "sluice");
    let bar = progress.line("Counting");
    for _ in 0..arguments.rounds {
        let (cost, outcome) = metered.cost(&load, &bar)?;
        cost.add_to(&mut values, Some(code))?;
        values.add("lost_frames", outcome.lost() as f64);
    }
    bar.finish_and_clear();
    metered.stop()?;
    Ok(values)
}
