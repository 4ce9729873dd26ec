//! Descriptor tables per CPU: a flat code and data segment, and a task state segment with three guarded interrupt stacks.
//!
//! NMI, double fault and machine check run on stacks of their own (IST), because they may arrive when the current stack is
//! unusable: a stack overflow is reported from the double-fault stack. Source: Intel SDM volume 3, 3.5 and 6.14.5.

use alloc::boxed::Box;

use ksync::cpu::CpuId;
use x86_64::{
    VirtAddr,
    instructions::{
        segmentation::{CS, DS, ES, SS, Segment},
        tables,
    },
    structures::{
        gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector},
        tss::TaskStateSegment,
    },
};

use crate::{
    heap,
    stack::{KernelStack, StackError},
};

/// The kernel's code segment selector, on every CPU.
pub const CODE_SELECTOR: u16 = 0x08;
/// Frames of an interrupt stack: a trap report formats text and walks a backtrace on it.
const INTERRUPT_STACK_PAGES: usize = 6;

/// The interrupt stacks, numbered as the IDT wants them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum InterruptStack {
    /// Non-maskable interrupt.
    Nmi = 1,
    /// Double fault.
    DoubleFault = 2,
    /// Machine check.
    MachineCheck = 3,
}

/// Why a CPU has no descriptor tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GdtError {
    /// The heap is exhausted.
    NoMemory,
    /// An interrupt stack could not be made.
    Stack(StackError),
}

/// One CPU's tables; they live as long as the kernel, because the processor points at them.
#[derive(Debug)]
struct CpuTables {
    gdt: GlobalDescriptorTable,
    tss: TaskStateSegment,
}

/// Builds and loads the executing CPU's descriptor tables and interrupt stacks.
///
/// Leaves FS and GS alone: load the per-CPU base after this or before, as you like.
///
/// # Errors
/// [`GdtError`]; then the CPU still runs on the tables it had.
///
/// # Context
/// Thread, interrupts off, once on each CPU during its start; afterwards load the IDT with [`crate::idt::load`].
pub fn init_cpu(cpu: CpuId) -> Result<(), GdtError> {
    let mut tss = TaskStateSegment::new();
    for stack in [InterruptStack::Nmi, InterruptStack::DoubleFault, InterruptStack::MachineCheck] {
        let memory = KernelStack::allocate(INTERRUPT_STACK_PAGES).map_err(GdtError::Stack)?;
        // The field is unaligned (the structure is packed), so no reference to it can be made; there are seven slots.
        tss.interrupt_stack_table[stack as usize - 1] = VirtAddr::new(memory.top());
        // The processor owns this stack from now on.
        core::mem::forget(memory);
    }
    let tables = heap::try_box(CpuTables { gdt: GlobalDescriptorTable::new(), tss }).map_err(|_| GdtError::NoMemory)?;
    let CpuTables { gdt, tss } = Box::leak(tables);
    let code = gdt.append(Descriptor::kernel_code_segment());
    let data = gdt.append(Descriptor::kernel_data_segment());
    let task = gdt.append(Descriptor::tss_segment(tss));
    debug_assert_eq!(code.0, CODE_SELECTOR);
    gdt.load();
    // SAFETY: the selectors are those of the table loaded above, flat ring 0 segments.
    unsafe { load_selectors(code, data, task) };
    log::debug!("gdt: cpu {cpu} loaded its descriptor tables");
    Ok(())
}

/// Loads the segment registers that matter in 64-bit mode, and the task register.
///
/// # Safety
/// The selectors name a flat kernel code segment, a flat data segment and a task state segment of the loaded table.
unsafe fn load_selectors(code: SegmentSelector, data: SegmentSelector, task: SegmentSelector) {
    // SAFETY: the caller's contract.
    unsafe { CS::set_reg(code) };
    // SAFETY: as above.
    unsafe { SS::set_reg(data) };
    // SAFETY: as above.
    unsafe { DS::set_reg(data) };
    // SAFETY: as above.
    unsafe { ES::set_reg(data) };
    // SAFETY: as above; the descriptor is not busy, it has just been made.
    unsafe { tables::load_tss(task) };
}

/// Returns the descriptor of the executing CPU's code segment, for trap reports.
pub(crate) fn code_descriptor() -> u64 {
    let table = tables::sgdt();
    let at = table.base.as_u64() + u64::from(CS::get_reg().0 & !7);
    crate::trap::probe::read(at).unwrap_or(0)
}
