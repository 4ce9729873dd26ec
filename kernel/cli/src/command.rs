//! The console's commands, parsed from a line.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, net::Ipv4Addr, str::FromStr};

/// What `help` prints.
pub const HELP: &str = "\
show interfaces     interfaces, addresses, link, traffic, hardware counters
show intr           interrupt lines, their handlers and threads, counts, strays
show threads        threads: CPU, state, priority, switches, time run
show dma            DMA tags: maps, memory, children, bounces
show arp            address resolution cache
show route          routing table
show netisr         dispatch policy and queues
show memory         who has the memory of the machine; heap, packet buffers
show run            cycles a packet by stage, packets a pass, idle share of each CPU
show statistics     each card's own counters, as far as they are not 0
show ring           receive and transmit rings: where driver and device stand
show pcpu           each CPU: its interrupts and its thread
show callout        what is due when
show locks          which locks are held
show shutdown       how far a shutdown has come
show watchdog       the software watchdog and the hardware one
show crash          the crash dump that the previous run left
show selftest       what the self-test found, if the configuration asked for it
show log            the message buffer
show audit          where every received frame went (also: netstat --audit)
show version        what this is, and since when it runs
ping ADDRESS [COUNT]
route add PREFIX via ADDRESS | route add PREFIX blackhole | route delete PREFIX
interface add NAME.VLAN ADDRESS/LENGTH... | interface delete NAME.VLAN | interface NAME up|down
sysctl              all names; sysctl NAME shows one, sysctl NAME=VALUE sets it
dump [FIRST [LAST]] sends the previous run's crash dump, or lines of it, for `cargo run -- dump`
reboot | halt | poweroff
debug               stops the machine and enters the debugger; `c` goes on
Keys: arrows, ^A ^E ^B ^F, ^W ^U ^K, ^P ^N; ^C drops the line.";

/// What `show` can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Interfaces.
    Interfaces,
    /// Interrupt lines.
    Intr,
    /// Threads.
    Threads,
    /// DMA tags.
    Dma,
    /// Address resolution.
    Arp,
    /// Routes.
    Route,
    /// Dispatch.
    Netisr,
    /// Memory.
    Memory,
    /// What packets cost, and how idle the CPUs are.
    Run,
    /// Rings of the cards.
    Ring,
    /// The cards' own counters.
    Statistics,
    /// Processors.
    Pcpu,
    /// Callouts.
    Callout,
    /// Locks.
    Locks,
    /// The shutdown.
    Shutdown,
    /// The watchdogs.
    Watchdog,
    /// The crash dump of the previous run.
    Crash,
    /// The self-test.
    Selftest,
    /// Message buffer.
    Log,
    /// Conservation of frames.
    Audit,
    /// Version and uptime.
    Version,
}

/// Every view with the words that name it.
pub const VIEWS: &[(&str, View)] = &[
    ("interfaces", View::Interfaces),
    ("interface", View::Interfaces),
    ("intr", View::Intr),
    ("irq", View::Intr),
    ("threads", View::Threads),
    ("ps", View::Threads),
    ("dma", View::Dma),
    ("arp", View::Arp),
    ("route", View::Route),
    ("routes", View::Route),
    ("netisr", View::Netisr),
    ("memory", View::Memory),
    ("run", View::Run),
    ("runtime", View::Run),
    ("ring", View::Ring),
    ("statistics", View::Statistics),
    ("stats", View::Statistics),
    ("pcpu", View::Pcpu),
    ("callout", View::Callout),
    ("locks", View::Locks),
    ("shutdown", View::Shutdown),
    ("watchdog", View::Watchdog),
    ("crash", View::Crash),
    ("selftest", View::Selftest),
    ("log", View::Log),
    ("msgbuf", View::Log),
    ("audit", View::Audit),
    ("version", View::Version),
    ("uptime", View::Version),
    ("ifnet", View::Interfaces),
];

/// Where a route that is added leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteTarget {
    /// To a gateway on a connected network.
    Via(Ipv4Addr),
    /// Nowhere, silently.
    Blackhole,
}

/// A parsed command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// An empty line.
    Nothing,
    /// The list of commands.
    Help,
    /// One of the views.
    Show(View),
    /// Sends echo requests.
    Ping {
        /// Whom to ask.
        target: Ipv4Addr,
        /// How often, 1 to 1000.
        count: u32,
    },
    /// Lists every sysctl.
    SysctlAll,
    /// Reads a sysctl.
    SysctlGet(String),
    /// Sets a sysctl.
    SysctlSet(String, String),
    /// Adds a static route; the prefix is still text.
    RouteAdd(String, RouteTarget),
    /// Deletes a static route; the prefix is still text.
    RouteDelete(String),
    /// Adds a VLAN of a port with its addresses, all still text.
    InterfaceAdd(String, Vec<String>),
    /// Deletes a VLAN.
    InterfaceDelete(String),
    /// Switches an interface on or off.
    InterfaceSwitch(String, bool),
    /// Enters the debugger.
    Debug,
    /// Sends lines of the previous run's crash dump, the first and the last one included.
    Dump(u32, u32),
    /// Restarts the machine.
    Reboot,
    /// Stops the machine.
    Halt,
    /// Switches the machine off.
    PowerOff,
}

/// Why a line is no command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParseError {
    /// The first word is no command.
    UnknownCommand(String),
    /// The command exists; what follows does not fit. Carries the usage.
    Usage(&'static str),
    /// Not an IPv4 address.
    Address(String),
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownCommand(word) => write!(f, "{word}: unknown command; `help` lists them"),
            Self::Usage(usage) => write!(f, "usage: {usage}"),
            Self::Address(word) => write!(f, "{word}: not an IPv4 address"),
        }
    }
}

const SHOW_USAGE: &str = "show interfaces|intr|threads|dma|statistics|ring|arp|route|netisr|memory|run|pcpu|callout|locks|shutdown|watchdog|crash|selftest|log|audit|version";
const PING_USAGE: &str = "ping ADDRESS [COUNT], COUNT from 1 to 1000";
const ROUTE_USAGE: &str = "route add PREFIX via ADDRESS | route add PREFIX blackhole | route delete PREFIX";
const INTERFACE_USAGE: &str =
    "interface add NAME.VLAN ADDRESS/LENGTH... | interface delete NAME.VLAN | interface NAME up|down";
const DUMP_USAGE: &str = "dump [FIRST [LAST]], numbers of lines";
const SYSCTL_USAGE: &str = "sysctl [NAME[=VALUE]]";

fn address(word: &str) -> Result<Ipv4Addr, ParseError> {
    Ipv4Addr::from_str(word).map_err(|_| ParseError::Address(word.to_string()))
}

fn view(word: &str) -> Result<Command, ParseError> {
    VIEWS
        .iter()
        .find(|(name, _)| *name == word)
        .map(|(_, view)| Command::Show(*view))
        .ok_or(ParseError::Usage(SHOW_USAGE))
}

fn ping(target: &str, count: Option<&str>) -> Result<Command, ParseError> {
    let count = count.unwrap_or("4").parse().ok().filter(|count| (1..=1000).contains(count));
    Ok(Command::Ping { target: address(target)?, count: count.ok_or(ParseError::Usage(PING_USAGE))? })
}

/// Reads the words behind `dump`: the first and the last line that are wanted, all without any.
///
/// # Errors
/// The usage, when a word is no number or the last line stands before the first.
pub fn dump_range(words: &str) -> Result<(u32, u32), ParseError> {
    let mut words = words.split_whitespace();
    let mut number = |missing| words.next().map_or(Some(missing), |word| word.parse().ok());
    let range = number(0).zip(number(u32::MAX)).filter(|(first, last)| first <= last);
    range.filter(|_| words.next().is_none()).ok_or(ParseError::Usage(DUMP_USAGE))
}

fn sysctl(words: &str) -> Result<Command, ParseError> {
    match words.split_once('=') {
        None if words.split_whitespace().count() == 1 => Ok(Command::SysctlGet(words.to_string())),
        Some((name, value)) if !name.trim().is_empty() && !value.trim().is_empty() => {
            Ok(Command::SysctlSet(name.trim().to_string(), value.trim().to_string()))
        }
        _ => Err(ParseError::Usage(SYSCTL_USAGE)),
    }
}

impl Command {
    /// Parses one line.
    ///
    /// # Errors
    /// [`ParseError`], whose text is meant for the user.
    pub fn parse(line: &str) -> Result<Self, ParseError> {
        let line = line.trim();
        let mut words = [""; 12];
        let mut count = 0;
        for word in line.split_whitespace().take(12) {
            words[count] = word;
            count += 1;
        }
        match words.get(..count).unwrap_or_default() {
            [] => Ok(Self::Nothing),
            ["help" | "?"] => Ok(Self::Help),
            ["show", what] => view(what),
            ["show", ..] => Err(ParseError::Usage(SHOW_USAGE)),
            ["netstat", "--audit"] => Ok(Self::Show(View::Audit)),
            ["netstat", "-Q"] => Ok(Self::Show(View::Netisr)),
            ["netstat", "-r" | "-rn"] => Ok(Self::Show(View::Route)),
            ["netstat", "-i"] => Ok(Self::Show(View::Interfaces)),
            ["netstat", ..] => Err(ParseError::Usage("netstat --audit|-Q|-r|-i")),
            ["ps" | "uptime"] => view(words[0]),
            ["arp", "-a"] => Ok(Self::Show(View::Arp)),
            ["vmstat", "-i"] => Ok(Self::Show(View::Intr)),
            ["dmesg"] => Ok(Self::Show(View::Log)),
            ["ping", target] => ping(target, None),
            ["ping", target, count] => ping(target, Some(count)),
            ["ping", ..] => Err(ParseError::Usage(PING_USAGE)),
            ["sysctl"] | ["sysctl", "-a"] => Ok(Self::SysctlAll),
            ["sysctl", ..] => sysctl(line.strip_prefix("sysctl").unwrap_or_default().trim()),
            ["route", "add", prefix, "via", gateway] => {
                Ok(Self::RouteAdd((*prefix).to_string(), RouteTarget::Via(address(gateway)?)))
            }
            ["route", "add", prefix, "blackhole"] => Ok(Self::RouteAdd((*prefix).to_string(), RouteTarget::Blackhole)),
            ["route", "delete" | "del", prefix] => Ok(Self::RouteDelete((*prefix).to_string())),
            ["route", ..] => Err(ParseError::Usage(ROUTE_USAGE)),
            ["interface", "add", name, addresses @ ..] if !addresses.is_empty() => {
                let addresses = addresses.iter().map(|address| (*address).to_string()).collect();
                Ok(Self::InterfaceAdd((*name).to_string(), addresses))
            }
            ["interface", "delete" | "del", name] => Ok(Self::InterfaceDelete((*name).to_string())),
            ["interface" | "ifconfig", name, to @ ("up" | "down")] if *name != "add" => {
                Ok(Self::InterfaceSwitch((*name).to_string(), *to == "up"))
            }
            ["interface" | "ifconfig", ..] => Err(ParseError::Usage(INTERFACE_USAGE)),
            ["debug"] => Ok(Self::Debug),
            ["debug", ..] => Err(ParseError::Usage("debug, without arguments")),
            ["dump", ..] => {
                dump_range(line.strip_prefix("dump").unwrap_or_default()).map(|(first, last)| Self::Dump(first, last))
            }
            ["reboot"] => Ok(Self::Reboot),
            ["halt"] => Ok(Self::Halt),
            ["poweroff"] => Ok(Self::PowerOff),
            ["reboot" | "halt" | "poweroff", ..] => {
                Err(ParseError::Usage("reboot | halt | poweroff, without arguments"))
            }
            [word, ..] => Err(ParseError::UnknownCommand((*word).to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_command_parses() {
        assert_eq!(Command::parse("  "), Ok(Command::Nothing));
        assert_eq!(Command::parse("show  arp "), Ok(Command::Show(View::Arp)));
        assert_eq!(Command::parse("netstat --audit"), Ok(Command::Show(View::Audit)));
        assert_eq!(Command::parse("ping 10.0.1.2"), Ok(Command::Ping { target: Ipv4Addr::new(10, 0, 1, 2), count: 4 }));
        assert_eq!(Command::parse("sysctl net.isr.dispatch"), Ok(Command::SysctlGet("net.isr.dispatch".into())));
        assert_eq!(
            Command::parse("sysctl net.isr.dispatch = hybrid"),
            Ok(Command::SysctlSet("net.isr.dispatch".into(), "hybrid".into()))
        );
        assert_eq!(
            Command::parse("route add 10.9.0.0/16 via 10.0.2.9"),
            Ok(Command::RouteAdd("10.9.0.0/16".into(), RouteTarget::Via(Ipv4Addr::new(10, 0, 2, 9))))
        );
        let add = Command::InterfaceAdd("em0.30".into(), ["10.30.0.1/24", "10.31.0.1/24"].map(String::from).into());
        assert_eq!(Command::parse("interface add em0.30 10.30.0.1/24 10.31.0.1/24"), Ok(add));
        assert_eq!(Command::parse("interface delete em0.30"), Ok(Command::InterfaceDelete("em0.30".into())));
        assert_eq!(Command::parse("interface em0 down"), Ok(Command::InterfaceSwitch("em0".into(), false)));
        assert_eq!(Command::parse("ifconfig em0 up"), Ok(Command::InterfaceSwitch("em0".into(), true)));
        assert_eq!(Command::parse("poweroff"), Ok(Command::PowerOff));
        assert_eq!(Command::parse("dump"), Ok(Command::Dump(0, u32::MAX)));
        assert_eq!(Command::parse("dump 12"), Ok(Command::Dump(12, u32::MAX)));
        assert_eq!(Command::parse("dump 12 14"), Ok(Command::Dump(12, 14)));
        assert_eq!(Command::parse("debug"), Ok(Command::Debug));
    }

    #[test]
    fn wrong_lines_say_what_is_wrong() {
        let error = |line: &str| Command::parse(line).unwrap_err().to_string();
        assert_eq!(error("foo"), "foo: unknown command; `help` lists them");
        assert!(error("show").starts_with("usage: show interfaces"));
        for line in ["dump x", "dump 2 1", "dump 1 2 3", "dump -1"] {
            assert_eq!(error(line), "usage: dump [FIRST [LAST]], numbers of lines");
        }
        assert_eq!(error("ping 10.0.0.300"), "10.0.0.300: not an IPv4 address");
        assert!(error("ping 10.0.0.3 0").starts_with("usage: ping"));
        assert!(error("ping 10.0.0.3 99999999999").starts_with("usage: ping"));
        assert!(error("sysctl a=").starts_with("usage: sysctl"));
        assert!(error("route add 1.2.3.0/24").starts_with("usage: route"));
        for line in ["interface", "interface add em0.30", "interface add up", "interface em0 sideways", "ifconfig em0"]
        {
            assert!(error(line).starts_with("usage: interface add"), "{line}");
        }
        assert!(error("poweroff now").starts_with("usage:"));
    }

    #[test]
    fn help_names_every_view() {
        for (name, _) in VIEWS.iter().filter(|(name, _)| SHOW_USAGE.contains(name)) {
            assert!(HELP.contains(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_line_panics(line in "\\PC{0,80}") {
            let _ = Command::parse(&line);
        }
    }
}
