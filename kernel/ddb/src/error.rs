//! What can be wrong with a line, and why the machine may refuse.

use core::fmt;

/// Why the target did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The user stopped the listing.
    Stopped,
    /// Memory that the answer needs is not mapped, or nonsense lies there.
    Faulted,
    /// A CPU was stopped in the middle of a change and holds the lock.
    Locked,
    /// Anything else, in words.
    Because(&'static str),
}

impl From<fmt::Error> for Refusal {
    fn from(_: fmt::Error) -> Self {
        Self::Stopped
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "stopped",
            Self::Faulted => "the answer ended in a fault: what it reads is damaged",
            Self::Locked => "locked by a CPU that was stopped in the middle of a change",
            Self::Because(why) => why,
        })
    }
}

/// Why a line was not carried out; the text is for the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<'a> {
    /// The first word is no command.
    UnknownCommand(&'a str),
    /// The word after `show` is no view.
    UnknownView(&'a str),
    /// The command exists; what follows does not fit. Carries the usage.
    Usage(&'static str),
    /// `/` and letters behind a command that takes none, or that it does not know.
    Modifier(&'a str),
    /// Nothing where an address should be.
    NoAddress,
    /// Starts with a digit and is no number.
    Number(&'a str),
    /// No symbol of this name, and not hexadecimal.
    UnknownSymbol(&'a str),
    /// So many symbols end in that name.
    ManySymbols(&'a str, usize),
    /// `$` and no register.
    UnknownRegister(&'a str),
    /// The registers of this CPU are not known.
    NoRegisters,
    /// `*` of an address that cannot be read.
    Unreadable(u64),
    /// More parentheses and operators inside each other than anybody needs.
    TooDeep,
    /// Something is left, or missing, here.
    Syntax(&'a str),
    /// The target refused.
    Refused(Refusal),
}

impl From<Refusal> for Error<'_> {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<fmt::Error> for Error<'_> {
    fn from(error: fmt::Error) -> Self {
        Self::Refused(error.into())
    }
}

impl fmt::Display for Error<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownCommand(word) => write!(f, "{word}: no such command; `help` lists them"),
            Self::UnknownView(word) => write!(f, "show {word}: no such view; `help` lists them"),
            Self::Usage(usage) => write!(f, "usage: {usage}"),
            Self::Modifier(word) => write!(f, "/{word}: not understood; only x takes a count, a format and a size"),
            Self::NoAddress => f.write_str("an address is missing"),
            Self::Number(word) => write!(f, "{word}: not a number (hexadecimal, or 0t and decimal)"),
            Self::UnknownSymbol(word) => write!(f, "{word}: no such symbol, and not hexadecimal"),
            Self::ManySymbols(word, count) => write!(f, "{word}: {count} symbols end in that; give more of the name"),
            Self::UnknownRegister(word) => write!(f, "${word}: no such register"),
            Self::NoRegisters => f.write_str("the registers of this CPU are not known"),
            Self::Unreadable(address) => write!(f, "*{address:#x}: not mapped"),
            Self::TooDeep => f.write_str("too many parentheses and operators"),
            Self::Syntax("") => f.write_str("the expression ends too early"),
            Self::Syntax(rest) => write!(f, "not understood from here on: {rest}"),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl core::error::Error for Error<'_> {}
