//! A router on a stick: a card whose link carries VLANs, and a switch at its far end that knows them (IEEE 802.1Q).
//!
//! Key types: [`Switch`], which has a built-in host behind each of its other ports, and [`TrunkBench`]. The switch puts tags on what its
//! hosts send and takes them off what it brings them; what goes over the trunk itself can be seen, and anything be sent on it.
//! It shares no code with the router.

use std::{
    io::{Read, Write},
    net::Ipv4Addr,
    os::unix::net::{UnixListener, UnixStream},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use sluice::{
    host::{HostId, HostSpec, Lab},
    machine::{Machine, Nic, NicModel, Wire},
    testbed::{self, Testbed},
};
use wire::{Ipv4Cidr, MacAddr};

use crate::{PATIENCE, Router, bench::Place, router, workspace};

/// Frames that wait for whoever watches the trunk; more are left out.
const WATCHED: usize = 1 << 14;
/// The longest frame that is believed.
const LONGEST: usize = 0x1_1000;
/// Where a tag lies, behind the two addresses.
const TAG: usize = 12;

/// Returns a frame with the tag of a VLAN, or with any other control information.
#[must_use]
pub fn tagged(control: u16, frame: &[u8]) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(TAG.min(frame.len()));
    [addresses, &[0x81, 0x00], control.to_be_bytes().as_slice(), rest].concat()
}

/// Returns the control information of a frame's tag and the frame without it; `None` if it has no tag.
#[must_use]
pub fn untagged(frame: &[u8]) -> Option<(u16, Vec<u8>)> {
    let (addresses, rest) = frame.split_at_checked(TAG)?;
    let (&[0x81, 0x00, high, low], rest) = rest.split_first_chunk()? else { return None };
    Some((u16::from_be_bytes([high, low]), [addresses, rest].concat()))
}

/// Reads a frame as QEMU writes it, its length before it.
fn read_frame(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let length = usize::try_from(u32::from_be_bytes(length)).ok().filter(|length| *length <= LONGEST)?;
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).ok()?;
    Some(frame)
}

/// Writes a frame so; a peer that has gone gets none.
fn write_frame(stream: &mut UnixStream, frame: &[u8]) {
    let length = u32::try_from(frame.len()).unwrap_or(0);
    let _ = stream.write_all(&[length.to_be_bytes().as_slice(), frame].concat());
}

/// The far end of the trunk.
#[derive(Debug)]
pub struct Switch {
    trunk: Arc<Mutex<UnixStream>>,
    seen: Receiver<Vec<u8>>,
}

impl Switch {
    /// Takes the router's connection and begins to switch: each of `ports` is a VLAN and the other end of its host's link.
    ///
    /// # Errors
    /// When nobody connects, or the system has no more threads.
    fn serve(listener: &UnixListener, ports: Vec<(u16, UnixStream)>) -> Result<Self> {
        listener.set_nonblocking(true)?;
        let deadline = Instant::now() + PATIENCE;
        let trunk = loop {
            match listener.accept() {
                Ok((trunk, _)) => break trunk,
                Err(error) => ensure!(Instant::now() < deadline, "nobody connects to the trunk: {error}"),
            }
            thread::sleep(Duration::from_millis(20));
        };
        trunk.set_nonblocking(false)?;
        let (sender, seen) = sync_channel(WATCHED);
        let mut from_trunk = trunk.try_clone()?;
        let trunk = Arc::new(Mutex::new(trunk));
        let mut hosts = Vec::new();
        for (vlan, port) in ports {
            let (mut from_host, trunk) = (port.try_clone()?, Arc::clone(&trunk));
            hosts.push((vlan, port));
            spawn(&format!("vlan {vlan}"), move || {
                while let Some(frame) = read_frame(&mut from_host) {
                    write_frame(&mut trunk.lock().unwrap_or_else(PoisonError::into_inner), &tagged(vlan, &frame));
                }
            })?;
        }
        spawn("trunk", move || {
            while let Some(frame) = read_frame(&mut from_trunk) {
                if let Some((control, inner)) = untagged(&frame)
                    && let Some((_, host)) = hosts.iter_mut().find(|(vlan, _)| *vlan == control & 0xfff)
                {
                    write_frame(host, &inner);
                }
                watch(&sender, frame);
            }
        })?;
        Ok(Self { trunk, seen })
    }

    /// Sends a frame on the trunk as it is.
    pub fn send(&self, frame: &[u8]) {
        write_frame(&mut self.trunk.lock().unwrap_or_else(PoisonError::into_inner), frame);
    }

    /// Returns what the router has sent on the trunk since the last time.
    #[must_use]
    pub fn drain(&self) -> Vec<Vec<u8>> {
        self.seen.try_iter().collect()
    }

    /// Waits for a frame on the trunk that `is_wanted`; returns it with all that came before it.
    ///
    /// # Errors
    /// When none comes.
    pub fn wait_for(&self, is_wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<Vec<u8>>> {
        let (deadline, mut seen) = (Instant::now() + PATIENCE, Vec::new());
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            let Ok(frame) = self.seen.recv_timeout(left) else { break };
            let is_last = is_wanted(&frame);
            seen.push(frame);
            if is_last {
                return Ok(seen);
            }
        }
        anyhow::bail!("the frame that was waited for did not come; these did: {seen:02x?}")
    }
}

/// Keeps a frame for whoever watches, while there is room.
fn watch(sender: &SyncSender<Vec<u8>>, frame: Vec<u8>) {
    match sender.try_send(frame) {
        Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
    }
}

/// Starts a thread that ends by itself when its link does.
fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<()> {
    thread::Builder::new().name(name.into()).spawn(body).context("cannot start a thread")?;
    Ok(())
}

/// A router with a plain host at em0, and at em1 the trunk to hosts in VLANs.
///
/// VLAN *v* of em1 has the network 10.*v*.0.0/24, the router .1 of it and its host .2; em0 as in a [`Bench`](crate::Bench).
#[derive(Debug)]
pub struct TrunkBench {
    /// The router.
    pub router: Router,
    /// The hosts' lab.
    pub lab: Lab,
    /// The host at em0.
    pub plain: HostId,
    /// The VLANs and their hosts.
    pub members: Vec<(u8, HostId)>,
    /// The far end of em1.
    pub switch: Switch,
    _place: Place,
}

impl TrunkBench {
    /// Returns the router's address in a VLAN.
    #[must_use]
    pub fn own_address(vlan: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, vlan, 0, 1)
    }

    /// Returns the address of the host in a VLAN.
    #[must_use]
    pub fn host_address(vlan: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, vlan, 0, 2)
    }

    /// Returns the configuration of a bench with these VLANs.
    #[must_use]
    pub fn config(vlans: &[u8]) -> String {
        let member = |vlan: &u8| {
            let address = Self::own_address(*vlan);
            format!("[[interface]]\nname = \"em1.{vlan}\"\naddresses = [\"{address}/24\"]\n")
        };
        let members: String = vlans.iter().map(member).collect();
        format!("[[interface]]\nname = \"em0\"\naddresses = [\"10.0.1.1/24\"]\n{members}")
    }

    /// Boots the router with cards of a model on `smp` processors, and lets every host reach it.
    ///
    /// # Errors
    /// When something of that does not happen.
    pub fn boot(cards: NicModel, smp: u32, vlans: &[u8]) -> Result<Self> {
        let place = Place::take(false);
        let config = Self::config(vlans);
        let machine = Machine { smp, ..Machine::default() };
        let image = router::image(machine.firmware, &config)?;
        let folder = tempfile_folder()?;
        let path = folder.join("trunk");
        let listener = UnixListener::bind(&path).with_context(|| format!("cannot listen at {}", path.display()))?;
        let nic = |wire| Nic { model: cards, ..Nic::new(wire) };
        let nics = vec![nic(Wire::Nothing), nic(Wire::Stream(path))];
        let hosts = vec![host("plain", Ipv4Addr::new(10, 0, 1, 2), Ipv4Addr::new(10, 0, 1, 1))?];
        let plan = testbed::Plan { machine: Machine { nics, ..machine }, config, hosts };
        let Testbed { guest, lab, hosts } = Testbed::start(&plan, workspace(), &image)?;
        let (mut members, mut ports) = (Vec::new(), Vec::new());
        for &vlan in vlans {
            let (ours, theirs) = UnixStream::pair()?;
            let spec = host(&format!("vlan {vlan}"), Self::host_address(vlan), Self::own_address(vlan))?;
            members.push((vlan, lab.add_connected(spec, theirs)?));
            ports.push((u16::from(vlan), ours));
        }
        let switch = Switch::serve(&listener, ports);
        // Both ends have it.
        let _ = std::fs::remove_dir_all(&folder);
        let (switch, router) = (switch?, Router::running(guest)?);
        let plain = *hosts.first().context("a host at em0")?;
        lab.wait_connected(plain, PATIENCE)?;
        let bench = Self { router, lab, plain, members, switch, _place: place };
        bench.lab.ping_until_reply(bench.plain, Ipv4Addr::new(10, 0, 1, 1), PATIENCE)?;
        for (vlan, member) in &bench.members {
            bench.lab.ping_until_reply(*member, Self::own_address(*vlan), PATIENCE)?;
        }
        Ok(bench)
    }

    /// Returns the host in a VLAN.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn member(&self, vlan: u8) -> HostId {
        self.members.iter().find(|(of, _)| *of == vlan).expect("a VLAN of this bench").1
    }

    /// Returns the station address of a host.
    #[must_use]
    pub fn mac(&self, host: HostId) -> MacAddr {
        self.lab.spec(host).mac
    }
}

fn host(name: &str, address: Ipv4Addr, gateway: Ipv4Addr) -> Result<HostSpec> {
    Ok(HostSpec::new(name, Ipv4Cidr::new(address, 24).context("a prefix length")?, gateway))
}

/// Makes a folder of this run's own.
fn tempfile_folder() -> Result<std::path::PathBuf> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("sluice-trunk-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_goes_between_the_addresses_and_the_type() {
        let frame: Vec<u8> = (0..20).collect();
        let with = tagged(0xe00a, &frame);
        assert_eq!(with.get(10..18), Some([10, 11, 0x81, 0, 0xe0, 0x0a, 12, 13].as_slice()));
        assert_eq!(untagged(&with), Some((0xe00a, frame.clone())));
        assert_eq!(untagged(&frame), None);
    }
}
