//! Commands, views, and what may be left off their names.
//!
//! A whole name wins; else a beginning does if only one command or view has it.

use cli::View;
use core::fmt::{self, Write};

use crate::Error;

/// What a line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    AllTrace,
    Break,
    Continue,
    Delete,
    Dump,
    Examine,
    Gdb,
    Halt,
    Help,
    List,
    Panic,
    Ps,
    Reboot,
    Reset,
    Show,
    Step,
    Trace,
}

/// What `show` can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Breaks,
    Registers,
    Symbol,
    /// What the running console shows as well.
    View(View),
}

struct Word {
    name: &'static str,
    command: Command,
    arguments: &'static str,
    help: &'static str,
}

const fn word(name: &'static str, command: Command, arguments: &'static str, help: &'static str) -> Word {
    Word { name, command, arguments, help }
}

const COMMANDS: [Word; 17] = [
    word("trace", Command::Trace, "[thread ID | cpu N]", "the backtrace of this CPU, of that thread or CPU"),
    word("alltrace", Command::AllTrace, "", "the backtraces of all threads"),
    word("ps", Command::Ps, "", "the threads: CPU, priority, state, what they wait for"),
    word("show", Command::Show, "WHAT", "one of the views below"),
    word("list", Command::List, "[ADDRESS]", "the source line of an address"),
    word("x", Command::Examine, "[/COUNT FORMAT SIZE] [ADDRESS][,COUNT]", "memory; x d u s c a, sizes b h l g"),
    word("break", Command::Break, "ADDRESS", "stops whoever comes there"),
    word("delete", Command::Delete, "ADDRESS | NUMBER | all", "removes a breakpoint"),
    word("step", Command::Step, "", "one instruction on this CPU"),
    word("continue", Command::Continue, "", "lets the machine go on"),
    word("reset", Command::Reset, "", "restarts the machine at once"),
    word("reboot", Command::Reboot, "", "restarts it in order where it can still do that"),
    word("halt", Command::Halt, "", "stops it for good"),
    word("dump", Command::Dump, "[FIRST [LAST]]", "sends a crash dump over this line, or lines of it again"),
    word("gdb", Command::Gdb, "", "hands over to gdb on the second serial line"),
    word("panic", Command::Panic, "", "panics"),
    word("help", Command::Help, "", "this"),
];

/// Short names that are not the beginning of one command only.
const SHORT: [(&str, Command); 9] = [
    ("?", Command::Help),
    ("b", Command::Break),
    ("bt", Command::Trace),
    ("c", Command::Continue),
    ("d", Command::Delete),
    ("l", Command::List),
    ("s", Command::Step),
    ("t", Command::Trace),
    ("where", Command::Trace),
];

const OWN_VIEWS: [(&str, Shown); 3] =
    [("breaks", Shown::Breaks), ("registers", Shown::Registers), ("symbol", Shown::Symbol)];

impl Command {
    /// Finds a command by its name or by enough of it.
    pub(crate) fn named(word: &str) -> Result<Self, Ambiguous<'_>> {
        let names = COMMANDS.iter().map(|word| (word.name, word.command));
        find(word, names.chain(SHORT))
    }

    /// Returns how it is used.
    pub(crate) fn usage(self) -> &'static str {
        match self {
            Self::Trace => "trace [thread ID | cpu N]",
            Self::Show => "show WHAT; `help` lists what there is",
            Self::Examine => "x[/COUNT FORMAT SIZE] [ADDRESS][,COUNT], COUNT from 1 to 4096 (decimal)",
            Self::Break => "break ADDRESS",
            Self::Delete => "delete ADDRESS | NUMBER | all; `show breaks` has the numbers",
            Self::List => "list [ADDRESS]",
            Self::Dump => "dump [FIRST [LAST]], numbers of lines (decimal)",
            _ => "this command stands alone",
        }
    }
}

impl Shown {
    /// Finds a view by its name or by enough of it.
    pub(crate) fn named(word: &str) -> Result<Self, Ambiguous<'_>> {
        find(word, OWN_VIEWS.into_iter().chain(cli::VIEWS.iter().map(|(name, view)| (*name, Self::View(*view)))))
    }
}

/// A word that is not one name's: that of several, or of none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ambiguous<'a> {
    pub(crate) word: &'a str,
    pub(crate) several: bool,
}

fn find<'w, T: Copy + PartialEq>(
    word: &'w str,
    names: impl Iterator<Item = (&'static str, T)> + Clone,
) -> Result<T, Ambiguous<'w>> {
    if let Some((_, found)) = names.clone().find(|(name, _)| *name == word) {
        return Ok(found);
    }
    let mut begun = names.filter(|(name, _)| name.starts_with(word) && !word.is_empty());
    let Some((_, first)) = begun.next() else { return Err(Ambiguous { word, several: false }) };
    if begun.all(|(_, other)| other == first) { Ok(first) } else { Err(Ambiguous { word, several: true }) }
}

/// Writes what `help` says.
pub(crate) fn help(out: &mut dyn Write) -> fmt::Result {
    for Word { name, arguments, help, .. } in &COMMANDS {
        writeln!(out, "{name:<9} {arguments:<38} {help}")?;
    }
    write!(out, "show:")?;
    let views = OWN_VIEWS.iter().map(|(name, _)| *name).chain(cli::VIEWS.iter().map(|(name, _)| *name));
    for name in views {
        write!(out, " {name}")?;
    }
    writeln!(
        out,
        "\nADDRESS: hexadecimal, 0t decimal, symbol, $rip, . (the last one), + - * ( ). Names may be shortened; an\n\
         empty line repeats x and step; q stops a listing."
    )
}

/// Writes which names `word` could mean.
pub(crate) fn candidates(word: &str, shown: bool, out: &mut dyn Write) -> fmt::Result {
    write!(out, "{word}: could be")?;
    let commands = COMMANDS.iter().map(|word| word.name).filter(|_| !shown);
    let views = OWN_VIEWS.iter().map(|(name, _)| *name).chain(cli::VIEWS.iter().map(|(name, _)| *name));
    for name in commands.chain(views.filter(|_| shown)).filter(|name| name.starts_with(word)) {
        write!(out, " {name}")?;
    }
    writeln!(out)
}

impl<'a> From<Ambiguous<'a>> for Error<'a> {
    fn from(ambiguous: Ambiguous<'a>) -> Self {
        Self::UnknownCommand(ambiguous.word)
    }
}
