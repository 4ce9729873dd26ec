//! Two hosts and the place of the router between them, as network namespaces: [`Hosts`].

use std::{
    path::Path,
    process::{Child, Command, Output, Stdio, id},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use e2e::{PATIENCE, Router, image, workspace};
use sluice::{
    guest::{Guest, RunFolder},
    machine::{Machine, Nic, Wire},
};

/// The MTU of the router's second port, which the path-MTU probes have to find.
pub(crate) const LOW_MTU: u16 = 1400;

/// One of the two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// 10.0.1.2.
    A,
    /// 10.0.2.2.
    B,
}

impl Host {
    const ALL: [Self; 2] = [Self::A, Self::B];

    const fn letter(self) -> char {
        match self {
            Self::A => 'A',
            Self::B => 'B',
        }
    }

    const fn network(self) -> u8 {
        match self {
            Self::A => 1,
            Self::B => 2,
        }
    }

    /// Returns the host's address.
    pub(crate) fn address(self) -> String {
        format!("10.0.{}.2", self.network())
    }

    /// Returns the router's address on the host's network.
    pub(crate) fn gateway(self) -> String {
        format!("10.0.{}.1", self.network())
    }

    /// Names carry the process, so that two runs do not meet; an interface's name has 15 octets at most.
    fn namespace(self) -> String {
        format!("sl{}-{}", self.letter(), id())
    }

    fn tap(self) -> String {
        format!("sl{}{}", self.letter(), id())
    }
}

/// The namespace that QEMU runs in.
fn router_namespace() -> String {
    format!("slR-{}", id())
}

/// Three network namespaces, which are gone with this.
#[derive(Debug)]
pub(crate) struct Hosts(());

impl Hosts {
    /// Makes the namespaces, and a tap for each host in that of the router.
    ///
    /// # Errors
    /// When this machine or this user is not allowed to.
    pub(crate) fn new() -> Result<Self> {
        remove_orphans();
        let hosts = Self(());
        let namespaces = [Host::A.namespace(), Host::B.namespace(), router_namespace()];
        namespaces.iter().try_for_each(|name| ip(&["netns", "add", name]))?;
        for host in Host::ALL {
            ip(&["-n", &router_namespace(), "tuntap", "add", "mode", "tap", "name", &host.tap()])?;
        }
        Ok(hosts)
    }

    /// Boots the router in its namespace, then moves the taps, which QEMU holds open by then, to their hosts.
    pub(crate) fn boot_router(&self) -> Result<Router> {
        let nics = Host::ALL.map(|host| Nic::new(Wire::Tap(host.tap()))).to_vec();
        let machine = Machine { nics, namespace: Some(router_namespace()), ..Machine::default() };
        let mut config = String::new();
        for (index, host) in Host::ALL.into_iter().enumerate() {
            config += &format!("[[interface]]\nname = \"em{index}\"\naddresses = [\"{}/24\"]\n", host.gateway());
        }
        config += &format!("mtu = {LOW_MTU}\n");
        let image = image(machine.firmware, &config)?;
        let guest = Guest::start(&machine, &image, RunFolder::new(workspace())?)?;
        for host in Host::ALL {
            let (namespace, tap, gateway) = (host.namespace(), host.tap(), host.gateway());
            ip(&["-n", &router_namespace(), "link", "set", &tap, "netns", &namespace])?;
            let inside = |arguments: &[&str]| ip(&[&["-n", &namespace], arguments].concat());
            inside(&["link", "set", "lo", "up"])?;
            inside(&["address", "add", &format!("{}/24", host.address()), "dev", &tap])?;
            inside(&["link", "set", &tap, "up"])?;
            inside(&["route", "add", "default", "via", &gateway])?;
        }
        let mut router = Router::running(guest)?;
        let is_up = |output: &str| output.lines().filter(|line| line.contains(": up mac ")).count() == 2;
        router.wait_until("show interfaces", is_up)?;
        Ok(router)
    }

    /// Returns a program that is to run on a host.
    pub(crate) fn on(&self, host: Host, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &host.namespace(), program]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a program on a host to its end, for at most [`PATIENCE`], and returns what it printed.
    pub(crate) fn run(&self, host: Host, program: &str, arguments: &[&str]) -> Result<String> {
        let limit = format!("{}", PATIENCE.as_secs());
        let bounded = [&["-k", "5", &limit, program], arguments].concat();
        let output = self.on(host, "timeout", &bounded).output().with_context(|| format!("cannot run {program}"))?;
        let text = both(&output);
        ensure!(output.status.success(), "{program} {}: {}\n{text}", arguments.join(" "), output.status);
        Ok(text)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for namespace in [Host::A.namespace(), Host::B.namespace(), router_namespace()] {
            // Those that were never made cannot be removed; the taps go with their namespaces.
            let _ = Command::new("ip").args(["netns", "delete", &namespace]).stderr(Stdio::null()).status();
        }
    }
}

/// Removes namespaces of runs that were ended by force and could not.
fn remove_orphans() {
    let Ok(listing) = Command::new("ip").args(["netns", "list"]).stderr(Stdio::null()).output() else { return };
    for name in String::from_utf8_lossy(&listing.stdout).lines().filter_map(|line| line.split_whitespace().next()) {
        let ours = ["slA-", "slB-", "slR-"].iter().find_map(|prefix| name.strip_prefix(prefix));
        let Some(process) = ours.and_then(|process| process.parse::<u32>().ok()) else { continue };
        if !Path::new(&format!("/proc/{process}")).exists() {
            // Whoever runs beside us may have been quicker.
            let _ = Command::new("ip").args(["netns", "delete", name]).stderr(Stdio::null()).status();
        }
    }
}

/// A server on a host, which ends with this.
#[derive(Debug)]
pub(crate) struct Server(Child);

impl Server {
    /// Starts iperf3 for one test and waits until it listens.
    pub(crate) fn iperf3(hosts: &Hosts, host: Host) -> Result<Self> {
        let mut child = hosts.on(host, "iperf3", &["--server", "--one-off", "--port", "5201"]).spawn()?;
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let listening = hosts.run(host, "ss", &["-Hltn", "sport = :5201"])?;
            if listening.contains("5201") {
                return Ok(Self(child));
            }
            if let Some(status) = child.try_wait()? {
                bail!("iperf3 ended with {status}");
            }
            ensure!(Instant::now() < deadline, "iperf3 does not listen");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended by itself unless its client failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn both(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|octets| String::from_utf8_lossy(octets).into_owned()).concat()
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).stdin(Stdio::null()).output().context("cannot run ip")?;
    ensure!(output.status.success(), "ip {}: {}", arguments.join(" "), both(&output).trim());
    Ok(())
}
