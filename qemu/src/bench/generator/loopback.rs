//! The generator without a subject: a thread plays the router, so that the generator can be tested, and timed.
//!
//! [`self_test`] tells how many frames a second generator and sockets carry when nothing is between them but a thread that
//! rewrites headers. A subject that comes near this is not what was measured.

use std::{
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Result, anyhow};

use super::{
    Effort, Generator, Load, Mode,
    arp::{self, Heard},
    outbox::{self, Outbox},
    port::{self, Port},
};
use crate::bench::{Behaviour, HOSTS, ROUTER};

/// How long the thread waits before it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(5);

/// What the thread does wrong, each to every frame whose number in order is a multiple of it; 0 for never.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    pub(super) lose: u64,
    pub(super) repeat: u64,
    /// The octet to change in every 100th frame.
    pub(super) damage: Option<usize>,
    /// Whether each pair of frames is exchanged.
    pub(super) swap: bool,
    /// Whether nothing is read at all.
    pub(super) deaf: bool,
}

/// A thread that forwards like a router until it is dropped.
#[derive(Debug)]
pub(super) struct Loopback {
    ends: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<Result<()>>>,
}

impl Loopback {
    /// Starts it; returns it with its generator.
    pub(super) fn start(faults: Faults) -> Result<(Self, Generator)> {
        Self::start_tagged(faults, None)
    }

    /// Starts it with a VLAN at each end of its own, if there are any; the generator is not told.
    pub(super) fn start_tagged(faults: Faults, vlans: Option<[u16; 2]>) -> Result<(Self, Generator)> {
        let ((a, b), (c, d)) = (UnixStream::pair()?, UnixStream::pair()?);
        let mut inner = [Port::new(b)?, Port::new(d)?];
        for (port, vlan) in inner.iter_mut().zip(vlans.into_iter().flatten()) {
            port.tag(Some(outbox::tag(vlan)));
        }
        let ends = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ends);
        let thread = thread::spawn(move || {
            let mut count = 0;
            while !seen.load(Ordering::Relaxed) {
                if faults.deaf {
                    thread::sleep(LOOK);
                    continue;
                }
                port::wait(&inner, LOOK)?;
                for from in [0, 1] {
                    forward(&mut inner, from, faults, &mut count)?;
                }
            }
            Ok(())
        });
        let router = [ROUTER[0].mac, ROUTER[1].mac];
        let ports = [Port::new(a)?, Port::new(c)?];
        let networks = arp::networks();
        let generator = Generator { ports, behaviour: Behaviour::ROUTER, router, networks, runs: 0, _folder: None };
        Ok((Self { ends, thread: Some(thread) }, generator))
    }

    /// Ends it.
    pub(super) fn stop(mut self) -> Result<()> {
        self.ends.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().map_err(|_| anyhow!("the thread that plays the router panicked"))?
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

/// Forwards what has come to one port.
fn forward(ports: &mut [Port; 2], from: usize, faults: Faults, count: &mut u64) -> Result<()> {
    let tag = ports.get_mut(1 - from).and_then(|other| other.outbox().tag());
    let mut out = Outbox::tagged(tag);
    let mut held: Option<Outbox> = None;
    let Some(port) = ports.get_mut(from) else { return Ok(()) };
    port.receive(|frame, back| {
        if let Some(Heard::Asks { sender, .. }) = arp::read(frame) {
            let own = ROUTER.get(from).copied().unwrap_or(ROUTER[0]);
            back.append(&arp::reply(own, sender));
            return Ok(());
        }
        *count += 1;
        let hits = |every: u64| every != 0 && count.is_multiple_of(every);
        if hits(faults.lose) {
            return Ok(());
        }
        if faults.swap && held.is_none() {
            rewrite(frame, from, None, held.insert(Outbox::tagged(tag)));
            return Ok(());
        }
        for _ in 0..=u8::from(hits(faults.repeat)) {
            rewrite(frame, from, faults.damage.filter(|_| hits(100)), &mut out);
        }
        held.take().iter().for_each(|held| out.join(held));
        Ok(())
    })?;
    held.iter().for_each(|held| out.join(held));
    port.flush()?;
    let Some(other) = ports.get_mut(1 - from) else { return Ok(()) };
    other.outbox().join(&out);
    // What does not fit now goes with the next round.
    other.flush()
}

/// Appends what a router makes of a frame (RFC 1624 for the sum).
fn rewrite(frame: &[u8], from: usize, damage: Option<usize>, out: &mut Outbox) {
    let (Some(host), Some(router)) = (HOSTS.get(1 - from), ROUTER.get(1 - from)) else { return };
    let mut new = frame.to_vec();
    for (place, octet) in new.iter_mut().zip(host.mac.0.iter().chain(&router.mac.0)) {
        *place = *octet;
    }
    if let Some([ttl, _, high, low]) = new.get_mut(22..26) {
        *ttl = ttl.wrapping_sub(1);
        // The word that holds the time to live has become less by 0x100, so the sum becomes more by it, end around.
        let (sum, carry) = u16::from_be_bytes([*high, *low]).overflowing_add(0x100);
        [*high, *low] = (sum + u16::from(carry)).to_be_bytes();
    }
    if let Some(place) = damage.and_then(|at| new.get_mut(at)) {
        *place ^= 1;
    }
    out.append(&new);
}

/// Tells how fast the generator is when the subject is a thread that does next to nothing, with frames of `size` octets:
/// frames a second, and what it took.
///
/// # Errors
/// When a frame comes back wrong.
pub fn self_test(size: usize, window: u32, duration: Duration) -> Result<(f64, Effort)> {
    let (loopback, mut generator) = Loopback::start(Faults::default())?;
    let outcome = generator.run(&Load::new(false, size, Mode::Closed { window }, duration), &mut |_| ())?;
    loopback.stop()?;
    Ok((outcome.rate(), outcome.effort))
}
