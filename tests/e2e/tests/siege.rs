//! Shutdowns at random instants under fire, a few of each kind; `cargo run -- check reboot --times 200` makes the lot.
//!
//! A failure names the variant and the seed that repeat it. `SLUICE_E2E_SEED` sets the seed of the first run.

use anyhow::{Context, Result, ensure};
use e2e::{image, noise, workspace};
use sluice::{
    machine::Firmware,
    siege::{Siege, Tally, Variant},
};

/// Makes so many runs of each variant, and prints what they came to.
fn besiege(variants: &[(&str, usize)]) -> Result<()> {
    let siege = Siege::new(workspace(), &image(Firmware::Bios, &Siege::config())?);
    let mut seeds = noise::seed()..;
    let mut tally = Tally::default();
    for (name, count) in variants {
        let variant = Variant::find(name).with_context(|| format!("there is no variant {name}"))?;
        siege.run(variant, seeds.by_ref().take(*count).collect::<Vec<_>>(), |outcome| tally.add(&outcome));
    }
    println!("{tally}");
    ensure!(tally.failures().is_empty(), "{}", tally.failures().join("\n"));
    let wanted: usize = variants.iter().map(|(_, count)| count).sum();
    ensure!(tally.runs() == wanted, "{} runs instead of {wanted}", tally.runs());
    Ok(())
}

#[test]
fn ten_shutdowns_at_random_instants_under_fire_are_all_clean() -> Result<()> {
    besiege(&[
        ("saturated", 3),
        ("idle", 1),
        ("one-cpu", 1),
        ("four-cpus", 1),
        ("shared-line", 1),
        ("deferred", 2),
        ("cold-arp", 1),
    ])
}

#[test]
fn a_thread_that_spins_for_ever_is_named_and_the_shutdown_ends() -> Result<()> {
    besiege(&[("wedged-ithread", 1)])
}

#[test]
fn a_thread_that_sleeps_for_ever_is_named_and_the_shutdown_ends() -> Result<()> {
    besiege(&[("sleeping-ithread", 1)])
}

#[test]
fn a_card_that_ignores_the_stop_is_named_and_the_shutdown_ends() -> Result<()> {
    besiege(&[("ignored-stop", 1)])
}

#[test]
fn a_card_that_is_gone_is_named_and_the_shutdown_ends() -> Result<()> {
    besiege(&[("card-gone", 1)])
}

#[test]
fn a_cpu_that_obeys_no_interrupt_any_more_does_not_keep_the_shutdown_from_ending() -> Result<()> {
    besiege(&[("wedged-cpu", 1)])
}

#[test]
fn a_sequencer_whose_cpu_spins_above_it_still_ends() -> Result<()> {
    besiege(&[("starved-sequencer", 1)])
}
