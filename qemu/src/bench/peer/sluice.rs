//! The router itself as a subject: [`Sluice`].

use std::{fmt::Write as _, fs, net::Ipv4Addr, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use config::{RouteTarget, interface_name, routes};
use ktest::console::{POWERING_OFF, RUNNING};
use wire::Ipv4Prefix;

use crate::{
    bench::{Behaviour, ROUTER, Running, Setup, Subject, VLANS},
    build::Builder,
    guest::{Guest, RunFolder},
    machine::{Firmware, Machine, Nic, Wire},
    prepare,
    progress::Progress,
    workspace::Workspace,
};

/// How long a boot may take, and the way from `poweroff` to the end of QEMU. It takes seconds, unless the host is busy.
const BOOT_LIMIT: Duration = Duration::from_secs(120);
const POWER_OFF_LIMIT: Duration = Duration::from_secs(100);

/// How long a boot with many routes may take: the firmware reads them from the disk a few sectors at a time.
const BIG_BOOT_LIMIT: Duration = Duration::from_secs(900);

/// The router's name, and so its prompt.
const HOSTNAME: &str = "r1";

/// Sluice as built from this checkout.
#[derive(Clone, Debug)]
pub struct Sluice {
    workspace: Workspace,
    builder: Builder,
    kernel: PathBuf,
}

impl Sluice {
    /// Makes this machine ready and builds the kernel.
    ///
    /// # Errors
    /// When something is missing that cannot be installed, or does not build.
    pub fn build(progress: Progress) -> Result<Self> {
        let workspace = Workspace::find();
        prepare::for_running(Firmware::Bios, progress)?;
        let builder = Builder::new(&workspace, progress)?;
        let kernel = builder.kernel_once()?;
        Ok(Self { workspace, builder, kernel })
    }

    /// Starts the machine and waits for nothing but QEMU.
    ///
    /// # Errors
    /// When QEMU does not start.
    pub fn start(&self, setup: &Setup) -> Result<Guest> {
        let image = self.builder.image(&self.kernel, &files(setup))?;
        let ports = setup.ports.iter().map(|port| Wire::Stream(port.clone()));
        let nics = ports.chain((0..setup.idle_ports).map(|_| Wire::Nothing));
        let nics = nics.map(|wire| Nic { model: setup.cards, ..Nic::new(wire) }).collect();
        let mut machine = Machine { nics, ..Machine::default() };
        setup.apply(&mut machine);
        let mut guest = Guest::start(&machine, &image, RunFolder::new(&self.workspace)?)?;
        guest.console().set_hostname(HOSTNAME);
        Ok(guest)
    }

    /// Returns the size in octets of the kernel as it is in a disk image: without symbols.
    ///
    /// # Errors
    /// When it cannot be stripped.
    pub fn stripped_size(&self) -> Result<u64> {
        let out = self.workspace.folder("tmp")?.join("stripped-kernel");
        let mut strip = Command::new(self.builder.toolchain().objcopy());
        strip.arg("--strip-all").arg(&self.kernel).arg(&out);
        let status = strip.status().context("cannot strip the kernel")?;
        ensure!(status.success(), "the kernel cannot be stripped: {status}");
        Ok(fs::metadata(&out).with_context(|| format!("cannot see {}", out.display()))?.len())
    }

    /// Returns the kernel's file, with everything that debuggers want.
    #[must_use]
    pub fn kernel(&self) -> &std::path::Path {
        &self.kernel
    }
}

impl Subject for Sluice {
    fn name(&self) -> &'static str {
        "sluice"
    }

    fn boot(&self, setup: &Setup) -> Result<Box<dyn Running>> {
        let mut guest = self.start(setup)?;
        let limit = if setup.routes.len() > FEW_ROUTES { BIG_BOOT_LIMIT } else { BOOT_LIMIT };
        guest.wait_for(RUNNING, limit).context("the router does not come up")?;
        // The console is a thread of its own and may have prompted before.
        guest.console().rewind();
        guest.console().wait_prompt(BOOT_LIMIT)?;
        guest.console().skip();
        let vcpus = guest.monitor().vcpu_threads()?;
        ensure!(vcpus.len() == setup.cpus as usize, "QEMU has {} processors, not {}", vcpus.len(), setup.cpus);
        Ok(Box::new(Router { guest, vcpus }))
    }
}

/// How many routes are written into the configuration; more go into the image packed.
const FEW_ROUTES: usize = 100;

/// Returns the configuration file of a setup, and its routes behind it where they are many.
fn files(setup: &Setup) -> Vec<u8> {
    if setup.routes.len() <= FEW_ROUTES {
        return configuration(setup, &setup.routes).into_bytes();
    }
    let routes: Vec<_> = setup.routes.iter().map(|(prefix, via)| (*prefix, RouteTarget::Via(*via))).collect();
    routes::attach(configuration(setup, &[]).as_bytes(), &routes)
}

/// Returns the configuration file of a setup, with these routes.
fn configuration(setup: &Setup, routes: &[(Ipv4Prefix, Ipv4Addr)]) -> String {
    let mut text = format!("hostname = \"{HOSTNAME}\"\n");
    // Writing to a String does not fail.
    let mtu = setup.mtu.map(|mtu| format!("mtu = {mtu}\n")).unwrap_or_default();
    for (index, (port, vlan)) in ROUTER.iter().zip(VLANS).enumerate() {
        let tag = if setup.tagged { format!(".{vlan}") } else { String::new() };
        let name = interface_name(index) + &tag;
        let further = setup.networks.iter().filter(|(at, _)| *at == index);
        let further: String = further.map(|(_, cidr)| format!(", \"{cidr}\"")).collect();
        let _ =
            writeln!(text, "[[interface]]\nname = \"{name}\"\naddresses = [\"{}/24\"{further}]\n{mtu}", port.address);
    }
    for index in 0..setup.idle_ports {
        let name = interface_name(ROUTER.len() + index);
        let _ = writeln!(text, "[[interface]]\nname = \"{name}\"\naddresses = [\"10.128.{index}.1/24\"]");
    }
    for (prefix, via) in routes {
        let _ = writeln!(text, "[[route]]\nprefix = \"{prefix}\"\nvia = \"{via}\"");
    }
    if !setup.settings.is_empty() {
        text += "[sysctl]\n";
    }
    for (name, value) in &setup.settings {
        let _ = writeln!(text, "\"{name}\" = \"{value}\"");
    }
    text
}

/// A router that runs.
#[derive(Debug)]
struct Router {
    guest: Guest,
    vcpus: Vec<u32>,
}

impl Running for Router {
    fn process_id(&self) -> u32 {
        self.guest.process_id()
    }

    fn vcpu_threads(&self) -> &[u32] {
        &self.vcpus
    }

    fn behaviour(&self) -> Behaviour {
        Behaviour::ROUTER
    }

    fn pause(&mut self) -> Result<()> {
        self.guest.monitor().pause()
    }

    fn resume(&mut self) -> Result<()> {
        self.guest.monitor().resume()
    }

    fn command(&mut self, line: &str, limit: Duration) -> Result<String> {
        self.guest.command(line, limit)
    }

    fn harmless_command(&self) -> Option<&str> {
        Some("show version")
    }

    fn transcript(&mut self) -> String {
        self.guest.console().transcript()
    }

    fn stop(mut self: Box<Self>) -> Result<()> {
        self.guest.console().skip();
        self.guest.console().send_line("poweroff")?;
        self.guest.wait_for(POWERING_OFF, POWER_OFF_LIMIT).context("the router does not shut down")?;
        let status = self.guest.wait_exit(POWER_OFF_LIMIT).context("the power stays on")?;
        ensure!(status.success(), "QEMU ended with {status}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use config::Config;

    use super::*;
    use crate::bench::HOSTS;

    #[test]
    fn a_setup_is_a_configuration() {
        let mut setup = Setup::new(1, ["a".into(), "b".into()]);
        setup.routes.push(("192.168.0.0/16".parse().unwrap(), HOSTS[1].address));
        setup.settings.push(("net.isr.dispatch".into(), "hybrid".into()));
        let config = Config::parse(&configuration(&setup, &setup.routes)).unwrap();
        assert_eq!(config.hostname, HOSTNAME);
        for ((interface, port), host) in config.interfaces.iter().zip(ROUTER).zip(HOSTS) {
            assert_eq!(interface.addresses[0].address(), port.address);
            assert!(interface.addresses[0].prefix().contains(host.address));
        }
        assert_eq!((config.interfaces.len(), config.routes.len(), config.sysctls.len()), (2, 1, 1));
    }

    #[test]
    fn further_networks_and_cards_are_configured() {
        let mut setup = Setup::new(1, ["a".into(), "b".into()]);
        setup.networks.push((1, "10.64.0.1/16".parse().unwrap()));
        setup.idle_ports = 2;
        let config = Config::parse(&configuration(&setup, &[])).unwrap();
        let addresses: Vec<usize> = config.interfaces.iter().map(|interface| interface.addresses.len()).collect();
        assert_eq!(addresses, [1, 2, 1, 1]);
    }

    #[test]
    fn tagged_and_long_frames_are_configured() {
        let mut setup = Setup::new(1, ["a".into(), "b".into()]);
        (setup.tagged, setup.mtu) = (true, Some(9000));
        let config = Config::parse(&configuration(&setup, &[])).unwrap();
        let of = |index: usize| (config.interfaces[index].name.clone(), config.interfaces[index].mtu);
        assert_eq!([of(0), of(1)], [("em0.10".to_owned(), 9000), ("em1.20".to_owned(), 9000)]);
    }

    #[test]
    fn many_routes_are_packed_behind_the_configuration() {
        let mut setup = Setup::new(1, ["a".into(), "b".into()]);
        let prefix = |index: u32| Ipv4Prefix::host(Ipv4Addr::from(0xC000_0000 + index));
        setup.routes.extend((0..=100).map(|index| (prefix(index), HOSTS[1].address)));
        let file = files(&setup);
        let parts = routes::split(&file).unwrap();
        assert!(Config::parse_bytes(parts.configuration).unwrap().routes.is_empty());
        let last = parts.routes.iter().last().unwrap().unwrap();
        assert_eq!(last, (prefix(100), RouteTarget::Via(HOSTS[1].address)));
        assert_eq!(parts.routes.iter().count(), 101);
    }
}
