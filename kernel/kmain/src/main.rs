//! The kernel binary: wires only.
//!
//! The loader enters at [`boot`]; the machine layer takes the hardware over; every processor's boot stack becomes its idle
//! thread; the first thread brings the system up. A panic ends in the machine's report.

#![no_std]
#![no_main]

extern crate alloc;

mod dma;

use alloc::boxed::Box;
use core::panic::PanicInfo;

use bootloader_api::{BootInfo, entry_point};
use dma::MachineDma;
use ksync::cpu::CpuId;
use machine::{acpi, boot::LOADER_CONFIG, panic, platform};
use sched::{Affinity, Priority};
use system::{KernelFile, Wires};

entry_point!(boot, config = &LOADER_CONFIG);

/// Stages announced during boot.
const STAGES: u32 = machine::boot::BRING_UP_STAGES + platform::STAGES + system::STAGES;

/// QEMU's exit status after a panic is twice this and one.
#[cfg(feature = "debug-exit")]
const PANIC_EXIT_CODE: u32 = 3;

static DMA: MachineDma = MachineDma;

fn boot(info: &'static mut BootInfo) -> ! {
    machine::boot::begin_stages(STAGES);
    machine::console::hold();
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
    let kernel = KernelFile { octets: record.image_file.1, tail: record.behind_kernel };
    let wires = Wires { dma: &DMA, configuration: record.ramdisk, attached: record.attached, kernel };
    join_threads();
    // Without the other processors the router is slower, not wrong.
    if let Err(error) = platform::start_cpus(found, processor) {
        log::error!("smp: only the boot processor runs: {error:?}");
    }
    let first = Box::new(move || system::start(&wires));
    if let Err(error) = system::scheduler().spawn("kmain", Priority::Normal, Affinity::Bound(CpuId::BOOT), first) {
        panic!("the first thread could not be started: {error}");
    }
    idle()
}

/// Where the other processors enter.
fn processor(_: CpuId) -> ! {
    join_threads();
    idle()
}

/// Makes the calling processor's boot stack its idle thread.
fn join_threads() {
    if let Err(error) = system::scheduler().adopt_cpu() {
        panic!("a processor could not join the scheduler: {error}");
    }
}

/// What a processor does while no thread is ready.
fn idle() -> ! {
    system::scheduler().run_idle(|| false);
    unreachable!("an idle thread has no end")
}

#[panic_handler]
fn panic_handler(info: &PanicInfo<'_>) -> ! {
    acpi::on_panic(info);
    panic::panicked(info)
}
