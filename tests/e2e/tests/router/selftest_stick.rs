//! The self-test's result on the stick that the machine was booted from: what is in the file is what the serial line said, and no other
//! disk is touched.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use e2e::{Bench, PATIENCE, Plan, workspace};
use sluice::machine::{Board, Disk, Firmware, Machine};
use stick::{RESULT, Volume};

/// A configuration of one port with the test switched on.
fn config(hostname: &str) -> String {
    format!("hostname = \"{hostname}\"\n{}[sysctl]\n\"kern.selftest\" = 1\n", Bench::of(1).written_config())
}

/// A disk of a test's own, removed with it.
struct Own(PathBuf);

impl Own {
    fn new(name: &str, content: &[u8]) -> Result<Self> {
        let path = workspace().folder("tmp")?.join(format!("{name}-{}.img", std::process::id()));
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(path))
    }

    fn content(&self) -> Result<Vec<u8>> {
        fs::read(&self.0).with_context(|| format!("cannot read {}", self.0.display()))
    }

    /// Returns the file for the result, as a computer shows it.
    fn result(&self) -> Result<String> {
        Ok(String::from_utf8(Volume::open(&mut self.content()?)?.read(RESULT)?)?)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The image of a stick of this configuration.
fn made(firmware: Firmware, config: &str) -> Result<Vec<u8>> {
    let image = e2e::image(firmware, config)?;
    fs::read(&image).with_context(|| format!("cannot read {}", image.display()))
}

/// QEMU's arguments for one more stick.
fn second_stick(path: &Path) -> Vec<String> {
    let drive = format!("if=none,id=second,format=raw,file={}", path.display());
    ["-drive", &drive, "-device", "usb-storage,bus=usb.0,drive=second,removable=on"].map(String::from).to_vec()
}

/// A machine with the stick, which keeps what is written to it, and more.
fn machine(extra: Vec<String>) -> Machine {
    Machine { disk: Disk::UsbStick, keeps_writes: true, extra, ..Machine::default() }
}

/// Boots, waits until the test has said what became of the result, and switches off in order. Returns what it said: the lines up to
/// its end, and the one about the stick.
fn run(machine: Machine, image: &Own, config: &str) -> Result<(Vec<String>, String)> {
    let plan = Plan { machine, image: Some(image.0.clone()), config: Some(config.into()), ..Bench::of(1) };
    let mut bench = plan.boot()?;
    bench.router.guest().wait_for("selftest: result ", PATIENCE)?;
    let shown = bench.router.command("show selftest")?;
    let transcript = bench.router.transcript();
    bench.finish()?;
    let mut said: Vec<String> = transcript
        .lines()
        .filter_map(|line| line.find("selftest: ").map(|at| line[at..].trim_end().to_owned()))
        .collect();
    let of_stick = said.pop().context("nothing was said")?;
    let of_stick = of_stick.strip_prefix("selftest: ").unwrap_or_default().to_owned();
    ensure!(shown.contains(&of_stick), "show selftest does not say {of_stick:?}:\n{shown}");
    ensure!(said.last().is_some_and(|line| line.starts_with("selftest: over: all ")), "{said:#?}");
    Ok((said, of_stick))
}

/// Boots a stick that has an old result, beside one of another router, and compares the file with what was said.
fn is_written(name: &str, machine: Machine) -> Result<()> {
    let config = config("this");
    let mut image = made(machine.firmware, &config)?;
    let old = fat::stick::filled(&"selftest: a line of an old and long result\n".repeat(1000));
    Volume::open(&mut image)?.write(RESULT, &old)?;
    let stick = Own::new(name, &image)?;
    let other = made(machine.firmware, &self::config("other"))?;
    let second = Own::new(&format!("{name}-other"), &other)?;
    let machine = Machine { extra: [machine.extra.clone(), second_stick(&second.0)].concat(), ..machine };
    let (said, of_stick) = run(machine, &stick, &config)?;
    ensure!(of_stick.starts_with("result written to SELFTEST.TXT of the stick (QEMU "), "{of_stick}");
    let result = stick.result()?;
    ensure!(result.starts_with("Sluice self-test: result\r\n"), "{result}");
    let lines: Vec<&str> = result.lines().filter(|line| line.starts_with("selftest: ")).collect();
    ensure!(lines == said, "the file has\n{lines:#?}\nand the serial line had\n{said:#?}");
    ensure!(result.lines().any(|line| line.ends_with("] serial console")), "the log is not there:\n{result}");
    ensure!(!result.contains("old and long"), "the old result is not gone:\n{result}");
    ensure!(second.content()? == other, "the other stick was written to");
    Ok(())
}

#[test]
fn a_stick_booted_by_bios_gets_the_result() -> Result<()> {
    is_written("self-bios", machine(Vec::new()))
}

#[test]
fn a_stick_booted_by_uefi_gets_the_result() -> Result<()> {
    is_written("self-uefi", Machine { firmware: Firmware::Uefi, ..machine(Vec::new()) })
}

#[test]
fn a_stick_at_an_older_board_and_a_port_of_usb_2_gets_the_result() -> Result<()> {
    let usb_controller = "qemu-xhci,p2=4,p3=1".into();
    is_written("self-pc", Machine { board: Board::Pc, usb_controller, ..machine(Vec::new()) })
}

#[test]
fn of_two_sticks_that_are_alike_neither_is_written_to() -> Result<()> {
    let config = config("this");
    let image = made(Firmware::Bios, &config)?;
    let (stick, twin) = (Own::new("self-one", &image)?, Own::new("self-twin", &image)?);
    let (_, of_stick) = run(machine(second_stick(&twin.0)), &stick, &config)?;
    ensure!(of_stick.starts_with("result not written to a stick: ") && of_stick.contains(" are alike"), "{of_stick}");
    ensure!(stick.content()? == image && twin.content()? == image, "a stick was written to");
    Ok(())
}

/// The twin is behind a hub, and found there.
#[test]
fn a_stick_behind_a_hub_is_looked_at_too() -> Result<()> {
    let config = config("this");
    let image = made(Firmware::Bios, &config)?;
    let (stick, twin) = (Own::new("self-near", &image)?, Own::new("self-far", &image)?);
    let hub = ["-device", "usb-hub,bus=usb.0,port=3"].map(String::from);
    let behind = second_stick(&twin.0).into_iter().map(|word| word.replace("usb-storage,", "usb-storage,port=3.2,"));
    let (_, of_stick) = run(machine(hub.into_iter().chain(behind).collect()), &stick, &config)?;
    ensure!(of_stick.contains(".2 are alike, one of them was booted from"), "{of_stick}");
    ensure!(stick.content()? == image && twin.content()? == image, "a stick was written to");
    Ok(())
}

#[test]
fn a_stick_without_the_file_is_left_as_it_is() -> Result<()> {
    let config = config("this");
    let mut image = made(Firmware::Bios, &config)?;
    Volume::open(&mut image)?.remove(RESULT)?;
    let stick = Own::new("self-without", &image)?;
    let (_, of_stick) = run(machine(Vec::new()), &stick, &config)?;
    ensure!(of_stick.ends_with(": it has no SELFTEST.TXT"), "{of_stick}");
    ensure!(stick.content()? == image, "the stick was written to");
    Ok(())
}

#[test]
fn a_machine_booted_from_another_disk_says_so() -> Result<()> {
    let config = config("this");
    let image = made(Firmware::Bios, &config)?;
    let disk = Own::new("self-drive", &image)?;
    let drive = Machine { disk: Disk::Drive, ..machine(Vec::new()) };
    let (_, of_stick) = run(drive.clone(), &disk, &config)?;
    ensure!(of_stick == "result not written to a stick: there is no USB controller", "{of_stick}");
    let other = made(Firmware::Bios, &self::config("other"))?;
    let second = Own::new("self-drive-other", &other)?;
    let controller = ["-device", "qemu-xhci,id=usb"].map(String::from).to_vec();
    let drive = Machine { extra: [controller, second_stick(&second.0)].concat(), ..drive };
    let (_, of_stick) = run(drive, &disk, &config)?;
    ensure!(of_stick.contains("none of 1 USB disks is the one that the machine was booted from"), "{of_stick}");
    ensure!(disk.content()? == image && second.content()? == other, "a disk was written to");
    Ok(())
}

/// A shutdown that begins while controllers and sticks are at work waits for them; whatever became of the result, the file says it.
#[test]
fn a_shutdown_in_the_middle_of_it_is_in_order_and_leaves_the_volume_whole() -> Result<()> {
    let config = config("this");
    let image = made(Firmware::Bios, &config)?;
    let stick = Own::new("self-midway", &image)?;
    let plan = Plan {
        machine: machine(Vec::new()),
        image: Some(stick.0.clone()),
        config: Some(config.clone()),
        ..Bench::of(1)
    };
    let mut bench = plan.boot()?;
    bench.router.guest().wait_for("selftest: over: ", PATIENCE)?;
    bench.router.power_off()?;
    ensure!(stick.result()?.starts_with("Sluice self-test: "), "{}", stick.result()?);
    let mut after = stick.content()?;
    let volume = Volume::open(&mut after)?;
    ensure!(volume.read(stick::CONFIGURATION)? == config.as_bytes(), "the configuration was changed");
    Ok(())
}
