//! Which stage of a packet's way an instruction serves: [`of`] its [`Place`].

use super::code::Place;

/// What an instruction belongs to that is of no known place.
pub(super) const ELSEWHERE: &str = "outside of the kernel";

/// The stage of a CPU that waits for work.
pub const IDLE: &str = "idle";

/// What is in the kernel but none of the stages.
const OTHER: &str = "other";

/// Source files by the beginning of their paths, and the stage that they make. The first that fits counts.
const STAGES: &[(&str, &str)] = &[
    ("drivers/e1000/src/rx", "driver rx"),
    ("drivers/e1000/src/tx", "driver tx"),
    ("drivers/e1000/", "driver"),
    ("kernel/bus_dma/", "bus_dma"),
    ("net/fib/", "fib"),
    ("net/arp/", "arp"),
    ("net/forward/", "ip"),
    ("net/netisr/", "netisr"),
    ("net/ifnet/", "counters"),
    ("net/router/", "router"),
    ("kernel/system/", "system"),
    ("kernel/ithread/", "ithread"),
    ("kernel/sched/", "ithread"),
    ("kernel/machine/src/time", "time"),
    ("kernel/machine/src/timer", "time"),
    ("kernel/machine/", "interrupt"),
];

/// Files that serve whoever uses them: code of theirs that was inlined belongs to the stage around it.
const SERVANTS: &[(&str, &str)] = &[("net/pktbuf/", "pktbuf"), ("net/wire/", "ip"), ("kernel/ksync/", "locks")];

/// Functions in which a CPU waits for work; parts of names.
const WAITING: &[&str] = &["run_idle", "wait_for_interrupt", "halt_until"];

/// Returns the stage of an instruction at `place`.
#[must_use]
pub(super) fn of(place: Option<&Place>) -> &'static str {
    let Some(place) = place else { return ELSEWHERE };
    let is_idle = |name: &str| WAITING.iter().any(|part| name.contains(part));
    if is_idle(&place.symbol) || place.frames.iter().any(|frame| is_idle(&frame.function)) {
        return IDLE;
    }
    let ours = || place.frames.iter().filter(|frame| frame.is_ours).map(|frame| frame.file.as_str());
    let stage = |file: &str, of: &[(&str, &'static str)]| {
        of.iter().find(|(path, _)| file.starts_with(path)).map(|(_, stage)| *stage)
    };
    let found = ours().find_map(|file| stage(file, STAGES)).or_else(|| ours().find_map(|file| stage(file, SERVANTS)));
    found.unwrap_or(if place.symbol.starts_with("mem") { "memory" } else { OTHER })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::meter::Frame;

    /// Makes a place whose frames are in these files, the innermost first.
    fn place(symbol: &str, files: &[&str]) -> Place {
        let frame = |file: &&str| Frame {
            function: "f".into(),
            file: (*file).to_owned(),
            line: 1,
            is_ours: !file.starts_with("core/"),
        };
        Place { symbol: symbol.into(), frames: files.iter().map(frame).collect() }
    }

    #[test]
    fn inlined_code_serves_the_innermost_stage_around_it() {
        for (files, stage) in [
            (&["core/src/slice/mod.rs", "net/fib/src/lookup.rs", "net/forward/src/input.rs"][..], "fib"),
            (&["kernel/ksync/src/lock.rs", "drivers/e1000/src/tx/ring.rs", "net/router/src/a.rs"], "driver tx"),
            (&["net/wire/src/ipv4.rs", "net/forward/src/input.rs"], "ip"),
            (&["net/pktbuf/src/pool.rs"], "pktbuf"),
            (&["core/src/fmt.rs"], "other"),
        ] {
            assert_eq!(of(Some(&place("x::f", files))), stage, "{files:?}");
        }
    }

    #[test]
    fn waiting_and_foreign_code_are_told_apart_from_work() {
        assert_eq!(of(Some(&place("sched::Scheduler::run_idle", &["kernel/sched/src/idle.rs"]))), "idle");
        assert_eq!(of(None), ELSEWHERE);
        assert_eq!(of(Some(&place("memcpy", &[]))), "memory");
    }
}
