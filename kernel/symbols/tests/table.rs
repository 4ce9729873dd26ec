//! What was written is read, and whatever else is read does no harm.

use proptest::prelude::*;
use symbols::{Table, TableError, build_id::BuildId, write::Builder};

fn id() -> BuildId {
    BuildId::new(&[0xAB; 20]).unwrap()
}

fn sample() -> Vec<u8> {
    let mut builder = Builder::default();
    builder.symbol(0x1000, 0x80, "e1000::tx::encap");
    builder.symbol(0x1080, 0x20, "e1000::rx::service");
    builder.symbol(0x2000, 0, "sluice_trap_common");
    builder.symbol(0x3000, 0x10, "<e1000::tx::Ring as core::fmt::Debug>::fmt");
    builder.symbol(0x3010, 0x10, "<e1000::rx::Ring as core::fmt::Debug>::fmt");
    builder.line(0x1000, "drivers/e1000/src/tx.rs", 100);
    builder.line(0x1010, "drivers/e1000/src/tx.rs", 120);
    builder.line(0x1020, "core/src/slice/mod.rs", 7);
    builder.no_line(0x10A0);
    builder.finish(id()).unwrap()
}

fn shown(table: &Table<'_>, address: u64) -> Option<String> {
    table.lookup(address).map(|symbol| format!("{}+{:#x}", symbol.name, symbol.offset))
}

#[test]
fn an_address_belongs_to_the_symbol_that_spans_it() {
    let bytes = sample();
    let table = Table::parse(&bytes).unwrap();
    assert_eq!(shown(&table, 0xFFF), None);
    assert_eq!(shown(&table, 0x1000).as_deref(), Some("e1000::tx::encap+0x0"));
    assert_eq!(shown(&table, 0x107F).as_deref(), Some("e1000::tx::encap+0x7f"));
    assert_eq!(shown(&table, 0x1080).as_deref(), Some("e1000::rx::service+0x0"));
    assert_eq!(shown(&table, 0x10A0), None, "behind the end of the last function there");
    assert_eq!(shown(&table, 0x2FFF).as_deref(), Some("sluice_trap_common+0xfff"), "a label has no end");
    assert_eq!(shown(&table, 0x3020), None);
    assert_eq!(shown(&table, u64::MAX), None);
    assert_eq!(table.build_id(), id());
    assert_eq!(table.len(), 5);
}

#[test]
fn a_symbol_is_found_by_its_name_or_the_end_of_its_path() {
    let bytes = sample();
    let table = Table::parse(&bytes).unwrap();
    assert_eq!(table.find("e1000::tx::encap"), Some(0x1000));
    assert_eq!(table.find("tx::encap"), Some(0x1000));
    assert_eq!(table.find("encap"), Some(0x1000));
    assert_eq!(table.find("cap"), None, "not a whole part of the path");
    assert_eq!(table.find("1000::tx::encap"), None);
    assert_eq!(table.find("x::e1000::tx::encap"), None);
    assert_eq!(table.find("fmt"), None, "two end so");
    assert_eq!(table.find("<e1000::rx::Ring as core::fmt::Debug>::fmt"), Some(0x3010));
    assert_eq!(table.find(""), None);
}

#[test]
fn an_address_has_the_line_of_the_row_before_it() {
    let bytes = sample();
    let table = Table::parse(&bytes).unwrap();
    let line = |address| table.line(address).map(|location| location.to_string());
    assert_eq!(line(0xFFF), None);
    assert_eq!(line(0x100F).as_deref(), Some("drivers/e1000/src/tx.rs:100"));
    assert_eq!(line(0x1010).as_deref(), Some("drivers/e1000/src/tx.rs:120"));
    assert_eq!(line(0x109F).as_deref(), Some("core/src/slice/mod.rs:7"));
    assert_eq!(line(0x10A0), None);
    assert_eq!(line(u64::MAX), None);
}

#[test]
fn of_two_symbols_at_one_address_the_more_telling_stays() {
    let mut builder = Builder::default();
    builder.symbol(0x10, 0, "label");
    builder.symbol(0x10, 8, "a::function");
    builder.symbol(0x10, 8, "a::much_longer_function");
    builder.symbol(0x10, 0, "l");
    let bytes = builder.finish(id()).unwrap();
    assert_eq!(shown(&Table::parse(&bytes).unwrap(), 0x10).as_deref(), Some("a::function+0x0"));
}

#[test]
fn what_is_no_table_is_refused() {
    let bytes = sample();
    assert_eq!(Table::parse(b"").unwrap_err(), TableError::NoTable);
    assert_eq!(Table::parse(&[0; 200]).unwrap_err(), TableError::NoTable);
    assert_eq!(Table::parse(&bytes[..bytes.len() - 1]).unwrap_err(), TableError::CutOff);
    let mut bad = bytes.clone();
    bad[8] = 21;
    assert_eq!(Table::parse(&bad).unwrap_err(), TableError::BadBuildId);
    bad[8] = 0;
    assert_eq!(Table::parse(&bad).unwrap_err(), TableError::BadBuildId);
}

#[test]
fn an_empty_table_knows_nothing() {
    let bytes = Builder::default().finish(id()).unwrap();
    let table = Table::parse(&bytes).unwrap();
    assert!(table.is_empty() && table.lookup(0).is_none() && table.line(0).is_none() && table.find("x").is_none());
}

/// Uses everything a table offers.
fn use_all(bytes: &[u8], addresses: &[u64]) {
    let Ok(table) = Table::parse(bytes) else { return };
    for address in addresses {
        let _ = shown(&table, *address);
        let _ = table.line(*address).map(|location| location.to_string());
    }
    let _ = table.find("encap");
    assert!(table.symbols().take(1 << 20).all(|entry| !format!("{entry:?}").is_empty()));
}

proptest! {
    #[test]
    fn every_symbol_and_line_is_found_again(
        symbols in prop::collection::btree_map(0_u32..1 << 24, ("[a-z]{1,3}(::[a-z<> ]{1,4}){0,3}", 1_u32..64), 1..30),
        lines in prop::collection::btree_map(0_u32..1 << 24, prop::option::of(("[a-z/]{1,8}", 1_u32..1 << 20)), 1..150),
    ) {
        let mut builder = Builder::default();
        for (address, (name, size)) in &symbols {
            builder.symbol(*address, *size, name);
        }
        for (address, known) in &lines {
            match known {
                Some((file, line)) => builder.line(*address, file, *line),
                None => builder.no_line(*address),
            }
        }
        let bytes = builder.finish(id()).unwrap();
        let table = Table::parse(&bytes).unwrap();
        for (address, (name, _)) in &symbols {
            let found = table.lookup(u64::from(*address)).unwrap();
            prop_assert!(found.name == **name && found.offset == 0);
            prop_assert!(table.find(name).is_some());
        }
        for (address, known) in &lines {
            let found = table.line(u64::from(*address)).map(|found| (found.file.to_owned(), found.line));
            prop_assert_eq!(&found, known);
        }
    }

    #[test]
    fn a_damaged_table_gives_wrong_answers_but_no_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        addresses in prop::collection::vec(0_u64..0x4000, 20),
    ) {
        let mut bytes = sample();
        for (index, octet) in damage {
            let index = index.index(bytes.len());
            bytes[index] = octet;
        }
        use_all(&bytes, &addresses);
    }

    #[test]
    fn any_octets_behind_a_header_are_survived(
        rest in prop::collection::vec(any::<u8>(), 0..400),
        addresses in prop::collection::vec(any::<u64>(), 8),
    ) {
        let bytes = [&sample()[..8 + 4 + 20], &rest].concat();
        use_all(&bytes, &addresses);
        let parts = symbols::attached::split(&bytes);
        prop_assert!(bytes.starts_with(parts.front));
    }
}
