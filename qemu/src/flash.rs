//! Writing an image to a stick without writing to anything else, and without saying more than is known.
//!
//! [`Host`] tells what a block device is and what it is used for, and a [`Disk`] what speaks against writing to it;
//! [`write()`] writes, reads back, and only then makes the stick bootable; an [`Interruption`] says at once what a signal
//! leaves behind. The verb `flash` puts them together.

mod disk;
mod interruption;
mod write;

pub use disk::{Disk, Host, How, Use, number_of};
pub use interruption::{Interruption, Phase};
pub use write::{BlockDevice, Medium, Step, write};

/// Returns a number of octets as people read it.
#[must_use]
pub fn readable(octets: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut tenths = u128::from(octets) * 10;
    let mut unit = "octets";
    for larger in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = larger;
    }
    if unit == "octets" { format!("{octets} octets") } else { format!("{}.{} {unit}", tenths / 10, tenths % 10) }
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn sizes_are_read_by_people() {
        assert_eq!(readable(0), "0 octets");
        assert_eq!(readable(1023), "1023 octets");
        assert_eq!(readable(1024), "1.0 KiB");
        assert_eq!(readable(34_586_624), "32.9 MiB");
        assert_eq!(readable(15_931_539_456), "14.8 GiB");
        assert_eq!(readable(u64::MAX), "16777215.9 TiB");
    }
}
