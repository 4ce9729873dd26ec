//! How a guest ends QEMU with a verdict: [`ExitCode`]. Any context.

/// The port of the `isa-debug-exit` device, as our runner configures it.
pub const DEBUG_EXIT_PORT: u16 = 0xf4;

/// The verdict that a guest writes to [`DEBUG_EXIT_PORT`].
///
/// The values start above the small statuses that QEMU itself ends with, so that no failure of QEMU looks like one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ExitCode {
    /// Every test passed.
    Passed = 0x10,
    /// A test failed.
    Failed = 0x11,
    /// The kernel panicked.
    Panicked = 0x12,
    /// The processor took an exception that nobody expected.
    Faulted = 0x13,
}

impl ExitCode {
    const ALL: [Self; 4] = [Self::Passed, Self::Failed, Self::Panicked, Self::Faulted];

    /// Returns the status that QEMU ends with when the guest writes this code.
    #[must_use]
    pub const fn qemu_status(self) -> i32 {
        ((self as i32) << 1) | 1
    }

    /// Returns the code that makes QEMU end with `status`, if one does.
    #[must_use]
    pub fn of_qemu_status(status: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.qemu_status() == status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_leads_back_to_its_code_and_to_no_other() {
        for code in ExitCode::ALL {
            assert_eq!(ExitCode::of_qemu_status(code.qemu_status()), Some(code));
        }
        for own in [0, 1, 2, 127] {
            assert_eq!(ExitCode::of_qemu_status(own), None);
        }
        assert_eq!(ExitCode::Passed.qemu_status(), 33);
    }
}
