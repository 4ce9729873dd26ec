//! The scenarios by name.

use machine::{boot::BootRecord, reset::Rung};

use crate::{access, crash, debugger, end, fatal, harness, input, kept, memory, nics, processors, threads, traps};

/// What a boot is for; it never returns.
type Scenario = fn(&'static BootRecord) -> !;

const SCENARIOS: &[(&str, Scenario)] = &[
    ("floor", floor),
    ("processors", processors::run),
    ("absent-processor", processors::with_an_absent_one),
    ("nics", nics::run),
    ("input", input::run),
    ("power-off", end::power_off),
    ("restart", end::restart),
    ("restart-by-firmware", |record| end::restart_by(record, Rung::Firmware)),
    ("restart-by-chipset", |record| end::restart_by(record, Rung::Chipset)),
    ("restart-by-keyboard", |record| end::restart_by(record, Rung::Keyboard)),
    ("restart-by-triple-fault", |record| end::restart_by(record, Rung::TripleFault)),
    ("kept", kept::run),
    ("failing-test", failing_test),
    ("crash-at-once", crash::at_once),
    ("crash-amid", crash::amid),
    ("crash-after-parking", crash::after_parking),
    ("crash-during-parking", crash::during_parking),
    ("crash-hook-locks", crash::hook_locks),
    ("crash-restart", crash::restart_after),
    ("debugger", debugger::run),
    ("debugger-entries", debugger::entries),
    ("endless", fatal::endless),
    ("write-code", fatal::write_code),
    ("execute-data", fatal::execute_data),
    ("write-null", fatal::write_null),
    ("general-protection", fatal::general_protection),
    ("divide", fatal::divide),
    ("double-fault", fatal::double_fault),
    ("overflow-boot-stack", fatal::overflow_boot_stack),
    ("overflow-thread-stack", fatal::overflow_thread_stack),
    ("overflow-on-another-processor", fatal::overflow_on_another_processor),
    ("out-of-memory", fatal::out_of_memory),
    ("panic", fatal::panic),
    ("panic-twice", fatal::panic_twice),
    ("panic-in-interrupt", fatal::panic_in_interrupt),
    ("switch-with-interrupts-on", fatal::switch_with_interrupts_on),
];

/// Runs the scenario called `name`.
pub(crate) fn run(name: &str, record: &'static BootRecord) -> ! {
    match SCENARIOS.iter().find(|(known, _)| *known == name) {
        Some((_, scenario)) => scenario(record),
        None => panic!("there is no scenario {name:?}"),
    }
}

/// Memory, traps and threads: what works before any device is known.
fn floor(_: &'static BootRecord) -> ! {
    harness::run(&[access::TESTS, memory::TESTS, traps::TESTS, threads::TESTS])
}

/// One of two tests fails, so that the host half can show that it notices.
fn failing_test(_: &'static BootRecord) -> ! {
    fn passes() -> harness::Outcome {
        Ok(())
    }
    fn fails() -> harness::Outcome {
        ensure!(2 + 2 == 5, "two and two is {}", 2 + 2);
        Ok(())
    }
    harness::run(&[tests![passes, fails]])
}
