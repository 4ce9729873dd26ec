//! `flash` as a program, on loop devices: what it refuses, what it writes, and what it says when it is interrupted.
//!
//! Where there are no loop devices to be had (they take root), the tests are reported as ignored, with the reason.

#[path = "flash/loop_device.rs"]
mod loop_device;

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Arguments, Trial};
use loop_device::LoopDevice;
use nix::{
    pty::openpty,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const MIB: u64 = 1 << 20;

type Test = fn(&Place) -> Result<()>;

/// How long anything may take, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let tests: [(&str, Test); 7] = [
        ("an_image_is_written_and_read_back", an_image_is_written_and_read_back),
        ("a_loop_device_takes_a_word_of_its_own", a_loop_device_takes_a_word_of_its_own),
        ("without_a_terminal_nothing_is_written_unasked", without_a_terminal_nothing_is_written_unasked),
        ("somebody_at_a_terminal_types_the_name_of_the_disk", somebody_types_the_name),
        ("a_disk_that_is_too_small_is_left_alone", a_disk_that_is_too_small_is_left_alone),
        ("a_mounted_disk_is_left_alone_until_it_may_be_unmounted", a_mounted_disk_is_left_alone),
        ("an_interrupted_stick_is_said_to_be_unusable_and_is", an_interrupted_stick_is_unusable),
    ];
    let missing = LoopDevice::make(&place("probe").folder.join("probe"), MIB).err();
    if let Some(reason) = &missing {
        eprintln!("ignored: {reason:#}");
    }
    let trials = tests.map(|(name, test)| {
        let run = move || test(&place(name)).map_err(|error| format!("{error:#}").into());
        Trial::test(name, run).with_ignored_flag(missing.is_some())
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}

/// A folder of a test's own, for as long as this lives.
struct Place {
    folder: PathBuf,
}

fn place(name: &str) -> Place {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("the target folder can be written");
    Place { folder }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Place {
    /// Makes an image that begins as a stick's does and has no other order in it.
    fn image(&self, size: u64) -> Result<PathBuf> {
        let path = self.folder.join("image");
        let mut octets: Vec<u8> =
            (0..size.min(8 * MIB)).map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect();
        let start = &mut octets[..512];
        start.fill(0x90);
        start[446..510].fill(0);
        start[446 + 4] = 0x20;
        start[446 + 8] = 1;
        start[446 + 12] = 100;
        start[462] = 0x80;
        start[462 + 4] = 0x0C;
        start[462 + 9] = 8;
        start[462 + 13] = 8;
        start[510..].copy_from_slice(&[0x55, 0xAA]);
        fs::write(&path, octets)?;
        // What is beyond is empty and takes no space.
        File::options().write(true).open(&path)?.set_len(size)?;
        Ok(path)
    }

    fn disk(&self, size: u64) -> Result<LoopDevice> {
        LoopDevice::make(&self.folder.join("disk"), size)
    }
}

fn program(image: &Path, disk: &LoopDevice, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.arg("flash").arg(disk.path()).arg("--image").arg(image).args(words);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn flash(image: &Path, disk: &LoopDevice, words: &[&str]) -> Result<(Output, String)> {
    let output = program(image, disk, words).output().context("cannot start the program")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output, said))
}

/// Makes sure that it was refused for this reason, and that the disk is as it was.
fn refused(image: &Path, disk: &LoopDevice, words: &[&str], reason: &str) -> Result<()> {
    let before = disk.start()?;
    let (output, said) = flash(image, disk, words)?;
    ensure!(output.status.code() == Some(1), "{words:?} ended with {}: {said}", output.status);
    ensure!(said.contains("nothing was written") && said.contains(reason), "{words:?}: {said}");
    ensure!(disk.start()? == before, "the disk was written: {said}");
    Ok(())
}

const SURE: &[&str] = &["--yes", "--even-if-not-removable"];

fn an_image_is_written_and_read_back(place: &Place) -> Result<()> {
    let (image, disk) = (place.image(9 * MIB)?, place.disk(20 * MIB)?);
    disk.open()?.write_all_at(&[0xEE; 4096], 12 * MIB)?;
    let (output, said) = flash(&image, &disk, SURE)?;
    ensure!(output.status.success(), "{said}");
    let size = said.contains("NOT removable") && said.contains("20.0 MiB") && said.contains("not in use");
    ensure!(size && said.contains("loop device over"), "it is not told what the disk is: {said}");
    ensure!(said.contains("written and read back without a difference"), "{said}");
    let wanted = fs::read(&image)?;
    let mut found = vec![0; wanted.len()];
    disk.open()?.read_exact_at(&mut found, 0)?;
    ensure!(found == wanted, "the disk has something else");
    let mut behind = [0; 4096];
    disk.open()?.read_exact_at(&mut behind, 12 * MIB)?;
    ensure!(behind == [0xEE; 4096], "more was written than the image");
    Ok(())
}

fn a_loop_device_takes_a_word_of_its_own(place: &Place) -> Result<()> {
    refused(&place.image(MIB)?, &place.disk(4 * MIB)?, &["--yes"], "--even-if-not-removable")
}

fn without_a_terminal_nothing_is_written_unasked(place: &Place) -> Result<()> {
    refused(&place.image(MIB)?, &place.disk(4 * MIB)?, &["--even-if-not-removable"], "say --yes")
}

fn somebody_types_the_name(place: &Place) -> Result<()> {
    let (image, disk) = (place.image(MIB)?, place.disk(4 * MIB)?);
    let name = disk.path().file_name().and_then(|name| name.to_str()).context("a loop device has a name")?;
    let before = disk.start()?;
    for (typed, is_written) in [("yes", false), ("", false), (name, true)] {
        let terminal = openpty(None, None).context("cannot make a terminal")?;
        let mut child = program(&image, &disk, &["--even-if-not-removable"]).stdin(terminal.slave).spawn()?;
        File::from(terminal.master.try_clone()?).write_all(format!("{typed}\n").as_bytes())?;
        let mut said = String::new();
        child.stderr.take().context("no error stream")?.read_to_string(&mut said)?;
        let status = wait(&mut child)?;
        ensure!(said.contains(&format!("Type {name} to go on")), "{said}");
        ensure!((status == Some(0)) == is_written, "{typed:?} ended with {status:?}: {said}");
        ensure!((disk.start()? != before) == is_written, "{typed:?}: {said}");
    }
    Ok(())
}

fn a_disk_that_is_too_small_is_left_alone(place: &Place) -> Result<()> {
    refused(&place.image(4 * MIB)?, &place.disk(3 * MIB)?, SURE, "too small: it has 3.0 MiB, and the image 4.0 MiB")
}

fn a_mounted_disk_is_left_alone(place: &Place) -> Result<()> {
    let (image, disk) = (place.image(MIB)?, place.disk(8 * MIB)?);
    let folder = place.folder.join("mounted here");
    let mounted = disk.mount(&folder)?;
    refused(&image, &disk, SURE, "mounted here; unmount it, or say --unmount")?;
    // Somebody works in it: it cannot be unmounted, so it is not written either.
    let open = File::create(folder.join("file"))?;
    refused(&image, &disk, &[SURE, &["--unmount"]].concat(), "cannot be unmounted")?;
    drop(open);
    let (output, said) = flash(&image, &disk, &[SURE, &["--unmount"]].concat())?;
    ensure!(output.status.success() && said.contains("Unmounted"), "{said}");
    mounted.forget();
    Ok(())
}

/// The disk and the image are large, so that the signal comes long before the end.
fn an_interrupted_stick_is_unusable(place: &Place) -> Result<()> {
    let (image, disk) = (place.image(1024 * MIB)?, place.disk(1025 * MIB)?);
    disk.open()?.write_all_at(&fs::read(&image)?[..4096], 0)?;
    let mut child = program(&image, &disk, SURE).spawn().context("cannot start the program")?;
    let mut errors = BufReader::new(child.stderr.take().context("no error stream")?);
    let mut said = String::new();
    while !said.contains("Writing ") {
        ensure!(errors.read_line(&mut said)? > 0, "it ended before it wrote: {said}");
    }
    // Once the old start is gone, it has begun.
    let begun = Instant::now();
    while disk.start()? != [0; 4096] {
        ensure!(begun.elapsed() < LIMIT, "the start of the disk stays what it was");
        thread::sleep(Duration::from_millis(5));
    }
    kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGINT)?;
    let asked = Instant::now();
    errors.read_to_string(&mut said)?;
    let status = wait(&mut child)?;
    ensure!(status == Some(130), "it ended with {status:?}: {said}");
    ensure!(said.contains("is NOT usable"), "{said}");
    ensure!(asked.elapsed() < Duration::from_secs(20), "it took {:?} to say so", asked.elapsed());
    ensure!(disk.start()? == [0; 4096], "an interrupted disk has a boot sector");
    // It is free again, and a second attempt makes it good.
    let small = place.image(2 * MIB)?;
    let (output, said) = flash(&small, &disk, SURE)?;
    ensure!(output.status.success() && disk.start()? == fs::read(&small)?[..4096], "{said}");
    Ok(())
}

/// Waits for the program's end and returns its status.
fn wait(child: &mut Child) -> Result<Option<i32>> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code());
        }
        if begun.elapsed() > LIMIT {
            child.kill()?;
        }
        thread::sleep(Duration::from_millis(20));
    }
}
