//! Instructions that a function executes, by valgrind's callgrind: [`count`].
//!
//! A benchmark calls [`count`] with the name of a function that is never inlined. The program runs itself once more under valgrind, with counting
//! switched on within that function only; there [`is_counted`] is true, and the benchmark does its work. Nothing besides valgrind has to be installed.

use std::{env, process::Command};

use anyhow::{Context, Result, ensure};

/// Set for the program that is counted.
const COUNTED: &str = "SLUICE_COUNTED";

/// Returns whether this program runs under valgrind to be counted.
#[must_use]
pub fn is_counted() -> bool {
    env::var_os(COUNTED).is_some()
}

/// Runs this program under valgrind, with more `variables` in its environment, and returns how many instructions all calls of `function` (a
/// pattern of its path) executed.
///
/// # Errors
/// When valgrind is not installed, or the program fails, or the function was never called.
pub fn count(function: &str, variables: &[(&str, &str)]) -> Result<u64> {
    let program = env::current_exe()?;
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"]);
    valgrind.arg(format!("--toggle-collect={function}")).arg(program).env(COUNTED, "1");
    valgrind.envs(variables.iter().copied());
    let output = valgrind.output().context("cannot run valgrind (Debian's package valgrind)")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the counted program failed:\n{text}");
    let line = text.lines().find_map(|line| line.split_once("Collected :")).context("valgrind counted nothing")?;
    let count: u64 = line.1.trim().parse().context("a count is a number")?;
    ensure!(count > 0, "{function} was never called");
    Ok(count)
}
