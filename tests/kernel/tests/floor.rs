//! Memory, traps and threads on one processor, before any device is known.

use kernel_tests::{machine, passes};
use sluice::machine::{Board, Firmware};

#[test]
fn memory_traps_and_threads_keep_their_promises_after_bios() {
    let report = passes("floor", &machine(Board::Q35, Firmware::Bios, 1));
    assert!(report.passed.len() >= 20, "{report}");
    report.shows(&["breakpoint at 0x"]);
}

/// Another memory map, another loader, and a framebuffer with another pixel format.
#[test]
fn memory_traps_and_threads_keep_their_promises_after_uefi() {
    let report = passes("floor", &machine(Board::Q35, Firmware::Uefi, 1));
    assert!(report.passed.len() >= 20, "{report}");
}
