//! Questions to firmware's bytecode: interrupt routing in APIC mode and the sleep type of power-off.
//!
//! [`interrogate`] runs once at boot on a contained stack with a time limit and leaves plain data; the interpreter and all it
//! allocated are gone afterwards. Thread context at boot, interrupts on, time running. Source: ACPI 6.5, 5.8.1 (`_PIC`),
//! 6.2.13 (`_PRT`), 6.2.16 (`_SRS`), 7.4.2 (`_S5`), 6.1.1 (`_ADR`), 6.5.5 (`_BBN`), 6.5.6 (`_SEG`).

use alloc::{rc::Rc, sync::Arc, vec, vec::Vec};
use core::{str::FromStr, time::Duration};

use ::acpi::{
    aml::{
        AmlError, Interpreter,
        namespace::{AmlName, NamespaceLevelKind},
        object::{FieldUnit, FieldUnitKind, Object, WrappedObject},
        op_region::RegionSpace,
    },
    registers::{FixedRegisters, Pm1ControlRegisterBlock, Pm1EventRegisterBlock},
};
use pci_types::{ConfigRegionAccess, PciAddress};

use super::{
    Answers, Platform, Proximity, SleepType,
    contained::{self, Failure},
    interpreter::Host,
    method::{self, Value},
    resource::first_interrupt,
    routing::{BusTable, Entry, Pin, Route},
    tables::HEADER,
};
use crate::{ioapic::Signal, pci_config::PciConfig};

/// All of it takes a few milliseconds; firmware that waits for its hardware may take longer, a loop may not take for ever.
const TIME_LIMIT: Duration = Duration::from_secs(5);

type Vm = Interpreter<Host>;

/// Loads the bytecode tables and asks. An error means that not even loading worked; else what could be answered is.
pub fn interrogate(platform: &Platform) -> Result<Answers, Failure> {
    let streams: Vec<&'static [u8]> = [*b"DSDT", *b"SSDT"]
        .into_iter()
        .flat_map(|signature| platform.tables.all(signature))
        .filter_map(|table| table.bytes.get(HEADER..))
        .collect();
    let revision = platform.tables.find(*b"DSDT").and_then(|dsdt| dsdt.bytes.get(8).copied()).unwrap_or(1);
    let madt = platform.madt.clone();
    // In parts, so that a failure in one does not take the answers of the others with it.
    let vm = contained::run(TIME_LIMIT, move || load(&streams, revision))?.ok_or(Failure::NoStack)?;
    let mut answers = Answers::default();
    let part = Rc::clone(&vm);
    answers.s5 = report("power-off", contained::run(TIME_LIMIT, move || sleep_type(&part))).flatten();
    let part = Rc::clone(&vm);
    report("device initialization", contained::run(TIME_LIMIT, move || part.initialize_namespace()));
    let routing = contained::run(TIME_LIMIT, move || {
        if let Err(error) = tell_apic_mode(&vm) {
            log::warn!("acpi: \\_PIC(1) failed: {error:?}");
        }
        walk_buses(&vm, &|gsi| madt.signal_of(gsi))
    });
    (answers.routing.buses, answers.proximity) = report("interrupt routing", routing).unwrap_or_default();
    Ok(answers)
}

fn report<T>(what: &str, result: Result<T, Failure>) -> Option<T> {
    result.inspect_err(|failure| log::error!("acpi: {what}: {failure:?}")).ok()
}

#[expect(clippy::arc_with_non_send_sync, reason = "the interpreter's constructor asks for an Arc")]
fn load(streams: &[&'static [u8]], revision: u8) -> Option<Rc<Vm>> {
    let vm = Vm::new(Host, revision, Arc::new(unused_registers()?), None);
    for stream in streams {
        if let Err(error) = vm.load_table(stream) {
            log::warn!("acpi: a bytecode table of {} bytes stopped: {error:?}", stream.len());
        }
    }
    rebase_config_fields(&vm);
    Some(Rc::new(vm))
}

/// Moves every field of a PCI configuration region by the region's start. Version 6.1.1 of the interpreter forgets to add it
/// (memory and port regions are right), so that the interrupt links of QEMU's `pc` were read from the vendor id. The version is
/// pinned for this reason.
fn rebase_config_fields(vm: &Vm) {
    let mut moved: Vec<(AmlName, Object)> = Vec::new();
    let mut copy = vm.namespace.lock().clone();
    let walked = copy.traverse(|scope, level| {
        for (name, (_, object)) in &level.values {
            if let Some(field) = rebased(object) {
                moved.push((AmlName::from_name_seg(*name).resolve(scope)?, Object::FieldUnit(field)));
            }
        }
        Ok(true)
    });
    let mut namespace = vm.namespace.lock();
    let inserted = moved.into_iter().try_for_each(|(name, field)| namespace.insert(name, field.wrap()));
    if let Err(error) = walked.and(inserted) {
        log::warn!("acpi: configuration fields: {error:?}");
    }
}

fn rebased(object: &WrappedObject) -> Option<FieldUnit> {
    let Object::FieldUnit(field) = &**object else { return None };
    let FieldUnitKind::Normal { region } = &field.kind else { return None };
    let Object::OpRegion(region) = &**region else { return None };
    let base = usize::try_from(region.base).ok().filter(|&base| base != 0 && base < 0x1000)?;
    let in_config = region.space == RegionSpace::PciConfig;
    in_config.then(|| FieldUnit { bit_index: field.bit_index + 8 * base, ..field.clone() })
}

/// The interpreter demands PM1 registers for the hardware global lock. It gets no FACS, so it never touches them; they name the
/// port that everybody may write (0x80, the POST display).
fn unused_registers() -> Option<FixedRegisters<Host>> {
    use ::acpi::address::{AddressSpace, GenericAddress, MappedGas};
    let gas = GenericAddress {
        address_space: AddressSpace::SystemIo,
        bit_width: 8,
        bit_offset: 0,
        access_size: 1,
        address: 0x80,
    };
    // SAFETY: port 0x80 exists on every PC and has no effect.
    let map = || unsafe { MappedGas::map_gas(gas, &Host) }.ok();
    Some(FixedRegisters {
        pm1_event_registers: Pm1EventRegisterBlock { pm1_event_length: 4, pm1a: map()?, pm1b: None },
        pm1_control_registers: Pm1ControlRegisterBlock { pm1a: map()?, pm1b: None },
    })
}

fn path(text: &str) -> Result<AmlName, AmlError> {
    AmlName::from_str(text)
}

fn child(parent: &AmlName, name: &str) -> Result<AmlName, AmlError> {
    path(name)?.resolve(parent)
}

fn integer(vm: &Vm, parent: &AmlName, name: &str) -> Option<u64> {
    let value = vm.evaluate_if_present(child(parent, name).ok()?, vec![]).ok()??;
    match &*value {
        Object::Integer(number) => Some(*number),
        _ => None,
    }
}

fn tell_apic_mode(vm: &Vm) -> Result<(), AmlError> {
    vm.evaluate_if_present(path("\\_PIC")?, vec![Object::Integer(1).wrap()]).map(|_| ())
}

fn sleep_type(vm: &Vm) -> Option<SleepType> {
    let package = vm.evaluate_if_present(path("\\_S5").ok()?, vec![]).ok()??;
    let Object::Package(ref values) = *package else { return None };
    let value = |index: usize| match values.get(index).map(|object| &**object) {
        // SLP_TYP has three bits.
        Some(Object::Integer(number)) => u8::try_from(*number).ok().filter(|&value| value < 8),
        _ => None,
    };
    let a = value(0)?;
    Some(SleepType { a, b: value(1).unwrap_or(a) })
}

/// All devices of the namespace.
fn devices(vm: &Vm) -> Vec<AmlName> {
    let mut found = Vec::new();
    let mut copy = vm.namespace.lock().clone();
    let walked = copy.traverse(|name, level| {
        if level.kind == NamespaceLevelKind::Device {
            found.push(name.clone());
        }
        Ok(true)
    });
    if let Err(error) = walked {
        log::warn!("acpi: the walk over devices stopped: {error:?}");
    }
    found
}

/// "PNP0A03" and "PNP0A08" as text and in the compressed form of EISA identifiers.
fn is_root_bridge(vm: &Vm, device: &AmlName) -> bool {
    const COMPRESSED: [u64; 2] = [0x030A_D041, 0x080A_D041];
    let names = |value: &Object| match value {
        Object::Integer(id) => COMPRESSED.contains(id),
        Object::String(id) => id == "PNP0A03" || id == "PNP0A08",
        _ => false,
    };
    ["_HID", "_CID"].into_iter().any(|name| {
        let value = child(device, name).and_then(|path| vm.evaluate_if_present(path, vec![]));
        match value.ok().flatten().as_deref() {
            Some(Object::Package(list)) => list.iter().any(|id| names(id)),
            Some(value) => names(value),
            None => false,
        }
    })
}

/// Buses with a table: the root buses, then every bridge below them; and the nodes of root buses that state one.
fn walk_buses(vm: &Vm, stated: &dyn Fn(u32) -> Option<Signal>) -> (Vec<BusTable>, Vec<Proximity>) {
    let all = devices(vm);
    let mut known: Vec<(AmlName, u16, u8)> = Vec::new();
    let mut proximity = Vec::new();
    for device in all.iter().filter(|device| is_root_bridge(vm, device)) {
        let segment = integer(vm, device, "_SEG").and_then(|value| u16::try_from(value).ok()).unwrap_or(0);
        let bus = integer(vm, device, "_BBN").and_then(|value| u8::try_from(value & 0xFF).ok()).unwrap_or(0);
        if let Some(node) = integer(vm, device, "_PXM").and_then(|value| u32::try_from(value).ok()) {
            proximity.push(Proximity { segment, bus, node });
        }
        known.push((device.clone(), segment, bus));
    }
    // Parents come before children in the traversal, so one pass reaches every depth.
    for device in &all {
        if let Some(bridge) = below_known(vm, device, &known) {
            known.push(bridge);
        }
    }
    let table = |(device, segment, bus): &(AmlName, u16, u8)| {
        let entries = routing_table(vm, device, stated)?;
        Some(BusTable { segment: *segment, bus: *bus, entries })
    };
    (known.iter().filter_map(table).collect(), proximity)
}

/// If `device` is a PCI bridge right below a known bus, its secondary bus.
fn below_known(vm: &Vm, device: &AmlName, known: &[(AmlName, u16, u8)]) -> Option<(AmlName, u16, u8)> {
    let parent = device.parent().ok()?;
    let &(_, segment, bus) = known.iter().find(|(path, ..)| *path == parent)?;
    if known.iter().any(|(path, ..)| path == device) {
        return None;
    }
    let address = integer(vm, device, "_ADR")?;
    let number = u8::try_from(address >> 16).ok().filter(|&number| number < 32)?;
    let function = u8::try_from(address & 0xFFFF).ok().filter(|&function| function < 8)?;
    let at = PciAddress::new(segment, bus, number, function);
    // SAFETY: reading configuration space is harmless; absent functions read as ones.
    let header = unsafe { PciConfig.read(at, 0x0C) };
    if header == u32::MAX || (header >> 16) & 0x7F != 1 {
        return None;
    }
    // SAFETY: as above.
    let [_, secondary, ..] = unsafe { PciConfig.read(at, 0x18) }.to_le_bytes();
    (secondary != 0).then(|| (device.clone(), segment, secondary))
}

fn routing_table(vm: &Vm, device: &AmlName, stated: &dyn Fn(u32) -> Option<Signal>) -> Option<Vec<Entry>> {
    let prt = child(device, "_PRT").ok()?;
    let object = vm.namespace.lock().get(prt.clone()).ok()?;
    let Value::Package(lines) = table_of(vm, &prt, &object)? else { return None };
    let mut links: Vec<(AmlName, Option<Route>)> = Vec::new();
    let entries: Vec<Entry> = lines.iter().filter_map(|line| entry(vm, &prt, line, &mut links, stated)).collect();
    if entries.len() != lines.len() {
        log::warn!("acpi: {prt}: {} of {} lines lead nowhere", lines.len() - entries.len(), lines.len());
    }
    Some(entries)
}

/// The table as plain data. A method goes to our own evaluator first, because the interpreter crate panics on methods that fill
/// a package; what ours refuses, the crate is asked.
fn table_of(vm: &Vm, prt: &AmlName, object: &WrappedObject) -> Option<Value> {
    if let Object::Method { code, .. } = &**object {
        let scope = prt.parent().ok()?;
        let computed = method::evaluate(code, &mut |name| {
            let (_, named) = vm.namespace.lock().search(&path(name).ok()?, &scope).ok()?;
            plain(&named, 0)
        });
        match computed {
            Ok(table) => return Some(table),
            Err(error) => log::info!("acpi: {prt} is left to the interpreter: {error:?}"),
        }
    }
    match vm.evaluate(prt.clone(), vec![]) {
        Ok(value) => plain(&value, 0),
        Err(error) => {
            log::warn!("acpi: {prt} failed: {error:?}");
            None
        }
    }
}

/// An object as plain data; `None` for what is neither number, name nor package.
fn plain(object: &WrappedObject, depth: u8) -> Option<Value> {
    match &**object {
        Object::Integer(number) => Some(Value::Integer(*number)),
        Object::String(name) => Some(Value::Name(name.clone())),
        Object::Uninitialized => Some(Value::Nothing),
        Object::Package(elements) if depth < 4 => {
            let element = |element: &WrappedObject| plain(&element.clone().unwrap_reference(), depth + 1);
            elements.iter().map(element).collect::<Option<Vec<Value>>>().map(Value::Package)
        }
        _ => None,
    }
}

fn entry(
    vm: &Vm,
    prt: &AmlName,
    line: &Value,
    links: &mut Vec<(AmlName, Option<Route>)>,
    stated: &dyn Fn(u32) -> Option<Signal>,
) -> Option<Entry> {
    let Value::Package(fields) = line else { return None };
    let number = |index: usize| match fields.get(index) {
        Some(Value::Integer(number)) => Some(*number),
        _ => None,
    };
    let device = u8::try_from(number(0)? >> 16).ok().filter(|&device| device < 32)?;
    let pin = Pin::from_index(number(1)?)?;
    let route = match fields.get(2)? {
        Value::Integer(0) => {
            let gsi = u32::try_from(number(3)?).ok()?;
            Route { gsi, signal: stated(gsi).unwrap_or(Signal::PCI) }
        }
        Value::Name(name) => {
            let link = vm.namespace.lock().search_for_level(&path(name).ok()?, prt).ok()?;
            let link = link.resolve(&prt.parent().ok()?).ok()?;
            link_route(vm, &link, links, stated)?
        }
        _ => return None,
    };
    Some(Entry { device, pin, route })
}

/// A link's interrupt, asked once per link and table.
fn link_route(
    vm: &Vm,
    link: &AmlName,
    links: &mut Vec<(AmlName, Option<Route>)>,
    stated: &dyn Fn(u32) -> Option<Signal>,
) -> Option<Route> {
    if let Some((_, route)) = links.iter().find(|(name, _)| name == link) {
        return *route;
    }
    let route = current(vm, link, stated).or_else(|| assign(vm, link, stated));
    if route.is_none() {
        log::warn!("acpi: link {} has no interrupt", link.as_string());
    }
    links.push((link.clone(), route));
    route
}

fn template(vm: &Vm, link: &AmlName, name: &str) -> Option<Vec<u8>> {
    let value = vm.evaluate_if_present(child(link, name).ok()?, vec![]).ok()??;
    match &*value {
        Object::Buffer(bytes) => Some(bytes.clone()),
        _ => None,
    }
}

/// What the link is set to, if it is enabled and set.
fn current(vm: &Vm, link: &AmlName, stated: &dyn Fn(u32) -> Option<Signal>) -> Option<Route> {
    const ENABLED: u64 = 1 << 1;
    if integer(vm, link, "_STA").is_some_and(|status| status & ENABLED == 0) {
        return None;
    }
    let resource = first_interrupt(&template(vm, link, "_CRS")?)?;
    let gsi = resource.interrupts.first().copied().filter(|&gsi| gsi != 0)?;
    Some(Route { gsi, signal: stated(gsi).unwrap_or(resource.signal) })
}

/// Sets a link that firmware left off to the last of its choices (the first ones tend to be taken), and reads it back.
fn assign(vm: &Vm, link: &AmlName, stated: &dyn Fn(u32) -> Option<Signal>) -> Option<Route> {
    let choices = first_interrupt(&template(vm, link, "_PRS")?)?;
    let wanted = choices.interrupts.last().copied()?;
    let setting = Object::Buffer(choices.assign(wanted)?).wrap();
    if let Err(error) = vm.evaluate(child(link, "_SRS").ok()?, vec![setting]) {
        log::warn!("acpi: {}._SRS failed: {error:?}", link.as_string());
        return None;
    }
    current(vm, link, stated)
}
