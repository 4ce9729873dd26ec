//! Names for a dump's addresses: [`Symbols`] of the very kernel that crashed.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use symbols::{Table, build_id::BuildId};

use crate::{build, symbols as tables, workspace::Workspace};

/// A symbol table, or the reason why there is none.
#[derive(Clone, Debug)]
pub struct Symbols {
    table: Vec<u8>,
    source: String,
}

impl Symbols {
    /// Finds the symbols of build `build` (hexadecimal digits): in `kernel`, or in the kernel built last.
    ///
    /// # Errors
    /// When there is no such file, or it is another build.
    pub fn find(workspace: &Workspace, kernel: Option<&Path>, build: &str) -> Result<Self> {
        let own = build::kernel_file(workspace);
        let kernel = kernel.unwrap_or(&own);
        ensure!(!build.is_empty(), "the dump does not tell which kernel it is of");
        let id = tables::build_id_of(kernel).context("no symbols")?;
        ensure!(id.to_string() == build, "{} is another build ({})", shown(workspace, kernel), short(&id));
        let table = tables::table_of(workspace, kernel).context("no symbols")?;
        Ok(Self { table, source: format!("{}, the same build", shown(workspace, kernel)) })
    }

    /// Returns no symbols, for this reason.
    #[must_use]
    pub fn none(why: &str) -> Self {
        Self { table: Vec::new(), source: format!("none ({why})") }
    }

    /// Returns where they come from, or why there are none.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Returns what the code at `address` in the kernel file is, or the call that returns there.
    #[must_use]
    pub fn name(&self, address: u64, is_call: bool) -> Option<String> {
        // A call may be its function's last instruction, so that it returns behind the function.
        let behind = u64::from(is_call);
        let asked = address.checked_sub(behind)?;
        let table = Table::parse(&self.table).ok()?;
        let symbol = table.lookup(asked)?;
        let name = format!("{}+{:#x}", symbol.name, symbol.offset + behind);
        Some(match table.line(asked) {
            Some(location) => format!("{name} ({}:{})", location.file, location.line),
            None => name,
        })
    }
}

/// Names a file without the names of this machine's folders where it is in the checkout.
fn shown(workspace: &Workspace, path: &Path) -> String {
    path.strip_prefix(workspace.root()).unwrap_or(path).display().to_string()
}

fn short(id: &BuildId) -> String {
    id.to_string().chars().take(8).collect()
}
