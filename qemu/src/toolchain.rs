//! Which cargo builds for the bare machine, and the environment it needs: [`Toolchain`].
//!
//! `core` and `alloc` for `x86_64-unknown-none` are built from source, so the one question is which sysroot holds that
//! source, together with the linker and `llvm-objcopy` that the `bootloader` crate asks its sysroot for:
//!
//! 1. the pinned toolchain, where rustup has fetched its `rust-src` and `llvm-tools`;
//! 2. else Debian's complete one (packages `rustc-web cargo-web rust-web-src lld-N llvm-N`), made into such a sysroot
//!    by an overlay of links under `target/toolchain`.
//!
//! Nothing is downloaded here, and nothing is written outside the target folder.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// The host that the tools themselves run on.
const HOST: &str = "x86_64-unknown-linux-gnu";

/// The oldest compiler that builds the kernel, as the root manifest's `rust-version` says.
const OLDEST: (u32, u32) = (1, 95);

/// Variables of an outer cargo or rustup that would lead a cargo of another toolchain astray.
const FOREIGN: &[&str] = &[
    "CARGO",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_MAKEFLAGS",
    "CARGO_MANIFEST_DIR",
    "CARGO_TARGET_DIR",
    "LD_LIBRARY_PATH",
    "MAKEFLAGS",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTDOCFLAGS",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];

/// A cargo that can build `core` for the bare machine.
#[derive(Clone, Debug)]
pub struct Toolchain {
    cargo: PathBuf,
    environment: Vec<(&'static str, OsString)>,
    /// What it is, for messages.
    pub description: String,
}

/// What Debian's compiler says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Major and minor release.
    pub release: (u32, u32),
    /// The major version of its LLVM.
    pub llvm: u32,
}

impl Toolchain {
    /// Finds the toolchain and, for Debian's, brings the overlay up to date.
    ///
    /// # Errors
    /// When there is none; the error says what was looked for and how to get it.
    pub fn find(workspace: &Workspace) -> Result<Self> {
        if let Some(pinned) = Self::pinned(workspace) {
            return Ok(pinned);
        }
        match Self::debian(workspace)? {
            Some(debian) => Ok(debian),
            None => bail!(
                "no Rust toolchain with the source of its library: neither the pinned one has it \
                 (rustup component add rust-src llvm-tools), nor is Debian's complete \
                 ({})",
                crate::prepare::install_command(&crate::prepare::toolchain_packages())
            ),
        }
    }

    /// Returns a cargo command with everything set that this toolchain needs, and nothing left over of an outer one.
    #[must_use]
    pub fn cargo(&self, workspace: &Workspace) -> Command {
        let mut command = Command::new(&self.cargo);
        for name in FOREIGN {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        // Building the library from source is the one thing that stable cargo needs this for.
        command.env("RUSTC_BOOTSTRAP", "1").current_dir(workspace.root());
        command
    }

    /// The pinned toolchain, if its sysroot is complete.
    fn pinned(workspace: &Workspace) -> Option<Self> {
        let rustc = Command::new("rustc").args(["--print", "sysroot"]).current_dir(workspace.root()).output().ok()?;
        let sysroot = PathBuf::from(String::from_utf8(rustc.stdout).ok()?.trim());
        let tools = sysroot.join("lib/rustlib").join(HOST).join("bin");
        let parts = [
            sysroot.join("bin/cargo"),
            sysroot.join("lib/rustlib/src/rust/library/core"),
            tools.join("llvm-objcopy"),
            tools.join("rust-lld"),
        ];
        let is_complete = rustc.status.success() && parts.iter().all(|part| part.exists());
        is_complete.then(|| {
            let path = prepend_path(&sysroot.join("bin"));
            let environment = vec![("PATH", path), ("RUSTC", sysroot.join("bin/rustc").into_os_string())];
            let description = format!("the pinned toolchain in {}", sysroot.display());
            Self { cargo: sysroot.join("bin/cargo"), environment, description }
        })
    }

    /// Returns the sysroot's `llvm-objcopy`.
    #[must_use]
    pub fn objcopy(&self) -> PathBuf {
        let sysroot = self.cargo.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
        sysroot.join("lib/rustlib").join(HOST).join("bin/llvm-objcopy")
    }

    /// Debian's toolchain behind its overlay, if all of its packages are installed.
    fn debian(workspace: &Workspace) -> Result<Option<Self>> {
        let Some(version) = debian_version().filter(|version| version.release >= OLDEST) else { return Ok(None) };
        let Some(llvm) = newest_llvm(Path::new("/usr/lib"), version.llvm) else { return Ok(None) };
        let parts = ["/usr/bin/cargo", "/usr/lib/rustlib/src/rust/library/core"];
        if !parts.iter().all(|part| Path::new(part).exists()) {
            return Ok(None);
        }
        let overlay = workspace.folder("toolchain")?;
        lay_over(&overlay, &llvm).with_context(|| format!("cannot make the overlay {}", overlay.display()))?;
        let bin = overlay.join("bin");
        let environment = vec![("PATH", prepend_path(&bin)), ("RUSTC", bin.join("rustc").into_os_string())];
        let (major, minor) = version.release;
        let description = format!("Debian's Rust {major}.{minor} with LLVM tools from {}", llvm.display());
        Ok(Some(Self { cargo: bin.join("cargo"), environment, description }))
    }
}

/// Returns what /usr/bin/rustc says of itself, if it is there.
#[must_use]
pub fn debian_version() -> Option<Version> {
    let output = Command::new("/usr/bin/rustc").arg("-vV").env_remove("LD_LIBRARY_PATH").output().ok()?;
    parse_version(&String::from_utf8(output.stdout).ok()?)
}

/// Returns the folder of the newest complete LLVM that is not newer than the compiler's own.
#[must_use]
pub fn newest_llvm(folder: &Path, newest: u32) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    let number = |name: &str| name.strip_prefix("llvm-")?.parse::<u32>().ok().filter(|number| *number <= newest);
    let complete =
        |path: &Path| ["lld", "llvm-objcopy", "llvm-objdump"].iter().all(|t| path.join("bin").join(t).exists());
    let found = entries.flatten().filter_map(|entry| Some((number(entry.file_name().to_str()?)?, entry.path())));
    found.filter(|(_, path)| complete(path)).max().map(|(_, path)| path)
}

/// Reads the output of `rustc -vV`.
fn parse_version(text: &str) -> Option<Version> {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    let mut release = value("release")?.split('.').map(|part| part.parse().ok());
    let llvm = value("LLVM version")?.split('.').next()?.parse().ok()?;
    Some(Version { release: (release.next()??, release.next()??), llvm })
}

/// Makes the overlay of links; what is there and right is left alone, because other runs may be using it.
fn lay_over(overlay: &Path, llvm: &Path) -> io::Result<()> {
    let tools = overlay.join("lib/rustlib").join(HOST).join("bin");
    let bin = overlay.join("bin");
    fs::create_dir_all(&tools)?;
    fs::create_dir_all(&bin)?;
    for program in ["cargo", "rustdoc", "cargo-clippy", "clippy-driver", "rustfmt", "cargo-fmt"] {
        link(&Path::new("/usr/bin").join(program), &bin.join(program))?;
    }
    link(Path::new("/usr/lib/rustlib/src"), &overlay.join("lib/rustlib/src"))?;
    link(&Path::new("/usr/lib/rustlib").join(HOST).join("lib"), &overlay.join("lib/rustlib").join(HOST).join("lib"))?;
    for (program, name) in [("lld", "rust-lld"), ("llvm-objcopy", "llvm-objcopy"), ("llvm-objdump", "llvm-objdump")] {
        link(&llvm.join("bin").join(program), &tools.join(name))?;
    }
    let script = format!("#!/bin/sh\nexec /usr/bin/rustc --sysroot '{}' \"$@\"\n", overlay.display());
    let rustc = bin.join("rustc");
    if fs::read_to_string(&rustc).is_ok_and(|present| present == script) {
        return Ok(());
    }
    let fresh = bin.join(format!("rustc.{}", std::process::id()));
    fs::write(&fresh, script)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
    fs::rename(fresh, rustc)
}

/// Makes `name` a link to `target`.
fn link(target: &Path, name: &Path) -> io::Result<()> {
    if fs::read_link(name).is_ok_and(|present| present == target) {
        return Ok(());
    }
    let fresh = name.with_extension(format!("new-{}", std::process::id()));
    symlink(target, &fresh)?;
    fs::rename(fresh, name)
}

/// Returns `PATH` with `folder` before the rest.
fn prepend_path(folder: &Path) -> OsString {
    let mut path = folder.as_os_str().to_owned();
    if let Some(rest) = std::env::var_os("PATH") {
        path.push(":");
        path.push(rest);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "rustc 1.96.0 (ac68faa20 2026-05-25)\nbinary: rustc\nrelease: 1.96.0\nLLVM version: 22.1.8\n";

    #[test]
    fn the_compilers_version_is_read_from_its_verbose_output() {
        assert_eq!(parse_version(OUTPUT), Some(Version { release: (1, 96), llvm: 22 }));
        assert_eq!(parse_version(&OUTPUT.replace("1.96.0", "1.97.0-beta.2")).unwrap().release, (1, 97));
        assert_eq!(parse_version("rustc 1.96.0"), None);
    }

    #[test]
    fn the_newest_llvm_that_is_complete_and_not_too_new_is_taken() {
        let folder = crate::workspace::scratch("llvm");
        for (version, tools) in [(9, 3), (21, 3), (22, 2), (23, 3)] {
            let bin = folder.join(format!("llvm-{version}/bin"));
            fs::create_dir_all(&bin).unwrap();
            for tool in ["lld", "llvm-objcopy", "llvm-objdump"].iter().take(tools) {
                fs::write(bin.join(tool), "").unwrap();
            }
        }
        assert_eq!(newest_llvm(&folder, 22), Some(folder.join("llvm-21")));
        assert_eq!(newest_llvm(&folder, 8), None);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_overlay_is_a_sysroot_and_making_it_twice_changes_nothing() {
        let folder = crate::workspace::scratch("overlay");
        for _ in 0..2 {
            lay_over(&folder, Path::new("/usr/lib/llvm-22")).unwrap();
            let tools = folder.join("lib/rustlib").join(HOST).join("bin");
            assert_eq!(fs::read_link(tools.join("rust-lld")).unwrap(), Path::new("/usr/lib/llvm-22/bin/lld"));
            assert!(fs::read_to_string(folder.join("bin/rustc")).unwrap().contains("--sysroot"));
            assert_eq!(fs::read_dir(folder.join("bin")).unwrap().count(), 7);
        }
        lay_over(&folder, Path::new("/usr/lib/llvm-21")).unwrap();
        let lld = fs::read_link(folder.join("lib/rustlib").join(HOST).join("bin/rust-lld")).unwrap();
        assert_eq!(lld, Path::new("/usr/lib/llvm-21/bin/lld"));
        fs::remove_dir_all(folder).unwrap();
    }
}
