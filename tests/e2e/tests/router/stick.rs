//! The one image on a USB stick, under either firmware: it boots, it forwards, and an edited configuration counts.

use std::fs;

use anyhow::{Context, Result, ensure};
use config::{RouteTarget, routes};
use e2e::{Bench, PATIENCE, Plan, workspace};
use sluice::{
    host::FlowSpec,
    machine::{Board, Disk, Firmware, Machine},
};
use stick::{CONFIGURATION, Volume};

/// Plans a bench of two ports whose router starts from a stick.
fn plan(board: Board, firmware: Firmware) -> Plan {
    let plan = Bench::of(2);
    Plan { machine: Machine { board, firmware, disk: Disk::UsbStick, ..plan.machine.clone() }, ..plan }
}

/// Boots, lets a thousand packets through each way, and switches off.
fn boots_and_forwards(plan: Plan) -> Result<()> {
    let mut bench = plan.boot_warm()?;
    let flow =
        |from: usize, to: usize| FlowSpec { packets: Some(1000), ..FlowSpec::new(bench.host(from), bench.host(to)) };
    let flows = [flow(0, 1), flow(1, 0)];
    assert_eq!(bench.run_perfectly(flows, PATIENCE)?, 2000);
    bench.finish()
}

#[test]
fn a_stick_boots_by_bios_and_forwards() -> Result<()> {
    boots_and_forwards(plan(Board::Q35, Firmware::Bios))
}

#[test]
fn a_stick_boots_by_uefi_and_forwards() -> Result<()> {
    boots_and_forwards(plan(Board::Q35, Firmware::Uefi))
}

#[test]
fn a_stick_boots_an_older_board_and_forwards() -> Result<()> {
    boots_and_forwards(plan(Board::Pc, Firmware::Bios))
}

/// Makes an image for a router that forwards nothing, and edits its configuration as somebody does who has nothing but an editor.
/// The new text is longer than a cluster and has Windows' ends of lines.
fn edited(firmware: Firmware) -> Result<()> {
    let plan = plan(Board::Q35, firmware);
    let made = e2e::image(firmware, "hostname = \"as-made\"\n")?;
    let mut image = fs::read(&made).with_context(|| format!("cannot read {}", made.display()))?;
    let config = format!("{}{}", plan.written_config(), "# a remark\n".repeat(2000)).replace('\n', "\r\n");
    let volume = Volume::open(&mut image)?;
    ensure!(volume.read(CONFIGURATION)? == b"hostname = \"as-made\"\n", "the file is not what the image was made with");
    volume.write(CONFIGURATION, config.as_bytes())?;
    drop(volume);
    let edited = workspace().folder("tmp")?.join(format!("edited-{}-{}.img", firmware.name(), std::process::id()));
    fs::write(&edited, image).with_context(|| format!("cannot write {}", edited.display()))?;
    let outcome = boots_and_forwards(Plan { image: Some(edited.clone()), config: Some(config), ..plan });
    fs::remove_file(edited)?;
    outcome
}

#[test]
fn an_edited_configuration_takes_effect_by_bios() -> Result<()> {
    edited(Firmware::Bios)
}

#[test]
fn an_edited_configuration_takes_effect_by_uefi() -> Result<()> {
    edited(Firmware::Uefi)
}

/// A file of routes is packed and goes with the kernel; the user's file stays a text.
#[test]
fn routes_given_apart_are_there_and_the_configuration_stays_a_text() -> Result<()> {
    let config = plan(Board::Q35, Firmware::Bios).written_config();
    let far = ("192.168.7.0/24".parse()?, RouteTarget::Via(Bench::host_address(1)));
    let packed = routes::attach(config.as_bytes(), &[far]);
    let made = e2e::image_of(Firmware::Bios, &packed)?;
    let mut image = fs::read(&made)?;
    ensure!(Volume::open(&mut image)?.read(CONFIGURATION)? == config.as_bytes(), "the configuration was changed");
    let plan = Plan { image: Some(made), ..plan(Board::Q35, Firmware::Bios) };
    let mut bench = plan.boot()?;
    let shown = bench.router.command("show routes")?;
    ensure!(shown.contains("192.168.7.0/24"), "{shown}");
    bench.finish()
}
