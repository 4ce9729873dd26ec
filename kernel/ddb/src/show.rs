//! What `show`, `list` and `ps` write by themselves.

use core::{
    fmt::{self, Write},
    ops::ControlFlow,
};

use crate::{Error, Refusal, Target, examine::Place, expression, expression::Scope, target::MAX_BREAKS};

/// Writes where an address lies: symbol, file and line.
pub(crate) fn location(target: &dyn Target, address: u64, out: &mut dyn Write) -> fmt::Result {
    write!(out, "{}: ", Place(address, target.symbol(address)))?;
    match target.location(address) {
        Some(location) => writeln!(out, "{}:{}", location.file, location.line),
        None => writeln!(out, "no line is known"),
    }
}

/// Writes what is known of an address or a name.
pub(crate) fn symbol<'t>(
    target: &mut dyn Target,
    text: &'t str,
    dot: u64,
    out: &mut dyn Write,
) -> Result<(), Error<'t>> {
    let address = expression::evaluate(text, &mut Scope::new(target, dot))?;
    match target.symbol(address) {
        Some(symbol) => {
            let start = address.wrapping_sub(symbol.offset);
            writeln!(out, "{address:#x} is {symbol}; it starts at {start:#x}")?;
        }
        None => writeln!(out, "{address:#x} lies in no symbol")?,
    }
    if let Some(location) = target.location(address) {
        writeln!(out, "{}:{}", location.file, location.line)?;
    }
    Ok(())
}

/// Writes the registers of a CPU.
pub(crate) fn registers(target: &dyn Target, cpu: u16, out: &mut dyn Write) -> Result<(), Error<'static>> {
    let registers = target.registers(cpu).ok_or(Error::NoRegisters)?;
    for (name, value) in registers.iter() {
        write!(out, "{name:<8} {value:>#18x}")?;
        match target.symbol(value) {
            Some(symbol) => writeln!(out, "  {symbol}")?,
            None => writeln!(out)?,
        }
    }
    if let Some(location) = target.location(registers.rip()) {
        writeln!(out, "at {}:{}", location.file, location.line)?;
    }
    Ok(())
}

/// Writes the breakpoints.
pub(crate) fn breaks(target: &dyn Target, out: &mut dyn Write) -> fmt::Result {
    let mut any = false;
    for (number, address) in (0..MAX_BREAKS).filter_map(|number| Some((number, target.break_at(number)?))) {
        if !any {
            writeln!(out, "{:>6} {:>18}  place", "number", "address")?;
        }
        any = true;
        writeln!(out, "{number:>6} {address:>#18x}  {}", Place(address, target.symbol(address)))?;
    }
    if any { Ok(()) } else { writeln!(out, "no breakpoints") }
}

/// Writes the threads.
pub(crate) fn threads(target: &mut dyn Target, out: &mut dyn Write) -> Result<(), Refusal> {
    writeln!(out, "  {:>4} {:>3} {:<8} {:<8} {:<12} name", "id", "cpu", "pri", "state", "wait")?;
    let mut result = Ok(());
    target.threads(&mut |thread| {
        let mark = if thread.current { '*' } else { ' ' };
        let (id, cpu, name) = (thread.id, thread.cpu, thread.name);
        let (priority, state, wait) = (thread.priority, thread.state, thread.waits_for);
        result = writeln!(out, "{mark} {id:>4} {cpu:>3} {priority:<8} {state:<8} {wait:<12} {name}");
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(result?)
}
