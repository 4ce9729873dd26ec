//! `dump`: checks a crash dump in captured console output, names its addresses, and shows it.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use crashdump::{Dump, Reader};
use sluice::{
    dump::{self, Symbols},
    workspace::Workspace,
};

/// What `dump` takes.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Captured console output with a dump in it; several are put together
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Shows this section only
    #[arg(long, value_name = "NAME")]
    section: Option<String>,
    /// Which dump, where there are several (the last one, unless given)
    #[arg(long, value_name = "NUMBER")]
    number: Option<String>,
    /// The kernel that crashed, for names of functions and source lines (the one built last, unless given)
    #[arg(long, value_name = "ELF")]
    kernel: Option<PathBuf>,
}

/// Shows the dump; an incomplete one as far as it is there, and then it is an error.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let dump = find(&arguments.files, arguments.number.as_deref())?;
    let workspace = Workspace::find();
    let build = dump.begin.as_ref().map_or("", |begin| begin.build.as_str());
    let symbols = match Symbols::find(&workspace, arguments.kernel.as_deref(), build) {
        Ok(symbols) => symbols,
        Err(error) if arguments.kernel.is_some() => return Err(error),
        Err(error) => Symbols::none(&format!("{error:#}")),
    };
    let names = |address, is_call| symbols.name(address, is_call);
    match &arguments.section {
        None => print!("{}", dump::report(&dump, &names, symbols.source())),
        Some(name) => match dump.section(name) {
            Some(section) => print!("{}", dump::section(section, &names)),
            None => {
                let known: Vec<&str> = dump.sections.iter().map(|section| section.name.as_str()).collect();
                bail!("the dump has no section {name}; it has: {}", known.join(", "));
            }
        },
    }
    for complaint in dump::complaints(&dump) {
        eprintln!("{complaint}");
    }
    if !dump.is_complete() {
        bail!("dump {:04x} is incomplete", dump.id);
    }
    Ok(())
}

/// Reads all files and picks one dump.
fn find(files: &[PathBuf], number: Option<&str>) -> Result<Dump> {
    let mut reader = Reader::new();
    for file in files {
        let log = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        reader.read(&file.display().to_string(), &String::from_utf8_lossy(&log));
    }
    let mut dumps = reader.dumps();
    let known: Vec<String> = dumps.iter().map(|dump| format!("{:04x}", dump.id)).collect();
    if known.len() > 1 && number.is_none() {
        eprintln!("there are {} dumps: {}; the last one is shown", known.len(), known.join(", "));
    }
    let wanted = match number {
        None => dumps.pop(),
        Some(number) => known.iter().position(|known| known == number).map(|index| dumps.swap_remove(index)),
    };
    match (wanted, reader.damaged().len()) {
        (Some(dump), _) => Ok(dump),
        (None, _) if !known.is_empty() => bail!("there is no such dump; there are {}", known.join(", ")),
        (None, 0) => bail!("there is no crash dump in there"),
        (None, damaged) => bail!("there is no crash dump in there, only {damaged} damaged lines of one"),
    }
}
