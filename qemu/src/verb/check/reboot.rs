//! Shutdowns at random instants under fire: boots routers, types `reboot`, `poweroff` or `halt`, and looks at what became of it.

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::Args;
use sluice::{
    build::Builder,
    machine::Firmware,
    prepare,
    progress::Progress,
    siege::{self, Outcome, Siege, Tally, VARIANTS, Variant},
    workspace::Workspace,
};

/// What this check takes.
#[derive(Args, Debug)]
#[group(id = "reboot")]
pub(super) struct Options {
    /// reboot: how many shutdowns there are
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    times: u64,
    /// reboot: what the random instants are made of; the first run has this seed, the second the next, and so on
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// reboot: the kind of all runs, instead of half saturated ones and the rest all others in turn
    #[arg(long, value_name = "NAME", value_parser = named)]
    variant: Option<&'static Variant>,
    /// reboot: no run begins after so many seconds, however many were asked for
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// reboot: a BIOS disk image that was made for this check before (in target/images), instead of one of the present source
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
}

fn named(name: &str) -> Result<&'static Variant, String> {
    let all: Vec<&str> = VARIANTS.iter().map(|variant| variant.name).collect();
    Variant::find(name).ok_or_else(|| format!("there are {}", all.join(", ")))
}

impl Options {
    /// Returns each variant with the number of its runs.
    fn shares(&self) -> Vec<(&'static Variant, u64)> {
        if let Some(variant) = self.variant {
            return vec![(variant, self.times)];
        }
        let others = VARIANTS.len() as u64 - 1;
        let rest = self.times / 2;
        let share = |(index, variant): (usize, &'static Variant)| match index as u64 {
            0 => (variant, self.times - rest),
            // What cannot be divided goes to the first of them.
            index => (variant, rest / others + u64::from(index <= rest % others)),
        };
        VARIANTS.iter().enumerate().map(share).filter(|(_, count)| *count > 0).collect()
    }
}

pub(super) fn check(arguments: &Options, workspace: &Workspace, progress: Progress) -> Result<()> {
    prepare::for_running(Firmware::Bios, progress)?;
    let image = match &arguments.image {
        Some(image) => image.clone(),
        None => {
            let builder = Builder::new(workspace, progress)?;
            builder.image(&builder.kernel_once()?, Siege::config().as_bytes())?
        }
    };
    let siege = Siege::new(workspace, &image);
    let first = arguments.seed.unwrap_or_else(siege::any_seed);
    progress.say(&format!("{} shutdowns at random instants; seed {first}", arguments.times));
    let bar = progress.line("Shutting down");
    let mut tally = Tally::default();
    let mut seeds = first..;
    let began = Instant::now();
    let has_time = |_: &u64| arguments.seconds.is_none_or(|limit| began.elapsed() < Duration::from_secs(limit));
    for (variant, count) in arguments.shares() {
        let seeds: Vec<u64> = seeds.by_ref().take(usize::try_from(count).unwrap_or(usize::MAX)).collect();
        siege.run(variant, seeds.into_iter().take_while(has_time), |outcome| {
            tally.add(&outcome);
            tell(progress, &outcome, tally.runs());
            bar.set_message(format!(
                "{} of {}, {}, {} failures",
                tally.runs(),
                arguments.times,
                variant.name,
                tally.failures().len()
            ));
        });
    }
    bar.finish_and_clear();
    print!("{tally}");
    if !tally.failures().is_empty() {
        bail!("{} of {} shutdowns failed:\n{}", tally.failures().len(), tally.runs(), tally.failures().join("\n"));
    }
    progress.say(&format!("{} shutdowns, no failure; seed {first}", tally.runs()));
    Ok(())
}

/// Says what happened: each failure at once, and every tenth run where no line can move.
fn tell(progress: Progress, outcome: &Outcome, count: usize) {
    match &outcome.result {
        Err(error) => progress.say(&format!("failed: {error:#}")),
        Ok(figures) if !io::stderr().is_terminal() && count.is_multiple_of(10) => {
            let (name, command, guest) = (outcome.variant.name, figures.ending.command(), figures.guest.as_millis());
            progress.say(&format!("{count} shutdowns; the last: {name}, {command}, {guest} ms"));
        }
        Ok(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_runs_are_saturated_ones_and_none_is_lost() {
        for times in [1, 2, 10, 50, 200, 201] {
            let arguments = Options { times, seed: None, variant: None, image: None, seconds: None };
            let shares = arguments.shares();
            assert_eq!(shares.iter().map(|(_, count)| count).sum::<u64>(), times);
            assert_eq!(shares[0], (&VARIANTS[0], times - times / 2));
        }
    }
}
