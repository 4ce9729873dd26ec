//! The stopped world: where a debugger runs, and where a crash is reported from.
//!
//! A CPU that enters ([`enter`], a breakpoint, a step, an NMI, a trap or panic) takes the world by compare-and-swap and stops every
//! other CPU by NMI, so that it works when all of them are wedged with interrupts off. The installed [`Debugger`] gets a
//! [`World`]: the registers of every CPU, guarded access to memory, a polled console, and [`World::guard`] for code that may go
//! wrong. What it answers ([`Resume`]) is done, and everybody goes on.
//!
//! - [`mod@stop`], [`mod@nmi`]: who owns the world and how the others wait.
//! - [`mod@guard`]: running what may fault, panic or want a lock.
//! - [`mod@session`]: one visit of the debugger. [`mod@breakpoints`], [`mod@step`].
//!
//! Context: [`World`] exists with interrupts off, possibly in NMI context: nothing in it blocks. Source: Intel SDM volume 3,
//! 6.7 (NMI), 17.3 (debug exceptions).

mod breakpoints;
pub(crate) mod guard;
mod keys;
pub(crate) mod nmi;
pub(crate) mod session;
mod step;
pub(crate) mod stop;

use core::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

use ksync::{Once, cpu::CpuId};

use self::stop::Stopper;
pub use self::{
    breakpoints::{BreakpointError, MAX_BREAKPOINTS},
    guard::Caught,
    keys::BreakKeys,
    nmi::ignored as ignored_nmis,
};
pub use crate::trap::probe::Faulted;
use crate::{
    backtrace,
    console::{self, Emergency},
    trap::{TrapFrame, probe},
};

/// Who owns the world.
pub(crate) static WORLD: Stopper = Stopper::new();
static DEBUGGER: Once<Debugger> = Once::new();

/// The executing CPU, or the boot CPU before CPUs have numbers.
pub(crate) fn me() -> CpuId {
    crate::hooks::cpu()
}

/// Why the world was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A fatal exception; the machine does not go on after it.
    Trap,
    /// A panic; the machine does not go on after it.
    Panic,
    /// A breakpoint, set here or compiled in.
    Breakpoint,
    /// The step that was asked for is done.
    Step,
    /// The serial line's or keyboard's key sequence.
    BreakSequence,
    /// A non-maskable interrupt nobody sent: the button, or QEMU's monitor.
    Nmi,
    /// Asked for by command or setting.
    Command,
    /// The software watchdog.
    Watchdog,
}

impl Reason {
    const ALL: [Self; 8] = [
        Self::Trap,
        Self::Panic,
        Self::Breakpoint,
        Self::Step,
        Self::BreakSequence,
        Self::Nmi,
        Self::Command,
        Self::Watchdog,
    ];

    /// Whether the machine can go on afterwards.
    #[must_use]
    pub const fn is_fatal(self) -> bool {
        matches!(self, Self::Trap | Self::Panic)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trap => "trap",
            Self::Panic => "panic",
            Self::Breakpoint => "breakpoint",
            Self::Step => "step",
            Self::BreakSequence => "break sequence on the console",
            Self::Nmi => "non-maskable interrupt",
            Self::Command => "asked for",
            Self::Watchdog => "watchdog",
        })
    }
}

/// What the debugger wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Everybody goes on; after a trap or panic, the end of the machine takes its course.
    Continue,
    /// This CPU executes one instruction, the others stay stopped, and the debugger is entered again.
    Step,
    /// The machine restarts now.
    Reset,
    /// The machine stops for good.
    Halt,
}

/// A debugger: called with the world stopped.
///
/// # Context
/// Any, NMI included, interrupts off: polls the console through the [`World`], takes no lock outside [`World::guard`].
pub type Debugger = fn(&mut World<'_>) -> Resume;

/// Installs the debugger; the first call wins. Without one a breakpoint is logged and passed, and an NMI is fatal.
pub fn set_debugger(hook: Debugger) {
    DEBUGGER.call_once(|| hook);
}

/// The installed debugger.
pub(crate) fn debugger() -> Option<Debugger> {
    DEBUGGER.get().copied()
}

/// Stops the world and enters the debugger; returns when it lets the machine go on, or at once if there is none.
///
/// # Context
/// Any but NMI. Interrupts are as before on return.
// Always a part of its caller: by itself it sets its stack frame up in the middle only, where another debugger, which goes by the
// beginning of functions, does not find its way back to who called.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as said above: not for speed")]
pub fn enter(reason: Reason) {
    if DEBUGGER.get().is_some() {
        ksync::irq::without_interrupts(|| session::raise(reason));
    }
}

/// Stops the world for a moment, to see where another CPU is; `None` if that CPU is this one, does not even obey the NMI, or
/// somebody else has stopped the world.
///
/// # Context
/// Any but NMI; waits at most as long as stopping may take.
#[must_use]
pub fn registers_of(cpu: CpuId) -> Option<TrapFrame> {
    ksync::irq::without_interrupts(|| {
        if cpu == me() || WORLD.claim(me(), stop::Purpose::Debugger) != stop::Claim::Won {
            return None;
        }
        nmi::stop_others();
        let frame = WORLD.frame(cpu).cloned();
        nmi::resume_others();
        frame
    })
}

/// Prints where a CPU is and who called it, on the console as it is in a stopped world: whatever the CPU holds, this gets through.
/// Answers whether the CPU obeyed.
///
/// # Context
/// Interrupt, or a thread with interrupts off; waits at most as long as stopping may take.
pub fn print_place_of(cpu: CpuId, name: &dyn fmt::Display) -> bool {
    use fmt::Write;
    if cpu == me() || WORLD.claim(me(), stop::Purpose::Debugger) != stop::Claim::Won {
        return false;
    }
    nmi::stop_others();
    let mut out = Emergency::begin();
    let frame = WORLD.frame(cpu);
    // Writing to the emergency console cannot fail.
    let _ = match frame {
        Some(frame) => {
            let named = writeln!(out, "cpu {cpu} runs thread {name}:");
            named.and_then(|()| backtrace::write(&mut out, frame.rip, frame.rbp))
        }
        None => writeln!(out, "cpu {cpu} does not answer"),
    };
    let obeyed = frame.is_some();
    nmi::resume_others();
    obeyed
}

/// Connects the stopped world to the locks; at boot.
pub(crate) fn init() {
    ksync::contended::set_hook(guard::on_contended);
}

/// Whether the world is stopped (by any CPU, for any purpose).
#[must_use]
pub fn is_stopped() -> bool {
    WORLD.owner().is_some()
}

static ON_PANIC: AtomicBool = AtomicBool::new(false);
static ON_TRAP: AtomicBool = AtomicBool::new(false);

/// Whether a panic enters the debugger before the machine restarts (`debug.debugger_on_panic`); off unless set, because a router
/// that nobody watches must come back by itself.
#[must_use]
pub fn debugger_on_panic() -> bool {
    // ORDERING: relaxed, here and below; a setting.
    ON_PANIC.load(Ordering::Relaxed)
}

/// Sets [`debugger_on_panic`].
pub fn set_debugger_on_panic(on: bool) {
    ON_PANIC.store(on, Ordering::Relaxed);
}

/// Whether a fatal exception enters the debugger (`debug.debugger_on_trap`).
#[must_use]
pub fn debugger_on_trap() -> bool {
    ON_TRAP.load(Ordering::Relaxed)
}

/// Sets [`debugger_on_trap`].
pub fn set_debugger_on_trap(on: bool) {
    ON_TRAP.store(on, Ordering::Relaxed);
}

/// The stopped world, as the one CPU that owns it sees it.
#[derive(Debug)]
pub struct World<'a> {
    reason: Reason,
    frame: &'a mut TrapFrame,
    message: &'a str,
}

impl<'a> World<'a> {
    pub(crate) fn new(reason: Reason, frame: &'a mut TrapFrame, message: &'a str) -> Self {
        Self { reason, frame, message }
    }

    /// Returns why the world was stopped.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Returns the panic's message or the trap's description; empty for other reasons.
    #[must_use]
    pub fn message(&self) -> &str {
        self.message
    }

    /// Returns the CPU that owns the world.
    #[must_use]
    pub fn cpu(&self) -> CpuId {
        me()
    }

    /// Returns a CPU's registers: this one's as it will go on, another's as it was stopped. `None` for one that did not obey the
    /// NMI, or was parked before.
    #[must_use]
    pub fn frame(&self, cpu: CpuId) -> Option<&TrapFrame> {
        if cpu == me() { Some(self.frame) } else { WORLD.frame(cpu) }
    }

    /// The CPUs that did not obey the NMI: they may still run.
    pub fn missing(&self) -> impl Iterator<Item = CpuId> {
        nmi::missing(me())
    }

    /// Changes the registers this CPU goes on with. Segment selectors are kept as they are.
    pub fn set_frame(&mut self, frame: TrapFrame) {
        let (cs, ss) = (self.frame.cs, self.frame.ss);
        *self.frame = TrapFrame { cs, ss, ..frame };
    }

    /// Reads memory.
    ///
    /// # Errors
    /// [`Faulted`] if some octet is not readable; `out` is then partly filled.
    pub fn read(&self, address: u64, out: &mut [u8]) -> Result<(), Faulted> {
        probe::read_octets(address, out)
    }

    /// Writes memory, also where the page is read-only: code, to set a breakpoint of one's own.
    ///
    /// # Errors
    /// [`Faulted`] if some octet is not mapped; those before it are written.
    pub fn write(&mut self, address: u64, data: &[u8]) -> Result<(), Faulted> {
        breakpoints::write(address, data)
    }

    /// Runs `view`; whatever goes wrong in it comes back as an error. See [`mod@guard`] for what is leaked then.
    ///
    /// # Errors
    /// [`Caught`]: a fault, a panic, or a lock that a stopped CPU or thread holds.
    pub fn guard<R>(&mut self, view: impl FnOnce() -> R) -> Result<R, Caught> {
        guard::run(view)
    }

    /// The console, written to directly; not kept in the message buffer.
    pub fn out(&mut self) -> impl fmt::Write + use<> {
        Emergency::unkept()
    }

    /// The serial line alone: for what is long and meant for a machine.
    pub fn serial(&mut self) -> impl fmt::Write + use<> {
        console::SerialOnly
    }

    /// Calls `reader` with the newest messages of the message buffer, whole lines of at most `limit` octets together, in pieces.
    pub fn messages(&mut self, limit: usize, reader: &mut dyn FnMut(&[u8])) {
        console::last_messages(limit, reader);
    }

    /// Returns a typed octet if there is one; never waits.
    pub fn try_read_key(&mut self) -> Option<u8> {
        Emergency::try_read()
    }

    /// Returns what [`World::try_read_key`] asks, for a console that is held beside the world.
    pub fn keys(&mut self) -> fn() -> Option<u8> {
        Emergency::try_read
    }

    /// Sets a breakpoint at an instruction; it is put in place when the world goes on.
    ///
    /// # Errors
    /// [`BreakpointError`].
    pub fn set_breakpoint(&mut self, address: u64) -> Result<(), BreakpointError> {
        breakpoints::set(address)
    }

    /// Removes a breakpoint; answers whether there was one.
    pub fn clear_breakpoint(&mut self, address: u64) -> bool {
        breakpoints::clear(address)
    }

    /// The breakpoints that are set.
    pub fn breakpoints(&self) -> impl Iterator<Item = u64> {
        breakpoints::all()
    }
}
