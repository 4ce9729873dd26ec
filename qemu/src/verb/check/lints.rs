//! Lints with warnings denied: the host's crates by the host's clippy, the kernel by that of its own toolchain.

use anyhow::Result;
use sluice::{build::Builder, progress::Progress, workspace::Workspace};

pub(super) fn check(workspace: &Workspace, progress: Progress) -> Result<()> {
    let mut host = super::host_cargo(workspace);
    progress.run("Linting the host's crates", host.args(["clippy", "--all-targets", "--", "-D", "warnings"]))?;
    let mut plugin = super::host_cargo(workspace);
    plugin.args(["clippy", "--package", "tcg_meter", "--all-targets", "--", "-D", "warnings"]);
    progress.run("Linting the plugin for QEMU", &mut plugin)?;
    let builder = Builder::new(workspace, progress)?;
    progress.run("Linting the kernel", builder.kernel_command("clippy").args(["--", "-D", "warnings"]))?;
    let guest = &mut builder.bare_command("clippy", "ktest-kernel");
    progress.run("Linting the guest of the kernel's tests", guest.args(["--", "-D", "warnings"]))?;
    progress.run("Linting the image tool", builder.image_tool_command("clippy").args(["--", "-D", "warnings"]))
}
