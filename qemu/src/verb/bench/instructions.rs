//! `bench instructions`: what a forwarded packet costs in instructions and register accesses, and where they go.

use std::{fs, net::Ipv4Addr, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use sluice::{
    bench::{
        HOSTS, Record, Subject,
        generator::{Load, Mode},
        instructions::{Cost, Metered},
        meter::{By, Code},
        peer::Sluice,
        record::Folder,
    },
    machine::NicModel,
    progress::Progress,
    workspace::Workspace,
};
use wire::Ipv4Prefix;

use super::peers::{Framing, Peer};

/// What `bench instructions` takes.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// What the router is compared with
    #[arg(long, value_enum, value_delimiter = ',', default_value = "none")]
    peer: Vec<Peer>,
    /// The sizes of frames in octets, check sequence counted
    #[arg(long, value_name = "OCTETS", value_delimiter = ',', default_value = "64", value_parser = super::traffic::frame_size)]
    frames: Vec<usize>,
    /// Numbers of processors
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,2", value_parser = clap::value_parser!(u32).range(1..=64))]
    cpus: Vec<u32>,
    /// Whether frames go one way, both, or each in turn
    #[arg(long, value_enum, value_delimiter = ',', default_value = "one,both")]
    ways: Vec<Ways>,
    /// What the two cards are
    #[arg(long, value_enum, default_value_t)]
    cards: NicModel,
    /// Addresses that the frames of each direction go to, at random: as many flows (1: the other host's own address)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_000))]
    flows: u32,
    /// Queues of each card, as far as it has them (hw.em.num_queues; 0: one for each processor)
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    queues: u8,
    #[command(flatten)]
    framing: Framing,
    /// How frames come: in batches, as many on their way as --window says, or one at a time
    #[arg(long, value_enum, default_value_t)]
    load: Arrival,
    /// Frames of each direction that are on their way
    #[arg(long, value_name = "N", default_value_t = super::BATCH_WINDOW, value_parser = clap::value_parser!(u32).range(1..=4096))]
    window: u32,
    /// For how many seconds each value is measured
    #[arg(long, value_name = "N", default_value_t = 3.0, value_parser = super::traffic::seconds)]
    seconds: f64,
    /// How many values there are of each figure
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// What the router's profile is summed up by
    #[arg(long, value_enum, value_delimiter = ',', default_value = "stage,symbol")]
    by: Vec<By>,
    /// Shows what takes fewer instructions a packet than this in one line
    #[arg(long, value_name = "N", default_value_t = 0.5)]
    least: f64,
    /// Leaves register accesses out, which take a boot of their own
    #[arg(long)]
    no_registers: bool,
    /// The dispatch policy (net.isr.dispatch)
    #[arg(long, value_name = "POLICY", default_value = "direct", value_parser = ["direct", "deferred", "hybrid"])]
    dispatch: String,
    /// The folder for records and plots
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// How many directions there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Ways {
    /// From port 0 to port 1
    One,
    /// Both at once
    Both,
}

/// How frames come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Arrival {
    /// Many on their way
    #[default]
    Batch,
    /// One on its way
    Single,
}

/// The network that the flows' addresses are in, behind each port.
const FLOWS: [(Ipv4Addr, u8); 2] = [(Ipv4Addr::new(172, 17, 0, 0), 16), (Ipv4Addr::new(172, 18, 0, 0), 16)];

/// Returns the routes to the flows' addresses: by the host at each port.
fn flow_routes() -> impl Iterator<Item = (Ipv4Prefix, Ipv4Addr)> {
    FLOWS
        .into_iter()
        .zip(HOSTS)
        .map(|((network, length), host)| (Ipv4Prefix::containing(network, length), host.address))
}

/// Returns so many addresses behind a port.
fn flows(port: usize, count: u32) -> Vec<Ipv4Addr> {
    let network = FLOWS.get(port).map_or(Ipv4Addr::UNSPECIFIED, |(network, _)| *network);
    (1..=count).map(|host| Ipv4Addr::from(u32::from(network) + host)).collect()
}

/// A run of the measurement.
struct Run<'a> {
    arguments: &'a Arguments,
    workspace: Workspace,
    progress: Progress,
    folder: Folder,
}

/// Measures, and shows what came of it.
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    arguments.framing.check(&arguments.frames, &arguments.peer)?;
    let (progress, workspace) = (Progress::new(), Workspace::find());
    let router = Sluice::build(progress)?;
    let kernel = router.kernel().to_path_buf();
    let bytes = fs::read(&kernel).with_context(|| format!("cannot read {}", kernel.display()))?;
    let code = Code::of(&workspace, &bytes)?;
    let out = arguments.out.clone().unwrap_or_else(|| workspace.target("bench").join("instructions"));
    let folder = Folder::create(&out)?;
    let peers = super::peers::subjects(&arguments.peer, progress)?;
    let mut run = Run { arguments, workspace, progress, folder };
    for cpus in &arguments.cpus {
        run.subject(&router, Some(&code), *cpus)?;
        for peer in &peers {
            run.subject(&**peer, None, *cpus)?;
        }
    }
    super::present(run.folder.records(), &out, progress)?;
    Ok(())
}

impl Run<'_> {
    /// Measures one subject: instructions first, and then, with another boot, register accesses, because they are counted slowly.
    fn subject(&mut self, subject: &dyn Subject, code: Option<&Code<'_>>, cpus: u32) -> Result<()> {
        let mut records = Vec::new();
        let mut metered = self.boot(subject, cpus, false)?;
        for (size, ways) in self.conditions() {
            let mut record = self.record(subject, cpus, size, ways);
            let mut last = None;
            for _ in 0..self.arguments.rounds {
                let (cost, lost) = self.cost(&mut metered, size, ways)?;
                cost.add_to(&mut record, code)?;
                record.add("lost_frames", lost as f64);
                last = Some(cost);
            }
            if let Some(cost) = last {
                self.show(&record, &cost, code)?;
            }
            records.push(record);
        }
        metered.stop()?;
        if !self.arguments.no_registers {
            let mut metered = self.boot(subject, cpus, true)?;
            for ((size, ways), record) in self.conditions().into_iter().zip(&mut records) {
                let (cost, _) = self.cost(&mut metered, size, ways)?;
                let (reads, writes) = cost.accesses_per_packet();
                record.add("register_reads_per_packet", reads);
                record.add("register_writes_per_packet", writes);
                println!("{}", cost.register_table());
            }
            metered.stop()?;
        }
        records.into_iter().try_for_each(|record| self.folder.put(record))
    }

    fn conditions(&self) -> Vec<(usize, Ways)> {
        let frames = self.arguments.frames.iter();
        frames.flat_map(|size| self.arguments.ways.iter().map(|ways| (*size, *ways))).collect()
    }

    fn boot(&self, subject: &dyn Subject, cpus: u32, counts_registers: bool) -> Result<Metered> {
        self.progress.say(&format!("Booting {} with {cpus} CPU(s)", subject.name()));
        let dispatch = ("net.isr.dispatch".to_owned(), self.arguments.dispatch.clone());
        Metered::boot(subject, &self.workspace, counts_registers, self.progress, |setup| {
            setup.cpus = cpus;
            setup.settings.push(dispatch);
            if self.arguments.queues > 0 {
                setup.settings.push(("hw.em.num_queues".to_owned(), self.arguments.queues.to_string()));
            }
            setup.cards = self.arguments.cards;
            self.arguments.framing.apply(&self.arguments.frames, setup);
            if self.arguments.flows > 1 {
                setup.routes.extend(flow_routes());
            }
        })
    }

    fn cost(&self, metered: &mut Metered, size: usize, ways: Ways) -> Result<(Cost, u64)> {
        let window = if self.arguments.load == Arrival::Single { 1 } else { self.arguments.window };
        let duration = Duration::from_secs_f64(self.arguments.seconds);
        let mut load = Load::new(ways == Ways::Both, size, Mode::Closed { window }, duration);
        if self.arguments.flows > 1 {
            load.streams.iter_mut().for_each(|stream| stream.destinations = flows(stream.to(), self.arguments.flows));
        }
        let bar = self.progress.line("Counting");
        let (cost, outcome) = metered.cost(&load, &bar)?;
        bar.finish_and_clear();
        Ok((cost, outcome.lost()))
    }

    fn record(&self, subject: &dyn Subject, cpus: u32, size: usize, ways: Ways) -> Record {
        let single = self.arguments.load == Arrival::Single;
        let record = Record::new("instructions", subject.name()).with("frame", size).with("cpus", cpus);
        let record = record.with("ways", if ways == Ways::Both { "both" } else { "one" });
        let record = record.with("window", if single { 1 } else { self.arguments.window });
        let record = record.with("dispatch", self.arguments.dispatch.as_str());
        let cards = super::cards_name(self.arguments.cards);
        let record = record.with("cards", cards).with("flows", self.arguments.flows);
        self.arguments.framing.note(record.with("queues", u32::from(self.arguments.queues)))
    }

    fn show(&self, record: &Record, cost: &Cost, code: Option<&Code<'_>>) -> Result<()> {
        let shown: &[By] = if code.is_some() { &self.arguments.by } else { &[By::Stage] };
        for by in shown {
            println!("{}", cost.table(code, *by, self.arguments.least)?);
        }
        let conditions = record.conditions.iter().map(|(name, value)| format!("{name} {value}"));
        let (packets, each) = (cost.packets, cost.instructions_per_packet());
        let conditions = conditions.collect::<Vec<_>>().join(", ");
        println!("{}: {conditions}: {packets} packets, {each:.2} instructions a packet\n", record.subject);
        Ok(())
    }
}
