//! The choice between xAPIC and x2APIC, from CPUID and the state firmware left. Pure; any context.
//!
//! Firmware with more than 255 processors, and the newest parts always, hand over with x2APIC on and refuse to leave it; older
//! parts know only xAPIC. Where both are free we take x2APIC: one MSR write per command, no shared page, 32-bit ids.
//! Source: SDM volume 3, 11.12.1 and figure 11-27 (the state diagram).

use super::{
    local::Mode,
    regs::{ApicBase, base_address},
};

/// What has to be done to reach the mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The mode afterwards.
    pub mode: Mode,
    /// Values to write to IA32_APIC_BASE, in this order; `None` entries are skipped.
    pub writes: [Option<ApicBase>; 2],
}

/// The processor has no usable local APIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModeError {
    /// CPUID says there is none (or firmware hid it for good).
    NoApic,
    /// The other processors run in a mode this one does not have.
    CannotFollow,
    /// The registers' page lies at address zero.
    NoAddress,
}

/// What CPUID leaf 1 says about the APIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApicFeatures {
    /// EDX bit 9.
    pub apic: bool,
    /// ECX bit 21.
    pub x2apic: bool,
}

/// Plans the bootstrap processor's way into its mode.
pub fn choose(features: ApicFeatures, base: ApicBase) -> Result<Plan, ModeError> {
    if !features.apic {
        return Err(ModeError::NoApic);
    }
    let mode = if features.x2apic || base.contains(ApicBase::X2APIC) { Mode::X2apic } else { Mode::Xapic };
    follow(features, base, mode)
}

/// Plans another processor's way into the mode the bootstrap processor chose.
pub fn follow(features: ApicFeatures, base: ApicBase, mode: Mode) -> Result<Plan, ModeError> {
    let already_x2 = base.contains(ApicBase::ENABLED | ApicBase::X2APIC);
    match mode {
        Mode::X2apic if already_x2 => Ok(Plan { mode, writes: [None, None] }),
        Mode::X2apic if !features.x2apic => Err(ModeError::CannotFollow),
        Mode::X2apic => {
            // Disabled → x2APIC in one write is an illegal transition (#GP): by way of xAPIC.
            let enabled = base | ApicBase::ENABLED;
            let first = (!base.contains(ApicBase::ENABLED)).then_some(enabled);
            Ok(Plan { mode, writes: [first, Some(enabled | ApicBase::X2APIC)] })
        }
        Mode::Xapic if already_x2 => Err(ModeError::CannotFollow),
        Mode::Xapic if base_address(base) == 0 => Err(ModeError::NoAddress),
        Mode::Xapic => {
            let first = (!base.contains(ApicBase::ENABLED)).then_some(base | ApicBase::ENABLED);
            Ok(Plan { mode, writes: [first, None] })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ApicBase, ApicFeatures, Mode, ModeError, choose, follow};

    const OLD: ApicFeatures = ApicFeatures { apic: true, x2apic: false };
    const NEW: ApicFeatures = ApicFeatures { apic: true, x2apic: true };
    const AT: ApicBase = ApicBase::from_bits_retain(0xFEE0_0000);

    #[test]
    fn an_old_processor_stays_in_xapic_without_a_write() {
        let plan = choose(OLD, AT | ApicBase::ENABLED).unwrap();
        assert_eq!((plan.mode, plan.writes), (Mode::Xapic, [None, None]));
    }

    #[test]
    fn x2apic_left_on_by_firmware_is_kept_without_a_write() {
        let plan = choose(NEW, AT | ApicBase::ENABLED | ApicBase::X2APIC).unwrap();
        assert_eq!((plan.mode, plan.writes), (Mode::X2apic, [None, None]));
    }

    #[test]
    fn a_disabled_apic_reaches_x2apic_in_two_legal_steps() {
        let plan = choose(NEW, AT).unwrap();
        let on = AT | ApicBase::ENABLED;
        assert_eq!(plan.writes, [Some(on), Some(on | ApicBase::X2APIC)]);
    }

    #[test]
    fn a_processor_that_cannot_follow_says_so() {
        assert_eq!(follow(OLD, AT | ApicBase::ENABLED, Mode::X2apic), Err(ModeError::CannotFollow));
        let locked = AT | ApicBase::ENABLED | ApicBase::X2APIC;
        assert_eq!(follow(NEW, locked, Mode::Xapic), Err(ModeError::CannotFollow));
    }

    #[test]
    fn no_apic_and_no_address_are_errors() {
        let none = ApicFeatures { apic: false, x2apic: false };
        assert_eq!(choose(none, AT), Err(ModeError::NoApic));
        assert_eq!(choose(OLD, ApicBase::ENABLED), Err(ModeError::NoAddress));
    }
}
