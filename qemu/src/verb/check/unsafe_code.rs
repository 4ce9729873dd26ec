//! Unsafe code: only in the crates that are there for it, and how much of it.
//!
//! The compiler enforces the first: every other crate's root has to say `forbid(unsafe_code)`. The count is of the
//! source as it stands, comments and texts left out; a rising number is a topic for a review.

use std::fs;

use anyhow::{Context, Result, bail};
use cargo_metadata::{MetadataCommand, Package};
use sluice::{progress::Progress, workspace::Workspace};

/// The crates that may contain unsafe code.
const FLOOR: &[&str] = &["machine", "bus_dma", "ksync", "kmain"];

/// What only tests contain: the kernel that breaks rules on purpose, and the device that reads memory as hardware does.
const TESTS: &[&str] = &["ktest-kernel", "nic_model"];

/// What runs on the host alone and is loaded by a program in C: the plugin that counts for the benchmarks.
const FOREIGN: &[&str] = &["tcg_meter"];

/// Crates whose roots deny it with named exceptions instead of forbidding it, because a trait that they implement is
/// unsafe: pci_types' access to configuration space.
const EXCEPTIONS: &[&str] = &["pci"];

pub(super) fn check(workspace: &Workspace, progress: Progress) -> Result<()> {
    let metadata = MetadataCommand::new().current_dir(workspace.root()).no_deps().exec()?;
    let mut offenders = Vec::new();
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        let folder = package.manifest_path.parent().context("a manifest is in a folder")?;
        let texts = super::sources(folder.join("src").as_std_path())?;
        let count: usize = texts.iter().map(|text| count_uses(&stripped(text))).sum();
        if count > 0 {
            progress.say(&format!("{name:12} {count:4} uses of unsafe"));
        }
        if !FLOOR.contains(&name) && !TESTS.contains(&name) && !FOREIGN.contains(&name) && !is_safe(package)? {
            offenders.push(name);
        }
    }
    if !offenders.is_empty() {
        bail!("these crates do not forbid unsafe code in their root: {}", offenders.join(", "));
    }
    Ok(())
}

/// Returns whether the roots of a package's library and programs refuse unsafe code.
fn is_safe(package: &Package) -> Result<bool> {
    let wanted = if EXCEPTIONS.contains(&package.name.as_str()) { "deny" } else { "forbid" };
    for target in package.targets.iter().filter(|target| target.is_lib() || target.is_bin()) {
        let text = fs::read_to_string(&target.src_path).with_context(|| format!("cannot read {}", target.src_path))?;
        if !stripped(&text).contains(&format!("#![{wanted}(unsafe_code)]")) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Counts the keyword where it opens something: a block, a function, an implementation, a trait or an extern block.
fn count_uses(text: &str) -> usize {
    let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '{').filter(|word| !word.is_empty());
    let mut count = 0;
    let mut previous = "";
    for word in &mut words {
        let opens = word.starts_with('{') || ["fn", "impl", "trait", "extern"].contains(&word);
        count += usize::from(previous == "unsafe" && opens) + usize::from(word == "unsafe{");
        previous = word;
    }
    count
}

/// Returns `text` without comments and without the insides of texts and characters.
pub(super) fn stripped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(hashes) = raw_text(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = hashes + 2;
            rest.get(start..).and_then(|inside| inside.find(&end)).map_or(rest.len(), |at| start + at + end.len())
        } else if first == '"' {
            plain_text(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else {
            out.push(first);
            first.len_utf8()
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    out
}

/// Returns the number of hash signs when a raw text begins here.
fn raw_text(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('r')?;
    let hashes = after.bytes().take_while(|byte| *byte == b'#').count();
    (after.as_bytes().get(hashes) == Some(&b'"')).then_some(hashes)
}

/// Returns the length of the text that begins here, quotes included.
fn plain_text(rest: &str) -> usize {
    let mut escaped = false;
    for (index, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return index + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Returns the length of the block comment that begins here; they nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    for (index, pair) in rest.as_bytes().windows(2).enumerate() {
        match pair {
            b"/*" => depth += 1,
            b"*/" if depth == 1 => return index + 2,
            b"*/" => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_counts() {
        let text = r##"
            // unsafe { comment }
            /* unsafe fn /* nested */ unsafe { } */
            #![forbid(unsafe_code)]
            const TEXT: &str = "unsafe { \" }";
            const RAW: &str = r#"unsafe { " }"#;
            const QUOTE: char = '"';
            unsafe fn one() {}
            fn two() { unsafe { three() } }
            unsafe impl Send for Four {}
            unsafe extern "C" {}
            #[unsafe(no_mangle)]
            fn five() { unsafe{} }
        "##;
        assert_eq!(count_uses(&stripped(text)), 5);
        assert!(stripped(text).contains("#![forbid(unsafe_code)]"));
        assert!(!stripped("// #![forbid(unsafe_code)]").contains("forbid"));
    }
}
