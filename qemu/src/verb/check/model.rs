//! Model checking: the tests of every crate that knows loom, built with `--cfg loom` in a target folder of its own.

use anyhow::{Result, ensure};
use cargo_metadata::MetadataCommand;
use sluice::{progress::Progress, workspace::Workspace};

pub(super) fn check(workspace: &Workspace, progress: Progress) -> Result<()> {
    let metadata = MetadataCommand::new().current_dir(workspace.root()).no_deps().exec()?;
    let packages = metadata.workspace_packages();
    let models = packages.iter().filter(|package| package.dependencies.iter().any(|needed| needed.name == "loom"));
    let names: Vec<&str> = models.map(|package| package.name.as_str()).collect();
    ensure!(!names.is_empty(), "no crate knows loom, so nothing was model-checked");
    for name in names {
        let mut cargo = super::host_cargo(workspace);
        cargo.args(["test", "--profile", "loom", "--package", name, "--target-dir"]).arg(workspace.target("loom"));
        // Three preemptions find what is there to find; without a bound some models would take hours.
        cargo.env("RUSTFLAGS", "--cfg loom").env("LOOM_MAX_PREEMPTIONS", "3");
        progress.run(&format!("Model checking {name}"), &mut cargo)?;
    }
    Ok(())
}
