//! Starts QEMU such that it ends with this process, however that ends.
//!
//! `setpriv --pdeathsig` (util-linux) asks the kernel to end a process when the *thread* that started it does. So one
//! thread, which lives as long as the process, starts them all. Without setpriv, dropping a guest still ends it.

use std::{
    io,
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        mpsc::{self, Sender},
    },
    thread,
};

use crate::prepare;

/// A command to start, and where the result goes.
type Request = (Command, Sender<io::Result<Child>>);

/// Starts `command`, whose three standard streams are pipes.
pub(super) fn spawn(command: Command) -> io::Result<Child> {
    static STARTER: OnceLock<Sender<Request>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, requests) = mpsc::channel::<Request>();
        thread::spawn(move || {
            for (command, answer) in requests {
                // Who asked may have gone; then the child goes with the answer's channel.
                let _ = answer.send(bound(command).spawn());
            }
        });
        sender
    });
    let gone = || io::Error::other("the thread that starts processes is gone");
    let (answer, result) = mpsc::channel();
    starter.send((command, answer)).map_err(|_| gone())?;
    result.recv().map_err(|_| gone())?
}

/// Puts setpriv before the command, if there is one.
fn bound(command: Command) -> Command {
    let Some(setpriv) = prepare::program("setpriv") else { return command };
    let mut bound = Command::new(setpriv);
    bound.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        bound.current_dir(folder);
    }
    bound.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_outlives_the_thread_that_asked_for_it() {
        let ask = || {
            let mut command = Command::new("sleep");
            command.arg("30").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            spawn(command).unwrap()
        };
        let mut child = thread::spawn(ask).join().unwrap();
        thread::sleep(std::time::Duration::from_millis(100));
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_or_fails_at_once() {
        let mut command = Command::new("/nonexistent/qemu");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Ok(mut child) = spawn(command) {
            assert!(!child.wait().unwrap().success());
        }
    }
}
