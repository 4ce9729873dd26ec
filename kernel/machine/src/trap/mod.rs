//! Exceptions and interrupts: from the vector to Rust and back.
//!
//! 256 assembly stubs save every general register as a [`TrapFrame`] and call `dispatch`. Exceptions (vectors 0 to 31) end in a
//! report, apart from a guarded [`probe`], an expected NMI, and what the debugger wants ([`crate::kdb`]). Vectors 32 to 255 go to the hook installed
//! with [`crate::hooks::set_interrupt`]; after it, if the interrupted code had interrupts enabled, the exit hook may preempt.
//!
//! Source: Intel SDM volume 3, chapter 6.

pub mod probe;
mod report;
mod stubs;

use x86_64::registers::control::Cr2;

pub use self::report::TrapReport;
pub(crate) use self::{
    report::number,
    stubs::{capture, is_entering_exception, is_stub, resume, stub_address},
};
use crate::{hooks, kdb, panic};

/// The vectors this kernel treats by name.
pub mod vector {
    /// Debug exception.
    pub const DEBUG: u8 = 1;
    /// Non-maskable interrupt.
    pub const NMI: u8 = 2;
    /// Breakpoint (`int3`).
    pub const BREAKPOINT: u8 = 3;
    /// Double fault.
    pub const DOUBLE_FAULT: u8 = 8;
    /// General protection.
    pub const GENERAL_PROTECTION: u8 = 13;
    /// Page fault.
    pub const PAGE_FAULT: u8 = 14;
    /// Machine check.
    pub const MACHINE_CHECK: u8 = 18;
    /// The first vector that is not an exception.
    pub const FIRST_INTERRUPT: u8 = 32;
}

/// Everything the stubs saved: the general registers in push order, then what the processor pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[expect(missing_docs, reason = "registers are named as in the manual")]
pub struct TrapFrame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rbp: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rbx: u64,
    pub rax: u64,
    pub vector: u64,
    /// The processor's error code, or 0 for vectors without one.
    pub error_code: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

// The stubs push 15 registers and two words; the processor five words.
const _: () = assert!(size_of::<TrapFrame>() == 22 * 8);

/// RFLAGS.IF.
const INTERRUPT_FLAG: u64 = 1 << 9;

impl TrapFrame {
    /// Returns a frame of zeros.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            r15: 0,
            r14: 0,
            r13: 0,
            r12: 0,
            r11: 0,
            r10: 0,
            r9: 0,
            r8: 0,
            rbp: 0,
            rdi: 0,
            rsi: 0,
            rdx: 0,
            rcx: 0,
            rbx: 0,
            rax: 0,
            vector: 0,
            error_code: 0,
            rip: 0,
            cs: 0,
            rflags: 0,
            rsp: 0,
            ss: 0,
        }
    }

    /// Returns whether the interrupted code had interrupts enabled.
    #[inline]
    #[must_use]
    pub fn interrupts_enabled(&self) -> bool {
        self.rflags & INTERRUPT_FLAG != 0
    }
}

/// Called by the stubs of vectors 32 to 255 with the saved registers; changes to the frame are loaded on return.
///
/// # Safety
/// Only the stubs call this, with the frame they have just pushed.
unsafe extern "C" fn trap_from_stub(frame: *mut TrapFrame) {
    // SAFETY: the stub passes the address of the complete frame it pushed, on a stack nobody else uses.
    let frame = unsafe { &mut *frame };
    hooks::interrupt(frame.vector as u8, frame);
    if frame.interrupts_enabled() {
        hooks::interrupt_exit();
    }
}

/// As [`trap_from_stub`], for exceptions.
///
/// # Safety
/// As there.
unsafe extern "C" fn exception_from_stub(frame: *mut TrapFrame) {
    // SAFETY: as above.
    let frame = unsafe { &mut *frame };
    exception(frame);
    // While we were counted as in an exception, an NMI that asked this CPU to stop has left it to us.
    if crate::percpu::this_block().exceptions() == 1 {
        kdb::nmi::hold(frame);
    }
}

#[cold]
fn exception(frame: &mut TrapFrame) {
    let vector = frame.vector as u8;
    let handled = match vector {
        vector::PAGE_FAULT | vector::GENERAL_PROTECTION if probe::recover(frame) => true,
        vector::NMI => hooks::nmi(frame),
        vector::MACHINE_CHECK => false,
        _ => {
            let address = if vector == vector::PAGE_FAULT { Cr2::read_raw() } else { 0 };
            // A step under way stops at an exception of its own; a guarded view is left here.
            if vector != vector::DEBUG {
                kdb::guard::on_fault(vector, address, frame.rip);
                kdb::session::abandon_step(frame);
            }
            match vector {
                vector::DEBUG => kdb::session::on_debug(frame),
                vector::BREAKPOINT => kdb::session::on_breakpoint(frame) || pass_breakpoint(frame),
                _ => false,
            }
        }
    };
    if !handled {
        panic::trapped(frame);
    }
}

/// A breakpoint nobody waits for is not worth a panic.
fn pass_breakpoint(frame: &TrapFrame) -> bool {
    log::warn!("breakpoint at {:#x}", frame.rip);
    true
}
