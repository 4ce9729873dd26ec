//! Memory that survives a warm reset: after either firmware, on small and larger machines, with one processor and many.

use kernel_tests::{machine, passes};
use sluice::machine::{Board, Firmware, Machine};

/// Boots four runs in a row, each of which checks what the one before left.
fn keeps(board: Board, firmware: Firmware, memory: u32, processors: u32) {
    let report = passes("kept", &Machine { memory, ..machine(board, firmware, processors) });
    let place = report.transcript.lines().find(|line| line.contains("pstore: ")).unwrap_or_default();
    eprintln!("{memory} MiB, {firmware:?}, {processors} processors: {place}");
    assert_eq!(report.transcript.matches("restarting").count(), 3, "{report}");
    report.shows(&[
        "run 1, new",
        "run 2, kept over the reset",
        "pstore: shutdown transcript of the previous run: 2 lines\n",
        "pstore: crash dump of the previous run: 1 lines, cut\n",
        "pstore: crash dump of the previous run: 1500 lines\n",
        "pstore: the crash dump of the previous run is damaged and refused",
        "run 4, kept over the reset",
    ]);
}

#[test]
fn records_survive_a_reset_on_a_small_machine_after_bios() {
    keeps(Board::Q35, Firmware::Bios, 64, 1);
}

#[test]
fn records_survive_a_reset_on_a_small_machine_after_uefi() {
    keeps(Board::Q35, Firmware::Uefi, 64, 1);
}

#[test]
fn records_survive_a_reset_on_the_other_board_after_bios() {
    keeps(Board::Pc, Firmware::Bios, 256, 2);
}

#[test]
fn records_survive_a_reset_on_the_other_board_after_uefi() {
    keeps(Board::Pc, Firmware::Uefi, 256, 2);
}

#[test]
fn records_survive_a_reset_of_many_processors() {
    keeps(Board::Q35, Firmware::Bios, 256, 16);
    keeps(Board::Q35, Firmware::Uefi, 256, 16);
}
