//! Tests of [`Host`] over folders that look like /sys and /proc.

use std::os::unix::fs::symlink;

use super::*;
use crate::workspace::scratch;

const GIB: u64 = 1 << 30;
const STICK: (u64, u64) = (8, 16);

/// A host with a stick `sdb` of 8 GiB in two partitions.
struct Fake {
    folder: PathBuf,
}

impl Fake {
    fn new(name: &str) -> Self {
        let fake = Self { folder: scratch(name) };
        fake.device("sdb", "sdb", "8:16");
        fake.write("sys/block/sdb/size", &format!("{}\n", 8 * GIB / SIZE_UNIT));
        fake.write("sys/block/sdb/removable", "1\n");
        fake.write("sys/block/sdb/ro", "0\n");
        fake.write("sys/block/sdb/device/vendor", "SanDisk \n");
        fake.write("sys/block/sdb/device/model", "Ultra           \n");
        for (index, name) in ["sdb1", "sdb2"].into_iter().enumerate() {
            fake.device(name, &format!("sdb/{name}"), &format!("8:{}", 17 + index));
            fake.write(&format!("sys/block/sdb/{name}/partition"), &format!("{}\n", index + 1));
        }
        fake.write("proc/self/mountinfo", "22 1 8:2 / / rw - ext4 /dev/sda2 rw\n");
        fake.write("proc/swaps", "Filename Type Size Used Priority\n/dev/sda3 partition 1 0 -2\n");
        fake
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn device(&self, name: &str, folder: &str, number: &str) {
        self.write(&format!("sys/block/{folder}/dev"), &format!("{number}\n"));
        fs::create_dir_all(self.folder.join("sys/dev/block")).unwrap();
        symlink(format!("../../block/{folder}"), self.folder.join("sys/dev/block").join(number)).unwrap();
        fs::create_dir_all(self.folder.join(format!("sys/block/{folder}/holders"))).unwrap();
        assert!(folder.ends_with(name));
    }

    fn host(&self) -> Host {
        Host::at(&self.folder.join("sys"), &self.folder.join("proc"))
    }

    fn disk(&self) -> Disk {
        self.host().disk(STICK).unwrap()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_stick_that_nobody_uses_is_not_objected_to() {
    let fake = Fake::new("disk-free");
    let disk = fake.disk();
    assert_eq!(disk.to_string(), "/dev/sdb: SanDisk Ultra, 8.0 GiB, removable, not in use");
    assert_eq!(disk.objections(8 * GIB, false), [""; 0]);
}

#[test]
fn a_mounted_partition_is_objected_to_whatever_the_path_is_called() {
    let fake = Fake::new("disk-mounted");
    let mounts = "22 1 8:2 / / rw - ext4 /dev/sda2 rw\n\
                  40 22 8:18 / /media/my\\040stick rw shared:9 - vfat /dev/sdb2 rw\n\
                  41 22 0:50 /sub /srv rw,noatime - btrfs /dev/sdb1 rw\n\
                  42 22 8:1 / /boot rw - ext4 /dev/sda1 rw\n";
    fake.write("proc/self/mountinfo", mounts);
    let disk = fake.disk();
    assert_eq!(disk.mounts(), [Path::new("/media/my stick"), Path::new("/srv")]);
    let objections = disk.objections(GIB, true);
    assert_eq!(objections.len(), 2, "{objections:?}");
    assert!(objections[0].starts_with("sdb1 is mounted at /srv; unmount it"), "{objections:?}");
    assert!(disk.to_string().ends_with(", sdb1 is mounted at /srv, sdb2 is mounted at /media/my stick"), "{disk}");
}

#[test]
fn what_this_computer_runs_from_is_not_unmounted() {
    let fake = Fake::new("disk-root");
    let mounts = "22 1 8:17 / / rw - ext4 /dev/sdb1 rw\n40 22 8:18 / /boot/efi rw - vfat /dev/sdb2 rw\n";
    fake.write("proc/self/mountinfo", mounts);
    let objections = fake.disk().once_unmounted().objections(GIB, true);
    assert_eq!(objections, ["sdb1 is mounted at /: this computer runs from it"]);
    fake.write("proc/self/mountinfo", "40 22 8:18 / /mnt rw - vfat /dev/sdb2 rw\n");
    assert_eq!(fake.disk().once_unmounted().objections(GIB, true), [""; 0]);
}

#[test]
fn the_disk_itself_may_be_mounted_without_partitions() {
    let fake = Fake::new("disk-whole");
    fake.write("proc/self/mountinfo", "40 22 8:16 / /mnt rw - ext4 /dev/disk/by-label/x rw\n");
    assert_eq!(fake.disk().uses, [Use { device: "sdb".into(), how: How::Mounted("/mnt".into()) }]);
}

#[test]
fn swap_and_parts_of_other_devices_are_objected_to() {
    let fake = Fake::new("disk-held");
    fake.write("proc/swaps", "Filename Type Size Used Priority\n/dev/sdb2 partition 1 0 -2\n");
    fake.write("sys/block/sdb/sdb1/holders/dm-0", "");
    let objections = fake.disk().objections(GIB, true);
    assert_eq!(objections, ["sdb1 is a part of dm-0", "sdb2 is swap space; see swapoff(8)"]);
}

#[test]
fn what_is_not_removable_takes_a_word_of_its_own() {
    let fake = Fake::new("disk-fixed");
    fake.write("sys/block/sdb/removable", "0\n");
    let disk = fake.disk();
    assert!(disk.to_string().contains("NOT removable"), "{disk}");
    assert!(disk.objections(GIB, false)[0].contains("--even-if-not-removable"));
    assert_eq!(disk.objections(GIB, true), [""; 0]);
}

#[test]
fn too_small_empty_and_read_only_are_no_matter_of_words() {
    let fake = Fake::new("disk-small");
    let of = |image| fake.disk().objections(image, true);
    assert!(of(8 * GIB + 1)[0].contains("too small: it has 8.0 GiB"), "{:?}", of(8 * GIB + 1));
    fake.write("sys/block/sdb/size", "0\n");
    assert_eq!(of(1), ["there is no medium in sdb"]);
    fake.write("sys/block/sdb/size", "2\n");
    fake.write("sys/block/sdb/ro", "1\n");
    assert!(of(1024)[0].contains("read-only"));
}

#[test]
fn a_partition_and_a_number_that_is_nothing_are_refused() {
    let fake = Fake::new("disk-partition");
    let error = fake.host().disk((8, 17)).unwrap_err().to_string();
    assert!(error.contains("sdb1 is a partition") && error.ends_with("/dev/sdb"), "{error}");
    assert!(fake.host().disk((8, 99)).is_err());
}

#[test]
fn without_the_list_of_mounts_nothing_is_believed() {
    let fake = Fake::new("disk-blind");
    fs::remove_file(fake.folder.join("proc/self/mountinfo")).unwrap();
    assert!(fake.host().disk(STICK).is_err());
}

#[test]
fn a_loop_device_is_called_by_its_file() {
    let fake = Fake::new("disk-loop");
    fake.write("sys/block/sdb/loop/backing_file", "/x/y.img\n");
    assert_eq!(fake.disk().model, "loop device over /x/y.img");
}

#[test]
fn what_is_no_block_device_has_no_number() {
    assert!(number_of(Path::new("/dev/null")).unwrap_err().to_string().contains("no disk"));
    assert!(number_of(Path::new("/dev/no/such")).is_err());
}

#[test]
fn names_in_the_list_of_mounts_are_taken_as_they_are_meant() {
    assert_eq!(unescaped("a\\040b\\134c"), "a b\\c");
    assert_eq!(unescaped("a\\9"), "a\\9");
}
