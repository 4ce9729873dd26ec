//! Where things are: the checkout and the one folder below which the runner writes.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// The checkout that this program was built from.
#[derive(Clone, Debug)]
pub struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Finds the checkout. `CARGO_TARGET_DIR` moves everything that is written, as it does for cargo.
    #[must_use]
    pub fn find() -> Self {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = package.parent().unwrap_or(package).to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => root.join(folder),
            None => root.join("target"),
        };
        Self { root, target }
    }

    /// Makes a workspace of the given folders (for tests).
    #[must_use]
    pub fn at(root: &Path, target: &Path) -> Self {
        Self { root: root.to_path_buf(), target: target.to_path_buf() }
    }

    /// Returns the folder of the root manifest.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the path of `name` in the target folder, whether it exists or not.
    #[must_use]
    pub fn target(&self, name: &str) -> PathBuf {
        self.target.join(name)
    }

    /// Returns the path of the folder `name` in the target folder and makes it if needed.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.target(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(path)
    }
}

/// Makes an empty folder in the target folder for the test `name`.
#[cfg(test)]
pub(crate) fn scratch(name: &str) -> PathBuf {
    let path = Workspace::find().target("tmp").join(format!("{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).expect("the target folder can be written");
    path
}
