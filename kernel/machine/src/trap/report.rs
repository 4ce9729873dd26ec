//! The text of a fatal trap, in the wording FreeBSD's administrators know. Pure, host-tested.
//!
//! Trap numbers are that system's own, not the vector's. Error codes: Intel SDM volume 3, 4.7 and 6.13.

use core::fmt;

use super::{TrapFrame, vector};
use crate::backtrace::Place;

/// Everything the report prints; gathered by the panic path, formatted without locks or allocation.
#[derive(Clone, Copy, Debug)]
pub struct TrapReport<'a> {
    /// The registers at the trap.
    pub frame: &'a TrapFrame,
    /// The kernel's number of the CPU.
    pub cpu: u16,
    /// The processor's own number.
    pub apic_id: u32,
    /// CR2, for page and double faults.
    pub fault_address: u64,
    /// The fault address is a guard page.
    pub stack_overflow: bool,
    /// The running thread.
    pub thread: &'a str,
    /// The descriptor of the code segment.
    pub code_segment: u64,
}

/// Returns (number, description) of an exception vector.
fn describe(vector: u8) -> (u32, &'static str) {
    match vector {
        0 => (18, "integer divide fault"),
        vector::DEBUG => (10, "trace trap"),
        vector::NMI => (19, "non-maskable interrupt trap"),
        vector::BREAKPOINT => (3, "breakpoint instruction fault"),
        4 => (20, "overflow trap"),
        5 => (21, "FPU bounds check fault"),
        6 => (1, "privileged instruction fault"),
        7 => (22, "FPU device not available"),
        vector::DOUBLE_FAULT => (23, "double fault"),
        10 => (25, "invalid TSS fault"),
        11 => (26, "segment not present fault"),
        12 => (27, "stack fault"),
        vector::GENERAL_PROTECTION => (9, "general protection fault"),
        vector::PAGE_FAULT => (12, "page fault"),
        16 => (6, "arithmetic trap"),
        17 => (14, "alignment fault"),
        vector::MACHINE_CHECK => (28, "machine check trap"),
        19 => (29, "SIMD floating-point exception"),
        _ => (30, "unknown/reserved trap"),
    }
}

/// Returns the number by which administrators know an exception; `None` for interrupts.
pub(crate) fn number(vector: u8) -> Option<u32> {
    (vector < vector::FIRST_INTERRUPT).then(|| describe(vector).0)
}

impl TrapReport<'_> {
    fn vector(&self) -> u8 {
        self.frame.vector as u8
    }

    /// Returns the short name, as the panic line prints it.
    #[must_use]
    pub fn description(&self) -> &'static str {
        if self.stack_overflow { "stack overflow" } else { describe(self.vector()).1 }
    }

    fn fault_code(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.frame.error_code;
        let who = if code & 4 != 0 { "user" } else { "supervisor" };
        let what = if code & 2 != 0 { "write" } else { "read" };
        let kind = if code & 16 != 0 { "instruction" } else { "data" };
        let why = match (code & 8 != 0, code & 1 != 0) {
            (true, _) => "reserved bits in PTE",
            (false, true) => "protection violation",
            (false, false) => "page not present",
        };
        writeln!(f, "fault code              = {who} {what} {kind}, {why}")
    }

    fn eflags(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(u64, &str); 4] = [
            (1 << 8, "trace trap, "),
            (1 << 9, "interrupt enabled, "),
            (1 << 14, "nested task, "),
            (1 << 16, "resume, "),
        ];
        f.write_str("processor eflags        = ")?;
        for (_, name) in NAMES.iter().filter(|(bit, _)| self.frame.rflags & bit != 0) {
            f.write_str(name)?;
        }
        writeln!(f, "IOPL = {}", self.frame.rflags >> 12 & 3)
    }

    /// The code segment's descriptor, taken apart (Intel SDM volume 3, 3.4.5).
    fn code_segment(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.code_segment;
        let bit = |number: u32| word >> number & 1;
        let base = word >> 16 & 0xFF_FFFF | word >> 32 & 0xFF00_0000;
        let limit = word & 0xFFFF | word >> 32 & 0xF_0000;
        writeln!(f, "code segment            = base {base:#x}, limit {limit:#x}, type {:#x}", word >> 40 & 0x1F)?;
        let (level, present, long, wide, pages) = (word >> 45 & 3, bit(47), bit(53), bit(54), bit(55));
        writeln!(f, "{:24}= DPL {level}, pres {present}, long {long}, def32 {wide}, gran {pages}", "")
    }

    fn registers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let r = self.frame;
        writeln!(f, "rax: {:016x} rbx: {:016x} rcx: {:016x} rdx: {:016x}", r.rax, r.rbx, r.rcx, r.rdx)?;
        writeln!(f, "rsi: {:016x} rdi: {:016x} r8:  {:016x} r9:  {:016x}", r.rsi, r.rdi, r.r8, r.r9)?;
        writeln!(f, "r10: {:016x} r11: {:016x} r12: {:016x} r13: {:016x}", r.r10, r.r11, r.r12, r.r13)?;
        writeln!(f, "r14: {:016x} r15: {:016x}", r.r14, r.r15)
    }
}

impl fmt::Display for TrapReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, description) = describe(self.vector());
        let frame = self.frame;
        writeln!(f, "\n\nFatal trap {number}: {description} while in kernel mode")?;
        writeln!(f, "cpuid = {}; apic id = {:02x}", self.cpu, self.apic_id)?;
        if self.stack_overflow {
            writeln!(f, "stack overflow in thread {}: it ran into its guard page", self.thread)?;
        }
        let page_fault = self.vector() == vector::PAGE_FAULT;
        if page_fault || self.stack_overflow {
            writeln!(f, "fault virtual address   = {:#x}", self.fault_address)?;
        }
        if page_fault {
            self.fault_code(f)?;
        } else {
            writeln!(f, "error code              = {:#x}", frame.error_code)?;
        }
        write!(f, "instruction pointer     = {:#x}:{:#x} (", frame.cs, frame.rip)?;
        Place::at(frame.rip).write_symbol(f)?;
        writeln!(f, ")")?;
        writeln!(f, "stack pointer           = {:#x}:{:#x}", frame.ss, frame.rsp)?;
        writeln!(f, "frame pointer           = {:#x}:{:#x}", frame.ss, frame.rbp)?;
        self.code_segment(f)?;
        self.eflags(f)?;
        writeln!(f, "current process         = {}", self.thread)?;
        self.registers(f)?;
        writeln!(f, "trap number             = {number}")
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::{TrapFrame, TrapReport};

    fn report(frame: &TrapFrame, stack_overflow: bool) -> std::string::String {
        let report = TrapReport {
            frame,
            cpu: 1,
            apic_id: 2,
            fault_address: 0x18,
            stack_overflow,
            thread: "42 (irq16: em0)",
            code_segment: 0x00AF_9B00_0000_FFFF,
        };
        report.to_string()
    }

    #[test]
    fn a_page_fault_reads_as_administrators_know_it() {
        let frame = TrapFrame { vector: 14, error_code: 2, rip: 0x1234, cs: 8, rflags: 1 << 9, ..TrapFrame::default() };
        let text = report(&frame, false);
        for line in [
            "Fatal trap 12: page fault while in kernel mode",
            "cpuid = 1; apic id = 02",
            "fault virtual address   = 0x18",
            "fault code              = supervisor write data, page not present",
            "instruction pointer     = 0x8:0x1234 (image 0x1234)",
            "processor eflags        = interrupt enabled, IOPL = 0",
            "code segment            = base 0x0, limit 0xfffff, type 0x1b",
            "                        = DPL 0, pres 1, long 1, def32 0, gran 1",
            "current process         = 42 (irq16: em0)",
            "trap number             = 12",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is missing in {text}");
        }
    }

    #[test]
    fn an_instruction_fetch_from_data_is_a_protection_violation() {
        let frame = TrapFrame { vector: 14, error_code: 0x11, ..TrapFrame::default() };
        assert!(report(&frame, false).contains("= supervisor read instruction, protection violation"));
    }

    #[test]
    fn a_guard_page_hit_names_the_thread() {
        let frame = TrapFrame { vector: 8, ..TrapFrame::default() };
        let text = report(&frame, true);
        assert!(text.contains("Fatal trap 23: double fault while in kernel mode"));
        assert!(text.contains("stack overflow in thread 42 (irq16: em0)"));
        assert!(text.contains("fault virtual address   = 0x18"));
    }
}
