//! The console thread: reads the serial line, edits, runs commands.
//!
//! Input arrives by interrupt (`irq4: uart0`), whose filter moves octets into the console's queue and wakes this thread;
//! where the line cannot be routed, the thread polls. Commands answer on the same line.

use alloc::boxed::Box;
use core::{fmt::Write, time::Duration};

use cli::{Command, HELP, Input, LineEditor, RouteTarget, View};
use ksync::Once;
use machine::console::{Printer, print, try_read};
use router::Worker;
use shutdown::Exit;

use crate::{
    debugger, dump, interfaces, ping, power, services,
    threads::{self, Thread},
    views,
};

/// How often the thread looks at a line that cannot interrupt.
const POLL: Duration = Duration::from_millis(20);

/// How the transcript names a shutdown that was typed.
const BY_COMMAND: &str = "a command";

static READER: Once<Thread> = Once::new();

/// Wakes the console thread: input has arrived. Interrupt context.
pub(crate) fn wake() {
    if let Some(thread) = READER.get() {
        threads::unpark(thread);
    }
}

/// Reads commands for ever. The body of the console thread; `worker` sends its pings.
pub(crate) fn run(prompt: &'static str, interrupts: bool, mut worker: Option<Worker>) -> ! {
    READER.call_once(threads::current);
    // With its history it is larger than one wants on a thread's stack.
    let mut editor: Box<LineEditor> = Box::new(LineEditor::new(prompt));
    let mut out = Printer;
    let _ = editor.redraw(&mut out);
    loop {
        let Some(octet) = try_read() else {
            wait(interrupts);
            continue;
        };
        match editor.push(octet, &mut out) {
            Ok(Some(Input::Line)) => execute(editor.entered(), worker.as_mut()),
            Ok(Some(Input::Interrupt)) => {}
            Ok(None) | Err(_) => continue,
        }
        let _ = editor.redraw(&mut out);
    }
}

fn wait(interrupts: bool) {
    if interrupts {
        threads::park();
    } else {
        threads::sleep(POLL);
    }
}

/// Runs one line and prints its answer.
fn execute(line: &str, worker: Option<&mut Worker>) {
    match Command::parse(line) {
        Ok(command) => perform(command, worker),
        Err(error) => print(format_args!("{error}\n")),
    }
}

/// Whether a command changes or sends something, which a shutdown refuses.
const fn is_work(command: &Command) -> bool {
    matches!(
        command,
        Command::Ping { .. }
            | Command::SysctlSet(..)
            | Command::RouteAdd(..)
            | Command::RouteDelete(_)
            | Command::InterfaceAdd(..)
            | Command::InterfaceDelete(_)
            | Command::InterfaceSwitch(..)
    )
}

fn perform(command: Command, worker: Option<&mut Worker>) {
    if services::refuses_work() && is_work(&command) {
        return print(format_args!("refused: the router is shutting down\n"));
    }
    match command {
        Command::Nothing => {}
        Command::Help => print(format_args!("{HELP}\n")),
        Command::Show(View::Log) => show_log(),
        Command::Show(view) => {
            let mut text = alloc::string::String::new();
            let _ = views::show(view, &mut text);
            print(format_args!("{text}"));
        }
        Command::Ping { target, count } => match worker {
            Some(worker) => ping::run(worker, target, count),
            None => print(format_args!("ping: no data path\n")),
        },
        Command::SysctlAll => views::sysctls(),
        Command::SysctlGet(name) => views::sysctl(&name),
        Command::SysctlSet(name, value) => views::set_sysctl(&name, &value),
        Command::RouteAdd(prefix, target) => {
            let gateway = match target {
                RouteTarget::Via(gateway) => Some(gateway),
                RouteTarget::Blackhole => None,
            };
            views::add_route(&prefix, gateway);
        }
        Command::RouteDelete(prefix) => views::delete_route(&prefix),
        Command::InterfaceAdd(name, addresses) => interfaces::add(&name, &addresses),
        Command::InterfaceDelete(name) => interfaces::delete(&name),
        Command::InterfaceSwitch(name, on) => interfaces::switch(&name, on),
        Command::Debug => debugger::enter(),
        Command::Dump(first, last) => dump::send_previous(first, last),
        Command::Reboot => power::request(Exit::Reboot, BY_COMMAND),
        Command::Halt => power::request(Exit::Halt, BY_COMMAND),
        Command::PowerOff => power::request(Exit::PowerOff, BY_COMMAND),
    }
}

/// Prints the message buffer piece by piece: it may be longer than what one wants to allocate.
fn show_log() {
    let mut out = Printer;
    machine::console::read_messages(|piece| {
        for chunk in piece.utf8_chunks() {
            let _ = out.write_str(chunk.valid());
        }
    });
}
