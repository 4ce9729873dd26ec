//! A port under test: machine, device, driver, and the interrupt thread played by the test.
//!
//! Key types: [`Machine`] (shared by several ports), [`Bench`] (one port).

use std::sync::Arc;

use bus_dma::DmaTag;
use e1000::{Adapter, Config, Delivery, DmaStopped, Error, FilterCause, RxRing, TornDown, Variant, Vector};
use ifnet::{Interface, TxOutcome};
use pktbuf::{BufferSize, PacketBatch, PacketBuf, PacketPool, PoolCache};
use wire::MacAddr;

use crate::{Iommu, Nic};

/// A machine: memory, packet pool, root of the tags.
#[derive(Debug)]
pub struct Machine {
    /// Memory as devices see it.
    pub iommu: &'static Iommu,
    /// All packets.
    pub pool: &'static PacketPool,
    /// The bus.
    pub root: DmaTag,
    /// What its cards are.
    pub variant: &'static Variant,
}

impl Machine {
    /// Makes a machine with `frames` packet buffers and 82540EM cards.
    #[must_use]
    pub fn new(frames: usize) -> Self {
        Self::of(0x100e, frames)
    }

    /// Makes a machine with `frames` packet buffers and cards with this PCI device id.
    ///
    /// # Panics
    /// If the driver does not know the id.
    #[must_use]
    pub fn of(device: u16, frames: usize) -> Self {
        Self::sized(device, frames, BufferSize::default())
    }

    /// Makes a machine with `frames` packet buffers of a size and cards with this PCI device id.
    ///
    /// # Panics
    /// If the driver does not know the id.
    #[must_use]
    pub fn sized(device: u16, frames: usize, size: BufferSize) -> Self {
        let iommu = Iommu::leak();
        let variant = Variant::find(0x8086, device).expect("the part is known");
        let pool = PacketPool::leak_sized_for_tests(frames, size);
        Self { iommu, pool, root: DmaTag::root("pci0", iommu), variant }
    }

    /// Puts a device on the bus.
    #[must_use]
    pub fn nic(&self, mac: MacAddr) -> Nic {
        Nic::new(self.iommu, self.variant, mac)
    }

    /// The configuration of port `number`: [`config`] for this machine's kind of card.
    #[must_use]
    pub fn config(&self, number: u8) -> Config {
        Config { variant: self.variant, ..config(number) }
    }

    /// Attaches the driver to a device.
    ///
    /// # Errors
    /// Whatever attach says.
    pub fn attach(&self, nic: &Nic, config: Config) -> Result<Bench, Error> {
        let delay: &'static Nic = Box::leak(Box::new(nic.clone()));
        if config.delivery == Delivery::PerQueue {
            nic.enable_messages();
        }
        let attached = Adapter::attach(nic.clone(), &self.root, self.pool, config, delay)?;
        let cache = PoolCache::new(self.pool, 64);
        let mut rings = attached.rx;
        let second = if rings.len() > 1 { rings.pop() } else { None };
        let rx = rings.pop().expect("a port has a ring");
        Ok(Bench { nic: nic.clone(), adapter: attached.adapter, rx, second, cache, received: Vec::new() })
    }

    /// Makes a device and a started port on it, with the smallest rings.
    ///
    /// # Panics
    /// If that fails.
    #[must_use]
    pub fn port(&self, number: u8) -> Bench {
        let bench = self.attach(&self.nic(mac(number)), self.config(number)).expect("a perfect device attaches");
        bench.adapter.start().expect("a fresh port starts");
        bench
    }

    /// Checks that nothing is left: no tag, map or memory, every packet home, no rule broken.
    ///
    /// # Panics
    /// If something is.
    pub fn assert_empty(&self) {
        assert_eq!(self.root.live().busy(), None, "something is left under the bus");
        assert_eq!(self.iommu.open_windows(), 0, "a window is left open");
        assert_eq!(self.pool.free(), self.pool.total(), "a packet is missing");
        self.iommu.assert_clean();
    }
}

/// The address of port `number`.
#[must_use]
pub fn mac(number: u8) -> MacAddr {
    MacAddr([0x52, 0x54, 0, 0, 0, number])
}

/// The configuration of port `number`: an 82540EM with the shortest rings, which are of 80 descriptors (8 under a model checker).
///
/// # Panics
/// Never: the 82540EM is known.
#[must_use]
pub fn config(number: u8) -> Config {
    let variant = Variant::find(0x8086, 0x100e).expect("the 82540EM is known");
    let mut config = Config::new(&format!("em{number}"), u16::from(number), variant);
    (config.rx_descriptors, config.tx_descriptors) = (Config::SHORTEST_RING, Config::SHORTEST_RING);
    config
}

/// A frame to port `number` that carries `serial` and is `len` octets long (at least 18).
#[must_use]
pub fn frame(number: u8, serial: u32, len: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(len);
    frame.extend(mac(number).octets());
    frame.extend([2, 0, 0, 0, 0, 0xee, 0x08, 0x00]);
    frame.extend(serial.to_be_bytes());
    // Neither zero nor constant, so that a shift or a short copy shows.
    let fill = (0_u32..).map(|n| n.wrapping_mul(31).wrapping_add(serial).to_le_bytes()[0]);
    frame.extend(fill.take(len.saturating_sub(frame.len())));
    frame
}

/// Puts the rings of a port together, as teardown wants them.
#[must_use]
pub fn rings(first: RxRing, second: Option<RxRing>) -> Vec<RxRing> {
    [Some(first), second].into_iter().flatten().collect()
}

/// One port under test.
#[derive(Debug)]
pub struct Bench {
    /// The device.
    pub nic: Nic,
    /// The driver.
    pub adapter: Arc<Adapter<Nic>>,
    /// Its receive ring: the test is the ithread.
    pub rx: RxRing,
    /// That of queue 1, if the port has two.
    pub second: Option<RxRing>,
    /// The ithread's cache.
    pub cache: PoolCache,
    /// Packets handed up and kept.
    pub received: Vec<PacketBuf>,
}

impl Bench {
    /// Serves the receive ring once and keeps what comes. Returns the descriptors served.
    pub fn service(&mut self, budget: usize) -> usize {
        let received = &mut self.received;
        self.rx.service(&self.adapter, budget, &mut self.cache, |packet| received.push(packet))
    }

    /// Serves the receive ring of queue 1 once and keeps what comes. Returns the descriptors served.
    pub fn service_second(&mut self, budget: usize) -> usize {
        let received = &mut self.received;
        let Some(ring) = &mut self.second else { return 0 };
        ring.service(&self.adapter, budget, &mut self.cache, |packet| received.push(packet))
    }

    /// Plays the interrupt and the ithread of one message.
    pub fn vector(&mut self, vector: Vector) {
        if self.adapter.filter_vector(vector) != FilterCause::Schedule {
            return;
        }
        match vector {
            Vector::Rx(0) => while self.service(32) > 0 {},
            Vector::Rx(_) => while self.service_second(32) > 0 {},
            Vector::Tx(queue) => self.adapter.service_sent(queue),
            Vector::Other => drop(self.adapter.service_link()),
        }
        self.adapter.unmask_vector(vector);
    }

    /// Plays interrupt and ithread: as long as the line is asserted, filter, serve until empty, unmask. The same for messages.
    ///
    /// # Panics
    /// If the line stays asserted.
    pub fn interrupts(&mut self) {
        for _ in 0..10_000 {
            if let Some(vector) = self.nic.message() {
                self.vector(vector);
                continue;
            }
            if !self.nic.interrupting() {
                return;
            }
            if self.adapter.filter() == FilterCause::Schedule {
                while self.service(32) > 0 {}
                self.adapter.service_link();
                self.adapter.unmask();
            }
        }
        panic!("the interrupt line is stuck");
    }

    /// Lets the device work and its interrupts be served until both are quiet.
    pub fn settle(&mut self) {
        loop {
            self.nic.settle();
            self.interrupts();
            if !self.nic.interrupting() && self.nic.incoming() == 0 {
                return;
            }
        }
    }

    /// Makes a packet that holds `octets`.
    ///
    /// # Panics
    /// If the pool is exhausted or the octets do not fit.
    pub fn packet(&mut self, octets: &[u8]) -> PacketBuf {
        let mut packet = self.cache.alloc().expect("the pool has a frame");
        packet.append(octets).expect("the frame fits");
        packet
    }

    /// Hands `batch` to the port.
    pub fn transmit(&mut self, batch: &mut PacketBatch) -> TxOutcome {
        self.adapter.transmit(batch, &mut self.cache)
    }

    /// Sends one frame and returns whether the port took it; if not, the packet goes home.
    pub fn send(&mut self, octets: &[u8]) -> TxOutcome {
        let mut batch = PacketBatch::new();
        let packet = self.packet(octets);
        batch.push(packet).expect("an empty batch has room");
        let outcome = self.transmit(&mut batch);
        batch.drain().for_each(|packet| self.cache.recycle(packet));
        outcome
    }

    /// The ladder without its waiting: close, mask, stop, tear down.
    ///
    /// # Errors
    /// Why the device did not stop; then everything is dropped, that is, quarantined.
    ///
    /// # Panics
    /// If the teardown is refused.
    pub fn detach(mut self) -> Result<TornDown, Error> {
        // A device that is gone says so here already; the ladder goes on.
        let _ = self.adapter.close_ingress();
        let _ = self.adapter.mask_interrupts();
        let proof: DmaStopped = self.adapter.stop_dma()?;
        Ok(self.adapter.teardown(proof, rings(self.rx, self.second.take())).expect("nothing is busy"))
    }
}
