//! The kernel binary: wires only.
//!
//! The loader enters at [`boot`]; the machine layer takes the hardware over; a panic ends in the machine's report.

#![no_std]
#![no_main]

extern crate alloc;

use core::panic::PanicInfo;

use bootloader_api::{BootInfo, entry_point};
use machine::{boot::LOADER_CONFIG, cpu, panic};

entry_point!(boot, config = &LOADER_CONFIG);

/// Stages announced during boot.
const STAGES: u32 = 5;

/// QEMU's exit status after a panic is twice this and one.
#[cfg(feature = "debug-exit")]
const PANIC_EXIT_CODE: u32 = 3;

fn boot(info: &'static mut BootInfo) -> ! {
    machine::boot::begin_stages(STAGES);
    #[cfg(feature = "debug-exit")]
    panic::set_exit_code(PANIC_EXIT_CODE);
    match machine::boot::bring_up(info) {
        Ok(record) => log::info!("boot: configuration of {} octets", record.ramdisk.len()),
        Err(error) => panic!("the machine could not be brought up: {error:?}"),
    }
    cpu::halt_forever()
}

#[panic_handler]
fn panic_handler(info: &PanicInfo<'_>) -> ! {
    panic::panicked(info)
}
