//! Attach: from a register window to a port, or back to nothing.
//!
//! Key types: [`Attached`], [`Tags`]. Whatever fails, everything made before is undone in reverse order: no map, memory
//! or tag is left and every buffer is home. The device is reset first, so it does no DMA while any of this happens.

use alloc::{string::String, sync::Arc, vec::Vec};

use bus_dma::{Constraints, DmaError, DmaMap, DmaMem, DmaTag, FromDevice, ToDevice};
use ifnet::IfIndex;
use ksync::{
    SpinLock,
    atomic::{AtomicBool, AtomicU8, AtomicU32},
    counter::{Counter, SharedCounter},
};
use pktbuf::PacketPool;
use wire::MacAddr;

use crate::{
    adapter::{Adapter, Phase},
    config::Config,
    desc, eeprom,
    error::{Delay, Error},
    flow::{self, Flow},
    frames::{self, FrameSizes},
    hardware,
    queue::{Queue, Queues},
    regs::RegisterIo,
    rx::{self, RxRing},
    stats::HardwareTotals,
    tx::{self, TxRing},
};

/// A freshly attached port: not started, not receiving, its interrupts masked.
#[derive(Debug)]
pub struct Attached<R> {
    /// The port, for everybody.
    pub adapter: Arc<Adapter<R>>,
    /// Its receive rings, one for each queue and each for the one thread that serves it.
    pub rx: Vec<RxRing>,
}

/// The tags of one port: constraints per use, all below one tag with the port's name.
#[derive(Debug)]
pub(crate) struct Tags {
    pub(crate) port: DmaTag,
    /// In the order in which they are destroyed.
    pub(crate) children: [DmaTag; 4],
}

impl Tags {
    fn new(parent: &DmaTag, pool: &PacketPool, sizes: FrameSizes, config: &Config) -> Result<Self, DmaError> {
        // The parts address 64 bits; bases of rings are 16-octet aligned (13.4.25), cache lines do better.
        let port = parent.child(&config.name, Constraints::ANY)?;
        let ring = |kind: &str, descriptors: u16| {
            let maxsize = usize::from(descriptors) * desc::OCTETS;
            port.child(&label(&config.name, kind), Constraints { alignment: 128, maxsize, ..Constraints::ANY })
        };
        let buffers = |kind: &str, maxsize: usize| {
            port.child(&label(&config.name, kind), Constraints { maxsize, nsegments: 1, ..Constraints::ANY })
        };
        let children = [
            buffers("rx buffers", sizes.buffer.octets())?,
            buffers("tx buffers", pool.buffer_size().stride())?,
            ring("rx ring", config.rx_descriptors)?,
            ring("tx ring", config.tx_descriptors)?,
        ];
        Ok(Self { port, children })
    }
}

fn label(name: &str, kind: &str) -> String {
    let mut label = String::from(name);
    label.push(' ');
    label.push_str(kind);
    label
}

/// What has been made so far. All of it goes into the rings, or is undone.
#[derive(Default)]
struct Building {
    rx_memory: Option<DmaMem>,
    tx_memory: Option<DmaMem>,
    rx_maps: Vec<DmaMap<FromDevice>>,
    tx_maps: Vec<DmaMap<ToDevice>>,
}

impl Building {
    fn build(
        &mut self,
        tags: &Tags,
        pool: &'static PacketPool,
        sizes: FrameSizes,
        config: &Config,
    ) -> Result<(), Error> {
        let [rx_buffers, tx_buffers, rx_ring, tx_ring] = &tags.children;
        let ring = |tag: &DmaTag, descriptors: u16| {
            tag.alloc_mem(usize::from(descriptors) * desc::OCTETS).map(Some).map_err(|_| Error::NoDmaMemory)
        };
        self.rx_memory = ring(rx_ring, config.rx_descriptors)?;
        self.tx_memory = ring(tx_ring, config.tx_descriptors)?;
        self.tx_maps = tx::maps(tx_buffers, config.tx_descriptors).map_err(|_| Error::NoDmaMemory)?;
        for _ in 0..config.rx_descriptors {
            let mut map = rx_buffers.create_map().map_err(|_| Error::NoDmaMemory)?;
            let fresh = pool.alloc().ok_or(Error::NoBuffers)?;
            rx::arm(&mut map, fresh, sizes.buffer).map_err(|_| Error::NoDmaMemory)?;
            self.rx_maps.push(map);
        }
        Ok(())
    }

    fn undo(self, stopped: &bus_dma::DmaStopped<'_>) {
        // Reclaimed packets go home as they are dropped.
        self.rx_maps.into_iter().for_each(|map| drop(map.reclaim(stopped)));
        self.rx_memory.into_iter().chain(self.tx_memory).for_each(|memory| memory.free(stopped));
    }
}

impl<R: RegisterIo> Adapter<R> {
    /// Resets the device, reads its address, makes tags, rings and buffers, and programs everything but the two enable
    /// bits. Interrupts stay masked; [`start`](Self::start) lets the port run.
    ///
    /// The caller has switched on memory decoding and bus mastering (and does it after this if it wants to see the
    /// reset first: nothing here needs the device's DMA).
    ///
    /// # Context
    /// Thread, at boot. Waits some milliseconds for the device.
    ///
    /// # Errors
    /// Any [`Error`]; everything is undone.
    pub fn attach(
        regs: R,
        parent: &DmaTag,
        pool: &'static PacketPool,
        config: Config,
        delay: &'static dyn Delay,
    ) -> Result<Attached<R>, Error> {
        config.validate()?;
        let sizes = FrameSizes::new(config.mtu, config.variant, pool)?;
        let variant = config.variant;
        // Memory is made ready while the device reloads itself.
        let reloading = hardware::begin_reset(&regs, delay, variant)?;
        let flow_control = config.flow_control;
        let tags = Tags::new(parent, pool, sizes, &config).map_err(|_| Error::NoDmaMemory)?;
        let mut buildings: Vec<Building> = (0..config.queues).map(|_| Building::default()).collect();
        let built = buildings.iter_mut().try_for_each(|building| building.build(&tags, pool, sizes, &config));
        let ready = built.and_then(|()| {
            reloading.finish(&regs, delay, variant)?;
            frames::share_fifo(&regs, delay, variant, sizes)?;
            let mac = eeprom::station_address(&regs, delay, variant.eerd)?;
            hardware::set_link_up(&regs)?;
            Ok(mac)
        });
        let mac = match ready {
            Ok(mac) => mac,
            Err(error) => {
                // The reset above was acknowledged, and neither half has been enabled since.
                let stopped = bus_dma::DmaStopped::attest(&config.name, &tags.port);
                buildings.into_iter().for_each(|building| building.undo(&stopped));
                return Err(error);
            }
        };
        let name: Arc<str> = config.name.as_str().into();
        let (mut rx, mut queues) = (Vec::new(), Vec::new());
        for (queue, building) in (0..).zip(buildings) {
            let Building { rx_memory: Some(rx_memory), tx_memory: Some(tx_memory), rx_maps, tx_maps } = building else {
                return Err(Error::NoDmaMemory);
            };
            let which = (queue, config.variant.rx_layout, config.sums(), sizes);
            let ring = RxRing::new(Arc::clone(&name), which, rx_memory, rx_maps, IfIndex(config.if_index));
            queues.push(Queue::new(TxRing::new(queue, tx_memory, tx_maps), ring.place()));
            rx.push(ring);
        }
        let mut queues = queues.into_iter();
        let first = queues.next().ok_or(Error::Queues)?;
        let queues = Queues::new(first, queues.next());
        let adapter = Self::assemble(regs, name, mac, tags, queues, (config, sizes), delay);
        // A PHY that does not answer costs the flow control and nothing else.
        let _ = flow::advertise(&adapter.regs, delay, flow_control);
        adapter.program_flow();
        adapter.write_filters();
        adapter.program_receive();
        rx.iter_mut().for_each(|ring| ring.restart(&adapter.regs));
        adapter.update_link();
        Ok(Attached { adapter: Arc::new(adapter), rx })
    }

    fn assemble(
        regs: R,
        name: Arc<str>,
        mac: MacAddr,
        tags: Tags,
        queues: Queues,
        (config, sizes): (Config, FrameSizes),
        delay: &'static dyn Delay,
    ) -> Self {
        Self {
            name,
            regs,
            delay,
            variant: config.variant,
            mac,
            mtu: config.mtu,
            frames: sizes,
            moderation: config.moderation,
            delivery: config.delivery,
            sums: config.sums(),
            watchdog: config.watchdog,
            phase: AtomicU8::new(Phase::Attached as u8),
            ingress_open: AtomicBool::new(false),
            egress_open: AtomicBool::new(true),
            masked_for_good: AtomicBool::new(false),
            recover: AtomicBool::new(false),
            generation: AtomicU32::new(0),
            causes: AtomicU32::new(0),
            link: AtomicU32::new(0),
            mode: AtomicU32::new(config.filter.mode().bits()),
            tagging: AtomicBool::new(!config.filter.vlans.is_empty()),
            queues,
            other_interrupts: Counter::new(),
            strays: Counter::new(),
            watchdog_resets: SharedCounter::new(),
            ring_restarts: SharedCounter::new(),
            link_changes: SharedCounter::new(),
            hardware: SpinLock::new(HardwareTotals::default()),
            flow: SpinLock::new(Flow::new(config.flow_control)),
            receive_filter: SpinLock::new(config.filter),
            tags: SpinLock::new(Some(tags)),
        }
    }

    /// Lets the port run: enables transmitter and receiver (the one write to RCTL) and unmasks the interrupts. Call it
    /// when the interrupt's handler is in place.
    ///
    /// # Context
    /// Thread.
    ///
    /// # Errors
    /// [`Error::State`] unless freshly attached.
    pub fn start(&self) -> Result<(), Error> {
        if self.phase() != Phase::Attached {
            return Err(Error::State);
        }
        self.ingress_open.store(true, ksync::atomic::Ordering::Relaxed);
        self.set_phase(Phase::Running);
        self.enable();
        self.update_link();
        self.unmask();
        Ok(())
    }
}
