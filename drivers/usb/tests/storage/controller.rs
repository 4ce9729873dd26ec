//! The whole way from a controller's registers to blocks, and every way in which a controller fails.

use bus_dma::DmaTag;
use usb::{BLOCK, Controller, Disk, Error, Firmware, Found, Role, StopError, Stopped, bulk_only::Transport};

use crate::{
    model::{Lie, Stick},
    xhci::{Build, Fault, PLAIN, PORTS, Xhci},
};

/// The most that any of it takes of a machine's time, in microseconds.
const PATIENCE: u64 = 60_000_000;

/// A machine's root tag.
fn root(xhci: &Xhci) -> DmaTag {
    DmaTag::root("root", xhci.iommu)
}

/// Takes a controller and lets it run.
fn run<'x>(xhci: &'x Xhci, root: &DmaTag) -> Result<Controller<&'x Xhci>, Error> {
    Stopped::take(xhci)?.run(root, "xhci0")
}

/// Nothing is left: no tag, no memory that the controller reaches, and it reached none that it may not.
fn assert_clean(xhci: &Xhci, root: &DmaTag) {
    assert_eq!(root.live().busy(), None);
    assert_eq!(xhci.iommu.open_windows(), 0);
    xhci.iommu.assert_clean();
    assert!(xhci.paused.get() < PATIENCE, "{} us", xhci.paused.get());
}

fn storage(found: &[Found]) -> usize {
    match found {
        [Found { port: 2, behind: 0 | 3, outcome: Ok(Role::Storage(number)) }] => *number,
        other => panic!("one stick: {other:?}"),
    }
}

/// Everything that a stick is used for, often enough for each ring to go round.
fn whole_way(build: Build) {
    let mut stick = Stick::new(200);
    (stick.sleepy, stick.halts_on_failure, stick.halts_before_status) = (3, true, true);
    let xhci = Xhci::new(build, stick);
    let root = root(&xhci);
    let stopped = Stopped::take(&xhci).unwrap();
    assert_eq!((stopped.was_running(), stopped.firmware()), (build.running, Firmware::GaveUp));
    let mut controller = stopped.run(&root, "xhci0").unwrap();
    let found = controller.scan().unwrap();
    let number = storage(&found);
    assert_eq!(Transport::new(controller.storage(number)).last_unit(), Ok(1));
    let mut disk = Disk::open(Transport::new(controller.storage(number)), 0).unwrap();
    assert_eq!(disk.blocks(), 200);
    for round in 0..300_u32 {
        let octet = round.to_le_bytes()[0];
        disk.write(round % 199, &[octet; 2 * BLOCK]).unwrap();
        let mut back = [0; 2 * BLOCK];
        disk.read(round % 199, &mut back).unwrap();
        assert_eq!(back, [octet; 2 * BLOCK], "round {round}");
    }
    disk.flush().unwrap();
    controller.stop().unwrap();
    assert_eq!(xhci.stick.borrow().resets, 0, "nothing went wrong");
    assert_clean(&xhci, &root);
}

#[test]
fn a_stick_is_read_and_written_through_every_kind_of_controller_and_port() {
    whole_way(PLAIN);
    whole_way(Build { wide_contexts: true, scratchpads: 3, running: true, ..PLAIN });
    whole_way(Build { usb3: false, ..PLAIN });
    whole_way(Build { usb3: false, full_speed: true, scratchpads: 31, ..PLAIN });
}

#[test]
fn a_stick_behind_a_hub_is_read_and_written_at_every_speed() {
    whole_way(Build { hub: true, ..PLAIN });
    whole_way(Build { hub: true, usb3: false, wide_contexts: true, ..PLAIN });
    whole_way(Build { hub: true, usb3: false, full_speed: true, ..PLAIN });
}

#[test]
fn what_fails_behind_a_hub_is_said_there() {
    let xhci = Xhci::new(Build { hub: true, ..PLAIN }, Stick::new(8));
    xhci.fault.set(Fault::PortReset);
    let root = root(&xhci);
    let mut controller = run(&xhci, &root).unwrap();
    assert_eq!(controller.scan().unwrap(), [Found { port: 2, behind: 3, outcome: Err(Error::Port) }]);
    controller.stop().unwrap();
    assert_clean(&xhci, &root);
}

#[test]
fn firmware_gives_the_controller_up_and_raises_no_more_smis() {
    let xhci = Xhci::new(PLAIN, Stick::new(8));
    assert_eq!(Stopped::take(&xhci).unwrap().firmware(), Firmware::GaveUp);
    let [semaphore, control] = xhci.legacy();
    assert_eq!(semaphore >> 16 & 0x101, 0x100, "ours, not firmware's");
    assert_eq!(control & 0xE011, 0);
    assert_eq!(Stopped::take(&xhci).unwrap().firmware(), Firmware::Absent, "the second time");
    let xhci = Xhci::new(PLAIN, Stick::new(8));
    xhci.fault.set(Fault::FirmwareHolds);
    assert_eq!(Stopped::take(&xhci).unwrap().firmware(), Firmware::Silent, "taken nevertheless, and said");
    assert_eq!(xhci.legacy()[0] >> 16 & 0x101, 0x100);
}

#[test]
fn whatever_a_controller_does_not_do_it_ends_with_an_error_and_no_memory() {
    let cases = [
        (Fault::StuckReset, Error::ControllerTimeout("end its reset")),
        (Fault::NeverHalts, Error::ControllerTimeout("halt")),
        (Fault::NeverRuns, Error::ControllerTimeout("start")),
        (Fault::SilentCommands, Error::ControllerTimeout("answer a command")),
        (Fault::HostError, Error::ControllerFailed),
        (Fault::Gone, Error::Gone),
    ];
    for (fault, error) in cases {
        let xhci = Xhci::new(PLAIN, Stick::new(8));
        xhci.fault.set(fault);
        let root = root(&xhci);
        let outcome = run(&xhci, &root).and_then(|mut controller| {
            let outcome = controller.scan().map(drop);
            controller.stop().unwrap();
            outcome
        });
        assert_eq!(outcome, Err(error), "{fault:?}");
        assert_clean(&xhci, &root);
    }
}

#[test]
fn what_fails_at_one_port_is_said_there() {
    const ADDRESS_DEVICE: u32 = 11;
    const CONFIGURE_ENDPOINT: u32 = 12;
    let cases = [
        (Fault::Refuses(ADDRESS_DEVICE), Error::Command(5)),
        (Fault::Refuses(CONFIGURE_ENDPOINT), Error::Command(5)),
        (Fault::OddSlot, Error::BadRegister("slot")),
        (Fault::PortReset, Error::Port),
    ];
    for (fault, error) in cases {
        let xhci = Xhci::new(Build { usb3: false, ..PLAIN }, Stick::new(8));
        xhci.fault.set(fault);
        let root = root(&xhci);
        let mut controller = run(&xhci, &root).unwrap();
        assert_eq!(controller.scan().unwrap(), [Found { port: 2, behind: 0, outcome: Err(error) }], "{fault:?}");
        controller.stop().unwrap();
        assert_clean(&xhci, &root);
    }
}

#[test]
fn a_stick_that_answers_after_another_reset_only_is_used() {
    for build in [PLAIN, Build { usb3: false, ..PLAIN }] {
        for misses in 1..=2 {
            let xhci = Xhci::new(build, Stick::new(8));
            xhci.misses.set(misses);
            let root = root(&xhci);
            let mut controller = run(&xhci, &root).unwrap();
            let number = storage(&controller.scan().unwrap());
            Disk::open(Transport::new(controller.storage(number)), 0).unwrap();
            controller.stop().unwrap();
            assert_clean(&xhci, &root);
        }
    }
}

#[test]
fn registers_that_lead_out_of_the_window_are_refused() {
    let ports = u32::from(PORTS) << 24;
    let odd = [(0x00, 0x0100_0004), (0x00, 0x0100_0021), (0x04, ports), (0x04, 8), (0x14, 0x1FFC), (0x18, 0x1FE0)];
    for forged in odd.into_iter().chain([0x00, 0x14, 0x18].map(|register| (register, u32::MAX))) {
        let xhci = Xhci::new(PLAIN, Stick::new(8));
        xhci.forged.set(Some(forged));
        assert!(Stopped::take(&xhci).is_err(), "{forged:x?}");
    }
    // As many as there can be fit; the model panics at an access outside.
    for most in [0xFF00_0108, ports | 0xFF] {
        let xhci = Xhci::new(PLAIN, Stick::new(8));
        xhci.forged.set(Some((0x04, most)));
        Stopped::take(&xhci).unwrap();
    }
    // A list of capabilities that leads out of the window, and one in a circle.
    for next in [0x7FFF_FF01, 0x0000_0001, 0xFFFF_FF02] {
        let xhci = Xhci::new(PLAIN, Stick::new(8));
        xhci.forged.set(Some((0x800, next)));
        Stopped::take(&xhci).unwrap();
        xhci.forged.set(Some((0x10, 0xFFFF_0001)));
        Stopped::take(&xhci).unwrap();
    }
}

#[test]
fn a_controller_that_does_not_stop_keeps_its_memory_for_ever() {
    let xhci = Xhci::new(PLAIN, Stick::new(8));
    let root = root(&xhci);
    let mut controller = run(&xhci, &root).unwrap();
    controller.scan().unwrap();
    xhci.fault.set(Fault::NeverHalts);
    assert_eq!(controller.stop(), Err(StopError::Running(Error::ControllerTimeout("halt"))));
    assert_eq!(root.live().children, 0, "its tag is forgotten");
    assert_ne!(xhci.iommu.open_windows(), 0, "what it reaches is nobody else's");
}

#[test]
fn too_little_memory_leaves_nothing_behind() {
    for allocations in 0..16 {
        let xhci = Xhci::new(Build { scratchpads: 2, ..PLAIN }, Stick::new(8));
        xhci.iommu.fail_allocations_after(allocations);
        let root = root(&xhci);
        match run(&xhci, &root) {
            Ok(mut controller) => {
                let found = controller.scan().unwrap();
                let failed = matches!(found[..], [Found { outcome: Err(Error::Dma(_)), .. }]);
                assert_eq!(failed, allocations < 13, "{allocations}: {found:?}");
                controller.stop().unwrap();
            }
            Err(error) => assert!(matches!(error, Error::Dma(_)) && allocations < 7, "{allocations}: {error:?}"),
        }
        assert_clean(&xhci, &root);
    }
}

#[test]
fn a_stick_that_falls_silent_costs_a_bounded_time_and_is_asked_nothing_more() {
    let xhci = Xhci::new(PLAIN, Stick::new(64));
    let root = root(&xhci);
    let mut controller = run(&xhci, &root).unwrap();
    let number = storage(&controller.scan().unwrap());
    let mut disk = Disk::open(Transport::new(controller.storage(number)), 0).unwrap();
    xhci.stick.borrow_mut().lie = Lie::Silent;
    let mut block = [0; BLOCK];
    assert_eq!(disk.read(0, &mut block), Err(Error::TransferTimeout));
    let before = xhci.stick.borrow().calls;
    xhci.stick.borrow_mut().lie = Lie::None;
    assert_eq!(disk.read(0, &mut block), Err(Error::TransferTimeout), "its buffer may still be written");
    assert_eq!(xhci.stick.borrow().calls, before);
    controller.stop().unwrap();
    assert_clean(&xhci, &root);
}

#[test]
fn a_stick_that_breaks_the_protocol_is_reset_and_used_again() {
    for lie in
        [Lie::ShortStatus, Lie::BadSignature, Lie::WrongTag, Lie::Phase, Lie::RefusesStatus, Lie::RefusesCommands]
    {
        let xhci = Xhci::new(PLAIN, Stick::new(64));
        let root = root(&xhci);
        let mut controller = run(&xhci, &root).unwrap();
        let number = storage(&controller.scan().unwrap());
        let mut disk = Disk::open(Transport::new(controller.storage(number)), 0).unwrap();
        let mut block = [0; BLOCK];
        disk.read(0, &mut block).unwrap();
        xhci.stick.borrow_mut().lie = lie;
        assert!(disk.read(0, &mut block).is_err(), "{lie:?}");
        xhci.stick.borrow_mut().lie = Lie::None;
        disk.write(3, &[5; BLOCK]).unwrap_or_else(|error| panic!("after {lie:?}: {error:?}"));
        assert_eq!(xhci.stick.borrow().resets, 1, "{lie:?}");
        controller.stop().unwrap();
        assert_clean(&xhci, &root);
    }
}

#[test]
fn whoever_wants_it_to_end_is_obeyed_at_once_and_the_way_out_is_walked() {
    let xhci = Xhci::new(PLAIN, Stick::new(64));
    let root = root(&xhci);
    let mut controller = run(&xhci, &root).unwrap();
    let number = storage(&controller.scan().unwrap());
    let mut disk = Disk::open(Transport::new(controller.storage(number)), 0).unwrap();
    let before = xhci.paused.get();
    (xhci.stick.borrow_mut().lie, _) = (Lie::Silent, xhci.cancelled.set(true));
    assert_eq!(disk.read(0, &mut [0; BLOCK]), Err(Error::Cancelled));
    assert_eq!(controller.scan().map(drop), Err(Error::Cancelled));
    controller.stop().unwrap();
    assert!(xhci.paused.get() - before < 1_000_000);
    assert_clean(&xhci, &root);
}
