//! From the reset state of a processor to 64-bit Rust: one page below 1 MiB.
//!
//! A start-up interrupt begins at the page's first byte in real mode. The code loads the parameters the bootstrap processor left
//! at [`PARAMETERS`], enables long mode in one step (PE and PG together, which SDM volume 3, 10.8.5 allows once PAE, CR3 and
//! EFER.LME are set), and calls the entry function on the new stack. The page is mapped one to one, read and execute only, while
//! processors start; its GDT therefore has the accessed bits set already.

use core::ptr::NonNull;

/// Where the parameters lie in the page.
const PARAMETERS: usize = 0xE00;
/// Where the temporary GDT lies in the page.
const GDT: usize = 0xF00;

/// Null, 64-bit code, data; present, ring 0, accessed.
const DESCRIPTORS: [u64; 3] = [0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF];

/// What the code reads; the offsets are written out in the assembly.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct Parameters {
    /// GDT register image: limit and base, padded in front so that the base is aligned. Offset 0 (image at 6).
    pub gdt_pad: [u16; 3],
    pub gdt_limit: u16,
    pub gdt_base: u32,
    /// Far pointer of the jump into 64-bit code. Offset 12.
    pub far_offset: u32,
    pub far_selector: u16,
    pub far_pad: u16,
    /// Physical address of the root table, below 4 GiB. Offset 20.
    pub cr3: u32,
    /// CR0 of the bootstrap processor. Offset 24.
    pub cr0: u32,
    /// EFER of the bootstrap processor without LMA. Offset 28.
    pub efer: u32,
    /// CR4 of the bootstrap processor. Offset 32.
    pub cr4: u64,
    /// Top of the new stack. Offset 40.
    pub stack: u64,
    /// `extern "C" fn(usize) -> !`. Offset 48.
    pub entry: u64,
    /// Its argument. Offset 56.
    pub argument: u64,
}

const _: () = {
    assert!(core::mem::offset_of!(Parameters, gdt_limit) == 6);
    assert!(core::mem::offset_of!(Parameters, far_offset) == 12);
    assert!(core::mem::offset_of!(Parameters, cr3) == 20);
    assert!(core::mem::offset_of!(Parameters, cr4) == 32);
    assert!(core::mem::offset_of!(Parameters, argument) == 56);
};

core::arch::global_asm!(
    ".pushsection .rodata.sluice_trampoline, \"a\", @progbits",
    ".global sluice_trampoline_start",
    ".global sluice_trampoline_long",
    ".global sluice_trampoline_end",
    "sluice_trampoline_start:",
    ".code16",
    "cli",
    "cld",
    "mov ax, cs",
    "mov ds, ax",
    "xor ebx, ebx",
    "mov bx, ax",
    "shl ebx, 4",
    // The assembler drops a written `data32` here: the operand size prefix as a byte makes both operands 32 bits wide.
    ".byte 0x66",
    "lgdt [0xE06]",
    "mov eax, 0x20", // PAE alone; the rest of CR4 follows in long mode.
    "mov cr4, eax",
    "mov eax, dword ptr [0xE14]",
    "mov cr3, eax",
    "mov ecx, 0xC0000080",
    "mov eax, dword ptr [0xE1C]",
    "xor edx, edx",
    "wrmsr",
    "mov eax, dword ptr [0xE18]",
    "mov cr0, eax",
    ".byte 0x66",
    "ljmp [0xE0C]",
    ".code64",
    "sluice_trampoline_long:",
    "mov ebx, ebx",
    "mov eax, 0x10",
    "mov ss, ax",
    "mov ds, ax",
    "mov es, ax",
    "mov rax, [rbx + 0xE20]",
    "mov cr4, rax",
    "mov rsp, [rbx + 0xE28]",
    "mov rdi, [rbx + 0xE38]",
    "mov rax, [rbx + 0xE30]",
    "xor ebp, ebp",
    "call rax",
    "ud2",
    "sluice_trampoline_end:",
    ".popsection",
);

unsafe extern "C" {
    static sluice_trampoline_start: u8;
    static sluice_trampoline_long: u8;
    static sluice_trampoline_end: u8;
}

/// The page, seen through the physical mapping.
#[derive(Debug)]
pub(super) struct Page {
    physical: u32,
    pointer: NonNull<u8>,
}

impl Page {
    /// Copies the code and the descriptors.
    ///
    /// # Safety
    /// `pointer` is 4096 writable bytes at physical address `physical` below 1 MiB that nobody else uses.
    pub(super) unsafe fn prepare(physical: u32, pointer: NonNull<u8>) -> Self {
        let start = &raw const sluice_trampoline_start;
        let length = (&raw const sluice_trampoline_end).addr() - start.addr();
        assert!(length <= PARAMETERS, "the start code runs into its parameters");
        // SAFETY: `length` bytes of our own code into the caller's page; they do not overlap.
        unsafe { core::ptr::copy_nonoverlapping(start, pointer.as_ptr(), length) };
        // SAFETY: 0xF00 lies inside the page.
        let descriptors = unsafe { pointer.add(GDT) }.cast::<[u64; 3]>();
        // SAFETY: 24 bytes there do too, aligned to eight.
        unsafe { descriptors.write(DESCRIPTORS) };
        Self { physical, pointer }
    }

    /// The start-up vector: the page's number.
    pub(super) fn vector(&self) -> u8 {
        (self.physical >> 12) as u8
    }

    /// Physical address.
    pub(super) fn physical(&self) -> u64 {
        u64::from(self.physical)
    }

    /// Writes the parameters of the next processor.
    pub(super) fn set(&self, machine: &Machine, stack: u64, entry: extern "C" fn(usize) -> !, argument: usize) {
        let long = (&raw const sluice_trampoline_long).addr() - (&raw const sluice_trampoline_start).addr();
        let parameters = Parameters {
            gdt_pad: [0; 3],
            gdt_limit: (size_of_val(&DESCRIPTORS) - 1) as u16,
            gdt_base: self.physical + GDT as u32,
            far_offset: self.physical + long as u32,
            far_selector: 0x08,
            far_pad: 0,
            cr3: machine.cr3,
            cr0: machine.cr0,
            efer: machine.efer,
            cr4: machine.cr4,
            stack,
            entry: entry as usize as u64,
            argument: argument as u64,
        };
        // SAFETY: 0xE00 lies inside the page.
        let place = unsafe { self.pointer.add(PARAMETERS) }.cast::<Parameters>();
        // SAFETY: 64 bytes there do too, aligned to eight; the processor that reads them is not running yet.
        unsafe { place.write_volatile(parameters) };
    }
}

/// The control registers every processor shares.
#[derive(Debug, Clone, Copy)]
pub(super) struct Machine {
    pub cr0: u32,
    pub cr3: u32,
    pub cr4: u64,
    pub efer: u32,
}

#[cfg(test)]
mod tests {
    use super::{DESCRIPTORS, Machine, NonNull, PARAMETERS, Page, Parameters};

    extern "C" fn entry(_: usize) -> ! {
        unreachable!("the model processor does not start")
    }

    #[repr(align(4096))]
    struct Memory([u8; 4096]);

    #[test]
    fn the_page_holds_code_parameters_and_descriptors() {
        let mut memory = Memory([0; 4096]);
        // SAFETY: the array is the page and outlives it.
        let page = unsafe { Page::prepare(0x8_F000, NonNull::from(&mut memory).cast()) };
        assert_eq!(page.vector(), 0x8F);
        let machine = Machine { cr0: 0x8001_0011, cr3: 0x1000, cr4: 0x6A0, efer: 0x900 };
        page.set(&machine, 0xFFFF_8000_0000_1000, entry, 7);
        assert_eq!(memory.0[0], 0xFA, "the first instruction disables interrupts");
        // SAFETY: written by `set` just now.
        let read = unsafe { memory.0[PARAMETERS..].as_ptr().cast::<Parameters>().read() };
        assert_eq!((read.gdt_base, read.gdt_limit), (0x8_FF00, 23));
        assert!(read.far_offset > 0x8_F000 && read.far_offset < 0x8_F000 + PARAMETERS as u32);
        assert_eq!((read.stack, read.argument), (0xFFFF_8000_0000_1000, 7));
        assert!(DESCRIPTORS[1..].iter().all(|descriptor| descriptor & (1 << 40) != 0), "accessed bits are set");
    }
}
