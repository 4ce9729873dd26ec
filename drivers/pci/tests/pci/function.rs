//! One function: BARs, command bits, capabilities, power and reset.

use pci::{Bar, CapabilityId, Function, PciAddress, PciError};
use proptest::prelude::*;

use crate::fake::{Fake, Register, Space};

fn at() -> PciAddress {
    PciAddress::new(0, 0, 3, 0)
}

fn space(fake: &Fake) -> Space {
    Space::default().with(0, 3, 0, fake)
}

fn nic() -> Fake {
    Fake::endpoint(0x8086, 0x100e)
}

fn bar(fake: &Fake, slot: u8) -> Result<Option<Bar>, PciError> {
    Function::new(&space(fake), at()).bars()?.get(slot)
}

#[test]
fn the_bars_of_an_82540em_are_decoded_and_left_as_they_were() {
    let mut fake = nic();
    fake.bar(0, 0xfebc_0000, 0xfffe_0000).bar(1, 0xc001, 0xffff_ffc0);
    fake.0[1].value = 0x0010_0007;
    let space = space(&fake);
    let function = Function::new(&space, at());
    let bars = function.bars().unwrap();
    let memory = Bar::Memory { address: 0xfebc_0000, size: 0x2_0000, prefetchable: false, wide: false };
    let ports = Bar::Io { port: 0xc000, size: 64 };
    assert_eq!(
        [0, 1, 2, 3, 4, 5].map(|slot| bars.get(slot)),
        [Some(memory), Some(ports), None, None, None, None].map(Ok)
    );
    assert_eq!(memory.to_string(), "mem 0xfebc0000-0xfebdffff");
    assert_eq!(ports.to_string(), "port 0xc000-0xc03f");
    assert_eq!(bars.memory(0), Ok((0xfebc_0000, 0x2_0000)));
    assert_eq!(bars.memory(1), Err(PciError::NoBar(1)));
    assert_eq!(bars.memory(2), Err(PciError::NoBar(2)));
    assert_eq!(bars.get(6), Err(PciError::NoBar(6)));
    for (offset, value) in [(0x04, 0x0010_0007), (0x10, 0xfebc_0000), (0x14, 0xc001)] {
        assert_eq!(space.register(at(), offset), value);
    }
}

#[test]
fn decoding_is_off_once_while_bars_hold_the_probe_pattern_and_a_bad_one_spoils_no_other() {
    let mut fake = nic();
    fake.bar(0, 0xfebc_0000, 0xfffe_0000).bar(1, 0x0000_0006, 0xffff_f000).bar(3, 0xfebe_0000, 0xffff_c000);
    fake.0[1].value = 0x7;
    let space = space(&fake);
    let bars = Function::new(&space, at()).bars().unwrap();
    assert_eq!((bars.memory(0), bars.memory(3)), (Ok((0xfebc_0000, 0x2_0000)), Ok((0xfebe_0000, 0x4000))));
    assert_eq!((bars.get(1), bars.memory(1)), (Err(PciError::BadBar(1)), Err(PciError::BadBar(1))));
    let writes = space.writes.borrow();
    let switches: Vec<_> = writes.iter().enumerate().filter(|(_, (register, _))| *register == 0x04).collect();
    assert_eq!(switches, [(0, &(0x04, 0x4)), (writes.len() - 1, &(0x04, 0x7))]);
    assert_eq!(writes[1..3], [(0x10, u32::MAX), (0x10, 0xfebc_0000)]);
}

#[test]
fn probing_and_switching_clear_no_error_bits() {
    let mut fake = nic();
    fake.bar(0, 0xfebc_0000, 0xfffe_0000);
    fake.0[1].value = 0xf900_0000;
    let space = space(&fake);
    let function = Function::new(&space, at());
    function.bars().unwrap();
    function.enable_memory().unwrap();
    assert_eq!(space.register(at(), 4), 0xf900_0002);
}

#[test]
fn a_wide_bar_takes_two_slots() {
    let mut fake = nic();
    fake.bar(0, 0x0000_000c, 0).bar(1, 0x12, u32::MAX).bar(2, 0xfe00_0000, 0xffff_f000);
    let bars = Function::new(&space(&fake), at()).bars().unwrap();
    let wide = Bar::Memory { address: 0x12_0000_0000, size: 1 << 32, prefetchable: true, wide: true };
    assert_eq!((bars.get(0), bars.get(1)), (Ok(Some(wide)), Ok(None)));
    assert!(matches!(bars.get(2), Ok(Some(Bar::Memory { size: 4096, .. }))));
    fake.bar(0, 0x4000_0004, 0xc000_0000).bar(1, 0, u32::MAX);
    let bar = bar(&fake, 0).unwrap();
    assert_eq!(bar, Some(Bar::Memory { address: 0x4000_0000, size: 1 << 30, prefetchable: false, wide: true }));
}

#[test]
fn bars_that_cannot_be_are_errors() {
    for (slot, value, mask) in [
        (0, 0x0000_0008, 0),           // memory of no size
        (0, 0x0000_0001, 0),           // ports of no number
        (0, 0x0000_0002, 0xffff_f000), // the old "below 1 MiB"
        (0, 0x0000_0006, 0xffff_f000), // a reserved type
        (0, 0x0000_0000, 0xff0f_f000), // a mask with a hole
        (5, 0x0000_0004, 0xffff_f000), // the second half of a wide one would be beyond the last slot
    ] {
        let mut fake = nic();
        fake.bar(slot, value, mask);
        let slot = u8::try_from(slot).unwrap();
        assert_eq!(bar(&fake, slot), Err(PciError::BadBar(slot)), "{value:#x} {mask:#x}");
    }
    let mut misplaced = nic();
    misplaced.0[4] = Register { value: 0xfebc_1000, writable: 0xfffe_0000, clears: 0 };
    assert_eq!(bar(&misplaced, 0), Err(PciError::BadBar(0)));
}

#[test]
fn a_bar_without_an_address_is_known_as_such() {
    let mut fake = nic();
    fake.bar(0, 0, 0xfffe_0000);
    let space = space(&fake);
    let function = Function::new(&space, at());
    assert_eq!(function.memory_bar(0), Err(PciError::UnassignedBar(0)));
    assert!(!function.bars().unwrap().get(0).unwrap().unwrap().is_assigned());
}

#[test]
fn a_function_that_has_gone_is_an_error_everywhere() {
    let space = Space::default();
    let function = Function::new(&space, at());
    assert!(!function.is_present());
    assert_eq!(function.bars(), Err(PciError::Gone));
    assert_eq!(function.enable_memory(), Err(PciError::Gone));
    assert_eq!(function.set_bus_mastering(false), Err(PciError::Gone));
    assert!(!function.bus_mastering() && !function.intx_pending());
    assert_eq!(function.capability(CapabilityId::MSI), Err(PciError::Gone));
    assert_eq!(function.wake(), Err(PciError::Gone));
    assert_eq!(function.reset(), Err(PciError::Gone));
}

#[test]
fn command_bits_are_switched_one_by_one_and_read_back() {
    let space = space(&nic());
    let function = Function::new(&space, at());
    function.enable_memory().unwrap();
    function.enable_io().unwrap();
    function.set_bus_mastering(true).unwrap();
    function.set_intx_disabled(true).unwrap();
    assert_eq!(space.register(at(), 4), 0x407);
    assert!(function.bus_mastering());
    function.set_bus_mastering(false).unwrap();
    function.set_intx_disabled(false).unwrap();
    assert_eq!(space.register(at(), 4), 0x003);
    assert!(!function.bus_mastering());
}

#[test]
fn a_bit_that_does_not_take_is_reported() {
    let mut old = nic();
    old.0[1].writable = 0x7;
    let space = space(&old);
    let function = Function::new(&space, at());
    assert_eq!(function.set_intx_disabled(true), Err(PciError::NotAccepted));
    assert_eq!(function.set_intx_disabled(false), Ok(()));
}

#[test]
fn a_pending_interrupt_shows_in_the_status() {
    let mut fake = nic();
    assert!(!Function::new(&space(&fake), at()).intx_pending());
    fake.0[1].value = 1 << 19;
    assert!(Function::new(&space(&fake), at()).intx_pending());
}

#[test]
fn capabilities_are_listed_in_order() {
    let mut fake = nic();
    fake.capabilities(&[(0xdc, 0x01, 0xe4), (0xe4, 0x07, 0xf0), (0xf0, 0x05, 0x00)]);
    let space = space(&fake);
    let function = Function::new(&space, at());
    let found: Vec<_> = function.capabilities().map(|c| c.map(|c| (c.id.0, c.offset))).collect();
    assert_eq!(found, [Ok((0x01, 0xdc)), Ok((0x07, 0xe4)), Ok((0x05, 0xf0))]);
    assert_eq!(function.capability(CapabilityId::MSI).unwrap().unwrap().offset, 0xf0);
    assert_eq!(function.capability(CapabilityId::EXPRESS), Ok(None));
}

#[test]
fn without_the_status_bit_there_is_no_list() {
    let mut fake = nic();
    fake.capabilities(&[(0xdc, 0x01, 0)]);
    fake.0[1].value = 0;
    assert_eq!(Function::new(&space(&fake), at()).capabilities().count(), 0);
}

#[test]
fn a_ring_of_capabilities_is_an_error_at_its_seam() {
    let mut fake = nic();
    fake.capabilities(&[(0x40, 0x01, 0x50), (0x50, 0x05, 0x40)]);
    let space = space(&fake);
    let function = Function::new(&space, at());
    let found: Vec<_> = function.capabilities().map(|c| c.map(|c| c.offset)).collect();
    assert_eq!(found, [Ok(0x40), Ok(0x50), Err(PciError::CapabilityLoop)]);
    assert!(function.capability(CapabilityId::MSI).unwrap().is_some());
    assert_eq!(function.capability(CapabilityId::MSI_X), Err(PciError::CapabilityLoop));
}

#[test]
fn a_capability_inside_the_header_or_of_ones_is_an_error() {
    let mut fake = nic();
    fake.capabilities(&[(0x40, 0x01, 0x10)]);
    assert_eq!(Function::new(&space(&fake), at()).capability(CapabilityId::MSI), Err(PciError::BadCapability(0x10)));
    fake.set(0x40, u32::MAX);
    assert_eq!(Function::new(&space(&fake), at()).capability(CapabilityId::MSI), Err(PciError::Gone));
}

#[test]
fn a_sleeping_function_is_woken_and_its_wake_event_kept() {
    let mut fake = nic();
    fake.capabilities(&[(0xc8, 0x01, 0)]);
    fake.0[0xcc / 4] = Register { value: 0x8103, writable: 0x0103, clears: 0x8000 };
    let space = space(&fake);
    let function = Function::new(&space, at());
    assert_eq!(function.wake(), Ok(true));
    assert_eq!(space.register(at(), 0xcc), 0x8100);
    assert_eq!(function.wake(), Ok(false));
    let without = self::space(&nic());
    assert_eq!(Function::new(&without, at()).wake(), Ok(false));
}

#[test]
fn an_express_function_can_be_reset_alone_if_it_says_so() {
    let mut fake = nic();
    fake.capabilities(&[(0xe0, 0x10, 0)]).set(0xe4, 1 << 28);
    fake.0[0xe8 / 4] = Register { value: 0x2810, writable: 0xffff, clears: 0x000f_0000 };
    fake.0[0xf0 / 4] = Register { value: 0x1011_0043, writable: 0xffff, clears: 0xc000_0000 };
    let mut space = space(&fake);
    let function = Function::new(&space, at());
    function.disable_link_power_saving().unwrap();
    assert_eq!(space.register(at(), 0xf0), 0x1011_0040);
    function.reset().unwrap();
    assert_eq!(space.register(at(), 0xe8), 0xa810);
    fake.set(0xe4, 0);
    space = self::space(&fake);
    assert_eq!(Function::new(&space, at()).reset(), Err(PciError::NoCapability));
    assert_eq!(Function::new(&self::space(&nic()), at()).reset(), Err(PciError::NoCapability));
    assert_eq!(Function::new(&self::space(&nic()), at()).disable_link_power_saving(), Ok(()));
}

proptest! {
    #[test]
    fn no_register_contents_make_a_call_panic_or_loop(
        registers in prop::collection::vec(any::<(u32, u32, u32)>(), 64),
        vanish_after in prop::option::of(0_usize..60),
    ) {
        let mut fake = nic();
        for (register, (value, writable, clears)) in fake.0.iter_mut().zip(registers) {
            *register = Register { value, writable, clears };
        }
        fake.0[1].value |= 1 << 20;
        let mut space = space(&fake);
        space.vanish_after = vanish_after;
        let function = Function::new(&space, at());
        if let Ok(bars) = function.bars() {
            for bar in (0..pci::SLOTS).filter_map(|slot| bars.get(slot).ok().flatten()) {
                let (start, size) = match bar {
                    Bar::Memory { address, size, .. } => (address, size),
                    Bar::Io { port, size } => (u64::from(port), u64::from(size)),
                };
                prop_assert!(size.is_power_of_two() && start % size == 0);
            }
        }
        prop_assert!(function.capabilities().count() <= 49);
        let _ = (function.wake(), function.reset(), function.disable_link_power_saving());
        let _ = (function.enable_memory(), function.set_bus_mastering(false), function.set_intx_disabled(true));
    }

    #[test]
    fn every_power_of_two_is_sized(bits in 4_u32..32) {
        let mut fake = nic();
        fake.bar(0, 1 << bits.min(31), !((1_u32 << bits) - 1));
        let bar = bar(&fake, 0).unwrap();
        let expected = Bar::Memory { address: 1 << bits, size: 1 << bits, prefetchable: false, wide: false };
        prop_assert_eq!(bar, Some(expected));
    }
}
