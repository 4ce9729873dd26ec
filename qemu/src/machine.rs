//! A virtual machine as data: [`Machine`] and its parts.
//!
//! What QEMU is told about it is in [`arguments`](Machine::arguments). Network interfaces take PCI slots in their order,
//! so the first is em0.

mod accelerator;
mod arguments;
mod wire;

use std::path::PathBuf;

pub use accelerator::Accelerator;
use clap::ValueEnum;
pub use wire::{Nic, NicModel, Wire};

/// The board: QEMU's `-machine`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Board {
    /// Intel Q35 with ICH9: PCI Express, ECAM.
    #[default]
    Q35,
    /// Intel i440FX with PIIX3: plain PCI.
    Pc,
}

/// The firmware that starts the disk image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Firmware {
    /// PC BIOS (SeaBIOS in QEMU).
    #[default]
    Bios,
    /// UEFI (OVMF in QEMU).
    Uefi,
}

impl Firmware {
    /// Returns the name as the command line has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bios => "bios",
            Self::Uefi => "uefi",
        }
    }
}

/// How the disk with the image is connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Disk {
    /// As the board's hard disk (IDE, AHCI).
    #[default]
    Drive,
    /// As a USB stick, at an xHCI controller.
    UsbStick,
}

/// Where the first serial port of the machine leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Serial {
    /// QEMU's standard input and output, as bytes (for [`Guest`](crate::guest::Guest)).
    #[default]
    Bytes,
    /// The terminal, together with QEMU's own monitor behind Ctrl-A (for people).
    Terminal,
    /// A socket of this path, and a file of that name with `.log` appended that keeps what is shown.
    Socket(PathBuf),
}

/// Linux, which QEMU loads by itself, without disk and boot loader; the machine's image is then the kernel's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinuxBoot {
    /// The file of the initial file system, a cpio archive.
    pub initramfs: PathBuf,
    /// The kernel's command line.
    pub command_line: String,
}

/// A virtual machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The board.
    pub board: Board,
    /// The firmware.
    pub firmware: Firmware,
    /// How the disk with the image is connected.
    pub disk: Disk,
    /// The controller that a stick is at, as QEMU's `-device` takes it.
    pub usb_controller: String,
    /// Whether what the guest writes is kept in the image. Otherwise it is forgotten, so that one image serves many machines.
    pub keeps_writes: bool,
    /// The number of processors.
    pub smp: u32,
    /// The memory in MiB.
    pub memory: u32,
    /// What executes the guest's instructions; probed when not given.
    pub accelerator: Option<Accelerator>,
    /// What the processors have beyond their model, as QEMU's `-cpu` takes it: `+sse4.1,+popcnt`. Usually nothing.
    pub processor_features: String,
    /// The Linux that is booted in place of a disk image.
    pub linux: Option<LinuxBoot>,
    /// Bridges and the like that network interfaces are put behind, as QEMU's `-device` takes them.
    pub bridges: Vec<String>,
    /// The network interfaces; the first is em0 unless they are behind bridges.
    pub nics: Vec<Nic>,
    /// The first serial port.
    pub serial: Serial,
    /// Where the first serial port is, and its interrupt on the ISA bus, if it is not COM1.
    pub serial_port: Option<(u16, u8)>,
    /// A socket on which the second serial port waits for somebody; without one there is no such port.
    pub second_serial: Option<PathBuf>,
    /// A socket that QEMU connects its machine protocol (QMP) to.
    pub monitor: Option<PathBuf>,
    /// A socket on which QEMU's own stub waits for gdb; the machine does not start before gdb lets it.
    pub debugger: Option<PathBuf>,
    /// Whether the guest can end QEMU through [`ktest::DEBUG_EXIT_PORT`].
    pub debug_exit: bool,
    /// Whether a reset starts the machine again; otherwise it ends QEMU.
    pub restarts: bool,
    /// The network namespace of the host (ip-netns(8)) that QEMU runs in; that of this process when not given.
    pub namespace: Option<String>,
    /// Further arguments for QEMU, as they are.
    pub extra: Vec<String>,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            board: Board::default(),
            firmware: Firmware::default(),
            disk: Disk::default(),
            usb_controller: "qemu-xhci".into(),
            keeps_writes: false,
            smp: 2,
            memory: 256,
            accelerator: None,
            processor_features: String::new(),
            linux: None,
            bridges: Vec::new(),
            nics: Vec::new(),
            serial: Serial::default(),
            serial_port: None,
            second_serial: None,
            monitor: None,
            debugger: None,
            debug_exit: false,
            restarts: true,
            namespace: None,
            extra: Vec::new(),
        }
    }
}
