//! Tests that nobody runs: plain `cargo test` tests the workspace's default members, so every crate that has tests has to be one.

use anyhow::{Context, Result, bail};
use cargo_metadata::MetadataCommand;
use sluice::{progress::Progress, workspace::Workspace};

use super::unsafe_code::stripped;

pub(super) fn check(workspace: &Workspace, progress: Progress) -> Result<()> {
    let metadata = MetadataCommand::new().current_dir(workspace.root()).no_deps().exec()?;
    let mut left_out = Vec::new();
    for package in metadata.workspace_packages() {
        if metadata.workspace_default_members.contains(&package.id) {
            continue;
        }
        let folder = package.manifest_path.parent().context("a manifest is in a folder")?;
        let count: usize = super::sources(folder.as_std_path())?.iter().map(|text| tests_in(text)).sum();
        if count > 0 {
            progress.say(&format!("{}: {count} tests that `cargo test` does not run", package.name));
            left_out.push(package.name.as_str());
        }
    }
    if !left_out.is_empty() {
        bail!("these crates have tests and are no default members of the workspace: {}", left_out.join(", "));
    }
    Ok(())
}

/// Counts the tests in a source file, those of a macro once.
fn tests_in(text: &str) -> usize {
    stripped(text).matches("#[test]").count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tests_count() {
        let text = "/* #[test] */\n#[test]\nfn one() { say(\"#[test]\") } // #[test]\n#[cfg(test)] mod tests { #[test] fn two() {} }";
        assert_eq!(tests_in(text), 2);
    }
}
