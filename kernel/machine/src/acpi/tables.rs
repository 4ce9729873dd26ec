//! From the RSDP to checked tables: [`Tables::discover`], then [`Tables::find`] by signature.
//!
//! Nothing is trusted: every length is bounded, every checksum verified, every address handed to [`PhysicalMemory`], which may
//! refuse it. A table that fails is left out and counted; the caller decides whether it can live without. Thread context at
//! boot. Source: ACPI 6.5, 5.2.5 to 5.2.8.

use alloc::vec::Vec;

use super::{
    AcpiError, Signature,
    bytes::{array, byte, long, sums_to_zero, word},
};

/// Firmware memory by physical address.
pub trait PhysicalMemory {
    /// `length` bytes from `address`, or `None` where that is no readable memory.
    fn bytes(&self, address: u64, length: usize) -> Option<&'static [u8]>;
}

/// Length of the header every table starts with.
pub const HEADER: usize = 36;
/// No real table is larger; a length beyond is damage.
const LARGEST_TABLE: usize = 16 << 20;
/// Entries looked at in the root table; real machines have 10 to 60.
const MOST_TABLES: usize = 256;

/// One checked table, header included.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Its four letters.
    pub signature: Signature,
    /// Where it lies.
    pub address: u64,
    /// All its bytes.
    pub bytes: &'static [u8],
}

/// Every table whose checksum held.
#[derive(Debug, Clone)]
pub struct Tables {
    tables: Vec<Table>,
    /// Tables left out because their length or checksum was wrong.
    pub rejected: Vec<(u64, AcpiError)>,
}

/// Reads and checks the table at `address`.
pub fn read_table(memory: &impl PhysicalMemory, address: u64) -> Result<Table, AcpiError> {
    let unreadable = AcpiError::Unreadable { address };
    let header = memory.bytes(address, HEADER).ok_or(unreadable)?;
    let signature = Signature(array(header, 0).ok_or(unreadable)?);
    let length = word(header, 4).ok_or(unreadable)? as usize;
    if !(HEADER..=LARGEST_TABLE).contains(&length) {
        return Err(AcpiError::BadLength { signature });
    }
    let bytes = memory.bytes(address, length).ok_or(unreadable)?;
    if !sums_to_zero(bytes) {
        return Err(AcpiError::BadChecksum { signature });
    }
    Ok(Table { signature, address, bytes })
}

/// The root table's address and the width of its entries.
fn root_of(memory: &impl PhysicalMemory, rsdp: u64) -> Result<(u64, usize), AcpiError> {
    let unreadable = AcpiError::Unreadable { address: rsdp };
    let first = memory.bytes(rsdp, 20).ok_or(unreadable)?;
    if first.get(..8) != Some(b"RSD PTR ".as_slice()) || !sums_to_zero(first) {
        return Err(AcpiError::NoRsdp);
    }
    if byte(first, 15).unwrap_or(0) >= 2 {
        let all = memory.bytes(rsdp, 36).ok_or(unreadable)?;
        let xsdt = long(all, 24).unwrap_or(0);
        if sums_to_zero(all) && xsdt != 0 {
            return Ok((xsdt, 8));
        }
    }
    match word(first, 16) {
        Some(rsdt) if rsdt != 0 => Ok((u64::from(rsdt), 4)),
        _ => Err(AcpiError::NoRsdp),
    }
}

impl Tables {
    /// Follows the RSDP at physical `rsdp` to all tables, the DSDT included.
    pub fn discover(memory: &impl PhysicalMemory, rsdp: u64) -> Result<Self, AcpiError> {
        let (root, width) = root_of(memory, rsdp)?;
        let root = read_table(memory, root)?;
        let expected: &[u8; 4] = if width == 8 { b"XSDT" } else { b"RSDT" };
        if root.signature.0 != *expected {
            return Err(AcpiError::NoRsdp);
        }
        let mut found = Self { tables: Vec::new(), rejected: Vec::new() };
        for entry in root.bytes[HEADER..].chunks_exact(width).take(MOST_TABLES) {
            let address = if width == 8 { long(entry, 0) } else { word(entry, 0).map(u64::from) };
            found.add(memory, address.unwrap_or(0));
        }
        if let Some(dsdt) = found.find(*b"FACP").and_then(|fadt| super::fadt::dsdt_address(fadt.bytes)) {
            found.add(memory, dsdt);
        }
        Ok(found)
    }

    fn add(&mut self, memory: &impl PhysicalMemory, address: u64) {
        if address == 0 {
            return;
        }
        match read_table(memory, address) {
            Ok(table) => self.tables.push(table),
            Err(error) => self.rejected.push((address, error)),
        }
    }

    /// The first table with these four letters.
    #[must_use]
    pub fn find(&self, signature: [u8; 4]) -> Option<Table> {
        self.all(signature).next()
    }

    /// All tables with these four letters, in the firmware's order.
    pub fn all(&self, signature: [u8; 4]) -> impl Iterator<Item = Table> {
        self.tables.iter().copied().filter(move |table| table.signature.0 == signature)
    }

    /// Every signature present, for the boot transcript.
    pub fn signatures(&self) -> impl Iterator<Item = Signature> {
        self.tables.iter().map(|table| table.signature)
    }
}

#[cfg(test)]
pub(crate) mod tests;
