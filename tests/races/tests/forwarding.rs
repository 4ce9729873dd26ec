//! Races between forwarding and the end.

use races::{Rig, Setup};
use shutdown::Exit;

#[test]
fn r01_transmit_into_a_stopped_device_from_anothers_ithread() {
    ksync::model::check_times(20, || {
        let rig = Rig::new(Setup::default());
        rig.send(5);
        let finished = rig.shut_down(Exit::Reboot);
        rig.end(&finished).assert_orderly();
    });
}
