//! Attaching cards: from what enumeration found to ports with an interrupt thread each.
//!
//! A card that cannot be attached is named with the reason, and leaves nothing behind; the others come up. Context: the
//! first thread.

use alloc::{
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::fmt::Display;

use bus_dma::DmaTag;
use config::DEFAULT_MTU;
use e1000::{Adapter, Attached, Config, FlowControl, ReceiveFilter, Variant};
use ifnet::Interface;
use ksync::atomic::{AtomicBool, AtomicU8, Ordering};
use machine::numa;
use pci::{Bars, PciDevice};
use pktbuf::{PacketPool, PoolCache};
use wire::VlanId;

use crate::{
    bus,
    knobs::{self, Access, Knob},
    messages, net, nodes, pools,
    port::Port,
    registers::{Bar, Clock},
    selftest,
};

static CLOCK: Clock = Clock;

/// The flow control that is offered: a place in [`FLOW_CONTROLS`].
static FLOW_CONTROL: AtomicU8 = AtomicU8::new(3);

static RX_CHECKSUM: AtomicBool = AtomicBool::new(true);
static VERIFY_CHECKSUMS: AtomicBool = AtomicBool::new(false);

/// In the order of FreeBSD's `hw.em.fc_setting`.
const FLOW_CONTROLS: [FlowControl; 4] = [FlowControl::Off, FlowControl::Receive, FlowControl::Send, FlowControl::Both];

/// What can be tuned at boot.
pub(crate) const KNOBS: &[Knob] = &[
    Knob {
        name: "hw.em.fc_setting",
        description: "flow control offered to the other end (0: none, 1: we wait, 2: it waits, 3: both); read at boot",
        get: || FLOW_CONTROL.load(Ordering::Relaxed).to_string(),
        access: Access::Tunable(|text| {
            let number = knobs::number(text, 0, 3)?;
            FLOW_CONTROL.store(u8::try_from(number).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }),
    },
    Knob {
        name: "hw.em.rxcsum",
        description: "a card's word is taken for the checksum of IPv4 headers, if it gives it; read at boot",
        get: || u8::from(RX_CHECKSUM.load(Ordering::Relaxed)).to_string(),
        access: Access::Tunable(|text| knobs::switch(text).map(|on| RX_CHECKSUM.store(on, Ordering::Relaxed))),
    },
    Knob {
        name: "hw.em.verify_csum",
        description: "what a card says of checksums is compared with software's, counted and not believed; read at boot",
        get: || u8::from(VERIFY_CHECKSUMS.load(Ordering::Relaxed)).to_string(),
        access: Access::Tunable(|text| knobs::switch(text).map(|on| VERIFY_CHECKSUMS.store(on, Ordering::Relaxed))),
    },
];

fn flow_control() -> FlowControl {
    FLOW_CONTROLS.get(usize::from(FLOW_CONTROL.load(Ordering::Relaxed))).copied().unwrap_or_default()
}

/// What the configuration wants of a card.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    /// The largest MTU of any interface on it; 0 if there is none.
    pub(crate) mtu: u16,
    /// Its VLANs.
    pub(crate) vlans: Vec<VlanId>,
}

/// Attaches all cards, named em0, em1, … in PCI order. `wishes` knows what is wanted of a card by its name.
#[inline(never)]
pub(crate) fn attach_all(
    cards: &[(PciDevice, &'static Variant)],
    root: &DmaTag,
    wishes: &dyn Fn(&str) -> Wishes,
) -> Vec<Arc<Port>> {
    let mut ports: Vec<Arc<Port>> = Vec::new();
    for (device, variant) in cards {
        let name = format!("em{}", ports.len());
        match attach(&name, ports.len(), (device, variant), wishes(&name), root) {
            Ok(port) => {
                log::info!("{}", device.attach_line(&name));
                log::info!("{name}: Ethernet address: {}, {}", port.adapter.mac(), port.wiring);
                ports.push(port);
            }
            Err(reason) => log::error!("{device}: not attached: {reason}"),
        }
    }
    ports
}

fn text(what: &str) -> impl Fn(&dyn Display) -> String {
    move |error| format!("{what}: {error}")
}

/// Returns the MTU that an interface gets if it is to have `wanted`, and says so if that is less. Never less than the usual one: frames as
/// long as that are received however short the packets are that the router sends there.
fn possible_mtu(name: &str, variant: &Variant, wanted: u16) -> u16 {
    let (part, buffers) = (variant.max_mtu(), pools::stock().max_mtu());
    let got = if wanted > buffers { DEFAULT_MTU } else { wanted.clamp(DEFAULT_MTU, part) };
    if got < wanted {
        let why = if wanted > buffers { "no buffers that large" } else { variant.name };
        log::error!("{name}: mtu {wanted} is not possible ({why}): it stays at {got}");
    }
    got
}

/// Attaches one card as interface `number`; interrupts stay masked and nothing is received until [`start_all`].
fn attach(
    name: &str,
    number: usize,
    (device, variant): (&PciDevice, &'static Variant),
    wishes: Wishes,
    root: &DmaTag,
) -> Result<Arc<Port>, String> {
    let node = nodes::of_card(device);
    let pool = pools::of_node(node).ok_or("no packet buffers")?;
    // Rings lie where their card is.
    numa::prefer_memory_of(node);
    let router = net::router().ok_or("no data path")?;
    let opened = bus::open(device).map_err(|error| format!("{error}"))?;
    let index = u16::try_from(number).map_err(|_| "too many cards")?;
    let wiring = messages::wire(name, number, (device, &opened.bars), variant)?;
    let defaults = Config::new(name, index, variant);
    let [rx_descriptors, tx_descriptors] = pools::stock().descriptors(wiring.queues);
    let config = Config {
        delivery: wiring.delivery,
        queues: wiring.queues,
        filter: ReceiveFilter { vlans: wishes.vlans, ..ReceiveFilter::default() },
        flow_control: flow_control(),
        rx_checksum: RX_CHECKSUM.load(Ordering::Relaxed),
        verify_checksums: VERIFY_CHECKSUMS.load(Ordering::Relaxed),
        mtu: possible_mtu(name, variant, wishes.mtu),
        rx_descriptors,
        tx_descriptors,
        ..defaults
    };
    if selftest::is_wanted() {
        let outcome = loop_back((device, &opened.bars), root, pool, trial(&config));
        selftest::note(name, outcome);
    }
    let attached = Adapter::attach(Bar::new(opened.registers, index), root, pool, config, &CLOCK);
    let Attached { adapter, rx } = attached.map_err(|error| text("e1000")(&error))?;
    let interface: Arc<dyn Interface> = Arc::clone(&adapter) as _;
    let got = router.attach(interface).map_err(|error| text("router")(&error))?;
    if got.0 != index {
        return Err(format!("router: interface {} is not {index}", got.0));
    }
    // The device has been reset by the driver: only now may it reach memory.
    bus::master_on(device).map_err(|error| format!("{error}"))?;
    let port = Port::new((name, index), device.address, adapter, &wiring, pool)?;
    port.hook_up(rx)?;
    Ok(port)
}

/// How a card is attached for its loopback test: with frames as long as the part takes and the buffers hold.
fn trial(config: &Config) -> Config {
    let mtu = config.variant.max_mtu().min(pools::stock().max_mtu());
    Config { verify_checksums: true, mtu: mtu.max(config.mtu), ..config.clone() }
}

/// Attaches a card for its loopback test, and detaches it again.
///
/// # Errors
/// What it does not do.
fn loop_back(
    (device, bars): (&PciDevice, &Bars),
    root: &DmaTag,
    pool: &'static PacketPool,
    config: Config,
) -> Result<String, String> {
    /// Buffers the test keeps at hand.
    const KEPT: usize = 64;
    let window = bus::registers(bars).map_err(|error| format!("{error}"))?;
    let attached = Adapter::attach(Bar::new(window, config.if_index), root, pool, config, &CLOCK);
    let Attached { adapter, mut rx } = attached.map_err(|error| text("attach")(&error))?;
    bus::master_on(device).map_err(|error| format!("{error}"))?;
    let looped = adapter.loop_back(&mut rx, &mut PoolCache::new(pool, KEPT));
    let stopped = adapter.stop_dma();
    let is_off = bus::master_off(device.address);
    // Without the proof the memory stays for good: the device may still own it.
    let stopped = match stopped {
        Ok(stopped) => stopped,
        Err(error) => {
            core::mem::forget((adapter, rx));
            return Err(text("stop")(&error));
        }
    };
    adapter.teardown(stopped, rx).map_err(|error| format!("tear down: {error:?}"))?;
    if !is_off {
        return Err("bus mastering cannot be switched off".into());
    }
    looped.map(|looped| format!("loopback: {looped}")).map_err(|fault| format!("loopback: {fault}"))
}

/// Lets all cards run.
pub(crate) fn start_all(ports: &[Arc<Port>]) {
    for port in ports {
        match port.adapter.start() {
            Ok(()) => port.say_link(port.adapter.link()),
            Err(error) => log::error!("{}: not started: {error}", port.name),
        }
    }
}
