//! Frames, contiguous memory, device registers and the heap.

use alloc::{format, vec, vec::Vec};

use machine::{
    frame::{self, RunRequest},
    heap,
    memory::PhysMemory,
    paging,
};

use crate::harness::{Outcome, Test};

pub(crate) const TESTS: &[Test] = tests![
    contiguous_memory_keeps_every_constraint_and_is_given_back,
    a_run_that_does_not_exist_is_an_error,
    device_registers_are_mapped_uncached_and_memory_is_refused,
    the_heap_grows_and_gives_back,
    heap_exhaustion_is_an_error_and_passes,
    a_freed_stack_is_used_again,
];

fn contiguous_memory_keeps_every_constraint_and_is_given_back() -> Outcome {
    let before = frame::usage();
    {
        let request = RunRequest { alignment: 1 << 16, boundary: 1 << 20, ..RunRequest::octets(200_000) };
        let memory = PhysMemory::allocate(&request).map_err(|error| format!("{error:?}"))?;
        let start = memory.phys().as_u64();
        ensure!(start.is_multiple_of(1 << 16), "{start:#x} is not aligned");
        ensure!(start >> 20 == (start + 199_999) >> 20, "{start:#x} crosses the boundary");
        ensure!(memory.len() >= 200_000, "it is {} octets", memory.len());
        ensure!(paging::translate(memory.as_ptr().as_ptr()) == Some(memory.phys()), "it is mapped elsewhere");
        let low = RunRequest { max_addr: 0xF_FFFF, ..RunRequest::new(1) };
        let low = PhysMemory::allocate(&low).map_err(|error| format!("low: {error:?}"))?;
        ensure!(low.phys().as_u64() < 1 << 20, "{:?} is not low", low.phys());
        ensure!(low.phys().as_u64() != 0, "frame 0 was given out");
        ensure!(frame::usage().free < before.free, "allocation takes no frames");
    }
    let after = frame::usage();
    ensure!(after == before, "{before:?} became {after:?}");
    Ok(())
}

fn a_run_that_does_not_exist_is_an_error() -> Outcome {
    let before = frame::usage();
    for request in [
        RunRequest::new(before.total + 1),
        RunRequest::new(0),
        RunRequest { max_addr: 0xFFFF, ..RunRequest::new(17) },
        RunRequest { boundary: 1 << 12, ..RunRequest::new(2) },
    ] {
        ensure!(PhysMemory::allocate(&request).is_err(), "{request:?} was answered");
    }
    let after = frame::usage();
    ensure!(after == before, "{before:?} became {after:?}");
    Ok(())
}

fn device_registers_are_mapped_uncached_and_memory_is_refused() -> Outcome {
    // The local APIC of a PC; its version register names up to 255 entries and a version of 0x10 or more.
    let Some(window) = machine::device_registers(0xFEE0_0000, 4096) else { return Err("not mapped".into()) };
    let version = window.read32(0x30);
    ensure!((0x10..=0x20).contains(&(version & 0xFF)), "the version register reads {version:#x}");
    let memory = PhysMemory::allocate(&RunRequest::new(1)).map_err(|error| format!("{error:?}"))?;
    let refused = machine::device_registers(memory.phys().as_u64(), 4096).is_none();
    ensure!(refused, "memory was mapped as registers");
    Ok(())
}

fn the_heap_grows_and_gives_back() -> Outcome {
    let before = heap::usage();
    let blocks: Vec<Vec<u8>> = (0..50_u8).map(|value| vec![value; 40_000]).collect();
    ensure!(heap::usage().mapped > before.mapped, "two million octets fit into {}", before.mapped);
    for (value, block) in blocks.iter().enumerate() {
        ensure!(block.iter().all(|octet| usize::from(*octet) == value), "block {value} was overwritten");
    }
    drop(blocks);
    let after = heap::usage();
    ensure!(after.used == before.used, "{} octets in use became {}", before.used, after.used);
    ensure!(after.peak >= before.used + 2_000_000, "the peak of {} was not noticed", after.peak);
    Ok(())
}

fn heap_exhaustion_is_an_error_and_passes() -> Outcome {
    let before = heap::usage();
    ensure!(heap::try_vec::<u8>(1 << 40).is_err(), "a terabyte was found");
    ensure!(heap::try_vec::<u64>(usize::MAX / 4).is_err(), "a size beyond all addresses was found");
    let mut blocks = Vec::with_capacity(100_000);
    while let Ok(block) = heap::try_vec::<u8>(100_000) {
        blocks.push(block);
    }
    ensure!(!blocks.is_empty() && blocks.len() < blocks.capacity(), "{} blocks", blocks.len());
    ensure!(heap::try_vec::<u8>(100_000).is_err(), "a full heap answered");
    // How much is left beside the blocks depends on the machine's memory; with one block given back, a small one must fit.
    drop(blocks.pop());
    ensure!(heap::try_box([0_u8; 200]).is_ok(), "a small allocation fails beside a freed block: {}", heap::usage());
    let full = heap::usage();
    // The terabyte, the block that did not fit and the one after it; what has no size at all is not asked of the heap.
    ensure!(full.failures == before.failures + 3, "failures are not counted: {full}");
    drop(blocks);
    ensure!(heap::try_vec::<u8>(100_000).is_ok(), "the heap is of no use after it was full");
    ensure!(heap::usage().used == before.used, "{before} became {}", heap::usage());
    Ok(())
}

fn a_freed_stack_is_used_again() -> Outcome {
    use machine::stack::{KernelStack, THREAD_STACK_PAGES};
    let allocate = || KernelStack::allocate(THREAD_STACK_PAGES).map_err(|error| format!("{error:?}"));
    let first = allocate()?;
    let (top, second) = (first.top(), allocate()?);
    ensure!(second.top() != top, "one stack was given out twice");
    drop(first);
    let used = frame::usage();
    let third = allocate()?;
    ensure!(third.top() == top && frame::usage() == used, "the freed stack was not used again");
    Ok(())
}
