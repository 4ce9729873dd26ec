//! ARP's effects: answering, asking, releasing what was held, and what time brings.

use arp::{ArpAction, ArpInterface, ArpTransmission, Release, Request};
use forward::{IcmpErrorKind, IfConfig};
use ifnet::{DropReason, IfIndex};
use pktbuf::{Origin, PacketBuf};
use wire::ETHERNET_HEADER_LEN;

use crate::worker::Pass;

/// Returns an interface as ARP sees it.
fn as_arp(interface: &IfConfig) -> ArpInterface<'_> {
    ArpInterface { index: interface.index, mac: interface.mac, addresses: &interface.addresses }
}

impl Pass<'_> {
    /// Takes in an ARP frame.
    #[cold]
    pub(crate) fn receive_arp(&mut self, packet: PacketBuf, rx: IfIndex) {
        let Some(interface) = self.snapshot.tables.interface(rx) else {
            return self.discard(packet, DropReason::ForwardingOff);
        };
        let payload = packet.bytes().get(ETHERNET_HEADER_LEN..).unwrap_or_default();
        let input = self.router.arp().input(self.now, &as_arp(interface), payload);
        self.core.counters.count(&packet, input.fate);
        self.core.cache.recycle(packet);
        if let Some(reply) = input.reply {
            self.send_arp(&reply);
        }
        if let Some(release) = input.release {
            self.release(release);
        }
    }

    /// Asks for a neighbour.
    pub(crate) fn send_arp_request(&mut self, request: &Request) {
        let interface = self.snapshot.tables.interface(request.out);
        if let Some(transmission) = interface.and_then(|interface| as_arp(interface).request(request)) {
            self.send_arp(&transmission);
        }
    }

    /// Tells the link our addresses (RFC 5227 2.3).
    pub(crate) fn announce(&mut self, out: IfIndex) {
        let Some(interface) = self.snapshot.tables.interface(out) else { return };
        for cidr in &interface.addresses {
            self.send_arp(&as_arp(interface).announcement(cidr.address()));
        }
    }

    fn send_arp(&mut self, transmission: &ArpTransmission) {
        self.core.counters.originated.bump();
        let Some(mut packet) = self.core.cache.alloc() else {
            return self.core.counters.local_fates.drop_one(DropReason::NoBuffer);
        };
        packet.set_origin(Origin::Local);
        match packet.append(&transmission.frame()) {
            Some(()) => self.enqueue(packet, transmission.out),
            None => self.discard(packet, DropReason::NoBuffer),
        }
    }

    /// Sends what was held for a neighbour, all of it before any later packet for that neighbour.
    fn release(&mut self, release: Release) {
        let Release { out, neighbour } = release;
        // The scratch batch is in use when frames of a protocol queue are processed from it; its place is empty then.
        let mut held = core::mem::take(&mut self.core.scratch);
        while let Some(mac) = self.router.arp().release(self.now, out, neighbour, &mut held) {
            while let Some(packet) = held.pop() {
                self.send_framed(packet, out, mac);
            }
            // Calling `release` again says that these have been sent.
            self.flush(out);
        }
        self.core.scratch = held;
    }

    /// Does what has become due in the ARP table.
    pub(crate) fn poll_arp(&mut self) {
        while let Some(action) = self.router.arp().poll(self.now) {
            match action {
                ArpAction::Request(request) => self.send_arp_request(&request),
                ArpAction::Release(release) => self.release(release),
                ArpAction::Unreachable { packet, .. } => {
                    self.reject(packet, IcmpErrorKind::HostUnreachable, DropReason::ArpUnresolved);
                }
            }
        }
    }

    /// Drops what is held for the neighbours of one interface, or of all, and forgets these; returns how many packets.
    pub(crate) fn flush_arp(&mut self, interface: Option<IfIndex>) -> u64 {
        let mut held = core::mem::take(&mut self.core.scratch);
        let mut dropped = 0;
        loop {
            let more = self.router.arp().flush(interface, &mut held);
            while let Some(packet) = held.pop() {
                dropped += 1;
                self.discard(packet, DropReason::ArpFlushed);
            }
            if !more {
                break;
            }
        }
        self.core.scratch = held;
        dropped
    }
}
