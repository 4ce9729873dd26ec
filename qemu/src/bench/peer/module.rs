//! Linux's kernel modules with what they need: [`Modules`].
//!
//! A package of Debian's carries no modules.dep, which depmod makes at installation. Each module says itself what it needs,
//! in its section `.modinfo`, as texts `name=value` that end with a zero each.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, anyhow, bail};
use object::{Object, ObjectSection};

use crate::prepare;

/// Where a package may have modules.
const FOLDERS: &[&str] = &["lib/modules", "usr/lib/modules"];

/// How deep the folders of modules may be nested.
const DEPTH: u32 = 16;

/// The modules of one kernel.
#[derive(Debug)]
pub(super) struct Modules {
    /// Where each is, by its name with underscores.
    files: BTreeMap<String, PathBuf>,
    /// What the kernel has built in: text of modules.builtin, one file a line.
    built_in: String,
}

/// A module as the kernel takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Module {
    /// Its name.
    pub(super) name: String,
    /// Its file's content, decompressed.
    pub(super) content: Vec<u8>,
}

impl Modules {
    /// Finds the modules among the unpacked packages below `root`, which have one kernel.
    ///
    /// # Errors
    /// When there are none.
    pub(super) fn find(root: &Path) -> Result<Self> {
        let folders = FOLDERS.iter().flat_map(|folder| fs::read_dir(root.join(folder)).into_iter().flatten().flatten());
        let folder = folders.map(|entry| entry.path()).find(|path| path.join("kernel").is_dir());
        let folder = folder.with_context(|| format!("no kernel modules are below {}", root.display()))?;
        let built_in = fs::read_to_string(folder.join("modules.builtin")).unwrap_or_default();
        let mut files = BTreeMap::new();
        walk(&folder.join("kernel"), DEPTH, &mut files);
        Ok(Self { files, built_in })
    }

    /// Returns the modules `names` and what they need, each after all that it needs. What the kernel has built in is left
    /// out.
    ///
    /// # Errors
    /// When one is not there or cannot be read.
    pub(super) fn with_dependencies(&self, names: &[&str]) -> Result<Vec<Module>> {
        let mut loaded = Vec::new();
        for name in names {
            self.load(name, DEPTH, &mut loaded)?;
        }
        Ok(loaded)
    }

    fn load(&self, name: &str, depth: u32, loaded: &mut Vec<Module>) -> Result<()> {
        let name = name.replace('-', "_");
        if loaded.iter().any(|module| module.name == name) || self.has_built_in(&name) {
            return Ok(());
        }
        let depth = depth.checked_sub(1).with_context(|| format!("the module {name} needs itself"))?;
        let path = self.files.get(&name).with_context(|| format!("the kernel's package has no module {name}"))?;
        let content = read(path).with_context(|| format!("cannot read {}", path.display()))?;
        for needed in dependencies(&content).with_context(|| format!("{} is no module", path.display()))? {
            self.load(&needed, depth, loaded)?;
        }
        loaded.push(Module { name, content });
        Ok(())
    }

    fn has_built_in(&self, name: &str) -> bool {
        self.built_in.lines().any(|line| module_name(Path::new(line)).as_deref() == Some(name))
    }
}

/// Collects the modules in `folder` and below.
fn walk(folder: &Path, depth: u32, files: &mut BTreeMap<String, PathBuf>) {
    let Some(depth) = depth.checked_sub(1) else { return };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, depth, files);
        } else if let Some(name) = module_name(&path) {
            files.insert(name, path);
        }
    }
}

/// Returns the name of the module in a file: `uio_pci_generic` of `uio-pci-generic.ko.xz`.
fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let (name, rest) = file.split_once(".ko")?;
    matches!(rest, "" | ".xz" | ".zst" | ".gz").then(|| name.replace('-', "_"))
}

/// Reads a module and decompresses it if need be.
fn read(path: &Path) -> Result<Vec<u8>> {
    let (program, package) = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => ("xz", "xz-utils"),
        Some("zst") => ("zstd", "zstd"),
        Some("gz") => ("gzip", "gzip"),
        _ => return Ok(fs::read(path)?),
    };
    if prepare::program(program).is_none() {
        bail!("{program} is missing: {}", prepare::install_command(&[package.to_owned()]));
    }
    let output = Command::new(program).args(["-d", "-c"]).arg(path).output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

/// Returns the names of the modules that a module needs.
fn dependencies(content: &[u8]) -> Result<Vec<String>> {
    let file = object::File::parse(content)?;
    let section = file.section_by_name(".modinfo").ok_or_else(|| anyhow!("it has no section .modinfo"))?;
    Ok(depends(section.data()?))
}

/// Returns what the line `depends=` of a section `.modinfo` names.
fn depends(modinfo: &[u8]) -> Vec<String> {
    let lines = modinfo.split(|byte| *byte == 0).filter_map(|line| std::str::from_utf8(line).ok());
    let names = lines.filter_map(|line| line.strip_prefix("depends=")).flat_map(|names| names.split(','));
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::scratch;

    #[test]
    fn a_module_tells_what_it_needs() {
        assert_eq!(depends(b"license=GPL\0depends=uio,pci-stub\0name=x\0"), ["uio", "pci-stub"]);
        assert!(depends(b"depends=\0alias=depends=\0").is_empty());
        assert!(dependencies(b"no module").is_err());
    }

    #[test]
    fn names_are_found_whatever_the_file_is_called() {
        let name = |path: &str| module_name(Path::new(path));
        assert_eq!(name("kernel/drivers/uio/uio-pci-generic.ko.xz").as_deref(), Some("uio_pci_generic"));
        assert_eq!(name("e1000.ko").as_deref(), Some("e1000"));
        assert_eq!(name("e1000.ko.bak"), None);
        assert_eq!(name("modules.order"), None);
    }

    /// Returns the smallest ELF file of 64 bits with one section, `.modinfo`, of the given content.
    fn module(modinfo: &str) -> Vec<u8> {
        let names = b"\0.modinfo\0.shstrtab\0";
        let mut file = vec![0; 64];
        file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        let mut put = |offset: usize, value: u64, size: usize| {
            file[offset..offset + size].copy_from_slice(&value.to_le_bytes()[..size]);
        };
        put(16, 1, 2); // A file that can be relocated,
        put(18, 62, 2); // for x86-64,
        put(20, 1, 4);
        let modinfo_at = 64_u64;
        let names_at = modinfo_at + modinfo.len() as u64;
        let sections_at = (names_at + names.len() as u64).next_multiple_of(8);
        put(40, sections_at, 8);
        put(52, 64, 2);
        put(58, 64, 2);
        put(60, 3, 2); // with three sections, the last of which has their names.
        put(62, 2, 2);
        file.extend_from_slice(modinfo.as_bytes());
        file.extend_from_slice(names);
        file.resize(usize::try_from(sections_at).unwrap(), 0);
        file.extend_from_slice(&[0; 64]);
        for (name, kind, offset, size) in [(1_u32, 1_u32, modinfo_at, modinfo.len()), (10, 3, names_at, names.len())] {
            let mut header = [0; 64];
            header[..4].copy_from_slice(&name.to_le_bytes());
            header[4..8].copy_from_slice(&kind.to_le_bytes());
            header[24..32].copy_from_slice(&offset.to_le_bytes());
            header[32..40].copy_from_slice(&(size as u64).to_le_bytes());
            file.extend_from_slice(&header);
        }
        file
    }

    #[test]
    fn a_module_comes_after_all_that_it_needs_and_once() {
        let root = scratch("modules");
        let folder = root.join("lib/modules/6.1.0-1-amd64");
        fs::create_dir_all(folder.join("kernel/drivers/uio")).unwrap();
        let put = |name: &str, modinfo: &str| fs::write(folder.join(name), module(modinfo)).unwrap();
        put("kernel/drivers/uio/uio_pci_generic.ko", "depends=uio,mii\0");
        put("kernel/drivers/uio/uio.ko", "depends=mii\0");
        put("kernel/drivers/loop-a.ko", "depends=loop_b\0");
        put("kernel/drivers/loop-b.ko", "depends=loop-a\0");
        fs::write(folder.join("modules.builtin"), "kernel/drivers/net/mii.ko\n").unwrap();
        let modules = Modules::find(&root).unwrap();
        let loaded = modules.with_dependencies(&["uio-pci-generic", "uio", "mii"]).unwrap();
        let names: Vec<&str> = loaded.iter().map(|module| module.name.as_str()).collect();
        assert_eq!(names, ["uio", "uio_pci_generic"]);
        assert_eq!(loaded[0].content, module("depends=mii\0"));
        let error = modules.with_dependencies(&["e1000"]).unwrap_err().to_string();
        assert!(error.contains("e1000"), "{error}");
        assert!(modules.with_dependencies(&["loop_a"]).is_err(), "two that need each other end");
        fs::remove_dir_all(root).unwrap();
    }
}
