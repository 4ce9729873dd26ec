//! What is measured between two hosts: `bench`, and `bench throughput` and its like.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::Args;
use sluice::{
    bench::{
        LONGEST_FRAME, Record, Subject,
        measure::{Bench, Options},
        peer::Sluice,
        record::Folder,
    },
    machine::NicModel,
    progress::Progress,
    workspace::Workspace,
};

use super::peers::{Framing, Peer, mtu, subjects};

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Everything.
    All,
    /// Frames a second.
    Throughput,
    /// What becomes of too many frames.
    Overload,
    /// Times.
    Latency,
    /// Memory, size, boot.
    Footprint,
}

/// What all of these take.
#[derive(Args, Debug)]
#[group(id = "traffic")]
pub(super) struct Arguments {
    /// What the router is compared with, in the same run and in turn
    #[arg(long, value_enum, value_delimiter = ',', default_value = "none")]
    peer: Vec<Peer>,
    /// Sizes of frames in octets, check sequence counted
    #[arg(long, value_name = "OCTETS", value_delimiter = ',', default_value = "64,512,1518", value_parser = frame_size)]
    frames: Vec<usize>,
    /// For how many seconds each value is measured
    #[arg(long, value_name = "N", default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    #[command(flatten)]
    framing: Framing,
    /// How many values there are of each figure
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Numbers of processors of the router
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,2", value_parser = clap::value_parser!(u32).range(1..=64))]
    cpus: Vec<u32>,
    /// Dispatch policies (net.isr.dispatch) that are measured beside each other, or none
    #[arg(long, value_name = "POLICY", value_delimiter = ',', default_value = "direct,deferred,hybrid", value_parser = ["direct", "deferred", "hybrid", "none"])]
    dispatch: Vec<String>,
    /// What the two cards are (DPDK's driver here is that of e1000)
    #[arg(long, value_enum, default_value_t)]
    cards: NicModel,
    /// Frames of each direction that are on their way in a closed loop
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=4096))]
    window: u32,
    /// Frames a second at which latency is measured, instead of half of the rate without loss
    #[arg(long, value_name = "PPS", value_delimiter = ',', value_parser = rate)]
    rates: Vec<f64>,
    /// The folder for records, table and plots
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn frame_size(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|size| (64..=LONGEST_FRAME).contains(size))
        .ok_or_else(|| format!("a frame has 64 to {LONGEST_FRAME} octets"))
}

fn rate(text: &str) -> Result<f64, String> {
    let parsed: Option<f64> = text.parse().ok();
    parsed
        .filter(|rate| (1.0..=1e8).contains(rate))
        .ok_or_else(|| "a rate is 1 to 100,000,000 frames a second".to_owned())
}

pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let parsed: Option<f64> = text.parse().ok();
    parsed.filter(|seconds| (0.1..=3600.0).contains(seconds)).ok_or_else(|| "it takes 0.1 to 3600 seconds".to_owned())
}

/// Measures, and shows what came of it.
pub(super) fn run(what: What, arguments: &Arguments) -> Result<()> {
    arguments.framing.check(&arguments.frames, &arguments.peer)?;
    let (progress, workspace) = (Progress::new(), Workspace::find());
    let sluice = Sluice::build(progress)?;
    let mut all: Vec<Box<dyn Subject>> = vec![Box::new(sluice.clone())];
    all.extend(subjects(&arguments.peer, progress)?);
    let out = arguments.out.clone().unwrap_or_else(|| workspace.target("bench"));
    let options = Options {
        frames: arguments.frames.clone(),
        duration: Duration::from_secs_f64(arguments.seconds),
        rounds: arguments.rounds.into(),
        cpus: arguments.cpus.clone(),
        rates: arguments.rates.clone(),
        dispatch: arguments.dispatch.iter().filter(|policy| *policy != "none").cloned().collect(),
        window: arguments.window,
        cards: arguments.cards,
        tagged: arguments.framing.tagged,
        mtu: mtu(&arguments.frames),
    };
    let mut folder = Folder::create(&out)?;
    for subject in &all {
        let mut record = Record::new("subject", subject.name());
        record.note(&subject.describe());
        let record = arguments.framing.note(record.with("cards", super::cards_name(arguments.cards)));
        folder.put(record)?;
    }
    let mut bench = Bench { subjects: all, options, folder, progress, workspace };
    if matches!(what, What::All | What::Throughput) {
        bench.throughput()?;
    }
    if matches!(what, What::All | What::Overload) {
        bench.overload()?;
    }
    if matches!(what, What::All | What::Latency) {
        bench.latency()?;
    }
    if matches!(what, What::All | What::Footprint) {
        bench.footprint(&sluice)?;
    }
    super::present(bench.folder.records(), &out, progress)
}
