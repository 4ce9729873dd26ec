//! The traffic: [`Generator`], which plays the hosts at the subject's two ports.
//!
//! It is one thread with two unix sockets. Frames are copied from a template into a buffer that is written as one, and read
//! by large reads and compared in place with what they must be, so that a frame costs some tens of nanoseconds and a
//! fraction of a system call. Each must arrive at most once and with every octet right; anything else ends the run with an
//! error, frames that are no part of it included.

mod arp;
mod drive;
mod frame;
mod ledger;
mod load;
mod loopback;
mod outbox;
mod pace;
mod port;
#[cfg(test)]
mod tests;

use std::{
    io::ErrorKind,
    os::unix::net::UnixListener,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use frame::Template;
pub use load::{Asked, Effort, Load, Mode, Moment, Outcome, Stream, StreamOutcome};
pub use loopback::self_test;
use port::Port;
use wire::{Ipv4Prefix, MacAddr};

use super::{Behaviour, Extremity, HOSTS, ROUTER};
use crate::{guest::RunFolder, workspace::Workspace};

/// How often somebody is asked for an address before the generator starts.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// How long single frames are waited for after one has arrived.
const STRAGGLERS: Duration = Duration::from_millis(300);

/// For how long nothing must come before a run begins.
const SILENCE: Duration = Duration::from_millis(30);

/// The sockets of a subject that is still to boot: [`connect`](Self::connect) makes them a generator.
#[derive(Debug)]
pub struct Sockets {
    folder: RunFolder,
    listeners: [UnixListener; 2],
}

impl Sockets {
    /// Listens.
    ///
    /// # Errors
    /// When the sockets cannot be made.
    pub fn listen(workspace: &Workspace) -> Result<Self> {
        let folder = RunFolder::new(workspace)?;
        let listeners = [folder.listen("port0")?, folder.listen("port1")?];
        Ok(Self { folder, listeners })
    }

    /// Returns their absolute paths, as [`Setup`](super::Setup) has them.
    #[must_use]
    pub fn paths(&self) -> [PathBuf; 2] {
        [self.folder.join("port0"), self.folder.join("port1")]
    }

    /// Waits until QEMU has connected to both.
    ///
    /// # Errors
    /// After `limit`.
    pub fn connect(self, limit: Duration, behaviour: Behaviour) -> Result<Generator> {
        let deadline = Instant::now() + limit;
        let [first, second] = &self.listeners;
        let ports = [accept(first, deadline)?, accept(second, deadline)?];
        Ok(Generator {
            ports,
            behaviour,
            router: [ROUTER[0].mac, ROUTER[1].mac],
            networks: arp::networks(),
            runs: 0,
            _folder: Some(self.folder),
        })
    }
}

fn accept(listener: &UnixListener, deadline: Instant) -> Result<Port> {
    listener.set_nonblocking(true)?;
    loop {
        match listener.accept() {
            Ok((stream, _)) => return Port::new(stream),
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {}
            Err(error) => return Err(error).context("QEMU does not connect to its network"),
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// What comes besides ARP requests while no load is sent.
enum Heard<'a> {
    /// Somebody says where it is.
    Says(Extremity),
    /// Another frame.
    Other(&'a [u8]),
}

/// The hosts at the two ports of one subject.
#[derive(Debug)]
pub struct Generator {
    ports: [Port; 2],
    behaviour: Behaviour,
    router: [MacAddr; 2],
    /// Networks of which every host is played, each at a port.
    networks: Vec<(usize, Ipv4Prefix)>,
    /// How many runs there were; their frames carry the number.
    runs: u32,
    _folder: Option<RunFolder>,
}

impl Generator {
    /// Plays all hosts of a network at a port, with the station address of the host there, besides those of the host's own network.
    pub fn play(&mut self, port: usize, network: Ipv4Prefix) {
        self.networks.push((port, network));
    }

    /// From now on all frames at a port, sent and received, have the tag of its VLAN. Those of another one, and those that have none,
    /// are no part of any load.
    pub fn tag(&mut self, vlans: [u16; 2]) {
        self.ports.iter_mut().zip(vlans).for_each(|(port, vlan)| port.tag(Some(outbox::tag(vlan))));
    }

    /// Learns the station addresses of the subject's ports, lets it learn the hosts', and waits until a frame gets through
    /// in each direction.
    ///
    /// # Errors
    /// When that does not happen within `limit`.
    pub fn meet(&mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        if self.behaviour.answers_arp {
            self.resolve(deadline)?;
        }
        for from in [0, 1] {
            self.reach(from, deadline).with_context(|| format!("nothing gets through from port {from}"))?;
        }
        Ok(())
    }

    /// Asks for the router's addresses until both are known.
    fn resolve(&mut self, deadline: Instant) -> Result<()> {
        for (index, (host, router)) in HOSTS.iter().zip(ROUTER).enumerate() {
            let mut known = None;
            while known.is_none() {
                if Instant::now() >= deadline {
                    bail!("nobody has the address {}", router.address);
                }
                let Some(port) = self.ports.get_mut(index) else { break };
                port.outbox().append(&arp::request(*host, router.address));
                let again = Instant::now() + ASK_AGAIN;
                while known.is_none() && Instant::now() < again {
                    port::wait(&self.ports, again.saturating_duration_since(Instant::now()))?;
                    self.attend(&mut |at, heard| match heard {
                        Heard::Says(sender) if at == index && sender.address == router.address => {
                            known = Some(sender.mac);
                        }
                        _ => {}
                    })?;
                }
            }
            if let (Some(mac), Some(place)) = (known, self.router.get_mut(index)) {
                *place = mac;
            }
        }
        Ok(())
    }

    /// Sends single frames from a port until one arrives, and waits a while for the others. A subject that is just starting
    /// may keep them for long.
    fn reach(&mut self, from: usize, deadline: Instant) -> Result<()> {
        self.runs += 1;
        let mut template = Template::new((from, 1 - from), 64, self.runs, self.router, self.behaviour, &[])?;
        let (mut sent, mut arrived) = (0, 0);
        let mut last_arrival = Instant::now();
        while arrived == 0 || (arrived < sent && last_arrival.elapsed() < STRAGGLERS) {
            if Instant::now() >= deadline {
                bail!("{arrived} of {sent} frames have arrived");
            }
            if let Some(port) = self.ports.get_mut(from).filter(|_| arrived == 0) {
                template.append(sent, port.outbox());
                sent += 1;
            }
            let again = Instant::now() + ASK_AGAIN;
            while arrived < sent && Instant::now() < again {
                let before = arrived;
                self.attend(&mut |at, heard| {
                    if let Heard::Other(frame) = heard
                        && at == 1 - from
                        && template.check(frame).is_ok()
                    {
                        arrived += 1;
                    }
                })?;
                if arrived > before {
                    last_arrival = Instant::now();
                }
                port::wait(&self.ports, again.saturating_duration_since(Instant::now()))?;
            }
        }
        Ok(())
    }

    /// Sends a frame from port 0 every so often, to a subject that may not be up yet, until one arrives at port 1 as it must
    /// be; returns when it did.
    ///
    /// # Errors
    /// When none arrives within `limit`.
    pub fn first_forwarded(&mut self, every: Duration, limit: Duration) -> Result<Instant> {
        self.runs += 1;
        let mut template = Template::new((0, 1), 64, self.runs, self.router, self.behaviour, &[])?;
        let deadline = Instant::now() + limit;
        let (mut sent, mut arrived) = (0, None);
        while Instant::now() < deadline {
            if let Some(port) = self.ports.get_mut(0).filter(|port| port.is_idle()) {
                template.append(sent, port.outbox());
                sent += 1;
            }
            self.attend(&mut |at, heard| {
                if let Heard::Other(frame) = heard
                    && at == 1
                    && template.check(frame).is_ok()
                {
                    arrived.get_or_insert_with(Instant::now);
                }
            })?;
            if let Some(arrived) = arrived {
                return Ok(arrived);
            }
            port::wait(&self.ports, every)?;
        }
        bail!("no frame was forwarded within {limit:?}")
    }

    /// Throws away what has come between two runs, until nothing comes for a while; answers ARP requests meanwhile.
    ///
    /// # Errors
    /// When the subject is gone, or does not fall silent.
    pub fn settle(&mut self) -> Result<()> {
        let (began, mut last) = (Instant::now(), Instant::now());
        while last.elapsed() < SILENCE {
            if began.elapsed() > Duration::from_secs(10) {
                bail!("frames keep coming though nothing is sent");
            }
            port::wait(&self.ports, SILENCE)?;
            if self.attend(&mut |_, _| ())? > 0 {
                last = Instant::now();
            }
        }
        Ok(())
    }

    /// Answers ARP requests and hands everything else to `take`. Returns how many frames came.
    fn attend(&mut self, take: &mut dyn FnMut(usize, Heard<'_>)) -> Result<usize> {
        let mut count = 0;
        let networks = &self.networks;
        for (index, (port, host)) in self.ports.iter_mut().zip(HOSTS).enumerate() {
            count += port.receive(|frame, outbox| {
                match arp::read(frame) {
                    Some(arp::Heard::Asks { sender, wanted }) if arp::is_played(networks, index, sender, wanted) => {
                        outbox.append(&arp::reply(Extremity { address: wanted, ..host }, sender));
                    }
                    Some(arp::Heard::Says { sender }) => take(index, Heard::Says(sender)),
                    _ => take(index, Heard::Other(frame)),
                }
                Ok(())
            })?;
            port.flush()?;
        }
        Ok(count)
    }
}
