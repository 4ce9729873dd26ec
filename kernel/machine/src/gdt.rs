//! Descriptor tables per CPU: a flat code and data segment, and a task state segment with guarded interrupt stacks.
//!
//! NMI, double fault and machine check run on stacks of their own (IST), because they may arrive when the current stack is
//! unusable: a stack overflow is reported from the double-fault stack.
//!
//! NMIs have two stacks in turn. The processor holds the next NMI back only until the first `iretq`, and a debugger that was
//! entered by NMI takes (guarded) faults, each of which ends in one: the next NMI would begin at the top of the stack
//! the debugger runs on. So each NMI points the processor at the stack it is not on ([`turn_nmi_stack`]), unless it has itself
//! interrupted a handler there. Source: Intel SDM volume 3, 3.5, 6.7.1 and 6.14.5.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use ksync::cpu::{CpuId, MAX_CPUS};
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
/// Frames of an interrupt stack: a trap report formats text and walks a backtrace on it, and the debugger runs there.
const INTERRUPT_STACK_PAGES: usize = 8;

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

/// A CPU's two NMI stacks and where the processor looks for the next one.
struct NmiStacks {
    tss: AtomicPtr<TaskStateSegment>,
    /// The ends of the two stacks; 0 before the CPU has them.
    tops: [AtomicU64; 2],
}

// ORDERING: relaxed throughout; each CPU uses its own.
static NMI_STACKS: [NmiStacks; MAX_CPUS] =
    [const { NmiStacks { tss: AtomicPtr::new(core::ptr::null_mut()), tops: [const { AtomicU64::new(0) }; 2] } };
        MAX_CPUS];

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
    let stack = || KernelStack::allocate(INTERRUPT_STACK_PAGES).map_err(GdtError::Stack);
    let mut tss = TaskStateSegment::new();
    let nmi = &NMI_STACKS[cpu.index() % MAX_CPUS];
    for slot in [InterruptStack::Nmi, InterruptStack::DoubleFault, InterruptStack::MachineCheck] {
        // The field is unaligned (the structure is packed), so no reference to it can be made; there are seven slots.
        tss.interrupt_stack_table[slot as usize - 1] = VirtAddr::new(keep(stack()?));
    }
    nmi.tops[0].store(tss.interrupt_stack_table[InterruptStack::Nmi as usize - 1].as_u64(), Ordering::Relaxed);
    nmi.tops[1].store(keep(stack()?), Ordering::Relaxed);
    let tables = heap::try_box(CpuTables { gdt: GlobalDescriptorTable::new(), tss }).map_err(|_| GdtError::NoMemory)?;
    let CpuTables { gdt, tss } = Box::leak(tables);
    let tss: *mut TaskStateSegment = tss;
    nmi.tss.store(tss, Ordering::Relaxed);
    let code = gdt.append(Descriptor::kernel_code_segment());
    let data = gdt.append(Descriptor::kernel_data_segment());
    // SAFETY: the segment lives as long as the kernel.
    let task = gdt.append(unsafe { Descriptor::tss_segment_unchecked(tss) });
    debug_assert_eq!(code.0, CODE_SELECTOR);
    gdt.load();
    // SAFETY: the selectors are those of the table loaded above, flat ring 0 segments.
    unsafe { load_selectors(code, data, task) };
    log::debug!("gdt: cpu {cpu} loaded its descriptor tables");
    Ok(())
}

/// Gives a stack to the processor for good; returns its end.
fn keep(stack: KernelStack) -> u64 {
    let top = stack.top();
    core::mem::forget(stack);
    top
}

/// Of the two stacks: where the processor begins the next NMI, if this one runs at `here` and has interrupted code at `interrupted`
/// (stack pointers).
fn next_nmi_stack(tops: [u64; 2], here: u64, interrupted: u64) -> u64 {
    const SIZE: u64 = INTERRUPT_STACK_PAGES as u64 * crate::frame::FRAME_SIZE;
    // A stack pointer may be one past the end of its stack, and then it is empty.
    let on = |top: u64, address: u64| address < top && address >= top - SIZE;
    let (own, other) = if on(tops[1], here) { (tops[1], tops[0]) } else { (tops[0], tops[1]) };
    if on(other, interrupted) { own } else { other }
}

/// Sees to it that the next NMI does not begin on the stack that this one runs on. Called first by the NMI handler, with the
/// stack pointer of the interrupted code and an address on its own stack.
pub(crate) fn turn_nmi_stack(cpu: CpuId, here: u64, interrupted: u64) {
    let nmi = &NMI_STACKS[cpu.index() % MAX_CPUS];
    let tss = nmi.tss.load(Ordering::Relaxed);
    let tops = [nmi.tops[0].load(Ordering::Relaxed), nmi.tops[1].load(Ordering::Relaxed)];
    if tss.is_null() || tops[1] == 0 {
        return;
    }
    let next = VirtAddr::new(next_nmi_stack(tops, here, interrupted));
    // SAFETY: `init_cpu` left the address of this CPU's segment, which lives for ever; the slot lies inside it.
    let slot = unsafe { &raw mut (*tss).interrupt_stack_table[InterruptStack::Nmi as usize - 1] };
    // SAFETY: only this CPU, in an NMI, writes the slot, and the processor reads it when the next NMI begins; it may be unaligned.
    unsafe { slot.write_unaligned(next) };
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

#[cfg(test)]
mod tests {
    use super::next_nmi_stack;

    const TOPS: [u64; 2] = [0x1_0000, 0x2_0000];

    #[test]
    fn an_nmi_turns_to_the_stack_it_is_not_on_unless_that_is_in_use() {
        let elsewhere = 0x9_0000;
        assert_eq!(next_nmi_stack(TOPS, 0xFF50, elsewhere), TOPS[1]);
        assert_eq!(next_nmi_stack(TOPS, 0x1_FF50, elsewhere), TOPS[0]);
        assert_eq!(next_nmi_stack(TOPS, 0x1_FF50, 0xF000), TOPS[1], "the debugger was interrupted on the first");
        assert_eq!(next_nmi_stack(TOPS, 0xFF50, 0x1_F000), TOPS[0], "and on the second");
    }
}
