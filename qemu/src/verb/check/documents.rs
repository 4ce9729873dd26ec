//! Documents of the host's crates and of the kernel's, with broken links and other warnings denied.

use anyhow::Result;
use sluice::{build::Builder, progress::Progress, workspace::Workspace};

/// Links to private items are fine: these documents are for those who work on the crates.
const DENIED: &str = "-D warnings -A rustdoc::private_intra_doc_links";

pub(super) fn check(workspace: &Workspace, progress: Progress) -> Result<()> {
    let mut host = super::host_cargo(workspace);
    host.args(["doc", "--no-deps"]).env("RUSTDOCFLAGS", DENIED);
    progress.run("Documenting the host's crates", &mut host)?;
    let builder = Builder::new(workspace, progress)?;
    let mut kernel = builder.kernel_command("doc");
    kernel.args(["--no-deps", "--package", "machine", "--package", "system"]).env("RUSTDOCFLAGS", DENIED);
    progress.run("Documenting the kernel", &mut kernel)
}
