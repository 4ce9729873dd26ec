//! Races between a device's DMA and the end: R3, R4, R15, R16, R17. R7 is held by `bus_dma` alone: nothing in a router's
//! data path waits for bounce pages.

use ksync::model::choose;
use shutdown::Exit;

use crate::{Rig, Setup};

/// R3: a device that goes on receiving and sending whatever it is told, until its reset. Nothing is freed before that.
pub fn r03_dma_of_a_device_that_obeys_nothing_but_its_reset() {
    let rig = Rig::new(Setup::default());
    for port in 0..2 {
        rig.nic(port).set_faults(|faults| (faults.receives_after_stop, faults.sends_after_stop) = (true, true));
    }
    rig.trickle(8);
    let finished = rig.shut_down(Exit::Reboot);
    let ending = rig.end(&finished);
    ending.assert_safe();
    assert!(ending.residue.is_zero() && ending.missing == 0, "it obeyed its reset: {ending:#?}");
}

/// R3: a device that lies, and writes after it has acknowledged its reset. No driver can prevent that; the tripwire says so.
pub fn r03_a_write_to_freed_memory_is_found_by_the_tripwire() {
    let rig = Rig::new(Setup { patience: 4000, ..Setup::default() }.impatient());
    let nic = rig.nic(0).clone();
    // Without the bus it could not write, hence it keeps that too.
    nic.set_faults(|faults| {
        (faults.late_write_back, faults.write_back_after_reset, faults.bus_master_stuck) = (3000, true, true);
    });
    rig.send(1);
    rig.wait_for("a frame is written", || nic.delivered() > 0);
    let finished = rig.shut_down(Exit::Reboot);
    let mut ending = rig.end(&finished);
    let named = ending.faults.iter().any(|fault| fault.contains("freed memory changed"));
    assert_eq!(named, ending.violations > 0, "a write to freed memory was not noticed: {ending:#?}");
    ending.violations = 0;
    ending.assert_safe();
}

/// R4: completions of what was sent are written back late, after the transmitter was told to stop.
pub fn r04_transmit_completion_after_the_stop() {
    let rig = Rig::new(Setup::default());
    let late = u32::try_from(1 + choose(12)).unwrap_or(1);
    for port in 0..2 {
        rig.nic(port).set_faults(|faults| (faults.late_completion, faults.sends_after_stop) = (late, true));
    }
    rig.send(4);
    rig.until_any_instant();
    let finished = rig.shut_down(Exit::Reboot);
    rig.end(&finished).assert_orderly();
}

/// R15: bus mastering cannot be switched off. It is named, and the machine still ends.
pub fn r15_bus_mastering_that_cannot_be_switched_off_is_named() {
    let rig = Rig::new(Setup::default());
    rig.nic(1).set_faults(|faults| faults.bus_master_stuck = true);
    rig.send(2);
    let finished = rig.shut_down(Exit::Reboot);
    let ending = rig.end(&finished);
    ending.assert_safe();
    assert_eq!(ending.faults, ["bus mastering off: em1 bus mastering is still on"], "{ending:#?}");
    assert_eq!(ending.bus_masters, 1);
}

/// R16: a device never acknowledges its reset. Its memory stays its own for ever, its neighbour's is freed.
pub fn r16_a_device_that_never_acknowledges_its_reset_keeps_its_memory() {
    never_acknowledges(Setup::default(), |faults| faults.never_resets = true);
}

/// R16: nor does one that keeps saying that requests are pending.
pub fn r16_a_device_that_never_acknowledges_master_disable_keeps_its_memory() {
    never_acknowledges(Setup { later: true, ..Setup::default() }, |faults| faults.master_stuck = true);
}

fn never_acknowledges(setup: Setup, fault: impl FnOnce(&mut nic_model::Faults)) {
    let rig = Rig::new(setup);
    rig.nic(0).set_faults(fault);
    rig.trickle(4);
    rig.until_any_instant();
    let finished = rig.shut_down(Exit::PowerOff);
    let ending = rig.end(&finished);
    ending.assert_safe();
    assert!(ending.faults.contains(&"stop DMA: em0 does not acknowledge that DMA stopped".into()), "{ending:#?}");
    assert!(ending.residue.memories == 2, "em0's rings stay, em1's are gone: {ending:#?}");
    assert_eq!((ending.received, ending.on_the_wire), (ending.delivered, ending.forwarded), "{ending:#?}");
}

/// R17: a device leaves the bus at any access to a register, from the first stage to the last.
pub fn r17_a_device_removed_at_any_instant() {
    let rig = Rig::new(Setup::default().impatient());
    rig.trickle(3);
    let instant = u32::try_from(1 + choose(120)).unwrap_or(1);
    rig.nic(0).set_faults(|faults| faults.gone_after = instant);
    let finished = rig.shut_down(Exit::Reboot);
    let gone = rig.nic(0).peek_faults().gone;
    let ending = rig.end(&finished);
    ending.assert_safe();
    let serious = |fault: &&String| fault.contains("em1") && !fault.starts_with("drain");
    assert_eq!(ending.faults.iter().find(serious), None, "the neighbour is well: {ending:#?}");
    if !gone {
        ending.assert_orderly();
    }
}
