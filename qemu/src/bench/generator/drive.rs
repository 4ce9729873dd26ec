//! One run of the generator: sends a [`Load`] and receives what comes of it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use hdrhistogram::Histogram;
use wire::Ipv4Prefix;

use super::{
    Asked, Effort, Generator, Load, Mode, Moment, Outcome, Stream, StreamOutcome, arp,
    frame::Template,
    ledger::{Ledger, Unaccountable},
    pace::Pace,
    port::{self, Port},
};
use crate::bench::{Extremity, HOSTS, ROUTER, cputime};

/// How many frames of one stream are written at most at once.
const LARGEST_WRITE: u32 = 512;

/// After so long without a frame, what is on its way is given up.
const STALLED: Duration = Duration::from_millis(200);

/// For how long frames are waited for after the last one was sent, and after the last one came.
const LAST_FRAMES: Duration = Duration::from_secs(5);

/// How often the onlooker is told.
const TICK: Duration = Duration::from_millis(100);

/// How long frames may gather while nobody takes their times.
const GATHER: Duration = Duration::from_micros(20);

/// How long a socket without room is left alone when nobody takes times. It holds some 3,000 frames, enough for 3 ms at any rate
/// that QEMU reads at; asking more often takes the processors from the router, and from one of its ports more than from the other.
const REST: Duration = Duration::from_micros(250);

/// For how many frames the time of sending is kept; more are never on their way.
const STAMPS: usize = 1 << 16;

/// What a stream has come to.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    sent: u32,
    received: u32,
    late: u64,
}

/// A stream under way.
#[derive(Debug)]
struct Active {
    stream: Stream,
    template: Template,
    ledger: Ledger,
    /// The rate, in open mode.
    pace: Option<Pace>,
    /// When each of the last frames was sent, in nanoseconds from the beginning.
    stamps: Vec<u64>,
    /// When counting began.
    base: Counts,
    /// When it ended.
    end: Counts,
}

/// A run under way.
struct Drive<'a> {
    ports: &'a mut [Port; 2],
    networks: &'a [(usize, Ipv4Prefix)],
    streams: Vec<Active>,
    load: &'a Load,
    began: Instant,
    times: Histogram<u64>,
    counting: bool,
    last_arrival: u64,
    asked: Asked,
    /// When the oldest unanswered request was sent, and when the next one is due.
    open_request: Option<u64>,
    next_request: u64,
    stalls: u32,
}

impl Generator {
    /// Sends a load and returns what became of it; `watch` is told of its progress.
    ///
    /// # Errors
    /// When a frame arrives that is not as it must be, arrives twice, or is no part of the load, or when the subject is
    /// gone. Losses are no error.
    pub fn run(&mut self, load: &Load, watch: &mut dyn FnMut(Moment)) -> Result<Outcome> {
        // Without this Linux may let every sleep last 50 us longer than asked for; then the bursts are just coarser.
        let _ = nix::sys::prctl::set_timerslack(1000);
        self.settle()?;
        self.runs += 1;
        let mut streams = Vec::new();
        for stream in &load.streams {
            ensure!(stream.from < 2, "a subject has two ports");
            // The number of the run is no other's, and the streams of one run differ by their addresses.
            let ends = (stream.from, stream.to());
            let template =
                Template::new(ends, stream.size, self.runs, self.router, self.behaviour, &stream.destinations)?;
            let pace = match load.mode {
                Mode::Closed { .. } => None,
                Mode::Open { rate } if load.times => Some(Pace::fine(rate)),
                Mode::Open { rate } => Some(Pace::coarse(rate)),
            };
            let stamps = vec![0; if load.times { STAMPS } else { 0 }];
            let (ledger, base) = (Ledger::default(), Counts::default());
            streams.push(Active { stream: stream.clone(), template, ledger, pace, stamps, base, end: base });
        }
        let drive = Drive {
            ports: &mut self.ports,
            networks: &self.networks,
            streams,
            load,
            began: Instant::now(),
            times: Outcome::histogram()?,
            counting: false,
            last_arrival: 0,
            asked: Asked::default(),
            open_request: None,
            next_request: 0,
            stalls: 0,
        };
        drive.run(watch)
    }
}

impl Drive<'_> {
    fn run(mut self, watch: &mut dyn FnMut(Moment)) -> Result<Outcome> {
        let (warm_up, duration) = (nanoseconds(self.load.warm_up), nanoseconds(self.load.duration));
        self.last_arrival = 0;
        let (mut begin, mut next_tick) = (0, 0);
        let (mut cpu, mut calls) = (Duration::ZERO, (0, 0));
        loop {
            let now = self.now();
            if !self.counting && now >= warm_up {
                watch(Moment::Begin);
                (begin, cpu, calls) = (self.now(), cputime::own()?, self.calls());
                next_tick = begin + nanoseconds(TICK);
                self.mark(|stream, counts| stream.base = counts);
                self.counting = true;
            } else if self.counting && now >= begin + duration {
                break;
            } else if self.counting && now >= next_tick {
                next_tick += nanoseconds(TICK);
                let received = self.streams.iter().map(|s| u64::from(s.ledger.received() - s.base.received)).sum();
                watch(Moment::Tick { received, elapsed: Duration::from_nanos(now - begin) });
            }
            let received = self.receive()?;
            self.give_up_stalled();
            let sent = self.send();
            self.ask();
            self.flush()?;
            self.wait(received, sent)?;
        }
        self.mark(|stream, counts| stream.end = counts);
        let elapsed = Duration::from_nanos(self.now() - begin);
        let (cpu, ended) = (cputime::own()?.saturating_sub(cpu), self.calls());
        watch(Moment::End);
        self.counting = false;
        self.drain()?;
        let per = |calls: u64, frames: u64| calls as f64 / frames.max(1) as f64;
        let streams: Vec<StreamOutcome> = self.streams.iter().map(Active::outcome).collect();
        let effort = Effort {
            cpu: cpu.as_secs_f64() / elapsed.as_secs_f64(),
            reads_per_frame: per(ended.0 - calls.0, streams.iter().map(|stream| stream.forwarded).sum()),
            writes_per_frame: per(ended.1 - calls.1, streams.iter().map(|stream| stream.offered).sum()),
        };
        Ok(Outcome { streams, elapsed, times: self.times, effort, asked: self.asked, stalls: self.stalls })
    }

    fn now(&self) -> u64 {
        nanoseconds(self.began.elapsed())
    }

    fn calls(&self) -> (u64, u64) {
        self.ports.iter().fold((0, 0), |sum, port| (sum.0 + port.reads, sum.1 + port.writes))
    }

    fn mark(&mut self, set: impl Fn(&mut Active, Counts)) {
        for stream in &mut self.streams {
            let counts = Counts {
                sent: stream.ledger.sent(),
                received: stream.ledger.received(),
                late: stream.pace.as_ref().map_or(0, Pace::late),
            };
            set(stream, counts);
        }
    }

    /// Receives from both ports. Returns how many frames came.
    fn receive(&mut self) -> Result<usize> {
        let (mut count, networks) = (0, self.networks);
        for (index, port) in self.ports.iter_mut().enumerate() {
            let mut active = self.streams.iter_mut().find(|active| active.stream.to() == index);
            let host = HOSTS.get(index).copied().unwrap_or(HOSTS[0]);
            let (began, times, counting) = (self.began, &mut self.times, self.counting);
            // One look at the clock serves all frames of a read.
            let mut now = None;
            let (open_request, asked) = (&mut self.open_request, &mut self.asked);
            let got = port.receive(|frame, outbox| {
                let now = *now.get_or_insert_with(|| nanoseconds(began.elapsed()));
                if arp::is_arp(frame) {
                    match arp::read(frame) {
                        Some(arp::Heard::Asks { sender, wanted })
                            if arp::is_played(networks, index, sender, wanted) =>
                        {
                            outbox.append(&arp::reply(Extremity { address: wanted, ..host }, sender));
                        }
                        Some(arp::Heard::Says { .. }) => {
                            let sent = open_request.take();
                            asked.answers.extend(sent.map(|sent| Duration::from_nanos(now - sent)));
                        }
                        _ => {}
                    }
                    return Ok(());
                }
                let Some(active) = &mut active else { bail!("nothing was sent to port {index}: {}", shown(frame)) };
                let sequence = match active.template.check(frame) {
                    Ok(sequence) => sequence,
                    Err(wrong) => bail!("octet {} of a frame at port {index} is wrong: {}", wrong.at, shown(frame)),
                };
                match active.ledger.arrive(sequence) {
                    Ok(()) => {}
                    Err(Unaccountable::Duplicate) => bail!("frame {sequence} came to port {index} twice"),
                    Err(Unaccountable::NeverSent) => bail!("frame {sequence} came to port {index} and was never sent"),
                }
                if let Some(sent) = active.stamps.get(sequence as usize % STAMPS).filter(|_| counting) {
                    // Longer than the histogram's bound is kept as that.
                    times.saturating_record(now.saturating_sub(*sent));
                }
                Ok(())
            })?;
            count += got;
            self.last_arrival = now.unwrap_or(self.last_arrival);
        }
        Ok(count)
    }

    /// Gives up what is on its way if nothing has come for long.
    fn give_up_stalled(&mut self) {
        let now = self.now();
        if now.saturating_sub(self.last_arrival) < nanoseconds(STALLED) {
            return;
        }
        self.last_arrival = now;
        if matches!(self.load.mode, Mode::Closed { .. }) && self.streams.iter().any(|s| s.ledger.in_flight() > 0) {
            self.stalls += 1;
            self.streams.iter_mut().for_each(|stream| stream.ledger.give_up());
        }
    }

    /// Queues what may be sent now. Returns how many frames.
    fn send(&mut self) -> u32 {
        let now = self.now();
        let mut total = 0;
        for active in &mut self.streams {
            let Some(port) = self.ports.get_mut(active.stream.from) else { continue };
            // What the socket does not take is not offered; a rate that is due meanwhile is left out by the pace.
            if !port.is_idle() {
                active.pace.iter_mut().for_each(Pace::block);
                continue;
            }
            let count = match self.load.mode {
                Mode::Closed { window } => {
                    let room = window.saturating_sub(active.ledger.in_flight());
                    if room < (window / 8).max(1) { 0 } else { room }
                }
                Mode::Open { .. } => active.pace.as_mut().map_or(0, |pace| pace.due(now)),
            };
            active.queue(count.min(LARGEST_WRITE), now, port);
            total += count;
        }
        total
    }

    /// Asks for the router's station address when it is time to.
    fn ask(&mut self) {
        let Some(every) = self.load.asks_every else { return };
        let (now, [port, _]) = (self.now(), &mut *self.ports);
        if now >= self.next_request {
            self.next_request = now + nanoseconds(every);
            self.open_request.get_or_insert(now);
            self.asked.requests += 1;
            port.outbox().append(&arp::request(HOSTS[0], ROUTER[0].address));
        }
    }

    fn flush(&mut self) -> Result<()> {
        self.ports.iter_mut().try_for_each(Port::flush)
    }

    /// Waits as long as there is nothing to do.
    fn wait(&self, received: usize, sent: u32) -> Result<()> {
        let next =
            self.streams.iter().filter_map(|active| active.pace.as_ref()).map(|pace| pace.idle(self.now())).min();
        match (self.load.mode, next) {
            (Mode::Open { .. }, Some(idle)) if self.load.times => port::wait(self.ports, Duration::from_nanos(idle)),
            (Mode::Open { .. }, Some(0)) if sent == 0 => {
                std::thread::sleep(REST);
                Ok(())
            }
            (Mode::Open { .. }, Some(idle)) => {
                std::thread::sleep(Duration::from_nanos(idle));
                Ok(())
            }
            _ if received == 0 && sent == 0 => {
                port::wait(self.ports, TICK / 2)?;
                if !self.load.times {
                    std::thread::sleep(GATHER);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Receives what is still on its way.
    fn drain(&mut self) -> Result<()> {
        let ended = Instant::now();
        self.last_arrival = self.now();
        while self.streams.iter().any(|active| active.ledger.missing() > 0) || self.ports.iter().any(|p| !p.is_idle()) {
            let silent = self.now().saturating_sub(self.last_arrival) >= nanoseconds(STALLED);
            if silent || ended.elapsed() >= LAST_FRAMES {
                break;
            }
            port::wait(self.ports, TICK / 10)?;
            self.receive()?;
            self.flush()?;
        }
        Ok(())
    }
}

impl Active {
    /// Queues the next `count` frames.
    fn queue(&mut self, count: u32, now: u64, port: &mut Port) {
        if count == 0 {
            return;
        }
        let first = self.ledger.send(count);
        port.outbox().reserve(count as usize, self.template.octets());
        for sequence in first..first + count {
            self.template.append(sequence, port.outbox());
            if let Some(stamp) = self.stamps.get_mut(sequence as usize % STAMPS) {
                *stamp = now;
            }
        }
    }

    fn outcome(&self) -> StreamOutcome {
        StreamOutcome {
            offered: u64::from(self.end.sent - self.base.sent),
            forwarded: u64::from(self.end.received - self.base.received),
            sent: self.ledger.sent().into(),
            lost: self.ledger.missing().into(),
            reordered: self.ledger.reordered().into(),
            late: self.end.late - self.base.late,
        }
    }
}

/// Returns the time in nanoseconds; a run does not last for centuries.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Shows the beginning of a frame.
fn shown(frame: &[u8]) -> String {
    let octets = frame.iter().take(64).map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(" ");
    format!("{} octets, {octets}", frame.len())
}
