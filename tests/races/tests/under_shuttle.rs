//! The scenarios and the mutations under shuttle, bounded, so that a plain `cargo test` looks for races as well:
//! `cargo run -- check shuttle` looks longer.

#![cfg(not(any(loom, shuttle)))]

use std::{path::Path, process::Command};

/// Schedules of each scenario.
const ITERATIONS: &str = "10";

#[test]
fn the_scenarios_hold_and_the_mutations_are_found_in_a_few_schedules_of_shuttle() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(&workspace).args(["test", "--profile", "loom", "--package", "races", "--tests"]);
    // The target folder of `check shuttle`, so that both build once.
    cargo.args(["--target-dir", "target/shuttle"]).env("RUSTFLAGS", "--cfg shuttle");
    cargo.env("SLUICE_SHUTTLE_ITERATIONS", ITERATIONS).env_remove("SLUICE_SHUTTLE_REPLAY").env_remove("RUST_BACKTRACE");
    let output = cargo.output().expect("cargo runs");
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}\n{errors}");
    let passed = text.lines().filter(|line| line.starts_with("test r") && line.ends_with("... ok")).count();
    assert!(passed >= 20, "the scenarios were run: {text}");
    assert!(text.contains("every_edge_left_out_is_found_by_a_scenario ... ok"), "the mutations were: {text}");
}
