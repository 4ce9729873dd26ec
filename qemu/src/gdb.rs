//! What gdb has to be told about the kernel: where it runs, where it begins, and whom to ask.
//!
//! The kernel is a position-independent program, but the boot loader is told to put it at one place, so gdb can have its symbols
//! and a breakpoint at its entry before it is in memory.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use object::{File, Object};

use crate::{prepare, progress::Progress};

/// What is added to an address in the kernel's file to get the one it runs at: `machine::paging::IMAGE_BASE`.
pub const IMAGE_BASE: u64 = 0xFFFF_FFFF_8000_0000;

/// The debugger.
pub const GDB: &str = "gdb";

/// Makes sure that there is a gdb.
///
/// # Errors
/// When it is missing and cannot be installed.
pub fn prepare(progress: Progress) -> Result<()> {
    prepare::for_real_hosts(&[(GDB, "gdb")], progress)
}

/// Returns gdb's commands that load the symbols of `kernel` where it runs.
///
/// # Errors
/// When the file is no kernel, or gdb could not be given its name.
pub fn symbols(kernel: &Path) -> Result<String> {
    let name = kernel.to_str().filter(|name| !name.contains(['"', '\\', '\n']));
    let name = name.with_context(|| format!("gdb cannot be given the name {}", kernel.display()))?;
    ensure!(kernel.is_file(), "there is no kernel {name}");
    Ok(format!(
        "set architecture i386:x86-64\n\
         set print asm-demangle on\n\
         set print pretty on\n\
         set pagination off\n\
         set confirm off\n\
         symbol-file -o {IMAGE_BASE:#x} \"{name}\"\n"
    ))
}

/// Returns gdb's commands that, after [`symbols()`], take over a machine which waits at the socket `stub` to be started, and run it
/// up to the kernel's first instruction.
///
/// # Errors
/// When the file is no kernel.
pub fn to_the_entry(kernel: &Path, stub: &str) -> Result<String> {
    let bytes = fs::read(kernel).with_context(|| format!("cannot read {}", kernel.display()))?;
    let entry = File::parse(&*bytes).with_context(|| format!("{} is no ELF file", kernel.display()))?.entry();
    // By hardware: there is no kernel yet that a breakpoint could be written into.
    Ok(format!("target remote {stub}\nthbreak *{:#x}\ncontinue\n", IMAGE_BASE + entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_kernel_is_an_error() {
        let folder = crate::workspace::scratch("gdb");
        let file = folder.join("kernel");
        assert!(symbols(&file).is_err());
        fs::write(&file, "text").unwrap();
        assert!(symbols(&file).unwrap().contains("symbol-file -o 0xffffffff80000000 \"/"));
        assert!(to_the_entry(&file, "stub").is_err());
        let odd = folder.join("a\"b");
        fs::write(&odd, "text").unwrap();
        assert!(symbols(&odd).is_err());
        fs::remove_dir_all(folder).unwrap();
    }
}
