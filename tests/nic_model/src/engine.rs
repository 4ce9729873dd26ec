//! The DMA engine: frames from the wire into memory, frames from memory to the wire, write-backs.
//!
//! Key type: [`Engine`]. One step is one frame received, one descriptor sent, or one late write-back. Everything it
//! touches in memory goes through the [`Iommu`].

use std::collections::VecDeque;

use e1000::{
    Reg, Stat, TxContext, TxExtended,
    desc::{self, RxErrors, RxLayout, RxStatus, RxWriteback, TxCommand, TxStatus},
    filter::hash,
    regs::{Cause, Ctrl, RAH_AV, RSSRK_WORDS, Rctl, Status},
    tx_extended,
};
use wire::{MacAddr, vlan_number};

use crate::{faults::Faults, iommu::Iommu, nic::Wired, registers::Device};

#[derive(Clone, Copy, Debug)]
struct WriteBack {
    due: u64,
    addr: u64,
    word: u64,
    sent: bool,
}

/// The moving parts.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    pub(crate) incoming: VecDeque<Wired>,
    pub(crate) outgoing: VecDeque<Vec<u8>>,
    /// Octets of the frame being sent so far, of each queue.
    partial: [Vec<u8>; 2],
    late: VecDeque<WriteBack>,
    /// A receive descriptor that is written once more: where, and its words.
    echo: Option<(u64, [u64; 2])>,
    /// The context of frames whose checksums are inserted.
    pub(crate) context: TxContext,
    /// Steps spent on the next descriptor to be sent.
    working: u32,
    pub(crate) steps: u64,
    /// Frames that came while the receiver was off, or that no filter let through.
    pub(crate) ignored: u64,
    /// Good frames written to memory.
    pub(crate) delivered: u64,
    /// Frames sent that were shorter than Ethernet allows.
    pub(crate) runts: u64,
    /// Frames that went through the loop.
    looped: u64,
    /// Steps for which the other end has us wait, until it says XON.
    paused: u64,
    /// Whether we have the other end wait.
    partner_waits: bool,
}

/// What an extended descriptor has where its address was: a hash, and what it was made of.
const HASHED: u64 = 0x5eed_5eed_0000_0001;

impl Engine {
    /// Returns whether write-backs are under way.
    pub(crate) fn has_late(&self) -> bool {
        !self.late.is_empty()
    }

    /// STATUS.TXOFF.
    pub(crate) fn pause_status(&self) -> u32 {
        if self.paused > 0 { Status::TXOFF.bits() } else { 0 }
    }

    pub(crate) fn reset(&mut self, faults: Faults) {
        (self.paused, self.partner_waits, self.echo) = (0, false, None);
        self.partial.iter_mut().for_each(Vec::clear);
        if !faults.write_back_after_reset && !faults.runs_after_reset {
            self.late.clear();
        }
    }
}

impl Device {
    /// Moves one thing. Returns whether there was anything.
    pub(crate) fn step(&mut self, memory: &Iommu) -> bool {
        if self.faults.gone {
            return false;
        }
        self.engine.steps += 1;
        if let Some((descriptor, words)) = self.engine.echo.take() {
            (descriptor..).step_by(8).zip(words).for_each(|(addr, word)| _ = memory.write_word(addr, word));
        }
        if !self.bus_master {
            // Requests never leave the device. What comes from the wire is lost, as at a receiver that is off.
            let lost = self.engine.incoming.pop_front().is_some();
            self.engine.ignored += u64::from(lost);
            return lost;
        }
        let wrote = self.write_back_due(memory);
        let received = self.receive_one(memory);
        let sent = (0..self.variant.queues).filter(|queue| self.send_one(*queue, memory)).count() > 0;
        wrote || received || sent || !self.engine.late.is_empty()
    }

    fn write_back_due(&mut self, memory: &Iommu) -> bool {
        let due = self.engine.late.iter().position(|next| next.due <= self.engine.steps);
        let next = due.and_then(|place| self.engine.late.remove(place));
        if let Some(next) = next {
            memory.write_word(next.addr, next.word);
        }
        next.is_some()
    }

    /// Writes a descriptor back, now or late. In order: never past an earlier one of the same ring.
    fn write_back(&mut self, memory: &Iommu, addr: u64, word: u64, sent: bool) {
        let delay =
            u64::from(self.faults.late_write_back) + if sent { u64::from(self.faults.late_completion) } else { 0 };
        let latest = self.engine.late.iter().filter(|other| other.sent == sent).map(|other| other.due).max();
        if delay == 0 && latest.is_none() {
            memory.write_word(addr, word);
        } else {
            let due = latest.unwrap_or(0).max(self.engine.steps + delay);
            self.engine.late.push_back(WriteBack { due, addr, word, sent });
        }
    }

    fn ring(&self, [low, high, length]: [Reg; 3]) -> (u64, u32) {
        let base = u64::from(self.get(high)) << 32 | u64::from(self.get(low) & !0xf);
        (base, self.get(length) / 16)
    }

    fn receive_one(&mut self, memory: &Iommu) -> bool {
        let Some(wired) = self.engine.incoming.pop_front() else { return false };
        if self.take_pause(&wired.octets) {
            return true;
        }
        if !self.receiving() || !self.accepts(&wired.octets) {
            self.engine.ignored += 1;
            return true;
        }
        if self.turns_away(wired.octets.len()) {
            return true;
        }
        let (wired, tag) = self.strip(wired);
        let pieces = self.cut(&wired);
        let queue = self.queue_of(&wired.octets);
        let (base, length) = self.ring([Reg::Rdbal(queue), Reg::Rdbah(queue), Reg::Rdlen(queue)]);
        let (head, tail) = (self.get(Reg::Rdh(queue)), self.get(Reg::Rdt(queue)));
        let free = if length == 0 { 0 } else { (tail + length - head) % length };
        let fits = pieces.len() <= free as usize;
        if self.have_partner_wait(!fits) {
            // It waits in the FIFO, and what comes behind it at the other end.
            self.engine.incoming.push_front(wired);
            return false;
        }
        if !fits {
            self.count(Stat::Mpc);
            self.raise(Cause::RXO);
            return true;
        }
        let last = pieces.len() - 1;
        for (n, piece) in pieces.iter().enumerate() {
            let descriptor = base + 16 * u64::from(self.get(Reg::Rdh(queue)));
            let Some(buffer) = memory.read_word(descriptor) else { return true };
            memory.write(buffer, piece);
            let mut status = if n == last { RxStatus::DD | RxStatus::EOP } else { RxStatus::DD };
            status.set(RxStatus::VP, n == last && tag.is_some());
            let errors = if n == last { wired.errors } else { RxErrors::empty() };
            let (looked, wrong) =
                if n == last { self.look_at_sums(&wired.octets) } else { (RxStatus::empty(), RxErrors::empty()) };
            let (status, errors) = (status | looked, errors | wrong);
            let length16 = wired.claimed_length.unwrap_or(u16::try_from(piece.len()).unwrap_or(u16::MAX));
            if self.layout() == RxLayout::Extended {
                // The hash and what it was made of lie where the address was.
                memory.write_word(descriptor, HASHED);
            }
            let word = self.layout().encode(RxWriteback { length: length16, status, errors, tag: tag.unwrap_or(0) });
            self.write_back(memory, descriptor + 8, word, false);
            if self.faults.writes_back_twice {
                let first = if self.layout() == RxLayout::Extended { HASHED } else { buffer };
                self.engine.echo = Some((descriptor, [first, word]));
            }
            self.set(Reg::Rdh(queue), (self.get(Reg::Rdh(queue)) + 1) % length);
        }
        self.engine.delivered += 1;
        self.count_frame(&wired.octets, false);
        let low = free as usize - pieces.len() < length as usize / 2;
        self.raise(if low { Cause::RXT0 | Cause::RXDMT0 } else { Cause::RXT0 });
        if self.messages {
            self.raise(if queue == 0 { Cause::RXQ0 } else { Cause::RXQ1 });
        }
        true
    }

    /// Obeys a PAUSE frame, if flow control on reception is on: it goes no further (13.4.22, PMCF clear).
    fn take_pause(&mut self, frame: &[u8]) -> bool {
        let [low, high] = [Reg::Fcal, Reg::Fcah].map(|reg| self.get(reg).to_le_bytes());
        let [type_low, type_high, ..] = self.get(Reg::Fct).to_le_bytes();
        let ours = [low[0], low[1], low[2], low[3], high[0], high[1]];
        let is_pause = frame.starts_with(&ours) && frame.get(12..16) == Some(&[type_high, type_low, 0, 1]);
        if !is_pause || !Ctrl::from_bits_retain(self.get(Reg::Ctrl)).contains(Ctrl::RFCE) {
            return false;
        }
        let time = frame.get(16..18).map_or(0, |time| u16::from_be_bytes([time[0], time[1]]));
        self.count(if time == 0 { Stat::Xonrxc } else { Stat::Xoffrxc });
        self.engine.paused = u64::from(time);
        true
    }

    /// Has the other end wait, or go on, if flow control on sending is on. Returns whether it waits.
    fn have_partner_wait(&mut self, wait: bool) -> bool {
        let is_on = Ctrl::from_bits_retain(self.get(Reg::Ctrl)).contains(Ctrl::TFCE) && self.get(Reg::Fcrth) != 0;
        if is_on && self.engine.partner_waits != wait {
            let [low, high] = [Reg::Fcal, Reg::Fcah].map(|reg| self.get(reg).to_le_bytes());
            let time = if wait { self.get(Reg::Fcttv).to_be_bytes() } else { [0; 4] };
            let [type_low, type_high, ..] = self.get(Reg::Fct).to_le_bytes();
            let source = [self.get(Reg::Ral(0)).to_le_bytes(), self.get(Reg::Rah(0)).to_le_bytes()].concat();
            let to = low.into_iter().chain([high[0], high[1]]);
            let frame = to.chain(source.into_iter().take(6)).chain([type_high, type_low, 0, 1, time[2], time[3]]);
            let mut frame: Vec<u8> = frame.collect();
            frame.resize(60, 0);
            self.engine.outgoing.push_back(frame);
            self.count(if wait { Stat::Xofftxc } else { Stat::Xontxc });
            self.engine.partner_waits = wait;
        }
        is_on && wait
    }

    /// Which receive queue a frame goes to: by a Toeplitz hash of the addresses of an IPv4 packet, if there are several (82574 7.1.11).
    fn queue_of(&self, frame: &[u8]) -> u8 {
        let addresses = frame.get(26..34).filter(|_| frame.get(12..14) == Some(&[8, 0]));
        let Some(addresses) = addresses.filter(|_| self.get(Reg::Mrqc) & 3 == 1) else { return 0 };
        let key: Vec<u8> = (0..RSSRK_WORDS).flat_map(|word| self.get(Reg::Rssrk(word)).to_le_bytes()).collect();
        let window = |bit: usize| {
            let octets = key.get(bit / 8..bit / 8 + 5).map_or([0; 8], |o| [0, 0, 0, o[0], o[1], o[2], o[3], o[4]]);
            u32::try_from(u64::from_be_bytes(octets) >> (8 - bit % 8) & 0xffff_ffff).unwrap_or(0)
        };
        let is_set = |bit: &usize| addresses.get(bit / 8).is_some_and(|octet| octet & 0x80 >> (bit % 8) != 0);
        let hash = (0..64).filter(is_set).map(window).fold(0, |hash, window| hash ^ window);
        let [entry, ..] = (hash & 0x7f).to_le_bytes();
        let word = self.get(Reg::Reta(entry / 4)).to_le_bytes();
        word.get(usize::from(entry % 4)).map_or(0, |entry| entry >> 7)
    }

    /// Returns the control information of the tag that a frame has, if it has one of the type in VET.
    fn tag_of(&self, frame: &[u8]) -> Option<u16> {
        let &[_, _, high, low] = frame.get(12..16).filter(|tag| self.is_vet(tag))?.first_chunk()?;
        Some(u16::from_be_bytes([high, low]))
    }

    fn is_vet(&self, tag: &[u8]) -> bool {
        tag.first_chunk().is_some_and(|kind| u32::from(u16::from_be_bytes(*kind)) == self.get(Reg::Vet))
    }

    fn handles_tags(&self) -> bool {
        Ctrl::from_bits_retain(self.get(Reg::Ctrl)).contains(Ctrl::VME)
    }

    /// Takes a tag off with CTRL.VME. 9.2.
    fn strip(&self, mut wired: Wired) -> (Wired, Option<u16>) {
        let tag = self.tag_of(&wired.octets).filter(|_| self.handles_tags());
        if tag.is_some() {
            wired.octets.drain(12..16);
        }
        (wired, tag.map(|tag| tag ^ u16::from(self.faults.strips_wrongly)))
    }

    /// Inserts a tag with CTRL.VME, if its descriptor wants that. 9.2.
    fn insert(&self, frame: &mut Vec<u8>, word: u64) {
        let inserts = self.handles_tags() && !self.faults.inserts_no_tags;
        let Some(tag) = desc::tx_tag_decode(word).filter(|_| inserts) else { return };
        let [.., high, low] = self.get(Reg::Vet).to_be_bytes();
        let [first, second] = tag.to_be_bytes();
        frame.splice(12..12, [high, low, first, second]);
    }

    /// Cuts a frame into what goes into each descriptor.
    fn cut(&self, wired: &Wired) -> Vec<Vec<u8>> {
        let pieces = wired.pieces.max(1);
        let size = wired.octets.len().div_ceil(pieces).clamp(1, self.buffer_octets());
        wired.octets.chunks(size).map(<[u8]>::to_vec).collect()
    }

    /// The filters for VLANs and addresses, 13.5.
    fn accepts(&self, frame: &[u8]) -> bool {
        let Some(octets) = frame.first_chunk::<6>() else { return false };
        let destination = MacAddr(*octets);
        let rctl = Rctl::from_bits_retain(self.get(Reg::Rctl));
        if let Some(tag) = self.tag_of(frame).filter(|_| rctl.contains(Rctl::VFE)) {
            // Whatever the address is, and in promiscuous mode as well.
            let [word, ..] = (vlan_number(tag) >> 5).to_le_bytes();
            if self.get(Reg::Vfta(word)) & 1 << (tag & 31) == 0 {
                return false;
            }
        }
        if destination.is_broadcast() {
            return rctl.contains(Rctl::BAM);
        }
        if destination.is_group() {
            let (word, bit) = hash(destination);
            return rctl.contains(Rctl::MPE) || self.get(Reg::Mta(word)) & bit != 0;
        }
        rctl.contains(Rctl::UPE) || (0..16).any(|entry| self.is_own(entry, destination))
    }

    fn is_own(&self, entry: u8, destination: MacAddr) -> bool {
        let (low, high) = (self.get(Reg::Ral(entry)), self.get(Reg::Rah(entry)));
        let [a, b, c, d, e, f] = destination.octets();
        high & RAH_AV != 0
            && low == u32::from_le_bytes([a, b, c, d])
            && high & 0xffff == u32::from_le_bytes([e, f, 0, 0])
    }

    /// Sends a frame to ourselves.
    fn loop_back(&mut self, mut frame: Vec<u8>) {
        self.engine.looped += 1;
        let strikes = |every: u32| every > 0 && self.engine.looped.is_multiple_of(u64::from(every));
        let (lost, doubled) = (strikes(self.faults.loop_loses), strikes(self.faults.loop_doubles));
        if strikes(self.faults.loop_damages) {
            let last = frame.len() - 1;
            frame[last] ^= 1;
        }
        if self.faults.loop_cuts > 0 {
            frame.truncate(self.faults.loop_cuts);
        }
        if self.faults.loop_open || lost {
            return;
        }
        if doubled {
            self.engine.incoming.push_back(Wired::good(frame.clone()));
        }
        self.engine.incoming.push_back(Wired::good(frame));
    }

    fn send_one(&mut self, queue: u8, memory: &Iommu) -> bool {
        let (base, length) = self.ring([Reg::Tdbal(queue), Reg::Tdbah(queue), Reg::Tdlen(queue)]);
        let (head, tail) = (self.get(Reg::Tdh(queue)), self.get(Reg::Tdt(queue)));
        if !self.transmitting() || length == 0 || head == tail {
            return false;
        }
        if self.engine.paused > 0 {
            self.engine.paused -= 1;
            return true;
        }
        if self.engine.working < self.faults.slow_transmit {
            self.engine.working += 1;
            return true;
        }
        self.engine.working = 0;
        let descriptor = base + 16 * u64::from(head);
        let (Some(buffer), Some(word)) = (memory.read_word(descriptor), memory.read_word(descriptor + 8)) else {
            return false;
        };
        let (mut octets, command) = desc::tx_decode(word);
        let place = usize::from(queue != 0);
        let mut inserts = [false; 2];
        match tx_extended([buffer, word]) {
            Some(TxExtended::Context(context)) => {
                // One for all queues, as on the 82574 (7.2.6).
                self.engine.context = context;
                self.set(Reg::Tdh(queue), (head + 1) % length);
                return true;
            }
            Some(TxExtended::Data(length, wanted)) => {
                octets = u16::try_from(length).unwrap_or(u16::MAX);
                inserts = wanted;
            }
            None => {}
        }
        if !self.holds_for_sending(self.engine.partial[place].len() + usize::from(octets)) {
            // It waits for room that there will never be.
            return false;
        }
        let Some(piece) = memory.read(buffer, usize::from(octets)) else { return false };
        self.engine.partial[place].extend(piece);
        if command.contains(TxCommand::EOP) {
            let mut frame = std::mem::take(&mut self.engine.partial[place]);
            self.insert_sums(&mut frame, inserts);
            self.insert(&mut frame, word);
            self.engine.runts += u64::from(frame.len() < 60);
            self.count_frame(&frame, true);
            if self.is_looped() {
                self.loop_back(frame);
            } else {
                self.engine.outgoing.push_back(frame);
            }
        }
        if command.contains(TxCommand::RS) {
            self.write_back(memory, descriptor + 8, desc::tx_written_back(word, TxStatus::DD), true);
            self.raise(Cause::TXDW);
            if self.messages {
                self.raise(if queue == 0 { Cause::TXQ0 } else { Cause::TXQ1 });
            }
        }
        self.set(Reg::Tdh(queue), (head + 1) % length);
        true
    }
}
