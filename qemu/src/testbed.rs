//! A booted router with a host at each of its ports: [`Testbed`], as the demonstration and the tests use it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use config::{Config, interface_name};
use ktest::console::{POWERING_OFF, RUNNING};

use crate::{
    build::Builder,
    guest::{Guest, RunFolder},
    host::{HostId, HostSpec, Lab},
    machine::{Machine, Nic, Wire},
    prepare,
    progress::Progress,
    workspace::Workspace,
};

/// How long a boot may take. Firmware, loader and kernel take seconds; the rest is for a host that is busy.
const BOOT_LIMIT: Duration = Duration::from_secs(120);

/// How long the way from `poweroff` to the end of QEMU may take.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(60);

/// What is to be booted.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The machine. It gets an interface for each host; what is said of its first interfaces here (model, slot, capture)
    /// holds for those, and further ones follow.
    pub machine: Machine,
    /// The router's configuration.
    pub config: String,
    /// The hosts; the first is at em0.
    pub hosts: Vec<HostSpec>,
}

impl Plan {
    /// Plans a router with `ports` networks, 10.0.1.0/24 and so on, itself at .1 and one host at .2 of each.
    #[must_use]
    pub fn star(ports: usize) -> Self {
        let mut config = String::from("hostname = \"r1\"\n");
        let mut hosts = Vec::new();
        for index in 0..ports {
            let network = format!("10.0.{}", index + 1);
            config += &format!("[[interface]]\nname = \"{}\"\n", interface_name(index));
            config += &format!("addresses = [\"{network}.1/24\"]\n");
            let parsed = (format!("{network}.2/24").parse(), format!("{network}.1").parse());
            if let (Ok(address), Ok(gateway)) = parsed {
                hosts.push(HostSpec::new(&format!("h{index}"), address, gateway));
            }
        }
        Self { machine: Machine::default(), config, hosts }
    }
}

/// A booted router and its hosts. Dropping it ends both.
#[derive(Debug)]
pub struct Testbed {
    /// The router.
    pub guest: Guest,
    /// The hosts.
    pub lab: Lab,
    /// The hosts' names in the lab; the first is at em0.
    pub hosts: Vec<HostId>,
}

impl Testbed {
    /// Prepares the machine, builds, boots, and waits until the router runs and its console prompts.
    ///
    /// # Errors
    /// When any of that fails.
    pub fn boot(plan: &Plan, progress: Progress) -> Result<Self> {
        let workspace = Workspace::find();
        prepare::for_running(plan.machine.firmware, progress)?;
        let builder = Builder::new(&workspace, progress)?;
        let kernel = builder.kernel_once()?;
        let image = builder.image(&kernel, plan.config.as_bytes())?;
        let mut bed = Self::start(plan, &workspace, &image)?;
        bed.wait_running()?;
        Ok(bed)
    }

    /// Starts the machine from a finished image and waits for nothing but QEMU.
    ///
    /// # Errors
    /// When QEMU does not start.
    pub fn start(plan: &Plan, workspace: &Workspace, image: &std::path::Path) -> Result<Self> {
        let folder = RunFolder::new(workspace)?;
        let lab = Lab::new()?;
        let mut hosts = Vec::new();
        let mut nics = Vec::new();
        for (index, spec) in plan.hosts.iter().enumerate() {
            let name = format!("port{index}");
            hosts.push(lab.add_listening(spec.clone(), folder.listen(&name)?)?);
            nics.push(Nic::new(Wire::Stream(folder.join(&name))));
        }
        let mut machine = plan.machine.clone();
        // What the plan says of the interfaces themselves (model, slot, capture) holds for the hosts' in order.
        for (nic, wanted) in nics.iter_mut().zip(&machine.nics) {
            *nic = Nic { wire: nic.wire.clone(), ..wanted.clone() };
        }
        let further = machine.nics.split_off(nics.len().min(machine.nics.len()));
        machine.nics = nics.into_iter().chain(further).collect();
        let mut guest = Guest::start(&machine, image, folder)?;
        // A bad configuration is a test's own affair; the router then has its default name.
        let hostname =
            Config::parse(&plan.config).map_or_else(|_| Config::default().hostname, |config| config.hostname);
        guest.console().set_hostname(&hostname);
        Ok(Self { guest, lab, hosts })
    }

    /// Waits until the router runs and its console prompts.
    ///
    /// # Errors
    /// When it does not in time, or panics.
    pub fn wait_running(&mut self) -> Result<()> {
        self.guest.wait_for(RUNNING, BOOT_LIMIT).context("the router does not come up")?;
        // The console is a thread of its own and may have prompted before.
        self.guest.console().rewind();
        self.guest.console().wait_prompt(BOOT_LIMIT)?;
        self.guest.console().skip();
        Ok(())
    }

    /// Shuts the router down in order and waits for the machine to go off; returns everything its console has shown.
    ///
    /// # Errors
    /// When it does not go off in time, or QEMU ends otherwise than by itself.
    pub fn power_off(mut self) -> Result<String> {
        self.guest.console().skip();
        self.guest.console().send_line("poweroff")?;
        self.guest.wait_for(POWERING_OFF, POWER_OFF_LIMIT).context("the router does not shut down")?;
        let status = self.guest.wait_exit(POWER_OFF_LIMIT).context("the power stays on")?;
        ensure!(status.success(), "QEMU ended with {status}");
        Ok(self.guest.console().transcript())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_a_configuration_that_suits_its_hosts() {
        let plan = Plan::star(3);
        let config = Config::parse(&plan.config).unwrap();
        assert_eq!(config.interfaces.len(), 3);
        for (interface, host) in config.interfaces.iter().zip(&plan.hosts) {
            let cidr = interface.addresses[0];
            assert_eq!(cidr.address(), host.gateway);
            assert_eq!(cidr.prefix(), host.address.prefix());
            assert_ne!(cidr.address(), host.address.address());
        }
    }
}
