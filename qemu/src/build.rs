//! Builds the kernel and its disk images: [`Builder`].
//!
//! Kernel and image tool have target folders of their own (`target/kernel`, `target/image`), so that neither waits for
//! or invalidates what host tests build. Several test programs may build at once: a lock file puts them in a row, and
//! images are found again by the content they were made of.

use std::{
    env,
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use ::symbols::{Table, attached};
use anyhow::{Context, Result, anyhow};
use config::routes;

use crate::{prepare, progress::Progress, symbols, toolchain::Toolchain, workspace::Workspace};

/// The target the kernel is built for.
const TARGET: &str = "x86_64-unknown-none";

/// What cargo needs to build the library for the bare machine along with the kernel.
const BUILD_STD: &[&str] = &["-Zbuild-std=core,alloc", "-Zbuild-std-features=compiler-builtins-mem"];

/// Frame pointers are what backtraces of the kernel follow; the build id tells which symbols and which dump belong to it. Every
/// server processor since 2009 has POPCNT, with which a route is found in fewer instructions; the kernel refuses others.
const KERNEL_RUSTFLAGS: &str = "-C force-frame-pointers=yes -C link-arg=--build-id=sha1 -C target-feature=+popcnt";

/// How many images are kept at most, and for how long each is safe from being removed.
const KEPT_IMAGES: usize = 64;
const SAFE_AGE: Duration = Duration::from_secs(3600);

/// What an image has of the user and of the kernel's build.
#[derive(Debug)]
struct Content<'a> {
    /// The file of the user.
    configuration: &'a [u8],
    /// What is put behind the kernel.
    attached: Vec<u8>,
}

/// Builds for one checkout, with one toolchain.
#[derive(Clone, Debug)]
pub struct Builder {
    workspace: Workspace,
    toolchain: Toolchain,
    progress: Progress,
}

impl Builder {
    /// Finds or installs the toolchain.
    ///
    /// # Errors
    /// When there is none and it cannot be installed.
    pub fn new(workspace: &Workspace, progress: Progress) -> Result<Self> {
        let toolchain = {
            let _lock = lock(workspace)?;
            prepare::for_building(workspace, progress)?
        };
        Ok(Self { workspace: workspace.clone(), toolchain, progress })
    }

    /// Returns the toolchain in use.
    #[must_use]
    pub fn toolchain(&self) -> &Toolchain {
        &self.toolchain
    }

    /// Builds the kernel and returns its ELF file.
    ///
    /// # Errors
    /// When it does not build; the compiler's output has been shown by then.
    pub fn kernel(&self) -> Result<PathBuf> {
        self.bare_program("kmain")
    }

    /// Builds the program of `package` for the bare machine, as the kernel is built, and returns its ELF file.
    ///
    /// # Errors
    /// When it does not build; the compiler's output has been shown by then.
    pub fn bare_program(&self, package: &str) -> Result<PathBuf> {
        let _lock = lock(&self.workspace)?;
        let title = format!("Building {package} for the bare machine");
        self.progress.run(&title, &mut self.bare_command("build", package))?;
        Ok(program_file(&self.workspace, package))
    }

    /// Returns cargo with `verb`, set up for the kernel.
    #[must_use]
    pub fn kernel_command(&self, verb: &str) -> Command {
        self.bare_command(verb, "kmain")
    }

    /// Returns cargo with `verb`, set up for a package of the bare machine.
    #[must_use]
    pub fn bare_command(&self, verb: &str, package: &str) -> Command {
        let mut cargo = self.toolchain.cargo(&self.workspace);
        cargo.args([verb, "--package", package, "--profile", "kernel", "--target", TARGET]).args(BUILD_STD);
        cargo.arg("--target-dir").arg(self.workspace.target("kernel")).env("RUSTFLAGS", KERNEL_RUSTFLAGS);
        cargo
    }

    /// Returns cargo with `verb`, set up for the image tool.
    #[must_use]
    pub fn image_tool_command(&self, verb: &str) -> Command {
        let mut cargo = self.toolchain.cargo(&self.workspace);
        // The folder is an argument and no variable: the boot loader's build runs cargo itself, which would inherit the
        // variable and wait for ever for the folder that this build holds.
        cargo.args([verb, "--package", "image", "--release", "--target-dir"]).arg(self.workspace.target("image"));
        cargo
    }

    /// Builds the kernel, once for each process, and returns its ELF file.
    ///
    /// # Errors
    /// As [`kernel`](Self::kernel); every later call reports the same.
    pub fn kernel_once(&self) -> Result<PathBuf> {
        static KERNEL: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let built = KERNEL.get_or_init(|| self.kernel().map_err(|error| format!("{error:#}")));
        built.clone().map_err(anyhow::Error::msg)
    }

    /// Returns a disk image of `kernel`, its symbols, and the configuration `config` with the routes that may be packed behind it;
    /// made now unless one of the same content exists.
    ///
    /// # Errors
    /// When the image tool does not build or fails, or no symbol table can be made of the kernel.
    pub fn image(&self, kernel: &Path, config: &[u8]) -> Result<PathBuf> {
        let _lock = lock(&self.workspace)?;
        self.image_with(kernel, &self.content(kernel, config)?)
    }

    /// As [`image`](Self::image), with exactly these octets attached to the kernel: for tests of what it makes of bad ones.
    ///
    /// # Errors
    /// When the image tool does not build or fails.
    pub fn image_with_attached(&self, kernel: &Path, config: &[u8], attached: Vec<u8>) -> Result<PathBuf> {
        let _lock = lock(&self.workspace)?;
        self.image_with(kernel, &Content { configuration: config, attached })
    }

    fn image_with(&self, kernel: &Path, content: &Content<'_>) -> Result<PathBuf> {
        let tool = self.image_tool()?;
        let folder = self.workspace.folder("images")?;
        let key = content_key(&[kernel, &tool], &[content.configuration, &content.attached])?;
        let image = folder.join(format!("{key}.img"));
        if let Ok(file) = File::open(&image) {
            // The time of its last use keeps it from being removed; failing to note that costs a rebuild at most.
            let _ = file.set_modified(SystemTime::now());
            return Ok(image);
        }
        self.run_image_tool(&tool, kernel, content, &image)?;
        remove_old_images(&folder);
        Ok(image)
    }

    /// Writes a disk image of `kernel`, its symbols and the configuration `config` to `out`, as [`image`](Self::image).
    ///
    /// # Errors
    /// When the image tool does not build or fails, or no symbol table can be made of the kernel.
    pub fn image_file(&self, kernel: &Path, config: &[u8], out: &Path) -> Result<()> {
        let _lock = lock(&self.workspace)?;
        let tool = self.image_tool()?;
        self.run_image_tool(&tool, kernel, &self.content(kernel, config)?, out)
    }

    /// Takes routes from behind the configuration, which is to stay a text, and puts them with the symbols behind the kernel.
    fn content<'a>(&self, kernel: &Path, config: &'a [u8]) -> Result<Content<'a>> {
        let parts = routes::split(config).map_err(|routes::DamagedRoutes| anyhow!("the packed routes are damaged"))?;
        let (configuration, routes) = config.split_at(parts.configuration.len());
        Ok(Content { configuration, attached: attached::join(routes, &self.symbols(kernel)?) })
    }

    /// Returns the symbol table of `kernel`, kept beside it until either the kernel or this program changes.
    ///
    /// # Errors
    /// When the file is no kernel with symbols, lines and a build id.
    pub fn symbols(&self, kernel: &Path) -> Result<Vec<u8>> {
        let kept = kernel.with_extension("symbols");
        let time = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
        let made_by = env::current_exe().ok().and_then(|program| time(&program));
        let is_newest = time(&kept) >= time(kernel).max(made_by);
        let id = symbols::build_id_of(kernel)?;
        let is_of_kernel = |bytes: &Vec<u8>| Table::parse(bytes).is_ok_and(|table| table.build_id() == id);
        if let Some(table) = fs::read(&kept).ok().filter(|bytes| is_newest && is_of_kernel(bytes)) {
            return Ok(table);
        }
        let table = symbols::table_of(&self.workspace, kernel)?;
        // The next build makes it again if it cannot be kept.
        let _ = fs::write(&kept, &table);
        Ok(table)
    }

    /// Builds the image tool, once for each process.
    fn image_tool(&self) -> Result<PathBuf> {
        static TOOL: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let built = TOOL.get_or_init(|| self.build_image_tool().map_err(|error| format!("{error:#}")));
        built.clone().map_err(anyhow::Error::msg)
    }

    fn build_image_tool(&self) -> Result<PathBuf> {
        self.progress.run(
            "Building the image tool and the boot loader (once, a few minutes)",
            &mut self.image_tool_command("build"),
        )?;
        Ok(self.workspace.target("image").join("release").join("image"))
    }

    fn run_image_tool(&self, tool: &Path, kernel: &Path, content: &Content<'_>, out: &Path) -> Result<()> {
        // The firmware reads the kernel a few sectors at a time: the debugger's tables would make the boot five times as long. What
        // the kernel needs of them is attached to it, in a tenth of the space.
        let folder = self.workspace.folder("tmp")?;
        let (packed, configuration) = (folder.join("packed-kernel"), folder.join("configuration"));
        let mut strip = Command::new(self.toolchain.objcopy());
        strip.arg("--strip-all").arg(kernel).arg(&packed);
        self.progress.run("Packing the kernel", &mut strip)?;
        let attach = || File::options().append(true).open(&packed)?.write_all(&content.attached);
        attach().with_context(|| format!("cannot write {}", packed.display()))?;
        let written = fs::write(&configuration, content.configuration);
        written.with_context(|| format!("cannot write {}", configuration.display()))?;
        let mut command = Command::new(tool);
        command.arg("--kernel").arg(&packed).arg("--configuration").arg(&configuration).arg("--out").arg(out);
        command.env("TMPDIR", folder);
        self.progress.run("Making the disk image", &mut command)
    }
}

/// Returns where the kernel's ELF file is once it has been built.
#[must_use]
pub fn kernel_file(workspace: &Workspace) -> PathBuf {
    program_file(workspace, "kmain")
}

fn program_file(workspace: &Workspace, package: &str) -> PathBuf {
    workspace.target("kernel").join(TARGET).join("kernel").join(package)
}

/// Takes the lock that builds of this checkout share; it is released with the file.
pub(crate) fn lock(workspace: &Workspace) -> Result<File> {
    let path = workspace.folder("")?.join("runner.lock");
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// Returns a name made of the content of everything that goes into an image.
fn content_key(files: &[&Path], parts: &[&[u8]]) -> Result<String> {
    // Two differently begun sums make a chance collision of two images as good as impossible.
    let mut sums = [DefaultHasher::new(), DefaultHasher::new()];
    "second".hash(&mut sums[1]);
    let contents = files.iter().map(|path| fs::read(path).with_context(|| format!("cannot read {}", path.display())));
    for content in contents.chain(parts.iter().map(|part| Ok(part.to_vec()))) {
        let content = content?;
        sums.iter_mut().for_each(|sum| content.hash(sum));
    }
    Ok(sums.map(|sum| format!("{:016x}", sum.finish())).concat())
}

/// Removes the images used longest ago beyond the number kept. What cannot be removed is left for the next time.
fn remove_old_images(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let aged = entries.flatten().filter(|entry| entry.path().extension().is_some_and(|extension| extension == "img"));
    let mut aged: Vec<(SystemTime, PathBuf)> =
        aged.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).collect();
    aged.sort_by(|a, b| b.cmp(a));
    for (used, path) in aged.into_iter().skip(KEPT_IMAGES) {
        if used.elapsed().is_ok_and(|age| age > SAFE_AGE) {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_an_image_changes_with_each_of_its_parts() {
        let folder = crate::workspace::scratch("key");
        let (kernel, tool) = (folder.join("kernel"), folder.join("tool"));
        fs::write(&kernel, "kernel").unwrap();
        fs::write(&tool, "tool").unwrap();
        let key = |config: &str| content_key(&[&kernel, &tool], &[config.as_bytes(), b"x"]).unwrap();
        let first = key("a");
        assert_eq!(first, key("a"));
        assert_ne!(first, key("b"));
        assert_ne!(first, key("ax"));
        fs::write(&kernel, "kernel 2").unwrap();
        assert_ne!(first, key("a"));
        fs::write(&kernel, "kernel").unwrap();
        fs::write(&tool, "tool 2").unwrap();
        assert_ne!(first, key("a"));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn only_images_that_are_old_and_many_are_removed() {
        let folder = crate::workspace::scratch("images");
        let old = SystemTime::now() - 2 * SAFE_AGE;
        for index in 0..KEPT_IMAGES + 3 {
            let image = folder.join(format!("{index:03}.img"));
            let file = File::create(&image).unwrap();
            // The first four are old; one of them is still among those kept.
            if index < 4 {
                file.set_modified(old - Duration::from_secs(index as u64)).unwrap();
            }
        }
        remove_old_images(&folder);
        let left = |name: &str| folder.join(name).exists();
        assert!(left("000.img"));
        assert!(!left("001.img") && !left("002.img") && !left("003.img"));
        assert!(left("004.img"));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_lock_keeps_a_second_builder_out() {
        let folder = crate::workspace::scratch("lock");
        let workspace = Workspace::at(&folder, &folder);
        let held = lock(&workspace).unwrap();
        let second = File::open(folder.join("runner.lock")).unwrap();
        assert!(second.try_lock().is_err());
        drop(held);
        second.try_lock().unwrap();
        fs::remove_dir_all(folder).unwrap();
    }
}
