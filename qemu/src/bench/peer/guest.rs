//! A Linux guest as a subject that runs: [`LinuxGuest`], and what every one of them is made of, [`Kit`].

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{initramfs::Initramfs, library, module::Modules};
use crate::{
    bench::{Behaviour, Running, Setup},
    guest::{Guest, RunFolder},
    machine::{Firmware, LinuxBoot, Machine, Nic, Wire},
    prepare::{self, PackageSet},
    progress::Progress,
    workspace::Workspace,
};

/// How long a boot may take. It takes ten to twenty seconds of processor time, on a host that may have much else to do.
pub(super) const BOOT_LIMIT: Duration = Duration::from_secs(300);

/// How long the way from the last command to the end of QEMU may take.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(60);

/// The memory in MiB, if the setup does not say.
const MEMORY: u32 = 512;

/// The packages of every guest: kernel, shell, and what configures network devices.
const PACKAGES: &[&str] = &["linux-image-amd64", "busybox-static", "ethtool", "iproute2"];

/// The folder in the guest that the dynamic linker searches.
const LIBRARIES: &str = "lib/x86_64-linux-gnu";

/// What `init` begins with. `must` ends the machine when a step fails, and so the wait for it.
pub(super) const PROLOGUE: &str = "\
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin HOME=/
must() { \"$@\" || { echo \"init: this failed: $*\"; poweroff -f; sleep 60; }; }
must mount -t proc proc /proc
must mount -t sysfs sys /sys
must mount -t devtmpfs dev /dev
stty cols 500
";

/// The parts of a Linux guest: the kernel and the tools' packages.
#[derive(Debug)]
pub(super) struct Kit {
    workspace: Workspace,
    packages: PackageSet,
    kernel: PathBuf,
}

impl Kit {
    /// Gets the packages and QEMU.
    pub(super) fn obtain(progress: Progress) -> Result<Self> {
        let workspace = Workspace::find();
        prepare::for_running(Firmware::Bios, progress)?;
        let packages = prepare::package_set(&workspace, "guest", PACKAGES, progress)?;
        let mut files =
            fs::read_dir(packages.root().join("boot")).context("the kernel's package has no /boot")?.flatten();
        let kernel = files.find(|entry| entry.file_name().to_string_lossy().starts_with("vmlinuz-"));
        let kernel = kernel.context("the kernel's package has no kernel")?.path();
        Ok(Self { workspace, packages, kernel })
    }

    pub(super) fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// Returns the name and version of the kernel's package.
    pub(super) fn kernel_version(&self) -> String {
        self.packages.version("linux-image-").unwrap_or_else(|| "an unknown Linux".to_owned())
    }

    /// Makes an initial file system of `init`, busybox, the network tools, and kernel modules with what they need in
    /// `/lib/modules`.
    pub(super) fn initramfs(&self, init: &str, modules: &[&str]) -> Result<Initramfs> {
        let mut archive = Initramfs::new();
        for folder in ["proc", "sys", "tmp", "run", "var", "mnt", "usr/bin"] {
            archive.folder(folder);
        }
        archive.program("init", init.as_bytes());
        let root = self.packages.root();
        archive.program("bin/busybox", &read_first(root, &["bin/busybox", "usr/bin/busybox"])?);
        let tools =
            [("ip", ["bin/ip", "usr/bin/ip", "sbin/ip"]), ("ethtool", ["sbin/ethtool", "usr/sbin/ethtool", ""])];
        for (name, places) in tools {
            let path = first(root, &places)?;
            add_program(&mut archive, root, name, &path, &[])?;
        }
        for module in Modules::find(root)?.with_dependencies(modules)? {
            archive.file(&format!("lib/modules/{}.ko", module.name), &module.content);
        }
        Ok(archive)
    }

    /// Boots a guest; the ports' cards are those that Sluice has.
    pub(super) fn boot(&self, setup: &Setup, plan: Plan) -> Result<LinuxGuest> {
        let folder = RunFolder::new(&self.workspace)?;
        let initramfs = folder.join("initramfs");
        fs::write(&initramfs, plan.initramfs.finish())
            .with_context(|| format!("cannot write {}", initramfs.display()))?;
        let command_line = format!("console=ttyS0 quiet panic=-1 {}", plan.command_line);
        let mut machine = Machine {
            nics: setup
                .ports
                .iter()
                .map(|port| Nic { model: setup.cards, ..Nic::new(Wire::Stream(port.clone())) })
                .collect(),
            memory: MEMORY.saturating_add(u32::try_from(plan.extra_memory).unwrap_or(u32::MAX)),
            processor_features: plan.processor_features.to_owned(),
            linux: Some(LinuxBoot { initramfs, command_line }),
            // A panic resets the machine, and that is its end.
            restarts: false,
            ..Machine::default()
        };
        setup.apply(&mut machine);
        let mut guest = Guest::start(&machine, &self.kernel, folder)?;
        guest.console().set_hostname(plan.hostname);
        guest.console().wait_prompt(BOOT_LIMIT).context("the guest does not come up")?;
        guest.console().skip();
        let vcpus = guest.monitor().vcpu_threads()?;
        ensure!(vcpus.len() == setup.cpus as usize, "QEMU has {} processors, not {}", vcpus.len(), setup.cpus);
        Ok(LinuxGuest { guest, vcpus, behaviour: plan.behaviour, power_off: plan.power_off })
    }
}

/// What is particular about a guest.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) initramfs: Initramfs,
    /// What the kernel is told beyond what every guest is told.
    pub(super) command_line: String,
    pub(super) processor_features: &'static str,
    /// Memory in MiB beyond the usual, unless the setup says how much there is.
    pub(super) extra_memory: usize,
    /// What the prompt begins with.
    pub(super) hostname: &'static str,
    pub(super) behaviour: Behaviour,
    /// The command that ends the guest.
    pub(super) power_off: &'static str,
}

/// Adds `program` with the libraries that it, and `plugins`, need.
pub(super) fn add_program(
    archive: &mut Initramfs,
    root: &Path,
    name: &str,
    program: &Path,
    plugins: &[(String, PathBuf)],
) -> Result<()> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    archive.program(&format!("usr/bin/{name}"), &read(program)?);
    let open: Vec<PathBuf> = plugins.iter().map(|(_, path)| path.clone()).chain([program.to_path_buf()]).collect();
    let libraries = library::needed(root, &open)?;
    for (library, path) in libraries.iter().chain(plugins.iter().map(|(name, path)| (name, path))) {
        // The linker's place is written in the programs; all else is searched for.
        let folder = if library.starts_with("ld-linux") { "lib64" } else { LIBRARIES };
        archive.program(&format!("{folder}/{library}"), &read(path)?);
    }
    Ok(())
}

/// Returns the first of `places` below `root` that is a file.
pub(super) fn first(root: &Path, places: &[&str]) -> Result<PathBuf> {
    let mut paths = places.iter().map(|place| root.join(place));
    paths.find(|path| path.is_file()).with_context(|| format!("none of {places:?} is in the packages"))
}

fn read_first(root: &Path, places: &[&str]) -> Result<Vec<u8>> {
    let path = first(root, places)?;
    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// A guest that runs.
#[derive(Debug)]
pub(super) struct LinuxGuest {
    guest: Guest,
    vcpus: Vec<u32>,
    behaviour: Behaviour,
    power_off: &'static str,
}

impl Running for LinuxGuest {
    fn process_id(&self) -> u32 {
        self.guest.process_id()
    }

    fn vcpu_threads(&self) -> &[u32] {
        &self.vcpus
    }

    fn behaviour(&self) -> Behaviour {
        self.behaviour
    }

    fn pause(&mut self) -> Result<()> {
        self.guest.monitor().pause()
    }

    fn resume(&mut self) -> Result<()> {
        self.guest.monitor().resume()
    }

    fn command(&mut self, line: &str, limit: Duration) -> Result<String> {
        self.guest.command(line, limit)
    }

    fn harmless_command(&self) -> Option<&str> {
        Some("uname -r")
    }

    fn transcript(&mut self) -> String {
        self.guest.console().transcript()
    }

    fn stop(mut self: Box<Self>) -> Result<()> {
        self.guest.console().send_line(self.power_off)?;
        let status = self.guest.wait_exit(POWER_OFF_LIMIT).context("the guest does not power off")?;
        ensure!(status.success(), "QEMU ended with {status}");
        Ok(())
    }
}
