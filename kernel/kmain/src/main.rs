//! The kernel binary: wires only.
//!
//! The loader enters at [`boot`]; the machine layer takes the hardware over; a panic ends in the machine's report.

#![no_std]
#![no_main]

extern crate alloc;

use core::panic::PanicInfo;

use bootloader_api::{BootInfo, entry_point};
use ksync::cpu::CpuId;
use machine::{acpi, boot::LOADER_CONFIG, cpu, panic, platform};

entry_point!(boot, config = &LOADER_CONFIG);

/// Stages announced during boot.
const STAGES: u32 = 5 + platform::STAGES;

/// QEMU's exit status after a panic is twice this and one.
#[cfg(feature = "debug-exit")]
const PANIC_EXIT_CODE: u32 = 3;

fn boot(info: &'static mut BootInfo) -> ! {
    machine::boot::begin_stages(STAGES);
    #[cfg(feature = "debug-exit")]
    panic::set_exit_code(PANIC_EXIT_CODE);
    let record = match machine::boot::bring_up(info) {
        Ok(record) => record,
        Err(error) => panic!("the machine could not be brought up: {error:?}"),
    };
    log::info!("boot: configuration of {} octets", record.ramdisk.len());
    let found = match platform::bring_up(record) {
        Ok(found) => found,
        Err(error) => panic!("the platform could not be brought up: {error:?}"),
    };
    // Without the other processors the router is slower, not wrong.
    if let Err(error) = platform::start_cpus(found, idle) {
        log::error!("smp: only the boot processor runs: {error:?}");
    }
    idle(CpuId::BOOT)
}

/// What a processor does while there are no threads.
fn idle(_cpu: CpuId) -> ! {
    loop {
        cpu::enable_interrupts_and_halt();
    }
}

#[panic_handler]
fn panic_handler(info: &PanicInfo<'_>) -> ! {
    acpi::on_panic(info);
    panic::panicked(info)
}
