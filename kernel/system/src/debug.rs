//! Settings of a crash: provoking one, entering the debugger from one, and how long the machine waits before it restarts.
//!
//! FreeBSD's names and meanings (kdb(4), `kern.panic_reboot_wait_time` of panic(9)). The defaults are those of a router that nobody
//! watches: it reports, stops its cards, and comes back by itself. Context: thread.

use alloc::{format, string::String};

use machine::{kdb, panic};

use crate::knobs::{Access, Knob, switch};

/// How long a crashed machine may be told to wait: a day.
const LONGEST_WAIT: i64 = 86_400;

/// The settings.
pub(crate) const KNOBS: &[Knob] = &[
    Knob {
        name: "debug.debugger_on_panic",
        description: "1: a panic enters the debugger before the machine restarts",
        get: || format!("{}", u8::from(kdb::debugger_on_panic())),
        access: Access::Setting(|value| switch(value).map(kdb::set_debugger_on_panic)),
    },
    Knob {
        name: "debug.debugger_on_trap",
        description: "1: a fatal trap enters the debugger before the machine restarts",
        get: || format!("{}", u8::from(kdb::debugger_on_trap())),
        access: Access::Setting(|value| switch(value).map(kdb::set_debugger_on_trap)),
    },
    Knob {
        name: "debug.kdb.panic",
        description: "1 panics",
        get: || "0".into(),
        access: Access::Action(|value| if_one(value, || panic!("kdb_sysctl_panic"))),
    },
    Knob {
        name: "debug.kdb.trap",
        description: "1 provokes a fatal trap: reads through a null pointer",
        get: || "0".into(),
        access: Access::Action(|value| if_one(value, panic::provoke_trap)),
    },
    Knob {
        name: "kern.panic_reboot_wait_time",
        description: "seconds a crashed machine waits before it restarts; -1: for a key",
        get: || format!("{}", panic::reboot_wait_time()),
        access: Access::Setting(set_wait),
    },
];

fn if_one(value: &str, act: fn()) -> Result<(), String> {
    match value.trim() {
        "1" => {
            act();
            Ok(())
        }
        other => Err(format!("{other}: only 1 does something")),
    }
}

fn set_wait(value: &str) -> Result<(), String> {
    let seconds = value.parse().ok().filter(|seconds| (-1..=LONGEST_WAIT).contains(seconds));
    let seconds = seconds.ok_or_else(|| format!("expected a number from -1 to {LONGEST_WAIT}"))?;
    panic::set_reboot_wait_time(seconds);
    Ok(())
}
