//! `bench fib`: longest-prefix match on this machine, beside other ways to do it.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use sluice::{
    bench::{
        fib::{self, Extent},
        record::Folder,
    },
    progress::Progress,
    workspace::Workspace,
};

/// What `bench fib` takes.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// How many routes the table has
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(100..=1_200_000))]
    routes: u32,
    /// How often each structure has its turn
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    turns: u16,
    /// For how many seconds the table is changed while it is read
    #[arg(long, value_name = "N", default_value_t = 3.0, value_parser = super::traffic::seconds)]
    seconds: f64,
    /// The folder for records and plots
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Measures.
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let workspace = Workspace::find();
    let progress = Progress::new();
    let out = arguments.out.clone().unwrap_or_else(|| workspace.target("bench").join("fib"));
    let mut folder = Folder::create(&out)?;
    let Arguments { routes, turns, seconds, .. } = *arguments;
    let records =
        fib::run(&workspace, progress, Extent { routes, turns, seconds }, |record| folder.put(record.clone()))?;
    println!("{}", fib::table(&records));
    for name in fib::plot(&records, folder.path())? {
        progress.say(&format!("plot: {}", folder.path().join(name).display()));
    }
    Ok(())
}
