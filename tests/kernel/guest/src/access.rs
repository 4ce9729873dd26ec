//! What may be written and what executed: nothing may be both, and low addresses are neither.

use alloc::{boxed::Box, format};
use core::sync::atomic::{AtomicU8, Ordering};

use machine::{
    boot, cpu, paging,
    stack::{KernelStack, THREAD_STACK_PAGES},
    trap::probe,
};

use crate::harness::{Outcome, Test};

pub(crate) const TESTS: &[Test] = tests![
    code_can_be_called_and_not_written,
    constants_can_be_neither_written_nor_executed,
    the_configuration_can_be_neither_written_nor_executed,
    the_symbols_cannot_be_written,
    data_can_be_written_and_not_executed,
    heap_and_stacks_cannot_be_executed,
    other_views_of_the_code_are_no_way_around,
    addresses_that_mean_nothing_fault,
    a_stack_has_an_unmapped_page_below,
];

/// The instruction that returns: harmless wherever it can be executed.
const RETURN: u8 = 0xC3;

static CONSTANT: [u8; 8] = [RETURN; 8];
static DATA: AtomicU8 = AtomicU8::new(RETURN);

fn writable(address: u64) -> bool {
    let Ok(word) = probe::read(address) else { return false };
    // SAFETY: should the write succeed, which fails the test, it has changed nothing.
    unsafe { probe::write(address, word.to_le_bytes()[0]) }.is_ok()
}

fn executable(address: u64) -> bool {
    // SAFETY: every caller passes the address of a `RETURN` octet or of a function that may be called.
    unsafe { probe::call(address) }.is_ok()
}

fn code() -> u64 {
    cpu::enable_protections as *const () as u64
}

pub(crate) fn code_can_be_called_and_not_written() -> Outcome {
    ensure!(executable(code()), "a function cannot be called");
    ensure!(probe::read(code()).is_ok(), "code cannot be read, which backtraces need");
    ensure!(!writable(code()), "code can be written");
    Ok(())
}

fn constants_can_be_neither_written_nor_executed() -> Outcome {
    let address = CONSTANT.as_ptr() as u64;
    ensure!(probe::read(address).is_ok(), "a constant cannot be read");
    ensure!(!writable(address), "a constant can be written");
    ensure!(!executable(address), "a constant can be executed");
    Ok(())
}

fn the_configuration_can_be_neither_written_nor_executed() -> Outcome {
    let Some(record) = boot::record() else { return Err("there is no boot record".into()) };
    let address = record.ramdisk.as_ptr() as u64;
    ensure!(!record.ramdisk.is_empty() && probe::read(address).is_ok(), "the configuration cannot be read");
    ensure!(!writable(address), "the configuration can be written");
    let entry = paging::translate(record.ramdisk.as_ptr());
    ensure!(entry.is_some(), "the configuration is nowhere in memory");
    Ok(())
}

fn the_symbols_cannot_be_written() -> Outcome {
    let Some(record) = boot::record() else { return Err("there is no boot record".into()) };
    ensure!(boot::symbols().is_some(), "there are no symbols");
    // They follow the rest; the first page of theirs may be shared with it.
    let address = record.attached.as_ptr_range().end as u64 + 4096;
    ensure!(probe::read(address).is_ok(), "the symbols cannot be read");
    ensure!(!writable(address), "the symbols can be written");
    Ok(())
}

pub(crate) fn data_can_be_written_and_not_executed() -> Outcome {
    let address = DATA.as_ptr() as u64;
    ensure!(writable(address), "data cannot be written");
    ensure!(DATA.load(Ordering::Relaxed) == RETURN, "writing a value changed it");
    ensure!(!executable(address), "data can be executed");
    Ok(())
}

fn heap_and_stacks_cannot_be_executed() -> Outcome {
    let boxed = Box::new([RETURN; 16]);
    ensure!(!executable(boxed.as_ptr() as u64), "the heap can be executed");
    let local = [RETURN; 16];
    ensure!(!executable(local.as_ptr() as u64), "the boot stack can be executed");
    let stack = KernelStack::allocate(THREAD_STACK_PAGES).map_err(|error| format!("{error:?}"))?;
    ensure!(writable(stack.bottom()), "a thread's stack cannot be written");
    // SAFETY: the stack is ours, mapped and unused.
    let written = unsafe { probe::write(stack.bottom(), RETURN) };
    ensure!(written.is_ok() && !executable(stack.bottom()), "a thread's stack can be executed");
    Ok(())
}

fn other_views_of_the_code_are_no_way_around() -> Outcome {
    for address in [code(), CONSTANT.as_ptr() as u64] {
        let pointer = core::ptr::with_exposed_provenance::<u8>(address as usize);
        let Some(physical) = paging::translate(pointer) else { return Err(format!("{address:#x} is not mapped")) };
        let Some(alias) = paging::phys_to_virt(physical) else { return Err(format!("{physical:?} has no alias")) };
        let alias = alias.as_ptr() as u64;
        ensure!(!writable(alias), "{address:#x} can be written through the physical mapping");
        ensure!(!executable(alias), "{address:#x} can be executed through the physical mapping");
    }
    Ok(())
}

pub(crate) fn addresses_that_mean_nothing_fault() -> Outcome {
    for address in [0, 8, 0x1000, 0x7C00, 0x10_0000, 0x7FFF_FFFF_FFF8, 0x8000_0000_0000_0000, u64::MAX - 7] {
        ensure!(probe::read(address).is_err(), "{address:#x} can be read");
    }
    Ok(())
}

fn a_stack_has_an_unmapped_page_below() -> Outcome {
    let stack = KernelStack::allocate(THREAD_STACK_PAGES).map_err(|error| format!("{error:?}"))?;
    let Some(record) = boot::record() else { return Err("there is no boot record".into()) };
    for bottom in [stack.bottom(), record.stack_bottom] {
        ensure!(probe::read(bottom).is_ok(), "the stack at {bottom:#x} has no lowest word");
        ensure!(probe::read(bottom - 8).is_err(), "below the stack at {bottom:#x} is no guard page");
        ensure!(probe::read(bottom - 4096).is_err(), "the guard page below {bottom:#x} is not a whole page");
    }
    Ok(())
}
