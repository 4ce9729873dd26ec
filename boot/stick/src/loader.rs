//! The boot loader's parts, and the name under which they look for the configuration: [`Loader`].
//!
//! The loader (the `bootloader` crate) loads one file beside the kernel, and its name for it is `ramdisk`: nothing that people would
//! recognise or a computer would open in an editor. Worse, the BIOS loader compares long names by their letters, and Windows writes no
//! long name for one that is short and of small letters only. A `ramdisk` that an editor there has saved anew would not be
//! found any more, and the router would come up without a configuration.
//!
//! So the name is exchanged in the loader's two programs. The new one has as many letters as the old one, and capitals and small letters
//! in its first part, for which every system writes a long name. Each program has the old name once, between
//! neighbours that are known; a loader in which that is not so is refused.

use anyhow::{Context, Result, ensure};

/// The name that the loader has for the file.
const OLD_NAME: &str = "ramdisk";
/// The name that it gets.
pub(crate) const NAME: &str = fat::stick::CONFIGURATION;

const _: () = assert!(NAME.len() == OLD_NAME.len());

/// What stands around the name in the second stage of the BIOS loader, and in the UEFI loader.
const BIOS_PLACE: (&str, &str) = ("", "No ramdisk found, skipping.\n");
const UEFI_PLACE: (&str, &str) = ("kernel-x86_64\0", "\0boot.json\0");

/// The parts of the boot loader.
#[derive(Clone, Debug)]
pub struct Loader {
    /// The first sector; its partition table is empty.
    pub first_stage: Vec<u8>,
    /// What the first stage loads.
    pub second_stage: Vec<u8>,
    /// What the second stage loads from the volume.
    pub third_stage: Vec<u8>,
    /// What it loads then.
    pub fourth_stage: Vec<u8>,
    /// The loader for UEFI, a program for it.
    pub uefi: Vec<u8>,
    /// The loader's settings, `boot.json`.
    pub settings: Vec<u8>,
}

impl Loader {
    /// Returns a loader that looks for [`NAME`].
    pub(crate) fn renamed(&self) -> Result<Self> {
        let mut new = self.clone();
        rename(&mut new.second_stage, BIOS_PLACE).context("the second stage of the BIOS loader")?;
        rename(&mut new.uefi, UEFI_PLACE).context("the UEFI loader")?;
        Ok(new)
    }
}

/// Exchanges the name where it stands between these neighbours.
fn rename(program: &mut [u8], (before, after): (&str, &str)) -> Result<()> {
    let old = [before, OLD_NAME, after].concat();
    let places: Vec<usize> = program
        .windows(old.len())
        .enumerate()
        .filter_map(|(at, text)| (text == old.as_bytes()).then_some(at))
        .collect();
    let [at] = places[..] else { anyhow::bail!("the name of its file is there {} times, not once", places.len()) };
    let start = at + before.len();
    let name = program.get_mut(start..start + NAME.len()).context("the name has no place")?;
    ensure!(name == OLD_NAME.as_bytes(), "the name is another");
    name.copy_from_slice(NAME.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_exchanged_and_nothing_else() {
        let mut program = b"Loading ramdisk...\nramdiskNo ramdisk found, skipping.\nramdisk".to_vec();
        rename(&mut program, BIOS_PLACE).unwrap();
        assert_eq!(program, b"Loading ramdisk...\nCfg.txtNo ramdisk found, skipping.\nramdisk");
        let mut program = b"..kernel-x86_64\0ramdisk\0boot.json\0..".to_vec();
        rename(&mut program, UEFI_PLACE).unwrap();
        assert_eq!(program, b"..kernel-x86_64\0Cfg.txt\0boot.json\0..");
    }

    #[test]
    fn a_loader_without_the_name_or_with_two_is_refused() {
        let once = b"ramdiskNo ramdisk found, skipping.\n";
        assert!(rename(&mut b"ramdisk".to_vec(), BIOS_PLACE).is_err());
        let error = rename(&mut [&once[..], once].concat(), BIOS_PLACE).unwrap_err();
        assert!(error.to_string().contains("2 times"), "{error}");
    }

    #[test]
    fn every_system_writes_a_long_name_for_it() {
        let (stem, extension) = NAME.split_once('.').unwrap();
        assert!(stem.len() <= 8 && extension.len() == 3, "a name that needs no long one but for its letters");
        assert!(stem.chars().any(char::is_uppercase) && stem.chars().any(char::is_lowercase));
    }
}
