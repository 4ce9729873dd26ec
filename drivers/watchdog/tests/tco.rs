//! The TCO timer over a model of the chipset, with a clock of its own.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use watchdog::{
    Error, Place, RegisterIo, Watchdog,
    tco::{Location, Tco, is_bridge},
};

const HALT: u32 = 1 << 11;
const NO_REBOOT: u32 = 1 << 5;

#[derive(Debug, Default)]
struct State {
    gcs: u32,
    /// The board's strap holds NO_REBOOT.
    strapped: bool,
    control: u32,
    timer: u32,
    status: [u32; 2],
    /// Since the last reload, in milliseconds.
    counted: u64,
    timeouts: u32,
    resets: u32,
    /// Statuses are stored and not cleared by ones, as QEMU does it.
    stores_status: bool,
    gone: bool,
}

#[derive(Clone, Debug, Default)]
struct Chipset(Arc<Mutex<State>>);

impl Chipset {
    fn with(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    fn pass(&self, span: Duration) {
        let mut state = self.0.lock().unwrap();
        if state.control & HALT != 0 || state.timer & 0x3ff < 4 {
            return;
        }
        state.counted += u64::try_from(span.as_millis()).unwrap();
        let period = u64::from(state.timer & 0x3ff) * 600;
        while state.counted >= period {
            state.counted -= period;
            state.status[0] |= 1 << 3;
            state.timeouts += 1;
            if state.timeouts == 2 {
                state.timeouts = 0;
                state.status[1] |= 0b110;
                if state.gcs & NO_REBOOT == 0 {
                    state.resets += 1;
                    state.control |= HALT;
                    return;
                }
            }
        }
    }

    fn resets(&self) -> u32 {
        self.0.lock().unwrap().resets
    }
}

impl RegisterIo for Chipset {
    fn read(&self, place: Place) -> u32 {
        let state = self.0.lock().unwrap();
        match place {
            Place::Memory32(0) if state.gone => u32::MAX,
            Place::Port16(_) if state.gone => 0xffff,
            Place::Memory32(0) => state.gcs,
            Place::Port16(0x04) => state.status[0],
            Place::Port16(0x06) => state.status[1],
            Place::Port16(0x08) => state.control,
            Place::Port16(0x12) => state.timer,
            other => panic!("{other:?} is not read"),
        }
    }

    fn write(&self, place: Place, value: u32) {
        let mut state = self.0.lock().unwrap();
        match place {
            _ if state.gone => {}
            Place::Memory32(0) => state.gcs = if state.strapped { value | NO_REBOOT } else { value },
            Place::Port16(0x00) => (state.counted, state.timeouts) = (0, 0),
            Place::Port16(at @ (0x04 | 0x06)) => {
                let stores = state.stores_status;
                let status = &mut state.status[usize::from(at == 0x06)];
                *status = if stores { value } else { *status & !value };
            }
            Place::Port16(0x08) => state.control = value,
            Place::Port16(0x12) => state.timer = value,
            other => panic!("{other:?} is not written"),
        }
    }
}

fn second(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn attach(state: State) -> (Chipset, Tco<Chipset>) {
    let chipset = Chipset::with(state);
    let tco = Tco::attach(chipset.clone()).unwrap();
    (chipset, tco)
}

#[test]
fn it_resets_the_machine_that_does_not_feed_it_and_only_that() {
    let (chipset, tco) = attach(State { gcs: NO_REBOOT | 1, ..State::default() });
    let real = tco.start(second(60)).unwrap();
    assert!((second(60)..second(62)).contains(&real), "{real:?}");
    assert_eq!(chipset.0.lock().unwrap().gcs, 1, "nothing else in that register changes");
    for _ in 0..20 {
        chipset.pass(second(50));
        tco.feed();
    }
    chipset.pass(second(59));
    assert_eq!(chipset.resets(), 0);
    chipset.pass(second(3));
    assert_eq!(chipset.resets(), 1);
}

#[test]
fn that_it_fired_is_told_once_whether_ones_clear_or_are_stored() {
    for stores_status in [false, true] {
        let (chipset, tco) = attach(State { stores_status, ..State::default() });
        assert!(!tco.take_fired());
        tco.start(second(5)).unwrap();
        chipset.pass(second(7));
        assert_eq!(chipset.resets(), 1);
        assert!(tco.take_fired());
        assert!(!tco.take_fired());
    }
}

#[test]
fn a_board_that_is_wired_never_to_reset_says_so() {
    let (chipset, tco) = attach(State { gcs: NO_REBOOT, strapped: true, ..State::default() });
    assert_eq!(tco.start(second(10)), Err(Error::NoReboot));
    chipset.pass(second(100));
    assert_eq!(chipset.resets(), 0);
}

#[test]
fn stopped_it_lets_the_machine_be_and_other_bits_are_kept() {
    // An NMI that was asked for is not asked for again.
    let (chipset, tco) = attach(State { control: 1 << 8 | 1 << 9, timer: 0xfc00, ..State::default() });
    tco.start(second(10)).unwrap();
    assert_eq!(chipset.0.lock().unwrap().timer & 0xfc00, 0xfc00);
    tco.stop().unwrap();
    assert_eq!(chipset.0.lock().unwrap().control, HALT | 1 << 9);
    chipset.pass(second(1000));
    assert_eq!(chipset.resets(), 0);
}

#[test]
fn times_out_of_range_become_the_nearest() {
    let (_, tco) = attach(State::default());
    assert_eq!(tco.start(Duration::ZERO), Ok(Duration::from_millis(4800)));
    assert_eq!(tco.start(Duration::MAX), Ok(Duration::from_millis(600 * 2 * 1023)));
}

#[test]
fn a_chipset_that_is_not_there_is_an_error() {
    assert_eq!(Tco::attach(Chipset::with(State { gone: true, ..State::default() })).err(), Some(Error::Gone));
    let (chipset, tco) = attach(State::default());
    chipset.0.lock().unwrap().gone = true;
    assert!(tco.start(second(10)).is_err());
    assert!(!tco.take_fired(), "all ones say nothing");
}

#[test]
fn the_bases_are_decoded_or_named_as_missing() {
    // As q35's firmware leaves them.
    let at = Location { port: 0x660, memory: 0xfed1_f410 };
    assert_eq!(Location::decode(0x0601, 0x80, 0xfed1_c001), Ok(at));
    for (pmbase, acpi, rcba) in [(0x0001, 0x80, 0xfed1_c001), (0x0601, 0, 0xfed1_c001), (0x0601, 0x80, 0xfed1_c000)] {
        assert_eq!(Location::decode(pmbase, acpi, rcba), Err(Error::Unassigned));
    }
    assert_eq!(Location::decode(u32::MAX, 0x80, 1), Err(Error::Gone));
}

#[test]
fn bridges_are_known_by_their_ids() {
    assert!(is_bridge(0x8086, 0x2918), "q35");
    assert!(is_bridge(0x8086, 0x8d44), "C610, of Xeon E5 v3");
    assert!(!is_bridge(0x8086, 0x7000), "PIIX3 has none");
    assert!(!is_bridge(0x8086, 0xa1c1), "C620 has it elsewhere");
    assert!(!is_bridge(0x1022, 0x2918));
}
