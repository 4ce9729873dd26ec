//! What a thread or a CPU that does not answer was doing: its backtrace.
//!
//! A thread that is switched out has left its place on its stack; one that runs is on a CPU, which is stopped for a moment by NMI
//! and let go again. Context: thread; nothing here waits for the culprit.

use core::fmt::{self, Write};

use alloc::format;

use arrayvec::ArrayString;
use ksync::cpu::CpuId;
use machine::{backtrace, kdb, percpu};
use sched::ThreadState;

use crate::threads;

/// Octets of a backtrace that are told; the rest is cut.
const LONGEST: usize = 4096;

/// Where a backtrace begins: instruction and frame pointer.
type Place = (u64, u64);

/// Says what the threads are doing whose name begins with `name`: for each a line, which begins with `teller`, and its backtrace.
pub(crate) fn explain_thread(teller: &str, name: &str, say: &mut dyn FnMut(fmt::Arguments<'_>)) {
    for look in threads::all().map_while(Result::ok) {
        let known = look.name.as_deref().unwrap_or("?");
        if !known.starts_with(name) {
            continue;
        }
        let running = look.state == Some(ThreadState::Running);
        let place = match look.cpu.filter(|_| running) {
            Some(cpu) => {
                say(format_args!("{teller}: thread {} ({known}) runs on cpu {cpu}:", look.id.0));
                place_of(cpu)
            }
            None => {
                let state = look.state.map_or_else(|| "locked".into(), |state| format!("{state}"));
                say(format_args!("{teller}: thread {} ({known}) is {state}:", look.id.0));
                look.context.saved().map(|saved| (saved.instruction, saved.frame_pointer))
            }
        };
        trace(place, say);
    }
}

/// Stops another CPU for a moment to see where it is.
fn place_of(cpu: CpuId) -> Option<Place> {
    if cpu == percpu::current_cpu() {
        return None;
    }
    kdb::registers_of(cpu).map(|frame| (frame.rip, frame.rbp))
}

fn trace(place: Option<Place>, say: &mut dyn FnMut(fmt::Arguments<'_>)) {
    let Some((instruction, frame_pointer)) = place else {
        return say(format_args!("  no registers: it does not even answer a non-maskable interrupt"));
    };
    let mut text = ArrayString::<LONGEST>::new();
    let _ = backtrace::write(&mut Cut(&mut text), instruction, frame_pointer);
    text.lines().for_each(|line| say(format_args!("  {line}")));
}

/// Takes what fits and swallows the rest.
struct Cut<'t>(&'t mut ArrayString<LONGEST>);

impl Write for Cut<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let _ = self.0.try_push_str(text);
        Ok(())
    }
}
