//! The unsafe floor: CPU, interrupts, paging, processor start, consoles, reset.
//!
//! Everything that touches the processor, physical memory or a port lives here; the crates above see safe types. Two halves:
//!
//! - *Memory and traps*: [`boot`] (what the loader left us), [`frame`], [`memory`], [`pstore`], [`paging`], [`mmio`], [`stack`],
//!   [`heap`], [`gdt`], [`idt`], [`trap`], [`context`], [`console`], [`mod@panic`].
//! - *Platform*: the interrupt controllers, processor start, clocks, PCI configuration access and reset.
//!
//! Pure parts (the frame bitmap, the backtrace's walk, the message ring, line assembly, the ELF reader, the trap report) have host tests:
//! `cargo test -p machine`. Sources: Intel SDM volume 3, ACPI 6.5, the 16550D data sheet.

#![no_std]
#![expect(
    clippy::cast_possible_truncation,
    reason = "x86_64 only: usize is u64, and registers are cut to the width the manual gives their fields"
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod acpi;
pub mod apic;
pub mod backtrace;
pub mod boot;
pub mod console;
pub mod context;
pub mod cpu;
pub mod debug_port;
mod elf;
pub mod entry;
pub mod frame;
pub mod gdt;
pub mod heap;
pub mod hooks;
pub mod idt;
pub mod ioapic;
pub mod iommu;
pub mod ipi;
pub mod irq;
pub mod kdb;
pub mod keyboard;
pub mod locks;
mod map;
pub use map::device_registers;
pub mod memory;
pub mod mmio;
pub mod msr;
pub mod numa;
pub mod paging;
pub mod panic;
pub mod pci_config;
mod pci_early;
pub mod percpu;
pub mod platform;
pub mod ports;
pub mod power_button;
pub mod pstore;
pub mod reset;
pub mod smp;
pub mod stack;
pub mod text;
pub mod thread;
pub mod time;
pub mod timer;
pub mod trap;
