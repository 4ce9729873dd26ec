//! A [`Machine`] as the crate `gdbstub` wants a target: [`Stub`].

use core::{
    convert::Infallible,
    fmt::{self, Write},
    num::NonZeroUsize,
};

use gdbstub::{
    common::{Signal, Tid},
    target::{
        Target, TargetError, TargetResult,
        ext::{
            base::{
                BaseOps,
                multithread::{
                    MultiThreadBase, MultiThreadResume, MultiThreadResumeOps, MultiThreadSchedulerLocking,
                    MultiThreadSchedulerLockingOps, MultiThreadSingleStep, MultiThreadSingleStepOps,
                },
            },
            breakpoints::{Breakpoints, BreakpointsOps, SwBreakpoint, SwBreakpointOps},
            thread_extra_info::{ThreadExtraInfo, ThreadExtraInfoOps},
        },
    },
};
use gdbstub_arch::x86::{X86_64_SSE, reg::X86_64CoreRegs};

use crate::{Machine, Registers};

/// A machine for one stop.
pub(crate) struct Stub<'m, M> {
    machine: &'m mut M,
    step: bool,
}

/// Returns the thread that stands for a processor.
pub(crate) fn tid(cpu: u16) -> Tid {
    NonZeroUsize::MIN.saturating_add(usize::from(cpu))
}

/// Returns the processor that a thread stands for.
fn cpu(tid: Tid) -> Option<u16> {
    u16::try_from(tid.get() - 1).ok()
}

impl<'m, M: Machine> Stub<'m, M> {
    pub(crate) fn new(machine: &'m mut M) -> Self {
        Self { machine, step: false }
    }

    /// Returns whether gdb's last word was to step.
    pub(crate) fn wants_step(&self) -> bool {
        self.step
    }

    /// Returns the thread of the processor that asks.
    pub(crate) fn own(&self) -> Tid {
        tid(self.machine.cpu())
    }

    fn registers_of(&self, tid: Tid) -> TargetResult<Registers, Self> {
        cpu(tid).and_then(|cpu| self.machine.registers(cpu)).ok_or(TargetError::NonFatal)
    }
}

impl<M: Machine> Target for Stub<'_, M> {
    type Arch = X86_64_SSE;
    type Error = Infallible;

    fn base_ops(&mut self) -> BaseOps<'_, Self::Arch, Self::Error> {
        BaseOps::MultiThread(self)
    }

    fn support_breakpoints(&mut self) -> Option<BreakpointsOps<'_, Self>> {
        Some(self)
    }

    /// A serial line loses octets: packets are acknowledged, and sent again if they are not.
    fn use_no_ack_mode(&self) -> bool {
        false
    }
}

impl<M: Machine> MultiThreadBase for Stub<'_, M> {
    fn read_registers(&mut self, regs: &mut X86_64CoreRegs, tid: Tid) -> TargetResult<(), Self> {
        let registers = self.registers_of(tid)?;
        regs.regs = registers.general;
        regs.rip = registers.rip;
        // The upper half of rflags is reserved.
        regs.eflags = u32::try_from(registers.rflags & u64::from(u32::MAX)).unwrap_or(0);
        regs.segments.cs = registers.cs.into();
        regs.segments.ss = registers.ss.into();
        Ok(())
    }

    fn write_registers(&mut self, regs: &X86_64CoreRegs, tid: Tid) -> TargetResult<(), Self> {
        let old = self.registers_of(tid)?;
        if tid != self.own() {
            return Err(TargetError::NonFatal);
        }
        let rflags = old.rflags & !u64::from(u32::MAX) | u64::from(regs.eflags);
        self.machine.set_registers(&Registers { general: regs.regs, rip: regs.rip, rflags, ..old });
        Ok(())
    }

    fn read_addrs(&mut self, start: u64, data: &mut [u8], _: Tid) -> TargetResult<usize, Self> {
        match self.machine.read(start, data) {
            0 if !data.is_empty() => Err(TargetError::NonFatal),
            count => Ok(count),
        }
    }

    fn write_addrs(&mut self, start: u64, data: &[u8], _: Tid) -> TargetResult<(), Self> {
        if self.machine.write(start, data) { Ok(()) } else { Err(TargetError::NonFatal) }
    }

    fn list_active_threads(&mut self, active: &mut dyn FnMut(Tid)) -> Result<(), Infallible> {
        // The first is the one that a newly attached gdb looks at.
        let own = self.machine.cpu();
        active(tid(own));
        self.machine.each_cpu(&mut |cpu| {
            if cpu != own {
                active(tid(cpu));
            }
        });
        Ok(())
    }

    fn support_resume(&mut self) -> Option<MultiThreadResumeOps<'_, Self>> {
        Some(self)
    }

    fn support_thread_extra_info(&mut self) -> Option<ThreadExtraInfoOps<'_, Self>> {
        Some(self)
    }
}

impl<M: Machine> MultiThreadResume for Stub<'_, M> {
    fn resume(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn clear_resume_actions(&mut self) -> Result<(), Infallible> {
        self.step = false;
        Ok(())
    }

    fn set_resume_action_continue(&mut self, _: Tid, _: Option<Signal>) -> Result<(), Infallible> {
        Ok(())
    }

    fn support_scheduler_locking(&mut self) -> Option<MultiThreadSchedulerLockingOps<'_, Self>> {
        Some(self)
    }

    fn support_single_step(&mut self) -> Option<MultiThreadSingleStepOps<'_, Self>> {
        Some(self)
    }
}

impl<M: Machine> MultiThreadSchedulerLocking for Stub<'_, M> {
    /// A step is always one processor's alone; when the machine goes on, all of it does.
    fn set_resume_action_scheduler_lock(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

impl<M: Machine> MultiThreadSingleStep for Stub<'_, M> {
    /// Only the asking processor can step. For another the step is this one's, so that the machine at least stops again.
    fn set_resume_action_step(&mut self, _: Tid, _: Option<Signal>) -> Result<(), Infallible> {
        self.step = true;
        Ok(())
    }
}

impl<M: Machine> Breakpoints for Stub<'_, M> {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }
}

impl<M: Machine> SwBreakpoint for Stub<'_, M> {
    fn add_sw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        Ok(self.machine.set_breakpoint(address))
    }

    fn remove_sw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        Ok(self.machine.clear_breakpoint(address))
    }
}

impl<M: Machine> ThreadExtraInfo for Stub<'_, M> {
    fn thread_extra_info(&self, tid: Tid, buf: &mut [u8]) -> Result<usize, Infallible> {
        let mut text = Cut { buf, filled: 0 };
        if let Some(cpu) = cpu(tid) {
            // What does not fit is cut.
            let _ = write!(text, "cpu {cpu}, ").and_then(|()| self.machine.describe(cpu, &mut text));
        }
        Ok(text.filled)
    }
}

/// Text in a buffer, as far as it fits.
struct Cut<'b> {
    buf: &'b mut [u8],
    filled: usize,
}

impl Write for Cut<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for octet in text.bytes() {
            *self.buf.get_mut(self.filled).ok_or(fmt::Error)? = octet;
            self.filled += 1;
        }
        Ok(())
    }
}
