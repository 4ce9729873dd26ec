//! `cargo run -- dump` on the log of a real crash, whole and damaged.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The console of a router that panicked under traffic, from the panic to the restart.
const LOG: &str = include_str!("golden/crash.log");
/// What is to be shown of it.
const REPORT: &str = include_str!("golden/crash.txt");

/// A folder for one test, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("dump-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn dump(arguments: &[&str], files: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sluice")).arg("dump").args(arguments).args(files).output().unwrap()
}

fn shown(output: &Output) -> (String, String) {
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_captured_console_becomes_a_report() {
    let folder = Folder::new("whole");
    let output = dump(&[], &[&folder.file("console.log", LOG)]);
    let (report, complaints) = shown(&output);
    assert!(output.status.success() && complaints.is_empty(), "{complaints}");
    assert_eq!(report, REPORT);
}

#[test]
fn one_section_is_shown_alone_and_an_unknown_one_is_an_error_that_names_them() {
    let folder = Folder::new("section");
    let file = folder.file("console.log", LOG);
    let (section, _) = shown(&dump(&["--section", "rings"], &[&file]));
    assert!(section.starts_with("ring ") && section.lines().count() == 5, "{section}");
    let output = dump(&["--section", "nonsense"], &[&file]);
    assert!(!output.status.success());
    assert!(shown(&output).1.contains("it has: registers, threads"), "{output:?}");
}

#[test]
fn a_damaged_log_is_an_error_that_names_the_damage_and_a_second_log_repairs_it() {
    let folder = Folder::new("damaged");
    let damaged: Vec<String> = LOG
        .lines()
        .filter(|line| !line.starts_with("%D90ec 12 "))
        .map(|line| if line.starts_with("%D90ec 3 ") { line.replacen("rip", "rop", 1) } else { line.to_owned() })
        .collect();
    let first = folder.file("first.log", &damaged.join("\r\n"));
    let output = dump(&[], &[&first]);
    let (report, complaints) = shown(&output);
    assert!(!output.status.success(), "an incomplete dump is an error");
    assert!(report.contains("INCOMPLETE") && report.contains("[line 12 is missing]"), "{report}");
    for complaint in ["line 3 is damaged", "line 12 is missing", "dump 3 3; dump 12 12", "dump 90ec is incomplete"] {
        assert!(complaints.contains(complaint), "{complaint:?} is missing: {complaints}");
    }
    let again = |number: &str| LOG.lines().find(|line| line.starts_with(&format!("%D90ec {number} "))).unwrap();
    let second = folder.file("second.log", &format!("r1> dump 3 3\n{}\n{}\n", again("3"), again("12")));
    let output = dump(&[], &[&first, &second]);
    let (report, complaints) = shown(&output);
    assert!(output.status.success(), "{complaints}");
    assert!(complaints.contains("line 3 is damaged (repaired by another copy)"), "{complaints}");
    assert_eq!(report, REPORT);
}

#[test]
fn a_log_without_a_dump_is_an_error() {
    let folder = Folder::new("none");
    for (log, why) in [("nothing\n", "there is no crash dump"), ("%D90ec 3 .rip\n", "only 1 damaged lines")] {
        let output = dump(&[], &[&folder.file("console.log", log)]);
        assert!(!output.status.success());
        assert!(shown(&output).1.contains(why), "{output:?}");
    }
    let output = dump(&[], &[Path::new("no such file")]);
    assert!(!output.status.success() && shown(&output).1.contains("cannot read no such file"), "{output:?}");
}
