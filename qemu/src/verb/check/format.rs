//! Formatting, by rustfmt with the workspace's settings.

use anyhow::Result;
use sluice::{progress::Progress, workspace::Workspace};

pub(super) fn check(workspace: &Workspace, progress: Progress) -> Result<()> {
    progress.run("Checking the format", super::host_cargo(workspace).args(["fmt", "--all", "--check"]))
}
