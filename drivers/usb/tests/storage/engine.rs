//! What the modelled controller does with commands and transfers, and the device's answers to requests.

use usb::{Error, Pipes, Request};

use crate::xhci::{Endpoint, Fault, OP, State, Xhci};

impl Xhci {
    /// Takes the next block of a ring.
    fn next(&self, ring: &mut Endpoint) -> Option<(u64, [u32; 4])> {
        loop {
            let at = ring.next;
            let trb = [0, 4, 8, 12].map(|offset| self.word(at + offset));
            if (trb[3] & 1 != 0) != ring.cycle {
                return None;
            }
            ring.next = at + 16;
            if trb[3] >> 10 & 0x3F != 6 {
                return Some((at, trb));
            }
            ring.next = self.word64(at);
            ring.cycle ^= trb[3] & 2 != 0;
        }
    }

    fn post(&self, state: &mut State, trb: [u32; 4]) {
        let (base, index, cycle) = state.event;
        let words = [trb[0], trb[1], trb[2], trb[3] | u32::from(cycle)];
        let octets: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.iommu.write(base + index as u64 * 16, &octets);
        state.event = if index == 255 { (base, 0, !cycle) } else { (base, index + 1, cycle) };
    }

    pub(crate) fn commands(&self, state: &mut State) {
        let mut ring = std::mem::take(&mut state.command);
        while let Some((at, trb)) = self.next(&mut ring) {
            let kind = trb[3] >> 10 & 0x3F;
            let own = trb[3] >> 24;
            let (code, slot) = match (self.fault.get(), kind) {
                (Fault::SilentCommands | Fault::HostError, _) => continue,
                (Fault::Refuses(refused), kind) if refused == kind => (5, 1),
                (Fault::OddSlot, 9) => (1, 77),
                (_, 9) => {
                    state.slots += 1;
                    (1, state.slots.into())
                }
                (_, 11) if self.misses.get() > 0 => {
                    self.misses.set(self.misses.get() - 1);
                    (4, own)
                }
                (_, 10) => {
                    state.endpoints.retain(|key, _| u32::from(key >> 5) != own);
                    state.device_packets.clear();
                    (1, own)
                }
                _ => {
                    self.command(state, kind, trb);
                    (1, own)
                }
            };
            let [low, high] = [at & 0xFFFF_FFFF, at >> 32].map(|half| u32::try_from(half).unwrap());
            self.post(state, [low, high, code << 24, slot << 24 | 33 << 10]);
        }
        state.command = ring;
    }

    fn command(&self, state: &mut State, kind: u32, trb: [u32; 4]) {
        let input = u64::from(trb[1]) << 32 | u64::from(trb[0]);
        let own = u8::try_from(trb[3] >> 24).unwrap();
        let endpoint = own << 5 | u8::try_from(trb[3] >> 16 & 0x1F).unwrap();
        match kind {
            11 | 12 => {
                let (dropped, added) = (self.word(input), self.word(input + 4));
                assert!(added & 1 != 0, "the slot's context comes with it");
                let slot = self.word(input + self.context());
                let [port, translator] = [4, 8].map(|at| self.word(input + self.context() + at));
                assert_eq!(port >> 16 & 0xFF, 2, "the port");
                if self.is_behind(own) {
                    assert_eq!(slot & 0xF_FFFF, 3, "the route");
                    let is_translated = !self.build.usb3 && self.build.full_speed;
                    assert_eq!(translator & 0xFFFF, if is_translated { 3 << 8 | 1 } else { 0 });
                } else {
                    assert_eq!((slot & 0xF_FFFF, translator & 0xFFFF), (0, 0));
                    if kind == 12 && self.build.hub {
                        assert_eq!((slot >> 26 & 1, port >> 24), (1, 4), "a hub of four ports");
                    }
                }
                for index in 1..32_u8 {
                    let key = own << 5 | index;
                    if dropped >> index & 1 != 0 {
                        state.endpoints.remove(&key).expect("what is dropped was there");
                    }
                    if added >> index & 1 != 0 {
                        assert!(u32::from(index) <= slot >> 27, "context entries");
                        let dequeue = self.word64(input + self.context() * (u64::from(index) + 1) + 8);
                        let ring = Endpoint { next: dequeue & !0xF, cycle: dequeue & 1 != 0, ..Endpoint::default() };
                        assert!(state.endpoints.insert(key, ring).is_none(), "what is added was not there");
                    }
                }
                if kind == 11 {
                    // It writes the device's contexts.
                    let contexts = self.word64(self.dcbaap(state) + 8 * u64::from(own));
                    self.iommu.write(contexts, &[1; 64]);
                }
            }
            13 => {}
            14 => {
                let ring = state.endpoints.get_mut(&endpoint).unwrap();
                assert!(ring.halted, "only a halted endpoint is reset");
                (ring.halted, ring.packets) = (false, 0);
            }
            16 => {
                let ring = state.endpoints.get_mut(&endpoint).unwrap();
                (ring.next, ring.cycle) = (input & !0xF, input & 1 != 0);
            }
            other => panic!("no such command: {other}"),
        }
    }

    pub(crate) fn dcbaap(&self, state: &State) -> u64 {
        let half = |offset: usize| u64::from(state.kept.get(&(OP + offset)).copied().unwrap_or(0));
        half(0x30) | half(0x34) << 32
    }

    /// Says whether the device of a slot is behind a hub.
    fn is_behind(&self, slot: u8) -> bool {
        self.build.hub && slot > 1
    }

    pub(crate) fn transfer(&self, state: &mut State, slot: u8, index: u8) {
        let key = slot << 5 | index;
        let Some(mut ring) = state.endpoints.remove(&key) else { panic!("no such endpoint: {index}") };
        while !ring.halted
            && let Some((at, trb)) = self.next(&mut ring)
        {
            let address = u64::from(trb[1]) << 32 | u64::from(trb[0]);
            let length = trb[2] & 0x1_FFFF;
            let done = if index == 1 {
                self.control(state, slot, trb, address, length as usize)
            } else {
                let device = state.device_packets.entry(index).or_default();
                if *device != ring.packets {
                    // Neither end hears the other.
                    continue;
                }
                *device += 1;
                ring.packets += 1;
                self.bulk(index, address, length as usize)
            };
            let (code, moved) = match done {
                Ok(moved) => (if moved < length as usize { 13 } else { 1 }, moved),
                Err(Error::Stalled) => (6, 0),
                Err(_) => continue,
            };
            ring.halted = code == 6;
            // Of the stages of a control transfer, the last reports, and one that is short.
            if index == 1 && code == 1 && trb[3] & 1 << 5 == 0 {
                continue;
            }
            let residue = length - u32::try_from(moved).unwrap();
            let [low, high] = [at & 0xFFFF_FFFF, at >> 32].map(|half| u32::try_from(half).unwrap());
            self.post(
                state,
                [low, high, code << 24 | residue, u32::from(slot) << 24 | u32::from(index) << 16 | 32 << 10],
            );
        }
        state.endpoints.insert(key, ring);
    }

    fn bulk(&self, index: u8, address: u64, length: usize) -> Result<usize, Error> {
        let mut stick = self.stick.borrow_mut();
        if index.is_multiple_of(2) {
            let octets = self.iommu.read(address, length).ok_or(Error::Gone)?;
            return stick.send(&octets).map(|()| length);
        }
        let mut into = vec![0; length];
        let came = stick.receive(&mut into)?;
        self.iommu.write(address, &into[..came]).ok_or(Error::Gone)?;
        Ok(came)
    }

    /// One stage of a request.
    fn control(&self, state: &mut State, slot: u8, trb: [u32; 4], address: u64, length: usize) -> Result<usize, Error> {
        match trb[3] >> 10 & 0x3F {
            2 => {
                state.setup = (u64::from(trb[1]) << 32 | u64::from(trb[0])).to_le_bytes();
                let is_hub = self.build.hub && !self.is_behind(slot);
                state.reply = if is_hub { self.hub_request(state)? } else { self.request(state)? };
                Ok(length)
            }
            3 => {
                let reply = std::mem::take(&mut state.reply);
                let came = reply.len().min(length);
                self.iommu.write(address, &reply[..came]).ok_or(Error::Gone)?;
                Ok(came)
            }
            _ => Ok(length),
        }
    }

    /// A request to the hub, which has the stick at its third port.
    fn hub_request(&self, state: &mut State) -> Result<Vec<u8>, Error> {
        let [kind, request, feature, which, port, ..] = state.setup;
        let packet = if self.build.usb3 { 9 } else { 64 };
        let of_hub = if self.build.usb3 { 0x2A } else { 0x29 };
        match (kind, request, which) {
            (0x80, 6, 1) => Ok(vec![18, 1, 0, 2, 9, 0, 0, packet, 1, 2, 3, 4, 0, 0, 0, 0, 0, 1]),
            (0x80, 6, 2) => Ok(vec![9, 2, 9, 0, 0, 1, 0, 0x80, 50]),
            (0x00, 9, _) | (0x20, 12, _) => Ok(vec![]),
            (0xA0, 6, which) if which == of_hub => Ok(vec![9, of_hub, 4, 0, 0, 50, 0, 0, 0]),
            (0x23, 1 | 3, _) if !(1..=4).contains(&port) => Err(Error::Stalled),
            (0x23, 3, _) => {
                if feature == 4 && port == 3 && self.fault.get() != Fault::PortReset {
                    state.hub_port = [3, 1 << 4 | 1];
                }
                Ok(vec![])
            }
            (0x23, 1, _) => {
                state.hub_port[1] &= !(1 << (feature - 16));
                Ok(vec![])
            }
            (0xA3, 0, _) if port == 3 => {
                let speed = if self.build.usb3 || self.build.full_speed { 0 } else { 1 << 2 };
                Ok(vec![state.hub_port[0], speed, state.hub_port[1], 0])
            }
            (0xA3, 0, _) => Ok(vec![0; 4]),
            _ => Err(Error::Stalled),
        }
    }

    fn request(&self, state: &mut State) -> Result<Vec<u8>, Error> {
        let [kind, request, _, which, index, ..] = state.setup;
        let packet = if self.build.usb3 { 9 } else { 64 };
        match (kind, request, which) {
            (0x80, 6, 1) => Ok(vec![18, 1, 0, 2, 0, 0, 0, packet, 1, 2, 3, 4, 0, 0, 0, 0, 0, 1]),
            (0x80, 6, 2) => Ok([
                &[9, 2, 32, 0, 1, 1, 0, 0x80, 50][..],
                &[9, 4, 3, 0, 2, 8, 6, 0x50, 0],
                &[7, 5, 0x81, 2, 0, 2, 0],
                &[7, 5, 0x02, 2, 0, 2, 0],
            ]
            .concat()),
            (0x00, 9, _) => {
                state.configured = true;
                Ok(vec![])
            }
            (0x02, 1, _) => {
                let toward_host = index & 0x80 != 0;
                state.device_packets.insert((index & 0xF) * 2 + u8::from(toward_host), 0);
                self.stick.borrow_mut().clear_halt(toward_host).map(|()| vec![])
            }
            (0x21 | 0xA1, ..) => {
                assert!(state.configured, "a class's request before the configuration");
                let mut into = [0; 1];
                let request = Request { kind, request, value: 0, index: index.into() };
                self.stick.borrow_mut().request(request, &mut into).map(|came| into[..came].to_vec())
            }
            _ => Err(Error::Stalled),
        }
    }
}
