//! A [`Machine`] as QEMU's command line.

use std::{ffi::OsString, path::Path};

use anyhow::{Result, ensure};

use super::{Accelerator, Board, Disk, Firmware, LinuxBoot, Machine, Nic, Serial, Wire};
use crate::prepare;

/// The highest PCI slot that is free on both boards; 31 is the south bridge of q35.
const LAST_SLOT: u8 = 30;

/// Collects arguments; QEMU's options separate their parts by commas, so a comma in a value is written twice.
#[derive(Debug, Default)]
struct Line(Vec<OsString>);

impl Line {
    fn add(&mut self, option: &str, value: impl Into<OsString>) {
        self.0.push(option.into());
        self.0.push(value.into());
    }
}

impl Machine {
    /// Returns the arguments that make QEMU this machine, started from `image`.
    ///
    /// # Errors
    /// When the machine makes no sense, or UEFI firmware is wanted and not installed.
    pub fn arguments(&self, image: &Path) -> Result<Vec<OsString>> {
        ensure!((1..=255).contains(&self.smp), "a machine has 1 to 255 processors, not {}", self.smp);
        ensure!(self.memory >= 32, "{} MiB of memory are too few", self.memory);
        let accelerator = self.accelerator.unwrap_or_else(Accelerator::probe);
        let mut line = Line::default();
        line.0.extend(["-nodefaults", "-no-user-config"].map(OsString::from));
        line.add("-machine", self.board.argument());
        line.add("-accel", accelerator.argument());
        line.add("-cpu", self.processor(accelerator));
        line.add("-smp", self.smp.to_string());
        line.add("-m", self.memory.to_string());
        // The boot loader's BIOS stages hang without a VGA; it costs nothing when nobody looks.
        line.add("-vga", if self.linux.is_some() { "none" } else { "std" });
        line.add("-display", "none");
        match &self.linux {
            Some(linux) => linux.add_to(&mut line, image),
            None => self.add_disk(&mut line, image)?,
        }
        self.add_serial(&mut line)?;
        self.bridges.iter().for_each(|bridge| line.add("-device", bridge));
        for (index, nic) in self.nics.iter().enumerate() {
            nic.add_to(&mut line, index)?;
        }
        if self.debug_exit {
            let port = ktest::DEBUG_EXIT_PORT;
            line.add("-device", format!("isa-debug-exit,iobase={port:#x},iosize=0x04"));
        }
        if !self.restarts {
            line.0.push("-no-reboot".into());
        }
        line.0.extend(self.extra.iter().map(OsString::from));
        Ok(line.0)
    }

    /// Returns the value of QEMU's `-cpu`.
    fn processor(&self, accelerator: Accelerator) -> String {
        let parts = [accelerator.processor(), &self.processor_features];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(",")
    }

    /// Adds firmware and disk.
    fn add_disk(&self, line: &mut Line, image: &Path) -> Result<()> {
        if self.firmware == Firmware::Uefi {
            let Some(ovmf) = prepare::ovmf() else {
                anyhow::bail!("no UEFI firmware is installed: {}", prepare::install_command(&["ovmf".into()]));
            };
            line.add("-bios", ovmf);
        }
        let snapshot = if self.keeps_writes { "off" } else { "on" };
        let mut drive = OsString::from(format!("format=raw,snapshot={snapshot},file="));
        drive.push(doubled_commas(image)?);
        if self.disk == Disk::UsbStick {
            drive.push(",if=none,id=stick");
            line.add("-device", format!("{},id=usb", self.usb_controller));
            line.add("-device", "usb-storage,bus=usb.0,drive=stick,removable=on");
        }
        line.add("-drive", drive);
        Ok(())
    }

    fn add_serial(&self, line: &mut Line) -> Result<()> {
        match &self.serial {
            Serial::Bytes => {
                line.add("-chardev", "stdio,id=console,signal=off");
                match self.serial_port {
                    None => line.add("-serial", "chardev:console"),
                    Some((port, irq)) => {
                        line.add("-device", format!("isa-serial,chardev=console,iobase={port:#x},irq={irq}"));
                    }
                }
            }
            Serial::Terminal => line.add("-serial", "mon:stdio"),
            Serial::Socket(path) => {
                let path = doubled_commas(path)?;
                let socket = listening("console", &path);
                line.add("-chardev", format!("{socket},logfile={path}.log"));
                line.add("-serial", "chardev:console");
            }
        }
        if let Some(path) = &self.second_serial {
            line.add("-chardev", listening("second", &doubled_commas(path)?));
            line.add("-serial", "chardev:second");
        }
        if let Some(path) = &self.monitor {
            let mut monitor = OsString::from("unix:");
            monitor.push(path);
            line.add("-qmp", monitor);
        }
        if let Some(path) = &self.debugger {
            line.add("-chardev", listening("debugger", &doubled_commas(path)?));
            line.add("-gdb", "chardev:debugger");
            line.0.push("-S".into());
        }
        Ok(())
    }
}

impl LinuxBoot {
    fn add_to(&self, line: &mut Line, kernel: &Path) {
        // Unlike options with parts, these three take everything as it is.
        line.add("-kernel", kernel);
        line.add("-initrd", &self.initramfs);
        line.add("-append", &self.command_line);
    }
}

/// Returns the character device of a socket that QEMU makes and for which it does not wait.
fn listening(id: &str, path: &str) -> String {
    format!("socket,id={id},path={path},server=on,wait=off")
}

impl Board {
    const fn argument(self) -> &'static str {
        match self {
            Self::Q35 => "q35",
            Self::Pc => "pc",
        }
    }
}

impl Nic {
    fn add_to(&self, line: &mut Line, index: usize) -> Result<()> {
        let slot = self.pci_slot(index);
        ensure!((1..=LAST_SLOT).contains(&slot), "there is no PCI slot {slot} for interface {index}");
        line.add("-netdev", self.wire.netdev(index)?);
        // Without an option ROM the firmware does not try to boot from the network.
        let (device, mac) = (self.model.device(), self.address(index));
        let bus = self.bus.as_ref().map_or_else(String::new, |bus| format!("bus={bus},"));
        line.add(
            "-device",
            format!("{device},id=nic{index},netdev=net{index},mac={mac},{bus}addr={slot:#04x},romfile="),
        );
        if let Some(path) = &self.capture {
            let mut filter = OsString::from(format!("filter-dump,id=dump{index},netdev=net{index},file="));
            filter.push(doubled_commas(path)?);
            line.add("-object", filter);
        }
        Ok(())
    }
}

impl Wire {
    fn netdev(&self, index: usize) -> Result<String> {
        let id = format!("id=net{index}");
        Ok(match self {
            Self::Stream(path) => format!("stream,{id},server=off,addr.type=unix,addr.path={}", doubled_commas(path)?),
            Self::Dgram(own, other) => {
                let (own, other) = (doubled_commas(own)?, doubled_commas(other)?);
                format!("dgram,{id},local.type=unix,local.path={own},remote.type=unix,remote.path={other}")
            }
            Self::Tap(name) => format!("tap,{id},ifname={name},script=no,downscript=no"),
            Self::User => format!("user,{id}"),
            Self::Nothing => format!("hubport,{id},hubid={index}"),
        })
    }
}

/// Returns the path with each comma doubled, which is how QEMU's options quote one.
fn doubled_commas(path: &Path) -> Result<String> {
    let Some(text) = path.to_str() else { anyhow::bail!("QEMU cannot be given the path {}", path.display()) };
    Ok(text.replace(',', ",,"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the command line of `machine` as one text.
    fn line(machine: &Machine) -> String {
        let arguments = machine.arguments(Path::new("/x/a,b.img")).unwrap();
        arguments.iter().map(|argument| argument.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    fn tcg() -> Machine {
        Machine { accelerator: Some(Accelerator::Tcg), ..Machine::default() }
    }

    #[test]
    fn a_machine_is_a_qemu_command_line() {
        let nics = vec![Nic::new(Wire::Stream("a".into())), Nic::new(Wire::Tap("tap1".into()))];
        let machine = Machine { board: Board::Pc, smp: 4, nics, monitor: Some("qmp".into()), ..tcg() };
        assert_eq!(
            line(&machine),
            "-nodefaults -no-user-config -machine pc -accel tcg,thread=multi -cpu qemu64,+popcnt -smp 4 -m 256 -vga std \
             -display none -drive format=raw,snapshot=on,file=/x/a,,b.img -chardev stdio,id=console,signal=off \
             -serial chardev:console -qmp unix:qmp \
             -netdev stream,id=net0,server=off,addr.type=unix,addr.path=a \
             -device e1000,id=nic0,netdev=net0,mac=52:54:00:51:1c:00,addr=0x04,romfile= \
             -netdev tap,id=net1,ifname=tap1,script=no,downscript=no \
             -device e1000,id=nic1,netdev=net1,mac=52:54:00:51:1c:01,addr=0x05,romfile="
        );
    }

    #[test]
    fn a_stick_is_a_removable_disk_at_a_usb_controller() {
        let line = line(&Machine { disk: Disk::UsbStick, ..tcg() });
        assert!(
            line.contains(
                "-device qemu-xhci,id=usb -device usb-storage,bus=usb.0,drive=stick,removable=on \
                 -drive format=raw,snapshot=on,file=/x/a,,b.img,if=none,id=stick "
            ),
            "{line}"
        );
    }

    #[test]
    fn every_wire_has_its_backend() {
        let netdev = |wire: Wire| wire.netdev(0).unwrap();
        assert_eq!(
            netdev(Wire::Dgram("a,1".into(), "b".into())),
            "dgram,id=net0,local.type=unix,local.path=a,,1,remote.type=unix,remote.path=b"
        );
        assert_eq!(netdev(Wire::User), "user,id=net0");
        assert_eq!(netdev(Wire::Nothing), "hubport,id=net0,hubid=0");
    }

    #[test]
    fn linux_is_booted_without_a_disk() {
        let linux = LinuxBoot { initramfs: "/x/a,b.cpio".into(), command_line: "console=ttyS0 a=b,c".into() };
        let machine = Machine { linux: Some(linux), processor_features: "+ssse3".into(), ..tcg() };
        let line = line(&machine);
        assert!(line.contains("-cpu qemu64,+popcnt,+ssse3 "), "{line}");
        assert!(
            line.contains("-vga none -display none -kernel /x/a,b.img -initrd /x/a,b.cpio -append console=ttyS0 a=b,c"),
            "{line}"
        );
        assert!(!line.contains("-drive"), "{line}");
    }

    #[test]
    fn what_a_machine_may_have_beyond_the_default_is_asked_for() {
        let nic = Nic { capture: Some("x.pcap".into()), slot: Some(8), ..Nic::new(Wire::User) };
        let machine = Machine {
            nics: vec![nic],
            debug_exit: true,
            restarts: false,
            serial: Serial::Terminal,
            extra: vec!["-s".into()],
            ..tcg()
        };
        let line = line(&machine);
        assert!(line.contains("addr=0x08,"), "{line}");
        assert!(line.contains("-object filter-dump,id=dump0,netdev=net0,file=x.pcap"), "{line}");
        assert!(line.contains("-serial mon:stdio"), "{line}");
        assert!(line.ends_with("-device isa-debug-exit,iobase=0xf4,iosize=0x04 -no-reboot -s"), "{line}");
    }

    #[test]
    fn bridges_come_before_what_is_behind_them_and_the_serial_port_may_be_elsewhere() {
        let nic = Nic { bus: Some("b".into()), slot: Some(2), ..Nic::new(Wire::User) };
        let machine = Machine {
            bridges: vec!["pci-bridge,id=b,chassis_nr=1".into()],
            nics: vec![nic],
            serial_port: Some((0x2e8, 5)),
            ..tcg()
        };
        let line = line(&machine);
        assert!(line.contains("-device isa-serial,chardev=console,iobase=0x2e8,irq=5"), "{line}");
        assert!(!line.contains(" -serial "), "{line}");
        let (bridge, nic) = (line.find("-device pci-bridge,id=b").unwrap(), line.find(",bus=b,addr=0x02,").unwrap());
        assert!(bridge < nic, "{line}");
    }

    #[test]
    fn a_machine_for_a_debugger_waits_for_it() {
        let machine = Machine {
            serial: Serial::Socket("c,1".into()),
            second_serial: Some("s".into()),
            debugger: Some("d".into()),
            ..tcg()
        };
        let line = line(&machine);
        assert!(
            line.ends_with(
                "-chardev socket,id=console,path=c,,1,server=on,wait=off,logfile=c,,1.log -serial chardev:console \
             -chardev socket,id=second,path=s,server=on,wait=off -serial chardev:second \
             -chardev socket,id=debugger,path=d,server=on,wait=off -gdb chardev:debugger -S"
            ),
            "{line}"
        );
    }

    #[test]
    fn a_machine_that_makes_no_sense_is_refused() {
        let image = Path::new("a.img");
        assert!(Machine { smp: 0, ..tcg() }.arguments(image).is_err());
        assert!(Machine { memory: 16, ..tcg() }.arguments(image).is_err());
        let nics = (0..28).map(|_| Nic::new(Wire::User)).collect();
        assert!(Machine { nics, ..tcg() }.arguments(image).is_err());
        let taken = Nic { slot: Some(31), ..Nic::new(Wire::User) };
        assert!(Machine { nics: vec![taken], ..tcg() }.arguments(image).is_err());
    }
}
