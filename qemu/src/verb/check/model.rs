//! Model checking: every test that uses `ksync::model`, built with `--cfg loom` or `--cfg shuttle` in a target folder of its own.
//!
//! Under those flags locks and atomics only work inside a model, so a crate's other tests are not for this: of each crate
//! the test programs are taken whose source names the models. Each model reports its executions in a file (see
//! `ksync::model`), and this adds them up.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use cargo_metadata::{MetadataCommand, Package};
use clap::Args;
use sluice::{progress::Progress, workspace::Workspace};

/// What the source of a model-checking test contains: a path into `ksync`'s models, however it was imported.
const MODELS: &str = "model::";
/// A crate whose name ends as that path begins.
const NOT_MODELS: &str = "nic_model::";
/// What the source of a test contains that is a scenario of a whole router: too large for loom.
const SCENARIOS: &[&str] = &["races::"];

/// What may be chosen about model checking.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Options {
    /// Shuttle: schedules of each scenario
    #[arg(long, value_name = "COUNT")]
    iterations: Option<u64>,
    /// Shuttle: run one schedule again, as a failure names it (random:SEED or pct:SEED)
    #[arg(long, value_name = "SCHEDULE")]
    replay: Option<String>,
    /// Loom, shuttle: only the models whose name contains this
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
}

/// Who explores the schedules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checker {
    /// Exhaustively, up to a bound.
    Loom,
    /// By chance.
    Shuttle,
}

impl Checker {
    const fn name(self) -> &'static str {
        match self {
            Self::Loom => "loom",
            Self::Shuttle => "shuttle",
        }
    }

    fn is_for(self, text: &str) -> bool {
        let is_model = text.contains("ksync") && text.replace(NOT_MODELS, "").contains(MODELS);
        match self {
            Self::Loom => is_model && !is_of_a_router(text),
            Self::Shuttle => is_model || is_of_a_router(text),
        }
    }
}

fn is_of_a_router(text: &str) -> bool {
    SCENARIOS.iter().any(|mark| text.contains(mark))
}

/// One line of the report: a model, and how often it ran.
#[derive(Debug, PartialEq, Eq)]
struct Executions {
    model: String,
    count: u64,
}

pub(super) fn check(checker: Checker, options: &Options, workspace: &Workspace, progress: Progress) -> Result<()> {
    let metadata = MetadataCommand::new().current_dir(workspace.root()).no_deps().exec()?;
    let started = Instant::now();
    let (mut crates, mut models, mut executions) = (0, 0, 0);
    // This program names the models itself, as text.
    let others = |package: &&Package| package.name != env!("CARGO_PKG_NAME");
    for package in metadata.workspace_packages().into_iter().filter(others) {
        let programs = programs(package, checker);
        if programs.is_empty() {
            continue;
        }
        let report = workspace.folder(checker.name())?.join(format!("{}.executions", package.name));
        let _ = fs::remove_file(&report);
        let mut cargo = command(checker, options, workspace, package.name.as_str(), &programs);
        cargo.env("SLUICE_MODEL_REPORT", &report);
        progress.run(&format!("Model checking {}", package.name), &mut cargo)?;
        let lines = fs::read_to_string(&report).unwrap_or_default();
        let ran = parse(&lines).with_context(|| format!("{}: not a report", report.display()))?;
        for Executions { model, count } in &ran {
            progress.say(&format!("  {} {model}: {count} executions", package.name));
        }
        crates += usize::from(!ran.is_empty());
        models += ran.len();
        executions += ran.iter().map(|ran| ran.count).sum::<u64>();
    }
    ensure!(models > 0, "no crate has such a model, so nothing was checked");
    progress.say(&format!(
        "{}: {models} models of {crates} crates hold in {executions} executions ({:.0} s)",
        checker.name(),
        started.elapsed().as_secs_f32()
    ));
    Ok(())
}

/// Returns the cargo that builds and runs the models of a crate.
fn command(checker: Checker, options: &Options, workspace: &Workspace, package: &str, programs: &[String]) -> Command {
    let mut cargo = super::host_cargo(workspace);
    cargo.args(["test", "--profile", "loom", "--package", package]).args(programs);
    cargo.arg("--target-dir").arg(workspace.target(checker.name()));
    cargo.env("RUSTFLAGS", format!("--cfg {}", checker.name()));
    // Two preemptions find almost all there is to find; without a bound some models would take hours.
    cargo.env("LOOM_MAX_PREEMPTIONS", "2");
    if let Some(iterations) = options.iterations {
        cargo.env("SLUICE_SHUTTLE_ITERATIONS", iterations.to_string());
    }
    if let Some(replay) = &options.replay {
        cargo.env("SLUICE_SHUTTLE_REPLAY", replay);
    }
    if let Some(scenario) = &options.scenario {
        cargo.args(["--", scenario]);
    }
    cargo
}

/// Reads a report: package, model and count on each line; sorted by model.
fn parse(report: &str) -> Result<Vec<Executions>> {
    let line = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (model, count) = words.next().zip(words.next()).context("a line has three words")?;
        Ok(Executions { model: model.to_owned(), count: count.parse()? })
    };
    let mut all = report.lines().map(line).collect::<Result<Vec<_>>>()?;
    all.sort_by(|a, b| a.model.cmp(&b.model));
    Ok(all)
}

/// Returns cargo's arguments for the test programs of a package that have models.
fn programs(package: &Package, checker: Checker) -> Vec<String> {
    // The library under a whole router's scenarios names the models as well.
    let holds_a_router = |path: &Path| fs::read_to_string(path).is_ok_and(|text| is_of_a_router(&text));
    if checker == Checker::Loom
        && package.targets.iter().any(|target| target.is_test() && holds_a_router(target.src_path.as_std_path()))
    {
        return Vec::new();
    }
    let is_model = |path: &PathBuf| fs::read_to_string(path).is_ok_and(|text| checker.is_for(&text));
    let mut arguments = Vec::new();
    for target in &package.targets {
        let root = target.src_path.as_std_path().to_path_buf();
        if target.is_lib() && root.parent().is_some_and(|folder| sources(folder).iter().any(is_model)) {
            arguments.push("--lib".into());
        } else if target.is_test() && is_model(&root) {
            arguments.extend(["--test".into(), target.name.clone()]);
        }
    }
    arguments
}

/// Returns the source files under a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let below = |path: PathBuf| if path.is_dir() { sources(&path) } else { vec![path] };
    entries.flat_map(below).filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_sorted_and_nonsense_in_it_is_an_error() {
        let ran = parse("sched b::two 20\nsched a::one 7\n").unwrap();
        assert_eq!(ran.iter().map(|ran| (&*ran.model, ran.count)).collect::<Vec<_>>(), [("a::one", 7), ("b::two", 20)]);
        assert!(parse("sched a::one many\n").is_err() && parse("sched\n").is_err());
    }

    #[test]
    fn the_crate_of_a_whole_routers_scenarios_has_nothing_for_loom() {
        let workspace = Workspace::find();
        let metadata = MetadataCommand::new().current_dir(workspace.root()).no_deps().exec().unwrap();
        let packages = metadata.workspace_packages();
        let package = |name: &str| *packages.iter().find(|package| package.name == name).unwrap();
        assert!(programs(package("races"), Checker::Loom).is_empty());
        assert!(programs(package("races"), Checker::Shuttle).len() > 5);
        assert!(!programs(package("shutdown"), Checker::Loom).is_empty());
    }

    #[test]
    fn a_whole_router_is_for_shuttle_only() {
        let (core, router) = ("use ksync::model; model::check", "use races::Rig; // ksync, model::check");
        assert!(Checker::Loom.is_for(core) && Checker::Shuttle.is_for(core));
        assert!(!Checker::Loom.is_for(router) && Checker::Shuttle.is_for(router));
        let (grouped, device) = ("use ksync::{cpu, model::{self, check}};", "use ksync::time; use nic_model::Nic;");
        assert!(Checker::Loom.is_for(grouped) && !Checker::Loom.is_for(device));
    }
}
