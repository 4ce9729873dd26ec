//! A folder of its own for each run, with its sockets and captures: [`RunFolder`].

use std::{
    fs::{self, File},
    io,
    os::{fd::AsRawFd, unix::net::UnixListener},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result};

use crate::workspace::Workspace;

/// The longest path that surely fits into a unix socket's address.
const LONGEST_ADDRESS: usize = 100;

/// A folder in the target folder that is removed when the run is over.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes a new one.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(workspace: &Workspace) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("run/{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = workspace.folder(&name)?;
        let path = path.canonicalize().with_context(|| format!("cannot find {}", path.display()))?;
        Ok(Self { path })
    }

    /// Returns the absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of `name` in the folder.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Listens on the socket `name` in the folder.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn listen(&self, name: &str) -> Result<UnixListener> {
        listen(&self.path, name).with_context(|| format!("cannot listen on {}", self.join(name).display()))
    }

    /// Returns `path` as seen from the folder, if it is inside or in that of another run.
    pub(super) fn relative(&self, path: &Path) -> PathBuf {
        let beside = || self.path.parent().and_then(|runs| path.strip_prefix(runs).ok());
        match path.strip_prefix(&self.path) {
            Ok(inside) => inside.to_path_buf(),
            Err(_) => beside().map_or_else(|| path.to_path_buf(), |beside| Path::new("..").join(beside)),
        }
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // Nothing depends on its being gone.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Binds a socket; one whose path is too long for an address is reached through its open folder.
fn listen(folder: &Path, name: &str) -> io::Result<UnixListener> {
    let path = folder.join(name);
    if path.as_os_str().len() <= LONGEST_ADDRESS {
        return UnixListener::bind(path);
    }
    let open = File::open(folder)?;
    UnixListener::bind(format!("/proc/self/fd/{}/{name}", open.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_gone_with_its_run_and_no_two_runs_share_one() {
        let base = crate::workspace::scratch("run");
        let workspace = Workspace::at(&base, &base);
        let (first, second) = (RunFolder::new(&workspace).unwrap(), RunFolder::new(&workspace).unwrap());
        assert_ne!(first.path(), second.path());
        assert_eq!(first.relative(&first.join("a")), Path::new("a"));
        let seen = first.path().join(first.relative(&second.join("b")));
        assert!(seen.starts_with(first.path()) && seen.parent().unwrap().canonicalize().unwrap() == second.path());
        assert_eq!(first.relative(Path::new("/x/y")), Path::new("/x/y"));
        let path = first.path().to_path_buf();
        assert!(path.is_dir());
        drop(first);
        assert!(!path.exists() && second.path().is_dir());
        drop(second);
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn a_socket_in_a_deep_folder_can_be_listened_on() {
        let base = crate::workspace::scratch("deep");
        let deep = base.join("d".repeat(120));
        fs::create_dir_all(&deep).unwrap();
        listen(&deep, "socket").unwrap();
        assert!(deep.join("socket").exists());
        fs::remove_dir_all(base).unwrap();
    }
}
