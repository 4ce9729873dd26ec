//! A subject with its generator: [`Session`], and several of them measured in turn: [`Arena`].

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use indicatif::ProgressBar;

use super::{
    Running, Setup, Subject, VLANS, cputime,
    generator::{Generator, Load, Moment, Outcome, Sockets},
};
use crate::workspace::Workspace;

/// How long QEMU may take to connect, and the first frame to get through. Generous, because the machine may be busy.
const CONNECT_LIMIT: Duration = Duration::from_secs(60);
const MEET_LIMIT: Duration = Duration::from_secs(60);
/// For how long no frame has come to a subject that is idle: until then it may have something to see to.
const IDLE_AFTER: Duration = Duration::from_secs(4);

/// A subject that runs, and the hosts at its ports.
pub struct Session {
    name: String,
    running: Box<dyn Running>,
    generator: Generator,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a load came to, and what it cost the host.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What the generator says.
    pub outcome: Outcome,
    /// The processor time of the threads that execute the guest's processors.
    pub vcpu: Duration,
    /// The processor time of all of QEMU.
    pub qemu: Duration,
    /// How long the threads that execute the guest's processors wanted a processor of the host and had none, if Linux says.
    pub waited: Option<Duration>,
    /// How long it took, times the guest's processors.
    pub available: Duration,
}

/// What the threads have had at one moment.
struct Edge {
    at: Instant,
    vcpu: Duration,
    qemu: Duration,
    waited: Option<Duration>,
}

impl Measured {
    /// Returns microseconds of the guest's processors for each frame forwarded.
    #[must_use]
    pub fn vcpu_us_per_packet(&self) -> f64 {
        self.vcpu.as_secs_f64() * 1e6 / self.outcome.forwarded().max(1) as f64
    }

    /// Returns which share of its time a processor of the guest ran, and for which share it had to wait for one of the host's.
    #[must_use]
    pub fn vcpu_shares(&self) -> (f64, Option<f64>) {
        let share = |time: Duration| time.as_secs_f64() / self.available.as_secs_f64().max(1e-9);
        (share(self.vcpu), self.waited.map(share))
    }

    /// Returns microseconds of all of QEMU for each frame forwarded.
    #[must_use]
    pub fn qemu_us_per_packet(&self) -> f64 {
        self.qemu.as_secs_f64() * 1e6 / self.outcome.forwarded().max(1) as f64
    }
}

impl Session {
    /// Boots `subject` on new sockets and waits until frames get through in both directions. `adapt` may change the setup.
    ///
    /// # Errors
    /// When it does not boot or forward.
    pub fn boot(
        subject: &dyn Subject,
        workspace: &Workspace,
        cpus: u32,
        adapt: impl FnOnce(&mut Setup),
    ) -> Result<Self> {
        let sockets = Sockets::listen(workspace)?;
        let mut setup = Setup::new(cpus, sockets.paths());
        adapt(&mut setup);
        let name = subject.name().to_owned();
        let running = subject.boot(&setup).with_context(|| format!("{name} does not boot"))?;
        let mut generator = sockets.connect(CONNECT_LIMIT, running.behaviour())?;
        if setup.tagged {
            generator.tag(VLANS);
        }
        for (port, cidr) in &setup.networks {
            generator.play(*port, cidr.prefix());
        }
        generator.meet(MEET_LIMIT).with_context(|| format!("{name} does not forward"))?;
        Ok(Self { name, running, generator })
    }

    /// Returns the subject's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the subject.
    pub fn running(&mut self) -> &mut dyn Running {
        &mut *self.running
    }

    /// Returns the generator.
    pub fn generator(&mut self) -> &mut Generator {
        &mut self.generator
    }

    /// Sends a load; `bar` shows the rate meanwhile.
    ///
    /// # Errors
    /// When a frame is not as it must be, or the subject is gone.
    pub fn measure(&mut self, load: &Load, bar: &ProgressBar) -> Result<Measured> {
        self.measure_while(load, bar, |_| ()).map(|(measured, ())| measured)
    }

    /// Sends a load, and does something with the subject meanwhile.
    ///
    /// # Errors
    /// As [`measure`](Self::measure).
    pub fn measure_while<T>(
        &mut self,
        load: &Load,
        bar: &ProgressBar,
        meanwhile: impl FnOnce(&mut dyn Running) -> T,
    ) -> Result<(Measured, T)> {
        let (process, vcpus) = (self.running.process_id(), self.running.vcpu_threads().to_vec());
        let spent = || -> Result<Edge> {
            let (vcpu, qemu) = (cputime::of_threads(process, &vcpus)?, cputime::of_process(process)?);
            Ok(Edge { at: Instant::now(), vcpu, qemu, waited: cputime::waited_of_threads(process, &vcpus) })
        };
        let Self { name, running, generator } = self;
        let mut edges = Vec::new();
        let mut watch = |moment| match moment {
            Moment::Begin | Moment::End => edges.push(spent()),
            Moment::Tick { received, elapsed } => {
                let rate = received as f64 / elapsed.as_secs_f64();
                bar.set_message(format!("{name}: {:.1} kpps", rate / 1000.0));
            }
        };
        let (outcome, other) = thread::scope(|scope| {
            let run = scope.spawn(|| generator.run(load, &mut watch));
            let other = meanwhile(&mut **running);
            (run.join(), other)
        });
        let outcome = outcome.map_err(|_| anyhow!("the generator panicked"))?;
        let outcome = outcome.with_context(|| format!("{} fails", self.name))?;
        let [begin, end] = <[_; 2]>::try_from(edges).ok().context("a run has two ends")?;
        let (begin, end) = (begin?, end?);
        let measured = Measured {
            outcome,
            vcpu: end.vcpu.saturating_sub(begin.vcpu),
            qemu: end.qemu.saturating_sub(begin.qemu),
            waited: end.waited.zip(begin.waited).map(|(end, begin)| end.saturating_sub(begin)),
            available: (end.at - begin.at) * u32::try_from(vcpus.len()).unwrap_or(1),
        };
        Ok((measured, other))
    }

    /// Lets the subject run without any frames and returns the share of a host processor that its processors use when it has had none for
    /// some seconds.
    ///
    /// # Errors
    /// When the subject is gone.
    pub fn idle(&mut self, duration: Duration) -> Result<f64> {
        let (process, vcpus) = (self.running.process_id(), self.running.vcpu_threads().to_vec());
        self.generator.settle()?;
        thread::sleep(IDLE_AFTER);
        let (began, before) = (Instant::now(), cputime::of_threads(process, &vcpus)?);
        thread::sleep(duration);
        let spent = cputime::of_threads(process, &vcpus)?.saturating_sub(before);
        Ok(spent.as_secs_f64() / began.elapsed().as_secs_f64())
    }

    /// Ends the subject.
    ///
    /// # Errors
    /// When it does not end as it should.
    pub fn stop(self) -> Result<()> {
        let Self { name, running, generator } = self;
        running.stop().with_context(|| format!("{name} does not stop"))?;
        drop(generator);
        Ok(())
    }
}

/// Several subjects that are up at once. All but the one that is measured stand still.
#[derive(Debug, Default)]
pub struct Arena {
    sessions: Vec<Session>,
}

impl Arena {
    /// Adds a session, which stands still from now on.
    ///
    /// # Errors
    /// When it cannot be stopped.
    pub fn add(&mut self, mut session: Session) -> Result<()> {
        session.running.pause()?;
        self.sessions.push(session);
        Ok(())
    }

    /// Returns how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Lets each session run in turn for what `turn` does with it.
    ///
    /// # Errors
    /// The first of a turn, or when a subject cannot be stopped or continued.
    pub fn each(&mut self, mut turn: impl FnMut(usize, &mut Session) -> Result<()>) -> Result<()> {
        for (index, session) in self.sessions.iter_mut().enumerate() {
            session.running.resume()?;
            turn(index, session)?;
            session.running.pause()?;
        }
        Ok(())
    }

    /// Ends all subjects.
    ///
    /// # Errors
    /// When one does not end as it should; the others have been ended by then.
    pub fn stop(self) -> Result<()> {
        let mut result = Ok(());
        for mut session in self.sessions {
            let stopped = session.running.resume().and_then(|()| session.stop());
            result = result.and(stopped);
        }
        result
    }
}
