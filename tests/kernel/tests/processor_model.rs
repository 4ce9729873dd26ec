//! What the kernel says to a processor that cannot run it.

use std::time::Duration;

use kernel_tests::{boot, machine};
use sluice::machine::{Board, Firmware};

/// QEMU takes the last `-cpu` it is given.
#[test]
fn a_processor_without_popcnt_is_told_so_and_runs_nothing_else() {
    let mut machine = machine(Board::Q35, Firmware::Bios, 1);
    machine.extra = ["-cpu", "qemu64"].map(String::from).into();
    let mut guest = boot("floor", &machine).unwrap();
    guest.wait_for("lacks the instruction POPCNT", Duration::from_secs(60)).unwrap();
    let shown = guest.stop();
    assert!(!shown.contains("[ 1/"), "the boot went on: {shown}");
}
