//! What is aimed at, held against what was measured: [`Goal`].

use super::{Record, instructions::INSTRUCTIONS, record::median, table::number};

/// The subjects that goals name.
const SLUICE: &str = "sluice";
const LINUX: &str = "linux-tuned";
const DPDK: &str = "dpdk";

/// A goal that the records of a run say something about.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    /// What is aimed at.
    pub name: String,
    /// What was measured.
    pub value: f64,
    /// The bound.
    pub bound: f64,
    /// Whether the value is to be at least the bound; else at most.
    pub at_least: bool,
}

impl Goal {
    fn at_least(name: impl Into<String>, value: f64, bound: f64) -> Self {
        Self { name: name.into(), value, bound, at_least: true }
    }

    fn at_most(name: impl Into<String>, value: f64, bound: f64) -> Self {
        Self { at_least: false, ..Self::at_least(name, value, bound) }
    }

    /// Returns whether it is met.
    #[must_use]
    pub fn is_met(&self) -> bool {
        if self.at_least { self.value >= self.bound } else { self.value <= self.bound }
    }

    /// Sets it in a line.
    #[must_use]
    pub fn line(&self) -> String {
        let (word, sign) = (if self.is_met() { "met" } else { "MISSED" }, if self.at_least { ">=" } else { "<=" });
        format!("{word:7} {:62} {:>8}  {sign} {}\n", self.name, number(self.value), number(self.bound))
    }
}

/// Returns every goal that these records decide.
#[must_use]
pub fn all(records: &[Record]) -> Vec<Goal> {
    let mut goals = Vec::new();
    for (cpus, ways) in [(1.0, "one"), (1.0, "both"), (2.0, "one"), (2.0, "both")] {
        add_comparisons(&mut goals, records, cpus, ways);
    }
    let spent = |cpus, ways| at(records, "throughput", SLUICE, cpus, |record| is_small(record, ways));
    if let Some(ratio) = ratio(spent(2.0, "both"), spent(1.0, "one"), "vcpu_us_per_packet") {
        goals.push(Goal::at_most("vCPU time, 2 CPUs both ways / 1 CPU one way", ratio, 1.15));
    }
    add_dispatch(&mut goals, records);
    add_overload(&mut goals, records);
    add_latency(&mut goals, records);
    for record in records.iter().filter(|record| record.measure == "idle" && record.subject == SLUICE) {
        let share = record.median("vcpu_share").unwrap_or(1.0) * 100.0;
        goals.push(Goal::at_most(format!("idle, {}: host CPU in percent", cpus_of(record)), share, 1.0));
    }
    for record in records.iter().filter(|record| record.measure == "footprint" && record.subject == SLUICE) {
        let bounds = [
            ("memory_mib", "memory in use, MiB", 32.0),
            ("boot_ms", "boot, kernel's entry to the first forwarded packet, ms", 150.0),
            ("image_mib", "kernel, stripped, MiB", 2.0),
        ];
        for (figure, name, bound) in bounds {
            goals.extend(record.median(figure).map(|value| Goal::at_most(name, value, bound)));
        }
        let boots = record.median("boots_with_64_mib");
        goals.extend(boots.map(|boots| Goal::at_least("boots and forwards with -m 64", boots, 1.0)));
    }
    add_instructions(&mut goals, records);
    goals
}

/// Instructions, register accesses, and instructions with a big table.
fn add_instructions(goals: &mut Vec<Goal>, records: &[Record]) {
    let is_plain = |record: &Record| is_small(record, "one") && record.text("tagged").is_none();
    let find = |subject| at(records, "instructions", subject, 1.0, is_plain);
    let of = |record: Option<&Record>, figure| record.and_then(|record| record.median(figure));
    let ours = of(find(SLUICE), INSTRUCTIONS);
    goals.extend(ours.map(|each| Goal::at_most("instructions a packet, 64 octets, 1 CPU, one way", each, 300.0)));
    if let (Some(ours), Some(linux)) = (ours, of(find(LINUX), INSTRUCTIONS)) {
        goals.push(Goal::at_most(format!("instructions / {LINUX}'s, 64 octets, 1 CPU, one way"), ours / linux, 0.1));
    }
    let (reads, writes) =
        (of(find(SLUICE), "register_reads_per_packet"), of(find(SLUICE), "register_writes_per_packet"));
    if let (Some(reads), Some(writes)) = (reads, writes) {
        goals.push(Goal::at_most("accesses to the cards' registers a packet", reads + writes, 0.1));
    }
    let is_big = |record: &&Record| {
        record.measure == "scale" && record.text("over") == Some("routes") && record.number("count") == Some(1e6)
    };
    let big = of(records.iter().find(is_big), INSTRUCTIONS);
    goals.extend(big.map(|each| Goal::at_most("instructions a packet, 1 million routes", each, 350.0)));
}

fn is_small(record: &Record, ways: &str) -> bool {
    record.number("frame") == Some(64.0) && record.text("ways") == Some(ways)
}

fn cpus_of(record: &Record) -> String {
    let cpus = record.number("cpus").unwrap_or(1.0);
    format!("{cpus} CPU{}", if cpus > 1.0 { "s" } else { "" })
}

/// Finds a record.
fn at<'a>(
    records: &'a [Record],
    measure: &str,
    subject: &str,
    cpus: f64,
    is_case: impl Fn(&Record) -> bool,
) -> Option<&'a Record> {
    let of_kind = |record: &&Record| {
        record.measure == measure && record.subject == subject && record.number("cpus") == Some(cpus)
    };
    records.iter().filter(of_kind).find(|record| is_case(record))
}

/// Returns the median of the ratios of the values of a figure that were measured one after the other.
fn ratio(of: Option<&Record>, to: Option<&Record>, figure: &str) -> Option<f64> {
    let pairs = of?.values(figure).iter().zip(to?.values(figure)).filter(|(_, to)| **to > 0.0);
    median(&pairs.map(|(of, to)| of / to).collect::<Vec<_>>())
}

/// Rates and processor time, pair by pair.
fn add_comparisons(goals: &mut Vec<Goal>, records: &[Record], cpus: f64, ways: &str) {
    let find = |subject| at(records, "throughput", subject, cpus, |record| is_small(record, ways));
    let case = format!("{cpus} CPU{}, {ways} way{}", plural(cpus > 1.0), plural(ways == "both"));
    for (peer, least) in [(DPDK, 1.0), (LINUX, 3.0)] {
        if let Some(ratio) = ratio(find(SLUICE), find(peer), "rate_pps") {
            goals.push(Goal::at_least(format!("rate / {peer}'s, 64 octets, {case}"), ratio, least));
        }
    }
    for (peer, most) in [(DPDK, 1.0), (LINUX, 1.0 / 3.0)] {
        if let Some(ratio) = ratio(find(SLUICE), find(peer), "vcpu_us_per_packet") {
            goals.push(Goal::at_most(format!("vCPU time / {peer}'s, 64 octets, {case}"), ratio, most));
        }
    }
}

const fn plural(many: bool) -> &'static str {
    if many { "s" } else { "" }
}

fn add_dispatch(goals: &mut Vec<Goal>, records: &[Record]) {
    for ways in ["one", "both"] {
        let of_policy = |policy: &str| {
            let mut of_kind = records.iter().filter(|record| record.measure == "dispatch" && is_small(record, ways));
            of_kind.find(|record| record.text("dispatch") == Some(policy))
        };
        for other in ["deferred", "hybrid"] {
            if let Some(ratio) = ratio(of_policy("direct"), of_policy(other), "rate_pps") {
                let name = format!("rate, direct / {other} dispatch, {ways} way{}", plural(ways == "both"));
                goals.push(Goal::at_least(name, ratio, 1.0));
            }
        }
    }
}

/// From the zero-loss rate on, the forwarded rate stays near the best; both directions get their share; somebody answers.
fn add_overload(goals: &mut Vec<Goal>, records: &[Record]) {
    for cpus in [1.0, 2.0] {
        let of_case = |record: &&Record| {
            record.measure == "overload" && record.subject == SLUICE && record.number("cpus") == Some(cpus)
        };
        let points: Vec<&Record> = records.iter().filter(of_case).collect();
        let rates: Vec<f64> = points.iter().filter_map(|record| record.median("rate_pps")).collect();
        let best = rates.iter().copied().fold(0.0, f64::max);
        // At the zero-loss rate itself no more can be forwarded than is offered.
        let beyond = points.iter().filter(|record| record.number("factor").is_some_and(|factor| factor > 1.0));
        // Where less was to be sent than the best, as when the zero-loss rate was measured low, no more than that can be asked for; and
        // what the generator came too late to send was never offered. What the sockets refused counts: they take what the router takes.
        let share = |record: &&&Record| {
            let asked = record.median("asked_pps").unwrap_or(best) - record.median("late_pps").unwrap_or(0.0);
            Some(record.median("rate_pps")? / asked.min(best))
        };
        let least = beyond.clone().filter_map(|record| share(&record)).reduce(f64::min);
        let case = format!("overload, {cpus} CPU{}", plural(cpus > 1.0));
        if let Some(least) = least {
            goals.push(Goal::at_least(format!("{case}: lowest rate / best"), least, 0.95));
        }
        let fairness = beyond.clone().filter_map(|record| record.median("fairness")).reduce(f64::min);
        goals.extend(
            fairness.map(|fair| Goal::at_least(format!("{case}: the lesser direction's share, 1 is half"), fair, 0.9)),
        );
        for (figure, what, bound) in
            [("console_ms", "console answers within, ms", 1000.0), ("arp_ms", "ARP answers within, ms", 1000.0)]
        {
            let longest = points.iter().filter_map(|record| record.values(figure).iter().copied().reduce(f64::max));
            let all = points.iter().all(|record| !record.values(figure).is_empty());
            if let Some(longest) = longest.reduce(f64::max) {
                let value = if all { longest } else { f64::INFINITY };
                goals.push(Goal::at_most(format!("{case}: {what}"), value, bound));
            }
        }
    }
}

fn add_latency(goals: &mut Vec<Goal>, records: &[Record]) {
    for cpus in [1.0, 2.0] {
        let find = |subject, load: &str| {
            let is_case = |r: &Record| r.number("frame") == Some(64.0) && r.text("load") == Some(load);
            at(records, "latency", subject, cpus, is_case)
        };
        let case = format!("{cpus} CPU{}", plural(cpus > 1.0));
        if let Some(p50) = find(SLUICE, "single").and_then(|record| record.median("p50_us")) {
            goals.push(Goal::at_most(format!("one frame in flight, p50 in us, {case}"), p50, 80.0));
        }
        for (figure, name) in [("p50_us", "p50"), ("p99_us", "p99")] {
            for (load, title) in [("half", "half load"), ("same", "half of the slowest's load")] {
                if let Some(ratio) = ratio(find(SLUICE, load), find(LINUX, load), figure) {
                    goals.push(Goal::at_most(format!("{title}, {name} / {LINUX}'s, {case}"), ratio, 0.5));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throughput(subject: &str, cpus: u32, ways: &str, rates: &[f64]) -> Record {
        let mut record = Record::new("throughput", subject).with("frame", 64).with("cpus", cpus).with("ways", ways);
        for rate in rates {
            record.add("rate_pps", *rate);
            record.add("vcpu_us_per_packet", 1e6 / rate);
        }
        record
    }

    fn named<'a>(goals: &'a [Goal], name: &str) -> &'a Goal {
        goals.iter().find(|goal| goal.name == name).unwrap_or_else(|| panic!("{name} is not in {goals:#?}"))
    }

    #[test]
    fn ratios_are_of_neighbours() {
        let records =
            [throughput(SLUICE, 1, "one", &[310.0, 31.0, 320.0]), throughput(LINUX, 1, "one", &[100.0, 10.0, 90.0])];
        let goals = all(&records);
        let rate = named(&goals, "rate / linux-tuned's, 64 octets, 1 CPU, one way");
        assert!((rate.value - 3.1).abs() < 1e-9 && rate.is_met(), "{rate:?}");
        assert!(named(&goals, "vCPU time / linux-tuned's, 64 octets, 1 CPU, one way").is_met());
        assert!(!goals.iter().any(|goal| goal.name.contains("dpdk")), "nothing is said of what was not measured");
    }

    #[test]
    fn tagged_frames_have_no_goal() {
        let counted = |record: Record| {
            let mut record = record.with("frame", 64).with("cpus", 1).with("ways", "one");
            record.add(INSTRUCTIONS, 320.0);
            all(&[record])
        };
        let plain = Record::new("instructions", SLUICE);
        assert!(counted(plain.clone().with("tagged", "yes")).is_empty());
        assert!(!named(&counted(plain), "instructions a packet, 64 octets, 1 CPU, one way").is_met());
    }

    #[test]
    fn two_processors_are_held_against_one() {
        let records = [throughput(SLUICE, 1, "one", &[400.0]), throughput(SLUICE, 2, "both", &[320.0])];
        let goals = all(&records);
        let goal = named(&goals, "vCPU time, 2 CPUs both ways / 1 CPU one way");
        assert!((goal.value - 1.25).abs() < 1e-9 && !goal.is_met());
        assert!(goal.line().starts_with("MISSED"));
    }

    #[test]
    fn latency_is_compared_at_each_ones_load_and_at_the_same() {
        let times = |subject: &str, load: &str, p99: f64| {
            let mut record = Record::new("latency", subject).with("frame", 64).with("cpus", 1).with("load", load);
            record.add("p50_us", 100.0);
            record.add("p99_us", p99);
            record
        };
        let of_both = |load, ours, theirs| [times(SLUICE, load, ours), times(LINUX, load, theirs)];
        let records = [of_both("half", 900.0, 1000.0), of_both("same", 400.0, 1000.0)].concat();
        let goals = all(&records);
        let p99 = |title: &str| named(&goals, &format!("{title}, p99 / linux-tuned's, 1 CPU")).is_met();
        assert_eq!((p99("half load"), p99("half of the slowest's load")), (false, true));
        assert!(!named(&goals, "half of the slowest's load, p50 / linux-tuned's, 1 CPU").is_met());
    }

    #[test]
    fn an_overload_that_breaks_in_or_is_not_answered_is_seen() {
        let point = |factor: f64, rate: f64, answers: bool| {
            let mut record = Record::new("overload", SLUICE).with("cpus", 1).with("factor", factor);
            record.add("rate_pps", rate);
            record.add("asked_pps", 200.0 * factor);
            record.add("offered_pps", rate);
            record.add("fairness", 0.97);
            if answers {
                record.add("console_ms", 20.0);
            }
            record
        };
        let goals = all(&[point(1.0, 200.0, true), point(2.0, 400.0, true), point(8.0, 390.0, true)]);
        assert!(goals.iter().all(Goal::is_met), "{goals:#?}");
        assert!((named(&goals, "overload, 1 CPU: lowest rate / best").value - 0.975).abs() < 1e-9);
        let goals = all(&[point(1.5, 300.0, true), point(2.0, 400.0, true), point(8.0, 400.0, true)]);
        assert!(named(&goals, "overload, 1 CPU: lowest rate / best").is_met(), "300 of 300 asked for");
        let mut late = point(1.5, 270.0, true);
        late.add("late_pps", 30.0);
        let goals = all(&[late, point(2.0, 400.0, true)]);
        assert!(named(&goals, "overload, 1 CPU: lowest rate / best").is_met(), "270 of 270 offered");
        let goals = all(&[point(2.0, 400.0, true), point(8.0, 100.0, false)]);
        assert!(!named(&goals, "overload, 1 CPU: lowest rate / best").is_met());
        assert!(!named(&goals, "overload, 1 CPU: console answers within, ms").is_met());
    }
}
