//! A router with two (or more) fake ports, hosts A and B beside it, and a way to make frames.

use std::{
    fmt,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use arp::ArpConfig;
use config::Config;
use ifnet::{DropReason, FateSnapshot, IfIndex, IfStatistics, Interface, TxOutcome, TxRefusal};
use ksync::{rcu::Domain, time::Instant};
use pktbuf::{BATCH_CAPACITY, BufferSize, PacketBatch, PacketBuf, PacketPool, PoolCache};
use router::{Audit, Pass, Router, Worker, WorkerConfig};
use wire::{
    Arp, ArpOperation, ArpPacket, EtherType, Ethernet, EthernetHeader, Ipv4, Ipv4Header, MacAddr, UdpHeader, VlanId,
    icmpv4::Message,
};

pub(crate) const A: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub(crate) const B: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
pub(crate) const R0: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(crate) const R1: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub(crate) const MAC_A: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xa]);
pub(crate) const MAC_B: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xb]);
pub(crate) const EM0: IfIndex = IfIndex(0);
pub(crate) const EM1: IfIndex = IfIndex(1);

pub(crate) const CONFIG: &str = r#"
    [[interface]]
    name = "em0"
    addresses = ["192.0.2.1/24"]
    [[interface]]
    name = "em1"
    addresses = ["198.51.100.1/24"]
    mtu = 1400
    [[route]]
    prefix = "10.0.0.0/8"
    via = "198.51.100.9"
    [[route]]
    prefix = "10.66.0.0/16"
    blackhole = true
"#;

/// A port that sends into a list.
pub(crate) struct FakePort {
    name: String,
    mac: MacAddr,
    pub(crate) link: AtomicBool,
    pub(crate) running: AtomicBool,
    /// Frames that fit before the ring is full.
    pub(crate) room: AtomicUsize,
    pub(crate) calls: AtomicUsize,
    /// The longest frame that can be sent.
    pub(crate) longest: AtomicUsize,
    mtu: u16,
    pub(crate) doorbells: AtomicUsize,
    sent: Mutex<Vec<Vec<u8>>>,
    /// Sent, and the device does not know yet.
    untold: Mutex<Vec<Vec<u8>>>,
}

impl fmt::Debug for FakePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl FakePort {
    fn new(n: u8, mtu: u16) -> Arc<Self> {
        Arc::new(Self {
            name: format!("em{n}"),
            mac: MacAddr([2, 0, 0, 0, 1, n]),
            link: AtomicBool::new(true),
            running: AtomicBool::new(true),
            room: AtomicUsize::new(usize::MAX),
            calls: AtomicUsize::new(0),
            longest: AtomicUsize::new(usize::from(mtu) + 14),
            mtu,
            doorbells: AtomicUsize::new(0),
            sent: Mutex::new(Vec::new()),
            untold: Mutex::new(Vec::new()),
        })
    }

    fn tell(&self) {
        self.sent.lock().unwrap().append(&mut self.untold.lock().unwrap());
    }

    /// Takes frames into a list, with a tag in each or nothing.
    fn put(&self, tag: &[u8], batch: &mut PacketBatch, cache: &mut PoolCache, sent: &Mutex<Vec<Vec<u8>>>) -> TxOutcome {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let mut accepted = 0;
        while let Some(front) = batch.front() {
            let refusal = match () {
                () if !self.running() => Some(TxRefusal::NotRunning),
                () if !self.link_up() => Some(TxRefusal::LinkDown),
                () if front.len() > self.longest.load(Ordering::Relaxed) => Some(TxRefusal::TooLong),
                () if self.room.load(Ordering::Relaxed) == 0 => Some(TxRefusal::RingFull),
                () => None,
            };
            if let Some(refusal) = refusal {
                return TxOutcome::refused(accepted, refusal);
            }
            let packet = batch.pop().unwrap();
            let mut frame = packet.bytes().to_vec();
            frame.splice(12..12, tag.iter().copied());
            sent.lock().unwrap().push(frame);
            cache.recycle(packet);
            self.room.fetch_sub(1, Ordering::Relaxed);
            accepted += 1;
        }
        TxOutcome::all(accepted)
    }

    /// Takes what was sent since the last time.
    pub(crate) fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.sent.lock().unwrap())
    }

    /// Takes what was sent and is an IPv4 packet, without the Ethernet header.
    pub(crate) fn take_ip(&self) -> Vec<Vec<u8>> {
        let is_ip = |frame: &Vec<u8>| Ethernet::new_checked(frame).unwrap().ether_type() == EtherType::IPV4;
        self.take().into_iter().filter(is_ip).map(|mut frame| frame.split_off(14)).collect()
    }
}

impl Interface for FakePort {
    fn name(&self) -> &str {
        &self.name
    }

    fn mac(&self) -> MacAddr {
        self.mac
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn link_up(&self) -> bool {
        self.link.load(Ordering::Relaxed)
    }

    fn running(&self) -> bool {
        self.running.load(Ordering::Relaxed)
    }

    fn transmit(&self, batch: &mut PacketBatch, cache: &mut PoolCache) -> TxOutcome {
        self.tell();
        self.put(&[], batch, cache, &self.sent)
    }

    fn transmit_more(&self, batch: &mut PacketBatch, cache: &mut PoolCache) -> TxOutcome {
        self.put(&[], batch, cache, &self.untold)
    }

    fn transmit_tagged(&self, vlan: VlanId, batch: &mut PacketBatch, more: bool, cache: &mut PoolCache) -> TxOutcome {
        let [high, low] = vlan.get().to_be_bytes();
        if !more {
            self.tell();
        }
        self.put(&[0x81, 0, high, low], batch, cache, if more { &self.untold } else { &self.sent })
    }

    fn ring_doorbell(&self, _lane: usize) {
        self.doorbells.fetch_add(1, Ordering::Relaxed);
        self.tell();
    }

    fn statistics(&self) -> IfStatistics {
        IfStatistics::default()
    }
}

/// The test bench: router, one ingress worker, ports and a clock.
pub(crate) struct Bench {
    pub(crate) router: &'static Router,
    pub(crate) worker: Worker,
    pub(crate) pool: &'static PacketPool,
    pub(crate) ports: Vec<Arc<FakePort>>,
    pub(crate) now: Instant,
}

impl Bench {
    /// A configured router whose neighbours are not known yet.
    pub(crate) fn cold() -> Self {
        Self::with(CONFIG, 2)
    }

    /// A configured router that knows A and B.
    pub(crate) fn warm() -> Self {
        let mut bench = Self::cold();
        bench.learn(EM0, A, MAC_A);
        bench.learn(EM1, B, MAC_B);
        bench.ports.iter().for_each(|port| drop(port.take()));
        bench
    }

    pub(crate) fn with(config: &str, ports: u8) -> Self {
        let bench = Self::unconfigured(ports);
        bench.router.apply(&Config::parse(config).unwrap()).unwrap();
        bench
    }

    /// A configured router whose ports take packets of `mtu` octets, and whose buffers do, that knows A and B.
    pub(crate) fn jumbo(config: &str, ports: u8, mtu: u16) -> Self {
        let mut bench = Self::built(ports, mtu, BufferSize::K16);
        bench.router.apply(&Config::parse(config).unwrap()).unwrap();
        bench.learn(EM0, A, MAC_A);
        bench.learn(EM1, B, MAC_B);
        bench.ports.iter().for_each(|port| drop(port.take()));
        bench
    }

    pub(crate) fn unconfigured(ports: u8) -> Self {
        Self::built(ports, 1500, BufferSize::K2)
    }

    fn built(ports: u8, mtu: u16, size: BufferSize) -> Self {
        let domain: &'static Domain = Box::leak(Box::new(Domain::new()));
        let arp = ArpConfig { max_entries: 64, max_unresolved: 32, max_held: 64, ..ArpConfig::default() };
        let router: &'static Router = Box::leak(Box::new(Router::new(domain, arp, 2).unwrap()));
        let ports: Vec<_> = (0..ports).map(|number| FakePort::new(number, mtu)).collect();
        for port in &ports {
            router.attach(Arc::clone(port) as Arc<dyn Interface>).unwrap();
        }
        let pool = PacketPool::leak_sized_for_tests(512, size);
        let worker = worker(router, pool, "irq10: em0", true);
        Self { router, worker, pool, ports, now: Instant::from_secs(1) }
    }

    /// A second worker of the same router, which receives nothing.
    pub(crate) fn other_worker(&self, name: &str) -> Worker {
        worker(self.router, self.pool, name, false)
    }

    /// Has a host tell its address, by a reply.
    pub(crate) fn learn(&mut self, on: IfIndex, ip: Ipv4Addr, mac: MacAddr) {
        let own = if on == EM0 { R0 } else { R1 };
        self.receive(on, &arp_frame(ArpOperation::Request, (mac, ip), (MacAddr::ZERO, own), MacAddr::BROADCAST));
    }

    /// One pass with one frame.
    pub(crate) fn receive(&mut self, on: IfIndex, frame: &[u8]) {
        self.receive_all(on, &[frame.to_vec()]);
    }

    /// One pass with these frames, in batches as a driver's thread hands them in.
    pub(crate) fn receive_all(&mut self, on: IfIndex, frames: &[Vec<u8>]) {
        self.worker.pass(self.now, |pass| {
            for frames in frames.chunks(BATCH_CAPACITY) {
                let mut batch = PacketBatch::new();
                for frame in frames {
                    batch.push(packet(pass, on, frame)).unwrap();
                }
                pass.receive_all(&mut batch);
            }
        });
    }

    /// One pass with these frames as a driver's thread hands them in that has fallen behind: more is about to come after each batch, and
    /// after the last one as well if `more`.
    pub(crate) fn receive_falling_behind(&mut self, on: IfIndex, frames: &[Vec<u8>], more: bool) {
        let mut left = frames.chunks(BATCH_CAPACITY).count();
        self.worker.pass(self.now, |pass| {
            for frames in frames.chunks(BATCH_CAPACITY) {
                let mut batch = PacketBatch::new();
                frames.iter().for_each(|frame| batch.push(packet(pass, on, frame)).unwrap());
                pass.receive_all(&mut batch);
                left -= 1;
                if left > 0 || more { pass.finish_batch() } else { pass.finish() }
            }
        });
    }

    /// One pass with these frames as a driver's thread hands them in whose card has looked at the checksums.
    pub(crate) fn receive_vouched(&mut self, on: IfIndex, frames: &[Vec<u8>]) {
        self.worker.pass(self.now, |pass| {
            let mut batch = PacketBatch::new();
            frames.iter().for_each(|frame| batch.push(packet(pass, on, frame)).unwrap());
            pass.receive_ring(&mut batch, on, true);
        });
    }

    /// One pass with these frames as a driver hands them in that takes tags off: each with the number in its tag.
    pub(crate) fn receive_trunk(&mut self, on: IfIndex, frames: &[(u16, Vec<u8>)]) {
        self.worker.pass(self.now, |pass| {
            for frames in frames.chunks(BATCH_CAPACITY) {
                let mut batch = PacketBatch::new();
                for (vlan, frame) in frames {
                    let mut packet = packet(pass, on, frame);
                    packet.set_vlan(*vlan);
                    batch.push(packet).unwrap();
                }
                pass.receive_all(&mut batch);
            }
        });
    }

    /// The same, each for itself.
    pub(crate) fn receive_trunk_singly(&mut self, on: IfIndex, frames: &[(u16, Vec<u8>)]) {
        self.worker.pass(self.now, |pass| {
            for (vlan, frame) in frames {
                let mut packet = packet(pass, on, frame);
                packet.set_vlan(*vlan);
                pass.receive(packet);
            }
        });
    }

    /// One pass with these frames, each for itself.
    pub(crate) fn receive_singly(&mut self, on: IfIndex, frames: &[Vec<u8>]) {
        self.worker.pass(self.now, |pass| {
            for frame in frames {
                let packet = packet(pass, on, frame);
                pass.receive(packet);
            }
        });
    }

    pub(crate) fn tick_after(&mut self, millis: u64) {
        self.now = Instant::from_millis(self.now.as_millis() + millis);
        self.worker.tick(self.now);
    }

    pub(crate) fn fates(&self) -> FateSnapshot {
        self.router.audit().fates
    }

    pub(crate) fn local_fates(&self) -> FateSnapshot {
        self.router.audit().local_fates
    }

    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        self.fates().dropped(reason)
    }

    /// The books are right, and every buffer is where it should be.
    pub(crate) fn assert_conserved(&self) -> Audit {
        let audit = self.router.audit();
        assert_eq!(audit.unexplained(), 0, "{audit}");
        let each: Vec<_> = (0..64).map(|index| self.router.audit_interface(IfIndex(index))).collect();
        assert_eq!(each.iter().map(|one| one.received).sum::<u64>(), audit.received, "{each:?}");
        let waits: i64 = each.iter().map(router::InterfaceAudit::unexplained).sum();
        let local = audit.originated.cast_signed() - audit.local_fates.total().cast_signed();
        assert_eq!(waits + local, audit.held().cast_signed(), "{each:?}");
        let cards = (0..).zip(&self.ports).map(|(index, _)| self.router.audit_port(IfIndex(index)).received);
        assert_eq!(cards.sum::<u64>(), audit.received, "each frame is a card's: {each:?}");
        let census = self.pool.census();
        assert_eq!(census.owned as u64, audit.held(), "buffers in hand: {census:?}");
        audit
    }
}

pub(crate) fn worker(router: &'static Router, pool: &'static PacketPool, name: &str, ingress: bool) -> Worker {
    Worker::new(router, pool, &WorkerConfig { name, workstream: 0, ingress }).unwrap()
}

fn packet(pass: &mut Pass<'_>, on: IfIndex, frame: &[u8]) -> PacketBuf {
    let mut packet = pass.cache().alloc().unwrap();
    packet.append(frame).unwrap();
    packet.set_rx_if(on.0);
    packet
}

pub(crate) fn arp_frame(
    operation: ArpOperation,
    sender: (MacAddr, Ipv4Addr),
    target: (MacAddr, Ipv4Addr),
    destination: MacAddr,
) -> Vec<u8> {
    let packet =
        ArpPacket { operation, sender_mac: sender.0, sender_ip: sender.1, target_mac: target.0, target_ip: target.1 };
    let mut frame = EthernetHeader { destination, source: sender.0, ether_type: EtherType::ARP }.to_bytes().to_vec();
    frame.extend(packet.to_bytes());
    frame.resize(60, 0);
    frame
}

/// Reads the ARP packets among frames.
pub(crate) fn arps(frames: &[Vec<u8>]) -> Vec<(ArpOperation, Ipv4Addr, MacAddr)> {
    let arp = |frame: &Vec<u8>| {
        let ethernet = Ethernet::new_checked(frame).unwrap();
        (ethernet.ether_type() == EtherType::ARP).then(|| {
            let arp = Arp::new_checked(ethernet.payload()).unwrap();
            (arp.operation().unwrap(), arp.target_ip(), ethernet.destination())
        })
    };
    frames.iter().filter_map(arp).collect()
}

/// A packet from A to B that nothing is wrong with.
pub(crate) fn good() -> Ipv4Header {
    Ipv4Header {
        tos: 0,
        total_len: 60,
        ident: 7,
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol: 17,
        source: A,
        destination: B,
    }
}

/// A frame from A's side with a datagram whose first payload octets are `number`.
pub(crate) fn udp(header: &Ipv4Header, number: u32) -> Vec<u8> {
    let mut ip = [0; 20];
    header.emit(&mut ip);
    let mut datagram = vec![0x5a; usize::from(header.total_len) - 20];
    if datagram.len() >= 12 {
        datagram[8..12].copy_from_slice(&number.to_be_bytes());
    }
    let ports = UdpHeader { source_port: 4000, destination_port: 33434 };
    ports.emit(&mut datagram, header.source, header.destination).unwrap();
    frame(MacAddr([2, 0, 0, 0, 1, 0]), &[&ip[..], &datagram].concat())
}

pub(crate) fn echo(header: &Ipv4Header, sequence: u16) -> Vec<u8> {
    let header = Ipv4Header { protocol: 1, ..*header };
    let mut ip = [0; 20];
    header.emit(&mut ip);
    let mut message = vec![0x61; usize::from(header.total_len) - 20];
    Message::EchoRequest { ident: 0x77, sequence }.emit(&mut message).unwrap();
    frame(MacAddr([2, 0, 0, 0, 1, 0]), &[&ip[..], &message].concat())
}

pub(crate) fn frame(destination: MacAddr, packet: &[u8]) -> Vec<u8> {
    let header = EthernetHeader { destination, source: MAC_A, ether_type: EtherType::IPV4 };
    [&header.to_bytes()[..], packet].concat()
}

/// The number that [`udp`] put into a packet.
pub(crate) fn number(packet: &[u8]) -> u32 {
    let payload = Ipv4::new_checked(packet).unwrap().payload();
    u32::from_be_bytes(payload[8..12].try_into().unwrap())
}
