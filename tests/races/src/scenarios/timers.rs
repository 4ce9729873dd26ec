//! Races between timers, other processors and the end: R6, and the console.

use std::sync::atomic::Ordering::SeqCst;

use shutdown::Exit;

use crate::{Rig, Setup};

/// R6: timers that re-arm themselves in every run. After the join none runs, and none has what was freed.
pub fn r06_timer_that_rearms_itself_after_the_stop() {
    let rig = Rig::new(Setup::default());
    rig.wait_for("the timer runs", || rig.flags.ticks.load(SeqCst) > 0);
    rig.send(1);
    let finished = rig.shut_down(Exit::Reboot);
    rig.end(&finished).assert_orderly();
}

/// A processor whose operator sends echo requests: refused once the shutdown is announced or the port is sealed, and parked
/// before the end.
pub fn a_console_that_sends_until_it_is_stopped() {
    let rig = Rig::new(Setup { console: true, ..Setup::default() });
    (0..2).for_each(|port| rig.nic(port).set_faults(|faults| faults.slow_transmit = 150));
    rig.send(1);
    let finished = rig.shut_down(Exit::Reboot);
    rig.end(&finished).assert_orderly();
}
