//! Interrupt lines of real (emulated) cards, the serial line's input, and the two orderly ends of a machine.

use std::time::{Duration, Instant};

use kernel_tests::{LIMIT, Verdict, boot, finish, machine, passes, run};
use sluice::machine::{Board, Firmware, Machine, Nic, Wire};

/// What the guest expects to be typed.
const TEXT: &str = "The quick brown fox jumps over 0123456789 lazy dogs~";

/// Three cards; those in slots 4 and 8 share a line.
fn with_cards(machine: Machine) -> Machine {
    let card = |slot| Nic { slot: Some(slot), ..Nic::new(Wire::Nothing) };
    Machine { nics: [4, 5, 8].map(card).to_vec(), ..machine }
}

#[test]
fn interrupts_of_cards_arrive_as_firmware_routes_them_on_q35() {
    let report = passes("nics", &with_cards(machine(Board::Q35, Firmware::Bios, 2)));
    assert_eq!(report.passed.len(), 6, "{report}");
}

#[test]
fn interrupts_of_cards_arrive_as_firmware_routes_them_on_pc() {
    let report = passes("nics", &with_cards(machine(Board::Pc, Firmware::Bios, 2)));
    assert_eq!(report.passed.len(), 6, "{report}");
}

#[test]
fn interrupts_of_cards_arrive_as_uefi_routes_them_on_q35() {
    let report = passes("nics", &with_cards(machine(Board::Q35, Firmware::Uefi, 2)));
    assert_eq!(report.passed.len(), 6, "{report}");
}

#[test]
fn interrupts_of_cards_arrive_as_uefi_routes_them_on_pc() {
    let report = passes("nics", &with_cards(machine(Board::Pc, Firmware::Uefi, 2)));
    assert_eq!(report.passed.len(), 6, "{report}");
}

#[test]
fn what_is_typed_arrives_and_time_passes_as_on_the_host() {
    let mut guest = boot("input", &machine(Board::Q35, Firmware::Bios, 1)).unwrap();
    for _ in 0..2 {
        guest.wait_for("#type\n", LIMIT).unwrap();
        guest.console().send(TEXT.as_bytes()).unwrap();
    }
    guest.wait_for("#clock starts\n", LIMIT).unwrap();
    let started = Instant::now();
    guest.wait_for("#clock stops\n", LIMIT).unwrap();
    let took = started.elapsed();
    let report = finish(guest, LIMIT);
    assert_eq!(report.verdict, Verdict::Passed, "{report}");
    // A busy host may notice either end late, but a wrong clock is wrong by more than this.
    let plausible = Duration::from_millis(1700)..Duration::from_millis(3500);
    assert!(plausible.contains(&took), "two seconds of the guest took {took:?}");
}

/// Powering off ends QEMU by itself, with success.
#[test]
fn the_power_goes_on_both_boards_after_either_firmware() {
    for (board, firmware) in [
        (Board::Q35, Firmware::Bios),
        (Board::Pc, Firmware::Bios),
        (Board::Q35, Firmware::Uefi),
        (Board::Pc, Firmware::Uefi),
    ] {
        let report = run("power-off", &machine(board, firmware, 1));
        assert_eq!(report.verdict, Verdict::PoweredOff, "{board:?} {firmware:?}: {report}");
        report.shows(&["powering off"]);
    }
}

/// The kernel boots again, twice.
#[test]
fn a_restart_boots_again_on_both_boards() {
    for board in [Board::Q35, Board::Pc] {
        let mut guest = boot("restart", &machine(board, Firmware::Bios, 1)).unwrap();
        for _ in 0..3 {
            guest.wait_for("serial console", LIMIT).unwrap();
            guest.wait_for("restarting", LIMIT).unwrap();
        }
        assert!(guest.is_running());
    }
}

/// Where QEMU is told to end on a reset, it does: what restarted the machine was a reset and no jump.
#[test]
fn a_restart_is_a_reset_of_the_machine() {
    let machine = Machine { restarts: false, ..machine(Board::Q35, Firmware::Bios, 2) };
    let report = run("restart", &machine);
    assert_eq!(report.verdict, Verdict::PoweredOff, "{report}");
    report.shows(&["restarting"]);
}

/// Each rung of the ladder by itself, on both boards; the firmware of `pc` names no register.
#[test]
fn every_rung_of_the_ladder_resets_the_machine_by_itself() {
    let rungs = ["chipset", "keyboard", "triple-fault"].map(|rung| (Board::Pc, rung));
    let rungs =
        rungs.into_iter().chain(["firmware", "chipset", "keyboard", "triple-fault"].map(|rung| (Board::Q35, rung)));
    for (board, rung) in rungs {
        let machine = Machine { restarts: false, ..machine(board, Firmware::Bios, 1) };
        let report = run(&format!("restart-by-{rung}"), &machine);
        assert_eq!(report.verdict, Verdict::PoweredOff, "{board:?}: {report}");
        report.shows(&["restarting by "]);
    }
}
