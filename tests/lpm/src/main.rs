//! Measures the forwarding table beside its anchors and prints records, one line of JSON each (see `bench::Record` of the runner).

#![forbid(unsafe_code)]

use std::{
    fs,
    io::{self, Write},
    net::Ipv4Addr,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use clap::Parser;
use lpm::{
    ByLength, Contender, PlainRoute, Stream,
    anchors::{BareRead, Dir24, Dxr, Iptrie, Poptrie},
    churn::churn,
    internet_like,
    race::{Mode, Racer, race},
    rib_of,
};
use serde_json::{Map, Value, json};

/// Measures longest-prefix match.
#[derive(Parser, Debug)]
struct Arguments {
    /// How many routes the table has
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(100..=1_200_000))]
    routes: u32,
    /// How often each structure has its turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    turns: u16,
    /// For how many seconds the table is changed while it is read
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How many addresses of each stream are compared with the reference, for each structure
    #[arg(long, default_value_t = 1 << 20)]
    compare: usize,
    /// What table and streams follow from
    #[arg(long, default_value_t = 0x51_1ce)]
    seed: u64,
}

/// A structure in the race.
struct Entrant {
    name: &'static str,
    octets: Option<usize>,
    build: Duration,
    structure: Box<dyn Both>,
    /// Whether its answers are to be right.
    is_table: bool,
}

impl Entrant {
    fn new(
        name: &'static str,
        octets: impl Into<Option<usize>>,
        build: Duration,
        structure: impl Both + 'static,
    ) -> Self {
        Self { name, octets: octets.into(), build, structure: Box::new(structure), is_table: true }
    }
}

/// What each structure can do.
trait Both: Racer + Lookup {}
impl<C: Contender> Both for C {}

/// Single lookups, for comparison.
trait Lookup {
    fn answers(&self, addresses: &[Ipv4Addr]) -> Vec<u16>;
}

impl<C: Contender> Lookup for C {
    fn answers(&self, addresses: &[Ipv4Addr]) -> Vec<u16> {
        let mut answers = vec![0; addresses.len()];
        let batched = addresses.len() / 2;
        self.look_up_all(&addresses[..batched], &mut answers[..batched]);
        for (address, answer) in addresses.iter().zip(&mut answers).skip(batched) {
            *answer = self.look_up(*address);
        }
        answers
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let routes = internet_like(arguments.routes as usize, arguments.seed);
    let compare = Stream::ALL.map(|stream| stream.addresses(&routes, arguments.compare, arguments.seed ^ 3));
    let expected = expected(&routes, &compare);
    let (entrants, hops) = entrants(&routes)?;
    let streams = Stream::ALL.map(|stream| stream.addresses(&routes, 1 << 20, arguments.seed ^ 7));
    let racers: Vec<&dyn Racer> = entrants.iter().map(|entrant| &*entrant.structure as &dyn Racer).collect();
    let times = Mode::ALL.map(|mode| race(&racers, &streams, mode, arguments.turns.into()));
    for (place, entrant) in entrants.iter().enumerate() {
        let hops = if entrant.name == "sluice" { &hops[..] } else { &[] };
        let mut figures = Map::new();
        for (mode, times) in Mode::ALL.iter().zip(&times) {
            for (stream, time) in Stream::ALL.iter().zip(&times[place]) {
                figures.insert(format!("{}_{}_ns", stream.name(), mode.name()), json!([time]));
            }
        }
        if let Some(octets) = entrant.octets {
            figures.insert("size_mib".into(), json!([mib(octets)]));
        }
        if entrant.is_table {
            let mismatches = mismatches(&*entrant.structure, hops, &compare, &expected);
            figures.insert("build_s".into(), json!([entrant.build.as_secs_f64()]));
            figures.insert("mismatches".into(), json!([mismatches]));
        }
        print("fib", entrant.name, &arguments, figures)?;
    }
    drop(entrants);
    let churned = churn(&routes, Duration::from_secs_f64(arguments.seconds), arguments.seed)?;
    let mut figures = Map::new();
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53 changes")]
    figures.insert("updates_per_second".into(), json!([churned.changes as f64 / churned.seconds]));
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53 changes")]
    figures.insert("updates_per_processor_second".into(), json!([churned.changes as f64 / churned.processor_seconds]));
    figures.insert("lookups_checked_meanwhile".into(), json!([churned.looked_up]));
    figures.insert("mismatches".into(), json!([churned.mismatches]));
    figures.insert("tables_made_anew".into(), json!([churned.made_anew]));
    print("fib-updates", "sluice", &arguments, figures)
}

/// Makes all structures, and says which route number each index of our own table stands for.
fn entrants(routes: &[PlainRoute]) -> Result<(Vec<Entrant>, Vec<u16>)> {
    let rib = rib_of(routes);
    let start = Instant::now();
    let fib = rib.build()?;
    let build = start.elapsed();
    drop(rib);
    let limit = u16::try_from(fib.index_limit())?;
    let hops = (0..limit).map(|index| fib.at_index(index).map_or(0, |hop| hop.out + 1)).collect();
    let mut entrants = vec![Entrant::new("sluice", fib.size().octets, build, fib)];
    let (flat, build) = timed(|| Dir24::new(routes));
    let (dxr20, build20) = timed(|| Dxr::<20>::new(routes, &flat));
    let (dxr18, build18) = timed(|| Dxr::<18>::new(routes, &flat));
    let (poptrie, build_poptrie) = timed(|| Poptrie::new(routes));
    let (iptrie, build_iptrie) = timed(|| Iptrie::new(routes));
    let bare = BareRead::new();
    entrants.extend([
        Entrant { is_table: false, ..Entrant::new("bare read", bare.octets(), Duration::ZERO, bare) },
        Entrant::new("dir-24-8", flat.octets(), build, flat),
        Entrant::new("poptrie-18", poptrie.octets(), build_poptrie, poptrie),
        Entrant::new("dxr-20", dxr20.octets(), build + build20, dxr20),
        Entrant::new("dxr-18", dxr18.octets(), build + build18, dxr18),
        Entrant::new("iptrie-lc", None, build_iptrie, iptrie),
    ]);
    Ok((entrants, hops))
}

fn timed<T>(make: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let made = make();
    (made, start.elapsed())
}

fn expected(routes: &[PlainRoute], compare: &[Vec<Ipv4Addr>]) -> Vec<u16> {
    let reference = ByLength::new(routes);
    let addresses = compare.iter().flatten();
    addresses.map(|address| reference.lookup(address.to_bits()).map_or(0, |number| number + 1)).collect()
}

/// Counts the answers that differ from the reference's. `hops` translates answers, if it is not empty.
fn mismatches(structure: &dyn Both, hops: &[u16], compare: &[Vec<Ipv4Addr>], expected: &[u16]) -> usize {
    let answers = compare.iter().flat_map(|addresses| structure.answers(addresses));
    let plain = answers.map(|answer| if hops.is_empty() { answer } else { hops[usize::from(answer)] });
    plain.zip(expected).filter(|(answer, expected)| answer != *expected).count()
}

#[expect(clippy::cast_precision_loss, reason = "far less than 2^53 octets")]
fn mib(octets: usize) -> f64 {
    octets as f64 / f64::from(1 << 20)
}

/// Returns how much of the process's memory is in large pages, in words.
fn large_pages() -> Option<String> {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").ok()?;
    let amount = |name: &str| rollup.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    Some(format!("of {}, {} in large pages", amount("Rss:")?, amount("AnonHugePages:")?))
}

fn print(measure: &str, subject: &str, arguments: &Arguments, figures: Map<String, Value>) -> Result<()> {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let conditions = json!({ "routes": arguments.routes, "seed": arguments.seed });
    let record = json!({
        "measure": measure, "subject": subject, "conditions": conditions,
        "figures": figures, "notes": large_pages().into_iter().collect::<Vec<_>>(), "time": time,
    });
    writeln!(io::stdout(), "{record}")?;
    Ok(())
}
