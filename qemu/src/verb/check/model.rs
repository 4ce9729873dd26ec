//! Model checking: every test that uses `ksync::model`, built with `--cfg loom` in a target folder of its own.
//!
//! Under that flag locks and atomics only work inside a model, so a crate's other tests are not for this: of each crate
//! the test programs are taken whose source names the models.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};
use cargo_metadata::{MetadataCommand, Package};
use sluice::{progress::Progress, workspace::Workspace};

/// What the source of a model-checking test contains.
const MARKS: &[&str] = &["ksync::model", "model::check"];

pub(super) fn check(workspace: &Workspace, progress: Progress) -> Result<()> {
    let metadata = MetadataCommand::new().current_dir(workspace.root()).no_deps().exec()?;
    let mut count = 0;
    // This program names the models itself, as text.
    let others = |package: &&Package| package.name != env!("CARGO_PKG_NAME");
    for package in metadata.workspace_packages().into_iter().filter(others) {
        let programs = programs(package);
        if programs.is_empty() {
            continue;
        }
        count += 1;
        let mut cargo = super::host_cargo(workspace);
        cargo.args(["test", "--profile", "loom", "--package", package.name.as_str()]).args(programs);
        cargo.arg("--target-dir").arg(workspace.target("loom"));
        // Two preemptions find almost all there is to find; without a bound some models would take hours.
        cargo.env("RUSTFLAGS", "--cfg loom").env("LOOM_MAX_PREEMPTIONS", "2");
        progress.run(&format!("Model checking {}", package.name), &mut cargo)?;
    }
    ensure!(count > 0, "no crate has a model, so nothing was checked");
    progress.say(&format!("{count} crates hold in every interleaving of their models"));
    Ok(())
}

/// Returns cargo's arguments for the test programs of a package that have models.
fn programs(package: &Package) -> Vec<String> {
    let mut arguments = Vec::new();
    for target in &package.targets {
        let root = target.src_path.as_std_path();
        if target.is_lib() && root.parent().is_some_and(|folder| sources(folder).iter().any(|path| is_model(path))) {
            arguments.push("--lib".into());
        } else if target.is_test() && is_model(root) {
            arguments.extend(["--test".into(), target.name.clone()]);
        }
    }
    arguments
}

fn is_model(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| MARKS.iter().any(|mark| text.contains(mark)))
}

/// Returns the source files under a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let below = |path: PathBuf| if path.is_dir() { sources(&path) } else { vec![path] };
    entries.flat_map(below).filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}
