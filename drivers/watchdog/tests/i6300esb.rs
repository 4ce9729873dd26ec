//! The 6300ESB's watchdog over a model of the device, with a clock of its own.

use std::{
    cell::Cell,
    sync::{Arc, Mutex},
    time::Duration,
};

use watchdog::{Error, Place, RegisterIo, Watchdog, i6300esb::I6300Esb};

/// 2^15 clocks of 30 ns.
const UNIT_NANOS: u64 = 983_040;

/// What the device remembers.
#[derive(Debug, Default)]
struct State {
    password: usize,
    preload: [u64; 2],
    config: u32,
    lock: u32,
    fired: bool,
    /// Since the timers were reloaded, in nanoseconds.
    counted: u64,
    resets: u32,
    gone: bool,
    ignores_lock: bool,
}

#[derive(Clone, Debug, Default)]
struct Device(Arc<Mutex<State>>);

impl Device {
    /// Lets time pass; the device resets the machine when its time has come, which changes nothing but stops it.
    fn pass(&self, span: Duration) {
        let mut state = self.0.lock().unwrap();
        if state.lock & 2 == 0 {
            return;
        }
        state.counted += u64::try_from(span.as_nanos()).unwrap();
        let unit = if state.config & 4 == 0 { UNIT_NANOS } else { UNIT_NANOS >> 10 };
        if state.counted >= (state.preload[0] + state.preload[1]) * unit && state.config & 0x20 == 0 {
            (state.fired, state.lock, state.counted) = (true, 0, 0);
            state.resets += 1;
        }
    }

    fn resets(&self) -> u32 {
        self.0.lock().unwrap().resets
    }

    fn with(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }
}

impl RegisterIo for Device {
    fn read(&self, place: Place) -> u32 {
        let state = self.0.lock().unwrap();
        match place {
            Place::Config8(_) if state.gone => 0xff,
            Place::Config16(_) | Place::Memory16(_) if state.gone => 0xffff,
            Place::Config8(0x68) => state.lock,
            Place::Config16(0x60) => state.config,
            Place::Memory16(0x0c) => u32::from(state.fired) << 9,
            other => panic!("{other:?} is not read"),
        }
    }

    fn write(&self, place: Place, value: u32) {
        let mut state = self.0.lock().unwrap();
        if state.gone {
            return;
        }
        let unlocked = state.password == 2;
        match (place, value) {
            (Place::Memory16(0x0c), 0x80) => return state.password = 1,
            (Place::Memory16(0x0c), 0x86) if state.password == 1 => return state.password = 2,
            (Place::Memory32(0x00), units) if unlocked => state.preload[0] = u64::from(units & 0xf_ffff),
            (Place::Memory32(0x04), units) if unlocked => state.preload[1] = u64::from(units & 0xf_ffff),
            (Place::Memory16(0x0c), bits) if unlocked => {
                if bits & 0x100 != 0 {
                    state.counted = 0;
                }
                state.fired &= bits & 0x200 == 0;
            }
            (Place::Config16(0x60), bits) => return state.config = bits,
            (Place::Config8(0x68), _) if state.lock & 1 != 0 || state.ignores_lock => return,
            (Place::Config8(0x68), bits) => {
                if state.lock & 2 == 0 {
                    state.counted = 0;
                }
                return state.lock = bits;
            }
            (Place::Memory16(_) | Place::Memory32(_), _) => {}
            (other, _) => panic!("{other:?} is not written"),
        }
        state.password = 0;
    }
}

fn second(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn it_resets_the_machine_that_does_not_feed_it_and_only_that() {
    let device = Device::default();
    let watchdog = I6300Esb::attach(device.clone()).unwrap();
    let real = watchdog.start(second(10)).unwrap();
    assert!((second(10)..second(11)).contains(&real), "{real:?}");
    for _ in 0..20 {
        device.pass(second(9));
        watchdog.feed();
    }
    assert_eq!(device.resets(), 0);
    device.pass(second(9));
    assert_eq!(device.resets(), 0, "not before its time");
    device.pass(second(2));
    assert_eq!(device.resets(), 1);
}

#[test]
fn that_it_fired_is_told_once() {
    let device = Device::default();
    let watchdog = I6300Esb::attach(device.clone()).unwrap();
    assert!(!watchdog.take_fired());
    watchdog.start(second(1)).unwrap();
    device.pass(second(3));
    let next_boot = I6300Esb::attach(device).unwrap();
    assert!(next_boot.take_fired());
    assert!(!next_boot.take_fired());
}

#[test]
fn stopped_it_lets_the_machine_be_and_it_can_be_started_again() {
    let device = Device::default();
    let watchdog = I6300Esb::attach(device.clone()).unwrap();
    watchdog.start(second(5)).unwrap();
    watchdog.stop().unwrap();
    device.pass(second(1000));
    assert_eq!(device.resets(), 0);
    watchdog.start(second(5)).unwrap();
    device.pass(second(6));
    assert_eq!(device.resets(), 1);
}

#[test]
fn a_longer_time_counts_at_once_while_it_runs() {
    let device = Device::default();
    let watchdog = I6300Esb::attach(device.clone()).unwrap();
    watchdog.start(second(5)).unwrap();
    device.pass(second(4));
    watchdog.start(second(100)).unwrap();
    device.pass(second(99));
    assert_eq!(device.resets(), 0);
    device.pass(second(2));
    assert_eq!(device.resets(), 1);
}

#[test]
fn times_out_of_range_become_the_nearest() {
    let watchdog = I6300Esb::attach(Device::default()).unwrap();
    assert!(watchdog.start(Duration::ZERO).unwrap() < Duration::from_millis(2));
    let longest = watchdog.start(Duration::MAX).unwrap();
    assert!((second(2000)..second(2100)).contains(&longest), "{longest:?}");
}

#[test]
fn what_firmware_left_in_the_configuration_does_not_keep_it_from_resetting() {
    // Output off, fast clock, interrupt by SMI.
    let device = Device::with(State { config: 0x26, ..State::default() });
    let watchdog = I6300Esb::attach(device.clone()).unwrap();
    watchdog.start(second(10)).unwrap();
    device.pass(second(9));
    assert_eq!(device.resets(), 0);
    device.pass(second(2));
    assert_eq!(device.resets(), 1);
}

#[test]
fn a_locked_device_is_named_and_a_running_one_that_is_locked_is_fed() {
    let stopped = I6300Esb::attach(Device::with(State { lock: 1, ..State::default() })).unwrap();
    assert_eq!(stopped.start(second(10)), Err(Error::Locked));
    let device = Device::with(State { lock: 3, ..State::default() });
    let running = I6300Esb::attach(device.clone()).unwrap();
    running.start(second(10)).unwrap();
    assert_eq!(running.stop(), Err(Error::Locked));
    device.pass(second(8));
    running.feed();
    device.pass(second(8));
    assert_eq!(device.resets(), 0);
}

#[test]
fn a_device_that_lies_or_is_gone_is_an_error() {
    let liar = I6300Esb::attach(Device::with(State { ignores_lock: true, ..State::default() })).unwrap();
    assert_eq!(liar.start(second(10)), Err(Error::NotAccepted));
    assert_eq!(I6300Esb::attach(Device::with(State { gone: true, ..State::default() })).err(), Some(Error::Gone));
    let device = Device::default();
    let watchdog = I6300Esb::attach(device.clone()).unwrap();
    device.0.lock().unwrap().gone = true;
    assert!(watchdog.start(second(10)).is_err());
    assert!(!watchdog.take_fired(), "all ones say nothing");
    assert!(watchdog.stop().is_err());
}

#[test]
fn two_who_feed_in_turn_do_not_unlock_anything_else() {
    // The other feeding cuts this one's password short; the next feeding counts.
    let device = Device::default();
    let watchdog = I6300Esb::attach(device.clone()).unwrap();
    watchdog.start(second(10)).unwrap();
    device.pass(second(9));
    device.write(Place::Memory16(0x0c), 0x80);
    let before = Cell::new(device.0.lock().unwrap().counted);
    watchdog.feed();
    assert_ne!(before.replace(0), 0);
    assert_eq!(device.0.lock().unwrap().counted, 0);
}
