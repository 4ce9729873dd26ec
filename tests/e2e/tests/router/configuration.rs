//! Bad configurations: the router says what is wrong and where, comes up without forwarding, and its console works.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Bench, Plan};
use sluice::host::{Ping, PingOutcome};

/// A good beginning, three lines long.
const PORT: &str = "[[interface]]\nname = \"em0\"\naddresses = [\"10.0.1.1/24\"]\n";

/// Boots with `config` and makes sure that the router says `complaint`, forwards nothing and is otherwise well.
fn comes_up_without_forwarding(config: &str, complaint: &str) -> Result<()> {
    let mut bench = Plan { config: Some(config.to_owned()), ..Bench::of(2) }.boot()?;
    let transcript = bench.router.transcript();
    let said = transcript.lines().any(|line| line.contains(complaint) && line.contains("not forwarding"));
    ensure!(said, "{complaint:?} was not said:\n{transcript}");
    let ping = Ping { limit: Duration::from_secs(2), ..Ping::default() };
    for target in [Bench::own_address(0), Bench::host_address(1)] {
        let outcome = bench.lab.ping(bench.host(0), target, ping);
        ensure!(matches!(outcome, PingOutcome::Silence | PingOutcome::NoNeighbour), "{outcome:?}");
    }
    let interfaces = bench.router.command("show interfaces")?;
    ensure!(interfaces.contains("em0:") && interfaces.contains("em1:"), "{interfaces}");
    let help = bench.router.command("help")?;
    ensure!(help.contains("show interfaces"), "{help}");
    bench.finish()
}

#[test]
fn what_is_no_toml_is_refused_with_its_place() -> Result<()> {
    comes_up_without_forwarding(&format!("{PORT}[[interface\n"), "line 4, column ")
}

#[test]
fn an_unknown_key_is_refused_with_its_place() -> Result<()> {
    comes_up_without_forwarding(&format!("{PORT}adresses = []\n"), "line 4, column 1: ")
}

#[test]
fn an_interface_that_the_machine_does_not_have_is_refused_with_its_place() -> Result<()> {
    let config = format!("{PORT}[[interface]]\nname = \"em7\"\naddresses = [\"10.0.7.1/24\"]\n");
    comes_up_without_forwarding(&config, "line 5, column 8: ")
}

#[test]
fn a_setting_that_does_not_exist_is_refused_with_its_place() -> Result<()> {
    comes_up_without_forwarding(&format!("{PORT}[sysctl]\n\"net.no.such\" = 1\n"), "line 5, column ")
}

#[test]
fn a_missing_configuration_is_said_to_be_missing() -> Result<()> {
    comes_up_without_forwarding("", "no configuration")
}
