//! This terminal as the router's: keys go to its serial line, what it shows comes here. [`attach`].

use std::{
    io::{self, IsTerminal, Read, Write},
    os::fd::AsFd,
};

use anyhow::{Context, Result};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::termios::{self, SetArg, Termios},
};

use crate::guest::Guest;

/// The key that begins a command to us instead of the router: Ctrl-A, as in QEMU.
const ESCAPE: u8 = 0x01;

/// How often it is looked whether the machine still runs, in milliseconds.
const LOOK: u8 = 100;

/// A terminal without line editing and echo, for as long as this lives.
#[derive(Debug)]
struct RawMode {
    before: Termios,
}

impl RawMode {
    fn enter() -> Result<Self> {
        let before = termios::tcgetattr(io::stdin()).context("cannot ask the terminal")?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(io::stdin(), SetArg::TCSANOW, &raw).context("cannot set the terminal up")?;
        Ok(Self { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // The terminal may have gone; then there is nothing to put back.
        let _ = termios::tcsetattr(io::stdin(), SetArg::TCSANOW, &self.before);
    }
}

/// What a key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Send(u8),
    Nothing,
    Leave,
}

/// Returns whether somebody sits at a terminal.
#[must_use]
pub fn is_attended() -> bool {
    io::stdin().is_terminal()
}

/// Connects the terminal with the guest's serial line until the machine ends or Ctrl-A X is typed.
///
/// # Errors
/// When the terminal cannot be used.
pub fn attach(guest: &mut Guest) -> Result<()> {
    let raw = RawMode::enter()?;
    guest.console().set_mirror(Some(Box::new(|bytes| {
        let mut out = io::stdout();
        // A terminal that takes nothing more is gone, which the reading side notices.
        let _ = out.write_all(bytes).and_then(|()| out.flush());
    })));
    guest.console().send(b"\r")?;
    let result = forward_keys(guest);
    guest.console().set_mirror(None);
    drop(raw);
    println!();
    result
}

fn forward_keys(guest: &mut Guest) -> Result<()> {
    let mut escaped = false;
    let mut bytes = [0; 256];
    while guest.is_running() {
        let input = io::stdin();
        let mut descriptors = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
        if poll(&mut descriptors, PollTimeout::from(LOOK)).unwrap_or(0) == 0 {
            continue;
        }
        let count = io::stdin().read(&mut bytes).context("cannot read the terminal")?;
        if count == 0 {
            return Ok(());
        }
        for byte in bytes.iter().take(count) {
            match key(*byte, &mut escaped) {
                Key::Send(byte) => guest.console().send(&[byte])?,
                Key::Nothing => {}
                Key::Leave => return Ok(()),
            }
        }
    }
    Ok(())
}

/// Reads a key; `escaped` remembers that the one before was the escape.
fn key(byte: u8, escaped: &mut bool) -> Key {
    match (std::mem::take(escaped), byte) {
        (true, b'x' | b'X') => Key::Leave,
        (false, ESCAPE) => {
            *escaped = true;
            Key::Nothing
        }
        (_, byte) => Key::Send(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_escape_key_leaves_or_sends_itself() {
        let typed = |keys: &[u8]| {
            let mut escaped = false;
            keys.iter().map(|byte| key(*byte, &mut escaped)).collect::<Vec<_>>()
        };
        assert_eq!(typed(b"x\x01x"), [Key::Send(b'x'), Key::Nothing, Key::Leave]);
        assert_eq!(typed(b"\x01\x01x"), [Key::Nothing, Key::Send(1), Key::Send(b'x')]);
        assert_eq!(typed(b"\x01c"), [Key::Nothing, Key::Send(b'c')]);
    }
}
