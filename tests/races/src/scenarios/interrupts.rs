//! Races between interrupts, their threads and the end: R2, R13, R14, R19, R20.

use std::sync::{Arc, atomic::Ordering::SeqCst};

use e1000::regs::Cause;
use ithread::{Filter, FilterResult, Handler, Pass};
use ksync::{
    model::{RaceCell, choose},
    time::Instant,
};
use shutdown::Exit;

use crate::{Rig, Setup};

/// R2: interrupts arrive late, however the line is masked. They find no handler, and are counted as strays.
pub fn r02_interrupt_after_its_handler_is_gone() {
    let rig = Rig::new(Setup { in_flight: true, ..Setup::default() });
    let late = u32::try_from(1 + choose(30)).unwrap_or(1);
    (0..2).for_each(|port| rig.nic(port).set_faults(|faults| faults.late_interrupt = late));
    rig.send(4);
    rig.until_any_instant();
    let finished = rig.shut_down(Exit::Reboot);
    let mut ending = rig.end(&finished);
    // However many came too late: each was counted, and none reached what had been freed.
    ending.strays = 0;
    ending.assert_orderly();
}

/// R13: a thread never comes back. It is named, nothing is freed, and the machine still ends in silence.
pub fn r13_a_wedged_thread_is_named_and_nothing_of_it_is_freed() {
    let rig = Rig::new(Setup::default().impatient().resigned());
    rig.wedge(0);
    rig.send(3);
    let finished = rig.shut_down(Exit::Reboot);
    let ending = rig.end(&finished);
    ending.assert_safe();
    assert!(ending.faults.contains(&"join threads: em0 does not acknowledge its end".into()), "{ending:#?}");
    assert!(ending.faults.contains(&"tear down DMA: quarantined".into()), "{ending:#?}");
    assert!(ending.residue.memories == 4 && ending.residue.tags >= 2, "{ending:#?}");
}

/// R14: both cards on one line, and one of them has left the bus. The other is served as before, and both are shut down.
pub fn r14_a_shared_line_serves_the_neighbour_of_a_dead_device() {
    let rig = Rig::new(Setup { shared_line: true, ..Setup::default() });
    rig.send(2);
    rig.nic(0).set_faults(|faults| faults.gone = true);
    let neighbour = Arc::clone(&rig.ports[1].adapter);
    rig.wait_for("the neighbour's frames are served", || ifnet::Interface::statistics(&*neighbour).rx_packets == 2);
    let finished = rig.shut_down(Exit::Reboot);
    let ending = rig.end(&finished);
    ending.assert_safe();
    assert!(ending.faults.iter().all(|fault| !fault.contains("em1")), "{ending:#?}");
    assert!(
        ending.received >= 2 && ending.residue.memories == 2,
        "em1 served and freed, em0 in quarantine: {ending:#?}"
    );
}

/// Frames come as their thread goes to sleep and has the device forget the causes of those before. Each is served, by an interrupt or
/// by that thread, and not by a later one's.
pub fn frames_that_come_as_their_thread_goes_to_sleep() {
    /// At once, so that none finds the ring full: that has eight descriptors here, and half of them may wait to be given back.
    const FRAMES: u32 = 3;
    let rig = Rig::new(Setup::default());
    for round in 1..=4 {
        rig.trickle(FRAMES);
        for port in &rig.ports {
            let served = || ifnet::Interface::statistics(&*port.adapter).rx_packets == u64::from(round * FRAMES);
            rig.wait_for("no frame is left to a later interrupt", served);
        }
    }
    let finished = rig.shut_down(Exit::Reboot);
    rig.end(&finished).assert_orderly();
}

/// A handler that somebody adds and removes.
struct Visitor(Arc<RaceCell>);

impl Filter for Visitor {
    fn filter(&self) -> FilterResult {
        FilterResult::Stray
    }
}

impl Handler for Visitor {
    fn run(&mut self) -> Pass {
        self.0.write();
        Pass::Idle
    }

    fn retire(self: Box<Self>) {
        self.0.write();
    }
}

/// R19: handlers are added to a line and removed while its thread runs; the thread never uses one that has gone.
pub fn r19_handlers_come_and_go_while_the_thread_runs() {
    let rig = Rig::new(Setup::default());
    rig.trickle(4);
    let event = &rig.ports[0].event;
    for _ in 0..2 {
        let memory = Arc::new(RaceCell::new());
        let (filter, handler) = (Box::new(Visitor(Arc::clone(&memory))), Box::new(Visitor(Arc::clone(&memory))));
        let id = event.add_handler("visitor", filter, handler).expect("the event is alive");
        event.schedule(id);
        event.remove(id, Instant::MAX).expect("the thread answers");
        // The memory is ours again.
        memory.write();
        assert_eq!(Arc::strong_count(&memory), 1, "nobody kept the handler");
    }
    let finished = rig.shut_down(Exit::Reboot);
    rig.end(&finished).assert_orderly();
}

/// R20: the link flaps during the whole shutdown, so that an interrupt comes in every gap; none survives the end.
pub fn r20_interrupt_between_the_drain_and_the_mask() {
    let rig = Rig::new(Setup::default());
    rig.send(2);
    rig.until_any_instant();
    let nics = [rig.nic(0).clone(), rig.nic(1).clone()];
    rig.meanwhile(40, move || nics.iter().for_each(|nic| nic.raise(Cause::LSC)));
    let finished = rig.shut_down(Exit::Reboot);
    assert!(rig.ports.iter().all(|port| port.line.is_masked() && port.shared.gone.load(SeqCst)));
    rig.end(&finished).assert_orderly();
}
