//! What a write changes, and what an interrupted one leaves.

use fat::{
    Error, File, SECTOR,
    stick::{Answer, RESULT, RESULT_OCTETS, filled, find, overwrite},
};
use stick::Volume as HostVolume;

use crate::disk::{CONFIG, Disk, booted, image, kernel, leak};

fn prepared() -> (Disk, File) {
    let running = leak(kernel("build 1"));
    let mut disk = Disk::of(image(running, CONFIG));
    let Answer::Booted(file) = find(&mut disk, &booted(running)).unwrap() else { panic!("not found") };
    (disk, file)
}

/// What a person reads in the file.
fn text(disk: &mut Disk) -> String {
    let content = HostVolume::open(&mut disk.octets).unwrap().read(RESULT).unwrap();
    assert_eq!(content.len(), RESULT_OCTETS);
    String::from_utf8(content).unwrap()
}

#[test]
fn a_result_is_read_by_any_computer_and_nothing_else_changes() {
    let (mut disk, file) = prepared();
    let before = disk.octets.clone();
    overwrite(&mut disk, &file, "selftest: cpu 0: ok\nselftest: over: all 1 checks passed").unwrap();
    let text = text(&mut disk);
    assert!(
        text.starts_with(
            "Sluice self-test: result\r\n\r\nselftest: cpu 0: ok\r\nselftest: over: all 1 checks passed\r\n"
        ),
        "{text}"
    );
    assert!(text.ends_with("\r\n") && text.lines().skip(4).all(|line| line.trim().is_empty() && line.len() <= 80));
    assert!(disk.flushed >= 2);
    let in_file = |sector: usize| file.runs.iter().any(|run| run.contains(&u32::try_from(sector).unwrap()));
    for (sector, (old, new)) in before.chunks(SECTOR).zip(disk.octets.chunks(SECTOR)).enumerate() {
        assert!(old == new || in_file(sector), "sector {sector} was changed");
    }
}

#[test]
fn a_second_result_leaves_nothing_of_the_first() {
    let (mut disk, file) = prepared();
    overwrite(&mut disk, &file, &"selftest: the first, and long\n".repeat(900)).unwrap();
    overwrite(&mut disk, &file, "selftest: the second").unwrap();
    assert!(!text(&mut disk).contains("first"));
    assert_eq!(text(&mut disk).as_bytes(), filled("selftest: the second"));
}

#[test]
fn wherever_a_write_is_interrupted_the_file_says_so_and_the_volume_is_whole() {
    let (disk, file) = prepared();
    let sectors = RESULT_OCTETS / SECTOR;
    let old = "selftest: the first, and long\n".repeat(900);
    for writes in [0, 1, 2, 31, 32, 33, sectors - 1, sectors] {
        let mut disk = Disk::of(disk.octets.clone());
        overwrite(&mut disk, &file, &old).unwrap();
        disk.writes_left = writes;
        assert_eq!(overwrite(&mut disk, &file, "selftest: the second"), Err(Error::Disk("pulled out")));
        let text = text(&mut disk);
        match writes {
            0 => assert_eq!(text.as_bytes(), filled(&old), "nothing has happened"),
            _ => assert!(text.starts_with("Sluice self-test: interrupted\r\n"), "after {writes}: {}", &text[..100]),
        }
        // The machine can try again.
        disk.writes_left = usize::MAX;
        assert!(
            matches!(find(&mut disk, &booted(leak(kernel("build 1")))).unwrap(), Answer::Booted(again) if again == file)
        );
        overwrite(&mut disk, &file, "selftest: the second").unwrap();
    }
}

#[test]
fn what_does_not_fit_is_cut_at_a_line_and_said() {
    let (mut disk, file) = prepared();
    overwrite(&mut disk, &file, &"selftest: a line of the result\n".repeat(5000)).unwrap();
    let text = text(&mut disk);
    let last = text.trim_end().lines().last().unwrap();
    assert_eq!(last, "(the rest did not fit)");
    assert!(text.lines().filter(|line| *line == "selftest: a line of the result").count() > 3900);
    overwrite(&mut disk, &file, &"x".repeat(RESULT_OCTETS)).unwrap();
}

#[test]
fn octets_that_no_editor_shows_are_replaced() {
    let (mut disk, file) = prepared();
    overwrite(&mut disk, &file, "cpu: \u{e9}\0\u{1b}[31m\ttab").unwrap();
    let text = text(&mut disk);
    assert!(text.contains("cpu: ????[31m\ttab\r\n"), "{}", &text[..100]);
}

#[test]
fn a_disk_that_keeps_something_else_is_told() {
    struct Liar(Disk);
    impl fat::Sectors for Liar {
        type Error = &'static str;
        fn count(&self) -> u32 {
            self.0.count()
        }
        fn read(&mut self, first: u32, into: &mut [u8]) -> Result<(), &'static str> {
            self.0.read(first, into)
        }
        fn write(&mut self, _: u32, _: &[u8]) -> Result<(), &'static str> {
            Ok(())
        }
        fn flush(&mut self) -> Result<(), &'static str> {
            Ok(())
        }
    }
    let (disk, file) = prepared();
    assert_eq!(overwrite(&mut Liar(disk), &file, "x"), Err(Error::Damaged("the file reads back otherwise")));
}
