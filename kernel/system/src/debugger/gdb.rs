//! gdb on another computer, at the second serial port: the crate `gdb` over the stopped world.
//!
//! It is entered by the debugger's command `gdb`, by every stop if `debug.kdb.current` says so, and by a stop that gdb waits for.
//! While gdb waits, a callout looks for the octet by which it interrupts the machine.
//!
//! Context: as said of each function.

use alloc::string::String;
use core::fmt::{self, Write};

use ::gdb::{Line, Machine, Outcome, Registers, Session, Why};
use ksync::{
    SpinLock,
    atomic::{AtomicBool, Ordering},
    cpu::CpuId,
};
use machine::{
    debug_port::{self, DebugPort},
    kdb::{self, BreakpointError, Reason, Resume, World},
    percpu,
    trap::{TrapFrame, vector},
};

use crate::{
    knobs::{Access, Knob},
    threads,
};

/// What gdb sends to stop a running machine.
const INTERRUPT: u8 = 3;
/// The key on the console that ends the wait for gdb.
const GIVE_UP: u8 = b'q';

/// Protects: what is remembered of gdb from one stop to the next; held: while gdb is served, by the world's owner, who only tries.
static SESSION: SpinLock<Session> = SpinLock::new(Session::new());
/// gdb waits for the machine to stop.
static WAITING: AtomicBool = AtomicBool::new(false);
/// gdb is the debugger, and not the console's.
static CURRENT: AtomicBool = AtomicBool::new(false);

/// Which debugger a stop enters, by FreeBSD's names.
pub(crate) const KNOBS: &[Knob] = &[
    Knob {
        name: "debug.kdb.available",
        description: "the debugger backends: ddb on the console, gdb on the second serial port",
        get: || if debug_port::port().is_some() { "ddb gdb".into() } else { "ddb".into() },
        access: Access::ReadOnly,
    },
    Knob {
        name: "debug.kdb.current",
        description: "the debugger backend that a stop enters",
        // ORDERING: relaxed, here and below: settings, and hints for the next poll.
        get: || if CURRENT.load(Ordering::Relaxed) { "gdb".into() } else { "ddb".into() },
        access: Access::Setting(set_current),
    },
];

fn set_current(value: &str) -> Result<(), String> {
    let gdb = match value.trim() {
        "ddb" => false,
        "gdb" if debug_port::port().is_some() => true,
        "gdb" => return Err("this machine has no second serial port".into()),
        _ => return Err("it is ddb or gdb".into()),
    };
    CURRENT.store(gdb, Ordering::Relaxed);
    Ok(())
}

/// Returns whether a stop is gdb's to attend to. Any context.
pub(super) fn is_wanted() -> bool {
    CURRENT.load(Ordering::Relaxed) || WAITING.load(Ordering::Relaxed)
}

/// Stops the machine if gdb has asked for it. Returns whether gdb waits, and may ask for it again. Thread context, now and then.
pub(crate) fn poll() -> bool {
    if !WAITING.load(Ordering::Relaxed) {
        return false;
    }
    let Some(port) = debug_port::port() else { return false };
    // Whatever else arrives while gdb waits is no packet.
    while let Some(octet) = port.try_receive() {
        if octet == INTERRUPT {
            kdb::enter(Reason::Command);
            break;
        }
    }
    WAITING.load(Ordering::Relaxed)
}

/// Serves gdb until it lets the machine go on; `None` if somebody at the console gives up, or there is no port.
///
/// # Context
/// The owner of the stopped world.
pub(super) fn serve(world: &mut World<'_>) -> Option<Resume> {
    let port = debug_port::port()?;
    // Held by an attendance that went wrong itself.
    let mut session = SESSION.try_lock()?;
    if !session.is_waiting() {
        let _ = writeln!(world.out(), "gdb: waiting on the second serial port; q gives up");
    }
    let mut line = Wire { port, keys: world.keys() };
    // The protocol's library logs what it does not understand, and the log may be locked by a CPU that was stopped.
    let level = log::max_level();
    log::set_max_level(log::LevelFilter::Off);
    let outcome = session.attend(why(world), &mut Stopped { world: &mut *world }, &mut line);
    log::set_max_level(level);
    WAITING.store(session.is_waiting(), Ordering::Relaxed);
    let said = match outcome {
        Outcome::Continue => return Some(Resume::Continue),
        Outcome::Step => return Some(Resume::Step),
        Outcome::Detached => "gdb: detached",
        Outcome::Killed => "gdb: killed; restarting",
        Outcome::Abandoned => "gdb: given up",
    };
    let _ = writeln!(world.out(), "{said}");
    match outcome {
        Outcome::Detached => Some(Resume::Continue),
        Outcome::Killed => Some(Resume::Reset),
        _ => None,
    }
}

fn why(world: &World<'_>) -> Why {
    let fault = world.frame(world.cpu()).map_or(0, |frame| frame.vector);
    match world.reason() {
        Reason::Breakpoint => Why::Breakpoint,
        Reason::Step => Why::Step,
        Reason::Panic => Why::Panic,
        Reason::Trap if [vector::PAGE_FAULT, vector::GENERAL_PROTECTION].map(u64::from).contains(&fault) => {
            Why::BadAccess
        }
        Reason::Trap => Why::BadInstruction,
        _ => Why::Interrupt,
    }
}

/// The line, and the console's keys for whoever gives up.
struct Wire {
    port: DebugPort,
    keys: fn() -> Option<u8>,
}

impl Line for Wire {
    fn receive(&mut self) -> Option<u8> {
        loop {
            if let Some(octet) = self.port.try_receive() {
                return Some(octet);
            }
            if (self.keys)() == Some(GIVE_UP) {
                return None;
            }
            core::hint::spin_loop();
        }
    }

    fn send(&mut self, octet: u8) {
        self.port.send(octet);
    }
}

/// The world as gdb wants it.
struct Stopped<'w, 'a> {
    world: &'w mut World<'a>,
}

impl Machine for Stopped<'_, '_> {
    fn cpu(&self) -> u16 {
        self.world.cpu().0
    }

    fn each_cpu(&self, each: &mut dyn FnMut(u16)) {
        percpu::online().for_each(|cpu| each(cpu.0));
    }

    fn registers(&self, cpu: u16) -> Option<Registers> {
        let is_known = percpu::online().any(|online| online.0 == cpu);
        let r = self.world.frame(CpuId(cpu)).filter(|_| is_known)?;
        let general = [
            r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp, r.rsp, r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14,
            r.r15,
        ];
        // Selectors are of 16 bits; the processor leaves the rest of their words undefined.
        let selector = |word: u64| u16::try_from(word & 0xFFFF).unwrap_or(0);
        Some(Registers { general, rip: r.rip, rflags: r.rflags, cs: selector(r.cs), ss: selector(r.ss) })
    }

    fn set_registers(&mut self, registers: &Registers) {
        let Some(old) = self.world.frame(self.world.cpu()).cloned() else { return };
        let [rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8, r9, r10, r11, r12, r13, r14, r15] = registers.general;
        let Registers { rip, rflags, .. } = *registers;
        let (cs, ss, vector, error_code) = (old.cs, old.ss, old.vector, old.error_code);
        self.world.set_frame(TrapFrame {
            r15,
            r14,
            r13,
            r12,
            r11,
            r10,
            r9,
            r8,
            rbp,
            rdi,
            rsi,
            rdx,
            rcx,
            rbx,
            rax,
            vector,
            error_code,
            rip,
            cs,
            rflags,
            rsp,
            ss,
        });
    }

    fn read(&mut self, address: u64, out: &mut [u8]) -> usize {
        if self.world.read(address, out).is_ok() {
            return out.len();
        }
        let mut count = 0;
        for (at, slot) in (address..).zip(out) {
            if self.world.read(at, core::slice::from_mut(slot)).is_err() {
                break;
            }
            count += 1;
        }
        count
    }

    fn write(&mut self, address: u64, data: &[u8]) -> bool {
        self.world.write(address, data).is_ok()
    }

    fn set_breakpoint(&mut self, address: u64) -> bool {
        matches!(self.world.set_breakpoint(address), Ok(()) | Err(BreakpointError::Exists))
    }

    fn clear_breakpoint(&mut self, address: u64) -> bool {
        self.world.clear_breakpoint(address)
    }

    fn describe(&self, cpu: u16, out: &mut dyn Write) -> fmt::Result {
        threads::write_name_on(CpuId(cpu), out)
    }
}
