//! Messages: where they are found, what is written, and what a function that does not obey is told.

use pci::{Function, MsiX, PciAddress, PciError};

use crate::fake::{Fake, Register, Space};

fn at() -> PciAddress {
    PciAddress::new(0, 0, 3, 0)
}

fn space(fake: &Fake) -> Space {
    Space::default().with(0, 3, 0, fake)
}

/// An 82574L as QEMU has it: MSI with a wide address at 0xd0, five entries of MSI-X at 0xa0 whose table is at the start of BAR 3.
fn nic() -> Fake {
    let mut fake = Fake::endpoint(0x8086, 0x10d3);
    fake.capabilities(&[(0xd0, 0x05, 0xa0), (0xa0, 0x11, 0)]);
    let register = |fake: &mut Fake, offset: usize, control: u32, writable: u32| {
        fake.0[offset / 4] = Register { value: fake.0[offset / 4].value | control, writable, clears: 0 };
    };
    register(&mut fake, 0xd0, 0x0080_0000, 0x0071_0000);
    for offset in [0xd4, 0xd8, 0xdc] {
        register(&mut fake, offset, 0, u32::MAX);
    }
    register(&mut fake, 0xa0, 0x0004_0000, 0xc000_0000);
    fake.set(0xa4, 3);
    fake
}

#[test]
fn the_table_of_an_82574l_is_found_and_switched_on_and_off() {
    let space = space(&nic());
    let function = Function::new(&space, at());
    let table = function.msi_x().unwrap().expect("it has one");
    assert_eq!((table.entries, table.bar, table.table), (5, 3, 0));
    function.enable_msi_x(&table).unwrap();
    assert_eq!(space.register(at(), 0xa0) >> 16, 0x8004);
    function.disable_messages().unwrap();
    assert_eq!(space.register(at(), 0xa0) >> 16, 0x0004);
    assert_eq!((MsiX::ENTRY, MsiX::MASKED), (16, 1));
}

#[test]
fn a_message_is_written_where_the_width_of_its_address_says() {
    let wide = space(&nic());
    let function = Function::new(&wide, at());
    let msi = function.msi().unwrap().expect("it has one");
    function.enable_msi(&msi, 0xfee0_1000, 0x41).unwrap();
    assert_eq!([0xd4, 0xd8, 0xdc].map(|offset| wide.register(at(), offset)), [0xfee0_1000, 0, 0x41]);
    assert_eq!(wide.register(at(), 0xd0) >> 16, 0x0081);
    function.disable_messages().unwrap();
    assert_eq!(wide.register(at(), 0xd0) >> 16, 0x0080);
    let mut fake = nic();
    fake.0[0xd0 / 4].value &= !0x0080_0000;
    let narrow = space(&fake);
    let function = Function::new(&narrow, at());
    let msi = function.msi().unwrap().expect("it has one");
    function.enable_msi(&msi, 0xfee0_1000, 0x41).unwrap();
    assert_eq!([0xd4, 0xd8, 0xdc].map(|offset| narrow.register(at(), offset)), [0xfee0_1000, 0x41, 0]);
    assert_eq!(function.enable_msi(&msi, 0x1_fee0_1000, 0x41), Err(PciError::NotAccepted), "it cannot reach that");
}

#[test]
fn a_function_without_messages_or_with_impossible_ones_says_so() {
    let none = space(&Fake::endpoint(0x8086, 0x100e));
    let function = Function::new(&none, at());
    assert_eq!((function.msi(), function.msi_x(), function.disable_messages()), (Ok(None), Ok(None), Ok(())));
    let mut fake = nic();
    fake.set(0xa4, 6);
    assert_eq!(Function::new(&space(&fake), at()).msi_x(), Err(PciError::NoBar(6)));
    let mut stuck = nic();
    stuck.0[0xa0 / 4].writable = 0;
    let stuck = space(&stuck);
    let function = Function::new(&stuck, at());
    let table = function.msi_x().unwrap().expect("it has one");
    assert_eq!(function.enable_msi_x(&table), Err(PciError::NotAccepted));
}
