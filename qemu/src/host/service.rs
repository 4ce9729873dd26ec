//! The thread that serves the hosts of a lab: [`State`] and [`serve`].

use std::{
    os::{fd::AsFd, unix::net::UnixStream},
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use etherparse::EtherType;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{
    link, packet,
    station::{Receivers, Station},
};

/// How long the thread sleeps at most.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);

/// Everything about the hosts.
#[derive(Debug)]
pub(super) struct State {
    pub(super) stations: Vec<Station>,
    pub(super) receivers: Receivers,
    /// The number of the last ping.
    pub(super) last_ping: usize,
    pub(super) is_stopping: bool,
    /// When injected frames were last sent.
    injected: Instant,
}

/// What the thread and its callers share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) changed: Condvar,
    /// Callers that wait for the state; the thread makes way for them, as the lock itself is not fair.
    waiting: AtomicUsize,
}

impl Shared {
    pub(super) fn new() -> Self {
        let (stations, receivers) = (Vec::new(), Receivers::default());
        let injected = Instant::now();
        let state = State { stations, receivers, last_ping: 0, is_stopping: false, injected };
        Self { state: Mutex::new(state), changed: Condvar::new(), waiting: AtomicUsize::new(0) }
    }

    /// Takes the state for a caller.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A hint to the other thread; that it comes late costs a turn.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        state
    }
}

/// Serves the hosts until told to stop. A byte on `wake` ends a sleep early.
pub(super) fn serve(shared: &Shared, wake: &UnixStream) {
    loop {
        let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_stopping {
            return;
        }
        let sleep = state.step(Instant::now());
        sleep_until_ready(state, wake, sleep);
        shared.changed.notify_all();
        if shared.waiting.load(Ordering::Relaxed) > 0 {
            thread::sleep(Duration::from_micros(50));
        }
    }
}

/// Waits for a socket or the time to pass, without the lock.
fn sleep_until_ready(state: MutexGuard<'_, State>, wake: &UnixStream, sleep: Duration) {
    // The sockets are shared, so that they can be waited on while others use the state; one that is replaced meanwhile
    // is at worst looked at once too often.
    let sockets: Vec<_> = state.stations.iter().flat_map(|station| station.link.waits_on()).collect();
    drop(state);
    let interest = |writes: &bool| if *writes { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN };
    let mut descriptors: Vec<PollFd<'_>> = vec![PollFd::new(wake.as_fd(), PollFlags::POLLIN)];
    descriptors.extend(sockets.iter().map(|(descriptor, writes)| PollFd::new(descriptor.as_fd(), interest(writes))));
    let timeout = PollTimeout::try_from(sleep.min(LONGEST_SLEEP)).unwrap_or(PollTimeout::ZERO);
    // An interrupted wait is a short one.
    let _ = poll(&mut descriptors, timeout);
    if descriptors.first().and_then(PollFd::any) != Some(true) {
        return;
    }
    let mut bytes = [0; 64];
    while matches!(std::io::Read::read(&mut &*wake, &mut bytes), Ok(1..)) {}
}

impl State {
    /// Takes what has arrived and sends what is due; returns for how long nothing else will be.
    fn step(&mut self, now: Instant) -> Duration {
        for station in &mut self.stations {
            let inbox = station.link.receive();
            let used = link::frames(inbox.bytes(), |frame| station.receive(frame, &mut self.receivers, now));
            station.link.keep(inbox, used);
            station.ask_neighbours(now);
        }
        let milliseconds = usize::try_from((now - self.injected).as_millis()).unwrap_or(1);
        if milliseconds > 0 {
            self.injected = now;
            self.stations.iter_mut().for_each(|station| station.inject(milliseconds.min(10)));
        }
        let mut next = self.send_flows(now);
        for station in &mut self.stations {
            station.link.flush();
            next = next.min(station.neighbours.next_due().unwrap_or(next));
            if !station.injected.0.is_empty() {
                next = next.min(self.injected + Duration::from_millis(1));
            }
        }
        next.saturating_duration_since(now)
    }

    /// Sends what the flows' windows allow; returns when to look again at the latest.
    fn send_flows(&mut self, now: Instant) -> Instant {
        let mut next = now + LONGEST_SLEEP;
        for flow in &mut self.receivers.flows {
            if let Some(deadline) = flow.check(now) {
                next = next.min(deadline);
            }
            let destination = self.stations.get(flow.spec.to.0).map(|station| station.spec.address.address());
            let (Some(destination), Some(station)) = (destination, self.stations.get_mut(flow.spec.from.0)) else {
                continue;
            };
            if !flow.may_send() || !station.link.is_up() {
                continue;
            }
            let next_hop = station.next_hop(destination);
            let Some(mac) = station.neighbours.resolve(next_hop, None, now) else { continue };
            let source = station.spec.mac;
            while flow.may_send() && !station.link.is_congested() {
                station.send_frame(|out| {
                    packet::ethernet(out, mac, source, EtherType::IPV4);
                    flow.send(out, now);
                });
            }
        }
        next
    }
}
