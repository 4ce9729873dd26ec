//! The shared libraries that a program of an unpacked package needs: [`needed`].
//!
//! As the dynamic linker does, from the entries `DT_NEEDED` of each file (System V ABI, "Dynamic Section"), but below the
//! folder of the packages and never from this machine.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use object::{
    Endianness, elf,
    read::elf::{ElfFile64, FileHeader, ProgramHeader},
};

/// Where packages have libraries.
const FOLDERS: &[&str] = &["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib64", "lib64", "usr/lib", "lib"];

/// Returns every library that `programs` need, by its name, with the place of its file below `root`.
///
/// # Errors
/// When one is not there, or one of the files is none of ELF's.
pub(super) fn needed(root: &Path, programs: &[PathBuf]) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut open = programs.to_vec();
    while let Some(path) = open.pop() {
        let names = names(&path).with_context(|| format!("cannot tell what {} needs", path.display()))?;
        for name in names {
            let Entry::Vacant(entry) = found.entry(name) else { continue };
            let Some(place) = find(root, entry.key()) else {
                bail!("{} needs {}, which is in no package", path.display(), entry.key());
            };
            open.push(entry.insert(place).clone());
        }
    }
    Ok(found)
}

/// Returns the first library whose name begins with `prefix`, as a name that its users have for it.
///
/// # Errors
/// When there is none.
pub(super) fn beginning_with(root: &Path, prefix: &str) -> Result<(String, PathBuf)> {
    let entries = FOLDERS.iter().flat_map(|folder| fs::read_dir(root.join(folder)).into_iter().flatten().flatten());
    let named = entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
    // The shortest is the name without the minor version.
    let shortest = named.filter(|(name, _)| name.starts_with(prefix)).min_by_key(|(name, _)| name.len());
    shortest.with_context(|| format!("no package has a library {prefix}"))
}

/// Finds a library below `root`.
fn find(root: &Path, name: &str) -> Option<PathBuf> {
    FOLDERS.iter().map(|folder| root.join(folder).join(name)).find(|path| path.is_file())
}

/// Returns the names of the libraries that a file needs itself, its dynamic linker included.
fn names(path: &Path) -> Result<Vec<String>> {
    let content = fs::read(path)?;
    let file = ElfFile64::<Endianness>::parse(&*content)?;
    let (header, endian) = (file.elf_header(), file.endian());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut names = Vec::new();
    for segment in header.program_headers(endian, &*content)? {
        if let Some(interpreter) = segment.interpreter(endian, &*content)? {
            names.extend(text(interpreter).rsplit('/').next().map(str::to_owned));
        }
    }
    let dynamic = header.sections(endian, &*content)?.dynamic_table(endian, &*content)?;
    for entry in dynamic.iter().filter(|entry| entry.tag == elf::DT_NEEDED) {
        names.push(text(dynamic.string(entry)?));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::scratch;

    /// Where this machine has its own libraries, which stand in for a package's.
    fn own(name: &str) -> Option<PathBuf> {
        find(Path::new("/"), name)
    }

    #[test]
    fn a_program_needs_its_libraries_and_theirs_and_the_linker() {
        let this = std::env::current_exe().unwrap();
        let found = needed(Path::new("/"), std::slice::from_ref(&this)).unwrap();
        assert!(found.contains_key("libc.so.6"), "{found:?}");
        assert!(found.keys().any(|name| name.starts_with("ld-linux")), "{found:?}");
        assert!(found.values().all(|path| path.is_file()));
    }

    #[test]
    fn a_library_that_is_in_no_package_is_named() {
        let root = scratch("library");
        let this = std::env::current_exe().unwrap();
        let error = needed(&root, &[this]).unwrap_err().to_string();
        assert!(error.contains("which is in no package"), "{error}");
        // With the C library there alone, it is another that is missing, or none if the program needs no other.
        fs::create_dir_all(root.join("lib")).unwrap();
        fs::copy(own("libc.so.6").unwrap(), root.join("lib/libc.so.6")).unwrap();
        let error = needed(&root, &[root.join("lib/libc.so.6")]).unwrap_err().to_string();
        assert!(error.contains("ld-linux"), "{error}");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn of_several_versions_of_a_name_the_one_that_users_know_is_taken() {
        let root = scratch("version");
        fs::create_dir_all(root.join("usr/lib")).unwrap();
        for name in ["librte_net_e1000.so.23.0", "librte_net_e1000.so.23", "librte_net_e1000.map"] {
            fs::write(root.join("usr/lib").join(name), "").unwrap();
        }
        assert_eq!(beginning_with(&root, "librte_net_e1000.so.").unwrap().0, "librte_net_e1000.so.23");
        assert!(beginning_with(&root, "librte_net_ixgbe.so.").is_err());
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn what_is_no_program_is_an_error() {
        let root = scratch("no-elf");
        let path = root.join("x");
        fs::write(&path, "#!/bin/sh").unwrap();
        assert!(needed(&root, &[path]).is_err());
        fs::remove_dir_all(root).unwrap();
    }
}
