//! The real registers behind [`ApicAccess`], and the bring-up of the two kinds of processor.
//!
//! The mode and the mapped page are machine-wide and set once by [`init_bsp`]; every later access is one relaxed load away
//! from its register. Context: any.

use core::sync::atomic::{AtomicU8, Ordering};

use ksync::Once;

use super::{
    ERROR_VECTOR, SPURIOUS_VECTOR,
    local::{ApicAccess, LocalApic, Mode},
    mode::{self, ApicFeatures, ModeError, Plan},
    regs::{ApicBase, ApicReg, IA32_APIC_BASE, base_address},
};
use crate::{map, mmio::MmioWindow, msr};

/// The registers of the executing processor.
#[derive(Debug, Clone, Copy)]
pub struct Hardware(());

const UNSET: u8 = 0;
const XAPIC: u8 = 1;
const X2APIC: u8 = 2;

static MODE: AtomicU8 = AtomicU8::new(UNSET);
static PAGE: Once<MmioWindow> = Once::new();

/// The executing processor's local APIC.
///
/// # Panics
/// Before [`init_bsp`] any register access panics: there is no mode yet.
#[inline]
#[must_use]
pub const fn local() -> LocalApic<Hardware> {
    LocalApic::new(Hardware(()))
}

/// True once the mode is chosen, so that panic paths know whether they may send.
#[must_use]
pub fn ready() -> bool {
    MODE.load(Ordering::Acquire) != UNSET
}

impl Hardware {
    #[inline]
    fn page(self) -> &'static MmioWindow {
        PAGE.get().expect("the local APIC is used after init_bsp")
    }
}

impl ApicAccess for Hardware {
    #[inline]
    fn mode(&self) -> Mode {
        // ORDERING: relaxed; MODE is set before any other processor runs and before interrupts are on.
        if MODE.load(Ordering::Relaxed) == X2APIC { Mode::X2apic } else { Mode::Xapic }
    }

    #[inline]
    fn read(&self, reg: ApicReg) -> u32 {
        match self.mode() {
            Mode::X2apic => msr::read(reg.msr()) as u32,
            Mode::Xapic => self.page().read32(reg.offset()),
        }
    }

    fn read_in_service(&self, word: u8) -> u32 {
        let word = word & 7;
        match self.mode() {
            Mode::X2apic => msr::read(ApicReg::InService.msr() + u32::from(word)) as u32,
            Mode::Xapic => self.page().read32(ApicReg::InService.offset() + usize::from(word) * 16),
        }
    }

    #[inline]
    fn write(&self, reg: ApicReg, value: u32) {
        match self.mode() {
            // SAFETY: the register exists in x2APIC mode (`LocalApic` keeps the others away), and APIC registers cannot
            // change how memory is seen.
            Mode::X2apic => unsafe { msr::write(reg.msr(), u64::from(value)) },
            Mode::Xapic => self.page().write32(reg.offset(), value),
        }
    }

    fn write_command(&self, value: u64) {
        // x2APIC MSR writes do not serialise: memory written for the target must be visible before it is woken
        // (SDM volume 3, 11.12.3).
        // SAFETY: fences touch nothing.
        unsafe { core::arch::asm!("mfence", "lfence", options(nostack, preserves_flags)) };
        // SAFETY: the command register exists in x2APIC mode; what may be sent is `LocalApic`'s business.
        unsafe { msr::write(ApicReg::CommandLow.msr(), value) };
    }
}

fn features() -> ApicFeatures {
    let leaf = raw_cpuid::cpuid!(1);
    ApicFeatures { apic: leaf.edx & (1 << 9) != 0, x2apic: leaf.ecx & (1 << 21) != 0 }
}

fn apply(plan: Plan) {
    for base in plan.writes.into_iter().flatten() {
        // SAFETY: `mode` plans only legal transitions, and the address bits are those firmware set.
        unsafe { msr::write(IA32_APIC_BASE, base.bits()) };
    }
}

/// Chooses the mode, maps the page if there is one, and enables the bootstrap processor's APIC.
///
/// Thread context at boot, once, interrupts off.
pub fn init_bsp() -> Result<Mode, ModeError> {
    let base = ApicBase::from_bits_retain(msr::read(IA32_APIC_BASE));
    let plan = mode::choose(features(), base)?;
    if plan.mode == Mode::Xapic {
        let page = map::registers(base_address(base), 0x1000).ok_or(ModeError::NoAddress)?;
        PAGE.call_once(|| page);
    }
    apply(plan);
    // ORDERING: release pairs with the acquire in `ready`; other processors start later and see it through their start-up.
    MODE.store(if plan.mode == Mode::X2apic { X2APIC } else { XAPIC }, Ordering::Release);
    local().enable(SPURIOUS_VECTOR, ERROR_VECTOR);
    Ok(plan.mode)
}

/// Enables a started processor's APIC in the mode the bootstrap processor chose. On that processor, interrupts off.
pub fn init_ap() -> Result<(), ModeError> {
    let base = ApicBase::from_bits_retain(msr::read(IA32_APIC_BASE));
    let plan = mode::follow(features(), base, Hardware(()).mode())?;
    apply(plan);
    local().enable(SPURIOUS_VECTOR, ERROR_VECTOR);
    Ok(())
}
