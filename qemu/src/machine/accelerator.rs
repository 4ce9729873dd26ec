//! What executes the guest's instructions, and which of it works here: [`Accelerator`].

use std::fs::{self, File};

use clap::ValueEnum;

/// QEMU's accelerators that can run us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Accelerator {
    /// Translation to the host's instructions; works everywhere.
    Tcg,
    /// The host's own virtualisation.
    Kvm,
}

impl Accelerator {
    /// Returns the fastest one that really works on this host.
    ///
    /// /dev/kvm alone proves nothing: inside a virtual machine without nested virtualisation it opens, and the guest
    /// hangs after the firmware. So the processor must have the feature as well.
    #[must_use]
    pub fn probe() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let device = File::options().read(true).write(true).open("/dev/kvm");
        if virtualises(&cpuinfo) && device.is_ok() { Self::Kvm } else { Self::Tcg }
    }

    /// Returns the value of QEMU's `-accel`.
    #[must_use]
    pub(super) const fn argument(self) -> &'static str {
        match self {
            Self::Tcg => "tcg,thread=multi",
            Self::Kvm => "kvm",
        }
    }

    /// Returns the value of QEMU's `-cpu`. TCG's richest model runs string instructions byte by byte because it claims
    /// to have them fast, so there it is the plain one, with the instruction that the kernel needs beyond it.
    #[must_use]
    pub(super) const fn processor(self) -> &'static str {
        match self {
            Self::Tcg => "qemu64,+popcnt",
            Self::Kvm => "host",
        }
    }
}

/// Returns whether the flags of /proc/cpuinfo have hardware virtualisation (vmx on Intel, svm on AMD).
fn virtualises(cpuinfo: &str) -> bool {
    let mut flags = cpuinfo.lines().filter(|line| line.starts_with("flags"));
    flags.any(|line| line.split_whitespace().any(|flag| flag == "vmx" || flag == "svm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_processors_own_flags_count_as_virtualisation() {
        assert!(virtualises("processor\t: 0\nflags\t\t: fpu svm sse2\n"));
        assert!(virtualises("flags\t\t: fpu vmx\n"));
        assert!(!virtualises("flags\t\t: fpu svm_lock sse2\nbugs\t\t: vmx\n"));
        assert!(!virtualises(""));
    }
}
