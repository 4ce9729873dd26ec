//! Which disk is the one, and which is left alone.

use fat::{
    Error, SECTOR, Volume,
    stick::{Answer, Booted, RESULT, RESULT_OCTETS, blank, find},
};
use stick::Volume as HostVolume;

use crate::disk::{CONFIG, Disk, booted, image, kernel, leak};

const OTHER: Answer = Answer::Another;

#[test]
fn the_stick_that_was_booted_is_found_with_the_place_for_the_result() {
    let running = leak(kernel("build 1"));
    let mut disk = Disk::of(image(running, CONFIG));
    let Answer::Booted(file) = find(&mut disk, &booted(running)).unwrap() else { panic!("not found") };
    assert_eq!(file.octets as usize, RESULT_OCTETS);
    let sectors: usize = file.runs.iter().map(|run| run.len()).sum();
    assert_eq!(sectors * SECTOR, RESULT_OCTETS);
    let content: Vec<u8> = file
        .runs
        .iter()
        .flat_map(|run| &disk.octets[run.start as usize * SECTOR..run.end as usize * SECTOR])
        .copied()
        .collect();
    assert_eq!(content, blank(), "the very octets that the image tool wrote");
}

#[test]
fn a_stick_of_another_build_length_or_configuration_is_another() {
    let running = leak(kernel("build 1"));
    let is = |disk: Vec<u8>| find(&mut Disk::of(disk), &booted(running)).unwrap();
    assert_eq!(is(image(&kernel("build 2"), CONFIG)), OTHER);
    assert_eq!(is(image(&kernel("build 1 "), CONFIG)), OTHER);
    assert_eq!(is(image(running, b"hostname = \"r2\"\n[sysctl]\n\"kern.selftest\" = 1\n")), OTHER);
    assert_eq!(is(image(running, &CONFIG[1..])), OTHER);
    assert_eq!(is(image(running, b"")), OTHER, "the machine had a configuration");
    let bare = Booted { configuration: b"", ..booted(running) };
    assert!(matches!(find(&mut Disk::of(image(running, b"")), &bare).unwrap(), Answer::Booted(_)));
    assert_eq!(find(&mut Disk::of(image(running, CONFIG)), &bare).unwrap(), OTHER);
    let nameless = Booted { kernel_tail: b"", ..booted(running) };
    assert_eq!(find(&mut Disk::of(image(running, CONFIG)), &nameless).unwrap(), OTHER, "a kernel that cannot be told");
}

#[test]
fn a_disk_without_a_table_or_a_volume_is_another() {
    let running = leak(kernel("build 1"));
    let good = image(running, CONFIG);
    let is = |disk: Vec<u8>| find(&mut Disk::of(disk), &booted(running)).unwrap();
    assert_eq!(is(vec![]), OTHER);
    assert_eq!(is(vec![0; SECTOR]), OTHER);
    assert_eq!(is(vec![0xFF; 4096 * SECTOR]), OTHER);
    assert_eq!(is(good[..good.len() - SECTOR].to_vec()), OTHER, "a partition that leads behind the end");
    let mut unformatted = good.clone();
    unformatted[2048 * SECTOR..2049 * SECTOR].fill(0);
    assert_eq!(is(unformatted), OTHER);
}

#[test]
fn a_result_file_that_somebody_changed_is_no_place() {
    let running = leak(kernel("build 1"));
    let answer = |content: Option<&[u8]>| {
        let mut disk = image(running, CONFIG);
        let volume = HostVolume::open(&mut disk).unwrap();
        match content {
            Some(content) => volume.write(RESULT, content).unwrap(),
            None => volume.remove(RESULT).unwrap(),
        }
        drop(volume);
        find(&mut Disk::of(disk), &booted(running)).unwrap()
    };
    assert!(matches!(answer(Some(&blank())), Answer::Booted(_)));
    assert_eq!(answer(None), Answer::NoPlace("it has no SELFTEST.TXT"));
    assert!(matches!(answer(Some(b"mine")), Answer::NoPlace(reason) if reason.contains("another length")));
    assert!(
        matches!(answer(Some(&vec![b'#'; RESULT_OCTETS])), Answer::NoPlace(reason) if reason.contains("other content"))
    );
}

#[test]
fn an_edited_stick_with_scattered_files_is_still_the_one() {
    let running = leak(kernel("build 1"));
    let mut disk = image(running, CONFIG);
    // Other files are put in between, and the configuration and the result file are written anew behind them.
    let volume = HostVolume::open(&mut disk).unwrap();
    volume.remove(RESULT).unwrap();
    volume.write("a hole.bin", &[1; 40_000]).unwrap();
    volume.write("Another file with a long name, over several entries.text", b"x").unwrap();
    volume.remove("a hole.bin").unwrap();
    volume.write("b", &[2; 10]).unwrap();
    volume.write(RESULT, &blank()).unwrap();
    volume.write("Cfg.txt", CONFIG).unwrap();
    drop(volume);
    let mut disk = Disk::of(disk);
    assert!(matches!(find(&mut disk, &booted(running)).unwrap(), Answer::Booted(_)));
    let volume = Volume::open(&mut disk, 2048, 65_504).unwrap();
    for (name, octets) in [("b", 10), ("Another file with a long name, over several entries.text", 1), ("boot.json", 2)]
    {
        assert_eq!(volume.find(&mut disk, name).unwrap().map(|file| file.octets), Some(octets), "{name}");
    }
    for name in ["a hole.bin", "cfg.txt", "CFG.TXT", "EFI", "SLUICE", ""] {
        assert_eq!(volume.find(&mut disk, name).unwrap(), None, "{name}");
    }
}

/// Every octet of the boot sector, of the beginning of the table and of the folder is changed to what it should not be: whatever
/// comes of it, it ends, without a panic, and never with a place outside the volume's files.
#[test]
fn damage_ends_in_an_answer_or_an_error_and_never_in_a_place_elsewhere() {
    let running = leak(kernel("build 1"));
    let mut disk = Disk::of(image(running, CONFIG));
    let Answer::Booted(right) = find(&mut disk, &booted(running)).unwrap() else { panic!("not found") };
    let volume = 2048 * SECTOR;
    let (reserved, fat) = (usize::from(disk.octets[volume + 14]), usize::from(disk.octets[volume + 22]));
    let table = volume + reserved * SECTOR;
    let tables = usize::from(disk.octets[volume + 16]);
    let root = table + tables * fat * SECTOR;
    let places = (446..SECTOR)
        .chain(volume..volume + 64)
        .chain(table..table + 64)
        .chain(root..root + 640)
        .filter(|at| !(root + 64..root + 384).contains(at));
    let mut damaged = 0;
    for at in places {
        for value in [0x00, 0xFF] {
            let before = std::mem::replace(&mut disk.octets[at], value);
            match find(&mut disk, &booted(running)) {
                Ok(Answer::Booted(file)) => assert_eq!(file, right, "octet {at} = {value:#x}"),
                Ok(Answer::Another | Answer::NoPlace(_)) => {}
                Err(Error::Damaged(_)) => damaged += 1,
                Err(_) => {}
            }
            disk.octets[at] = before;
        }
    }
    assert!(damaged > 10, "chains were damaged {damaged} times");
}

/// Both tables say that the result's file goes on in the kernel's.
#[test]
fn a_file_that_shares_sectors_with_another_is_no_place() {
    let running = leak(kernel("build 1"));
    let mut disk = Disk::of(image(running, CONFIG));
    let Answer::Booted(right) = find(&mut disk, &booted(running)).unwrap() else { panic!("not found") };
    let volume = 2048 * SECTOR;
    let fat = usize::from(disk.octets[volume + 22]) * SECTOR;
    let table = volume + usize::from(disk.octets[volume + 14]) * SECTOR;
    let data = table + 2 * fat + 512 * 32;
    let cluster = |sector: u32| (sector as usize * SECTOR - data) / (16 * 1024) + 2;
    let kernel = Volume::open(&mut disk, 2048, 65_504).unwrap().find(&mut disk, "kernel-x86_64").unwrap().unwrap();
    // Its last cluster but one is followed by the kernel's last cluster.
    let [result, kernel] = [&right.runs, &kernel.runs].map(|runs| cluster(runs.last().unwrap().end - 1));
    let (from, to) = (result - 1, kernel);
    for table in [table, table + fat] {
        let at = table + from + from / 2;
        let pair = u16::from_le_bytes([disk.octets[at], disk.octets[at + 1]]);
        let to = u16::try_from(to).unwrap();
        let new = if from.is_multiple_of(2) { pair & 0xF000 | to } else { pair & 0xF | to << 4 };
        disk.octets[at..at + 2].copy_from_slice(&new.to_le_bytes());
    }
    let answer = find(&mut disk, &booted(running)).unwrap();
    assert_eq!(answer, Answer::NoPlace("its SELFTEST.TXT has other content"));
}
