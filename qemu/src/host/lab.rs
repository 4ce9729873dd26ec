//! A set of hosts and the thread that serves them: [`Lab`].

use std::{
    fmt,
    io::Write,
    net::Ipv4Addr,
    os::unix::net::{UnixListener, UnixStream},
    sync::{Arc, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use wire::MacAddr;

use super::{
    Capture, FlowId, FlowReport, FlowSpec, HostId, HostSpec, IcmpError, Ping, PingOutcome, StationCounters,
    capture::Tap,
    flow::Flow,
    link::Link,
    ping::PingState,
    service::{self, Shared, State},
    station::Station,
};

/// A set of hosts. They live on in a thread of their own until the lab is dropped.
pub struct Lab {
    shared: Arc<Shared>,
    wake: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Lab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lab").field("stations", &self.lock().stations.len()).finish_non_exhaustive()
    }
}

impl Lab {
    /// Makes a lab without hosts.
    ///
    /// # Errors
    /// When the system has no more sockets or threads.
    pub fn new() -> Result<Self> {
        let shared = Arc::new(Shared::new());
        let (wake, woken) = UnixStream::pair().context("cannot make a socket")?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let served = Arc::clone(&shared);
        let body = move || service::serve(&served, &woken);
        let thread = thread::Builder::new().name("hosts".into()).spawn(body).context("cannot start a thread")?;
        Ok(Self { shared, wake, thread: Some(thread) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }

    /// Ends a sleep of the thread. A full pipe wakes it just as well.
    fn wake(&self) {
        let _ = (&self.wake).write(&[0]);
    }

    /// Adds a host to whose link QEMU will connect.
    ///
    /// # Errors
    /// When the socket cannot be used.
    pub fn add_listening(&self, spec: HostSpec, listener: UnixListener) -> Result<HostId> {
        let link = Link::listening(listener).context("cannot listen")?;
        Ok(self.add(spec, link))
    }

    /// Adds a host to the given end of a link.
    ///
    /// # Errors
    /// When the socket cannot be used.
    pub fn add_connected(&self, spec: HostSpec, stream: UnixStream) -> Result<HostId> {
        let link = Link::connected(stream).context("cannot use the socket")?;
        Ok(self.add(spec, link))
    }

    fn add(&self, spec: HostSpec, link: Link) -> HostId {
        let mut state = self.lock();
        let id = HostId(state.stations.len());
        state.stations.push(Station::new(id, spec, link));
        drop(state);
        self.wake();
        id
    }

    /// Does something with a host's station and sees that the thread notices.
    fn with<T>(&self, host: HostId, action: impl FnOnce(&mut Station) -> T) -> T {
        let mut state = self.lock();
        let station = state.stations.get_mut(host.0);
        let result = action(station.expect("a host's id comes from its lab"));
        drop(state);
        self.wake();
        result
    }

    /// Waits until `done` returns something, at most for `limit`.
    fn wait<T>(&self, limit: Duration, mut done: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + limit;
        let mut state = self.lock();
        loop {
            if let Some(result) = done(&mut state) {
                return Some(result);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Returns what a host is.
    #[must_use]
    pub fn spec(&self, host: HostId) -> HostSpec {
        self.with(host, |station| station.spec.clone())
    }

    /// Changes a host while it runs: its station address, say, or whether it answers.
    pub fn change(&self, host: HostId, change: impl FnOnce(&mut HostSpec)) {
        self.with(host, |station| change(&mut station.spec));
    }

    /// Returns what a host has counted.
    #[must_use]
    pub fn counters(&self, host: HostId) -> StationCounters {
        self.with(host, |station| station.counters)
    }

    /// Makes a host forget the station addresses of its neighbours.
    pub fn forget_neighbours(&self, host: HostId) {
        self.with(host, |station| station.neighbours.forget());
    }

    /// Waits until something is connected to the host's link.
    ///
    /// # Errors
    /// After `limit`.
    pub fn wait_connected(&self, host: HostId, limit: Duration) -> Result<()> {
        let is_up = |state: &mut State| state.stations.get(host.0)?.link.is_up().then_some(());
        self.wait(limit, is_up).with_context(|| format!("nothing connected to {} in {limit:?}", self.spec(host).name))
    }

    /// Resolves a neighbour's address.
    ///
    /// # Errors
    /// When it does not answer within `limit`.
    pub fn resolve(&self, host: HostId, address: Ipv4Addr, limit: Duration) -> Result<MacAddr> {
        let resolve =
            |state: &mut State| state.stations.get_mut(host.0)?.neighbours.resolve(address, None, Instant::now());
        self.lock().stations.get_mut(host.0).map(|s| s.neighbours.resolve(address, None, Instant::now()));
        self.wake();
        let found = self.wait(limit, resolve);
        found.with_context(|| format!("{}: no ARP reply from {address} in {limit:?}", self.spec(host).name))
    }

    /// Sends an echo request and waits for what comes of it.
    #[must_use]
    pub fn ping(&self, host: HostId, target: Ipv4Addr, ping: Ping) -> PingOutcome {
        let mut state = self.lock();
        state.last_ping += 1;
        let (number, now) = (state.last_ping, Instant::now());
        let Some(station) = state.stations.get_mut(host.0) else { return PingOutcome::Silence };
        let next_hop = station.next_hop(target);
        let request = PingState::new(host, number, &ping, next_hop, now);
        let packet = request.packet(station.spec.address.address(), target, &ping);
        station.send_packet(target, &packet, now);
        state.receivers.pings.insert(number, request);
        drop(state);
        self.wake();
        let outcome = self.wait(ping.limit, |state| {
            let request = state.receivers.pings.get(&number)?;
            let has_failed = state.stations.get(host.0)?.neighbours.has_failed(request.next_hop);
            request.outcome.clone().or_else(|| has_failed.then_some(PingOutcome::NoNeighbour))
        });
        self.lock().receivers.pings.remove(&number);
        outcome.unwrap_or(PingOutcome::Silence)
    }

    /// Pings until there is an intact reply; for what takes a moment to come up.
    ///
    /// # Errors
    /// After `limit`; with the last outcome.
    pub fn ping_until_reply(&self, host: HostId, target: Ipv4Addr, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let outcome = self.ping(host, target, Ping { limit: Duration::from_secs(1), ..Ping::default() });
            if outcome.reply().is_some() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("{} gets no reply from {target} in {limit:?}; last: {outcome:?}", self.spec(host).name);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts a flow.
    #[must_use]
    pub fn start_flow(&self, spec: FlowSpec) -> FlowId {
        let mut state = self.lock();
        let id = FlowId(state.receivers.flows.len());
        let address = |host: HostId| {
            let station = state.stations.get(host.0).expect("a host's id comes from its lab");
            station.spec.address.address().octets()
        };
        let addresses = (address(spec.from), address(spec.to));
        let flow = Flow::new(spec, id, addresses, Instant::now());
        state.receivers.flows.push(flow);
        drop(state);
        self.wake();
        id
    }

    /// Sends no more packets of a flow; those under way may still arrive.
    pub fn stop_flow(&self, flow: FlowId) {
        if let Some(flow) = self.lock().receivers.flows.get_mut(flow.0) {
            flow.stop();
        }
        self.wake();
    }

    /// Returns how a flow has gone so far.
    #[must_use]
    pub fn report(&self, flow: FlowId) -> FlowReport {
        self.lock().receivers.flows.get(flow.0).map(Flow::report).unwrap_or_default()
    }

    /// Waits until a flow is over.
    ///
    /// # Errors
    /// After `limit`; with how it has gone so far.
    pub fn wait_flow(&self, flow: FlowId, limit: Duration) -> Result<FlowReport> {
        let over = |state: &mut State| state.receivers.flows.get(flow.0).map(Flow::report).filter(|r| r.is_over);
        self.wait(limit, over).with_context(|| format!("the flow is not over in {limit:?}: {:?}", self.report(flow)))
    }

    /// Sends a frame as it is.
    pub fn send_frame(&self, host: HostId, frame: &[u8]) {
        self.with(host, |station| station.send_frame(|out| out.extend_from_slice(frame)));
    }

    /// Sends an IP packet as it is through the neighbour that its destination needs, which is resolved first.
    pub fn send_packet(&self, host: HostId, destination: Ipv4Addr, packet: &[u8]) {
        self.with(host, |station| station.send_packet(destination, packet, Instant::now()));
    }

    /// Sends frames as they are, so many in a millisecond, while everything else goes on.
    pub fn inject(&self, host: HostId, frames: Vec<Vec<u8>>, per_millisecond: usize) {
        self.with(host, |station| {
            station.injected.0.extend(frames);
            station.injected.1 = per_millisecond.max(1);
        });
    }

    /// Waits until all injected frames are sent.
    ///
    /// # Errors
    /// After `limit`.
    pub fn wait_injected(&self, host: HostId, limit: Duration) -> Result<()> {
        let is_done = |state: &mut State| state.stations.get(host.0)?.injected.0.is_empty().then_some(());
        self.wait(limit, is_done).with_context(|| format!("frames are left to send after {limit:?}"))
    }

    /// Copies the frames that arrive at a host from now on, as far as `filter` lets them through.
    #[must_use]
    pub fn capture(&self, host: HostId, filter: impl Fn(&[u8]) -> bool + Send + 'static) -> Capture {
        let (tap, capture) = Tap::new(Box::new(filter));
        self.with(host, |station| station.taps.push(tap));
        capture
    }

    /// Takes the ICMP errors that a host has received since the last call.
    #[must_use]
    pub fn take_errors(&self, host: HostId) -> Vec<IcmpError> {
        self.with(host, |station| station.errors.drain(..).collect())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.lock().is_stopping = true;
        self.wake();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported already.
            let _ = thread.join();
        }
    }
}
