//! What is in a dump, the most telling first, the message buffer last: that is what a cut dump can do without.
//!
//! Context: the owner of the stopped world.

use core::fmt::{self, Write};

use cli::View;
use crashdump::{Encoder, section, trace};
use ksync::cpu::CpuId;
use machine::{backtrace::Step, boot, kdb::World, percpu, time, trap::TrapFrame};

use crate::{
    threads::{self, ThreadLook},
    views,
};

/// Octets of the message buffer that go into a dump at most: three seconds of a serial line.
const MESSAGES: usize = 32 * 1024;
/// Octets of it in a dump that has little room, and what its lines take besides their text.
const MESSAGES_SHARE: usize = 2;
/// Frames of one backtrace.
const FRAMES: usize = 24;
/// No kernel is larger: what lies higher is no address in its file.
const IMAGE_LIMIT: u64 = 256 << 20;

/// The views that go in, and the names of their sections.
const VIEWS: [(&str, View); 13] = [
    ("version", View::Version),
    ("shutdown", View::Shutdown),
    ("rings", View::Ring),
    ("interrupts", View::Intr),
    ("dma", View::Dma),
    ("interfaces", View::Interfaces),
    ("audit", View::Audit),
    ("netisr", View::Netisr),
    ("arp", View::Arp),
    ("callouts", View::Callout),
    ("locks", View::Locks),
    ("pcpu", View::Pcpu),
    ("memory", View::Memory),
];

/// Writes everything but the last line into `dump`, which has room for `room` octets of lines.
pub(super) fn write<W: Write>(world: &mut World<'_>, room: usize, dump: &mut Encoder<W>) {
    let offset = boot::image_offset();
    let id = boot::build_id();
    let build = id.as_ref().map_or(&[][..], |id| id.as_bytes());
    let uptime = time::now().as_nanos() / 1000;
    let (kind, message) = (world.reason(), world.message());
    match message {
        "" => dump.begin(build, offset, uptime, format_args!("{kind}")),
        _ => dump.begin(build, offset, uptime, format_args!("{kind}: {message}")),
    }
    dump.section(section::REGISTERS);
    for cpu in percpu::online() {
        let frame = world.frame(cpu).cloned();
        guarded(world, dump, |out| processor(cpu, frame.as_ref(), offset, out));
    }
    dump.section(section::THREADS);
    guarded(world, dump, |out| all_threads(offset, out));
    for (name, view) in VIEWS {
        dump.section(name);
        guarded(world, dump, |out| views::show(view, out));
    }
    dump.section(section::MESSAGES);
    let limit = (room / MESSAGES_SHARE).min(MESSAGES);
    world.messages(limit, &mut |piece| {
        for chunk in piece.utf8_chunks() {
            // An error is remembered by the encoder.
            let _ = dump.write_str(chunk.valid());
        }
    });
}

/// Runs one part; what goes wrong in it is said in its place.
fn guarded<W: Write>(world: &mut World<'_>, dump: &mut Encoder<W>, part: impl FnOnce(&mut Encoder<W>) -> fmt::Result) {
    if let Err(caught) = world.guard(|| part(&mut *dump)) {
        let _ = writeln!(dump, "\n[{caught}]");
    }
}

/// Writes what a CPU was doing.
fn processor(cpu: CpuId, frame: Option<&TrapFrame>, offset: u64, out: &mut dyn Write) -> fmt::Result {
    write!(out, "cpu {cpu}, apic id {:02x}, in ", percpu::block(cpu).apic_id())?;
    threads::write_name_on(cpu, out)?;
    let Some(r) = frame else { return writeln!(out, ": did not stop") };
    writeln!(out, "\nrip {:016x} rsp {:016x} rbp {:016x} flg {:016x}", r.rip, r.rsp, r.rbp, r.rflags)?;
    writeln!(out, "rax {:016x} rbx {:016x} rcx {:016x} rdx {:016x}", r.rax, r.rbx, r.rcx, r.rdx)?;
    writeln!(out, "rsi {:016x} rdi {:016x} r8  {:016x} r9  {:016x}", r.rsi, r.rdi, r.r8, r.r9)?;
    writeln!(out, "r10 {:016x} r11 {:016x} r12 {:016x} r13 {:016x}", r.r10, r.r11, r.r12, r.r13)?;
    writeln!(out, "r14 {:016x} r15 {:016x} vector {} error {:#x}", r.r14, r.r15, r.vector, r.error_code)?;
    backtrace(r.rip, r.rbp, offset, out)
}

fn all_threads(offset: u64, out: &mut dyn Write) -> fmt::Result {
    for thread in threads::all() {
        let Ok(thread) = thread else { return writeln!(out, "[the list is locked by a CPU that was stopped]") };
        one_thread(&thread, offset, out)?;
    }
    Ok(())
}

/// Writes a thread in one line, and where it is in another.
fn one_thread(thread: &ThreadLook, offset: u64, out: &mut dyn Write) -> fmt::Result {
    write!(out, "{} {}, {}", thread.id.0, thread.name.as_deref().unwrap_or("?"), thread.priority)?;
    match thread.cpu.zip(thread.state) {
        Some((cpu, state)) => write!(out, ", {state}, cpu {cpu}")?,
        None => out.write_str(", locked")?,
    }
    writeln!(out, ", {} switches, {} us", thread.switches, thread.runtime.as_micros())?;
    match thread.context.saved() {
        Some(place) => backtrace(place.instruction, place.frame_pointer, offset, out),
        // It runs: its registers are its CPU's.
        None => Ok(()),
    }
}

/// Writes a backtrace in one line, as `crashdump::trace` reads it.
fn backtrace(instruction: u64, frame_pointer: u64, offset: u64, out: &mut dyn Write) -> fmt::Result {
    out.write_str(trace::START)?;
    for step in machine::backtrace::steps(instruction, frame_pointer).take(FRAMES) {
        let step = match step {
            Step::Code(place) => match place.address().wrapping_sub(offset) {
                inside @ ..IMAGE_LIMIT => trace::Step::Kernel(inside),
                _ => trace::Step::Elsewhere(place.address()),
            },
            Step::Trap { vector, .. } => trace::Step::Trap(vector),
        };
        write!(out, " {step}")?;
    }
    writeln!(out)
}
