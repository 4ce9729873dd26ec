//! The guest half of the kernel's tests: a small kernel over the machine layer.
//!
//! The file that the image carries as its configuration names the [`scenario`] of this boot. A scenario is either a list
//! of tests, which run one after another and report over the serial line ([`harness`]), or one thing that ends the machine:
//! a fault, a panic, the power going. The host half, next door, boots each and judges how it ended.

#![no_std]
#![no_main]
#![expect(clippy::cast_possible_truncation, reason = "x86_64 only: usize is u64, and the counts of a test are small")]

extern crate alloc;

#[macro_use]
mod harness;
mod access;
mod crash;
mod crew;
mod debugger;
mod end;
mod fatal;
mod input;
mod kept;
mod memory;
mod nics;
mod processors;
mod scenario;
mod survive;
mod threads;
mod traps;

use core::panic::PanicInfo;

use bootloader_api::{BootInfo, entry_point};
use ktest::ExitCode;
use machine::{acpi, boot, boot::LOADER_CONFIG, panic, platform};

entry_point!(start, config = &LOADER_CONFIG);

fn start(info: &'static mut BootInfo) -> ! {
    boot::begin_stages(boot::BRING_UP_STAGES + platform::STAGES);
    panic::set_exit_code(ExitCode::Panicked as u32);
    panic::set_fault_exit_code(ExitCode::Faulted as u32);
    let record = match boot::bring_up(info) {
        Ok(record) => record,
        Err(error) => panic!("the machine could not be brought up: {error:?}"),
    };
    let name = core::str::from_utf8(record.ramdisk).unwrap_or("?").trim();
    scenario::run(name, record)
}

#[panic_handler]
fn panic_handler(info: &PanicInfo<'_>) -> ! {
    acpi::on_panic(info);
    panic::panicked(info)
}
