//! The serial line's other direction, and the clock against that of the host.

use core::time::Duration;

use alloc::format;

use ksync::{
    atomic::{AtomicU32, Ordering},
    cpu::CpuId,
};
use machine::{boot::BootRecord, console, hooks, irq, platform};

use crate::{
    crew,
    harness::{self, Outcome},
};

/// How long the host may take to type.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the host types.
const TEXT: &[u8] = b"The quick brown fox jumps over 0123456789 lazy dogs~";
/// The ISA interrupt of the first serial line.
const COM1: u8 = 4;

static WAKES: AtomicU32 = AtomicU32::new(0);

/// Runs the tests; the host types when it is told to, and takes the time.
pub(crate) fn run(record: &'static BootRecord) -> ! {
    if let Err(error) = platform::bring_up(record) {
        panic!("the platform could not be brought up: {error:?}");
    }
    harness::run(&[tests![
        what_is_typed_arrives_when_polled,
        what_is_typed_arrives_by_interrupt,
        two_seconds_last_two_seconds,
    ]])
}

/// Asks for the text and reads it.
fn read_text() -> Outcome {
    console::print(format_args!("#type\n"));
    for (index, expected) in TEXT.iter().enumerate() {
        let mut read = None;
        let end = machine::time::now() + PATIENCE;
        while read.is_none() && machine::time::now() < end {
            read = console::try_read();
        }
        ensure!(read == Some(*expected), "octet {index} is {read:?}, not {expected}");
    }
    Ok(())
}

fn what_is_typed_arrives_when_polled() -> Outcome {
    read_text()
}

fn what_is_typed_arrives_by_interrupt() -> Outcome {
    let Some(platform) = platform::platform() else { return Err("no platform".into()) };
    hooks::set_console_input(|| {
        WAKES.fetch_add(1, Ordering::Relaxed);
    });
    let (gsi, signal) = platform.madt.isa(COM1);
    let line = irq::route_gsi(gsi, signal, CpuId::BOOT).map_err(|error| format!("{error:?}"))?;
    irq::set_handler(&line, |_| console::on_serial_interrupt(), 0).map_err(|error| format!("{error:?}"))?;
    irq::unmask(line.irq);
    console::enable_input_interrupt();
    console::print(format_args!("#type\n"));
    let woken = crew::wait_until(PATIENCE, || WAKES.load(Ordering::Relaxed) > 0);
    ensure!(woken, "the reader was never woken");
    // The rest arrives by interrupt as well, within the queue's 256 octets.
    machine::time::delay(Duration::from_millis(300));
    for (index, expected) in TEXT.iter().enumerate() {
        let read = console::try_read();
        ensure!(read == Some(*expected), "octet {index} is {read:?}, not {expected}");
    }
    Ok(())
}

fn two_seconds_last_two_seconds() -> Outcome {
    console::print(format_args!("#clock starts\n"));
    machine::time::delay(Duration::from_secs(2));
    console::print(format_args!("#clock stops\n"));
    Ok(())
}
