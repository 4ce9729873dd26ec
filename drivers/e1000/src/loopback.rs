//! Loopback: frames leave the transmit rings and come back through the receive rings, without a cable. For a self-test.
//!
//! Key types: [`Looped`], [`LoopbackFault`]. Manual: PHY loopback of the 8254x through its control register (13.4.5, 13.4.15,
//! IEEE 802.3 clause 22), MAC loopback of the 8257x by RCTL.LBM (82574 10.2.5.1). A port that was looped is not started any
//! more: it is stopped, torn down and attached anew, which the self-test is glad to have tried.

mod frame;

use alloc::vec::Vec;
use core::fmt;

use ifnet::Interface;
use ksync::atomic::Ordering;
use pktbuf::{PacketBatch, PacketBuf, PoolCache};
use wire::VLAN_TAG_LEN;

use self::frame::Probe;
use crate::{
    adapter::{Adapter, Phase},
    error::{Error, read_checked},
    filter::ReceiveFilter,
    phy::{self, PhyFault, PhyReg},
    regs::{Ctrl, Rctl, Reg, RegisterIo},
    rx::RxRing,
    rxsum::ChecksumTrial,
    txsum::TxSums,
    variant::DmaStop,
};

/// Frames that are sent and looked at octet by octet.
pub const FRAMES: u32 = 256;
/// Frames that are under way at a time: fewer than the shortest ring takes.
const BURST: u32 = 16;
/// Milliseconds within which a first frame has to come back. A PHY takes up to a second to settle; QEMU opens its receiver a
/// second after it was enabled.
const PATIENCE_MILLIS: u32 = 4000;
/// Milliseconds within which a burst has to come back.
const BURST_MILLIS: u32 = 200;
/// Milliseconds between two frames that are sent to see whether the loop is closed.
const KNOCK_MILLIS: u32 = 10;

/// PHY control (IEEE 802.3, 22.2.4.1): loopback, full duplex, 1000 Mb/s.
const PHY_LOOPED: u16 = 0x4140;
/// The same, negotiating again.
const PHY_NEGOTIATE: u16 = 0x1340;

/// What the device fills in.
const SUMS: TxSums = TxSums { header: Some((14, 34)), transport: Some((34, 40)) };

/// What came back: everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looped {
    /// Frames sent and received, each compared octet by octet.
    pub frames: u32,
    /// Their octets.
    pub octets: u64,
    /// Those in which the device has inserted a tag, and taken it off again.
    pub tagged: u32,
    /// Octets of the longest.
    pub longest: usize,
    /// Frames by receive queue.
    pub queues: [u32; 2],
    /// The device's word about the checksums of their headers, each fourth of which is wrong: `None` if it has said nothing, or
    /// was not to be compared.
    pub sums: Option<ChecksumTrial>,
}

impl fmt::Display for Looped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} frames, {} octets, {} tagged, the longest {}",
            self.frames, self.octets, self.tagged, self.longest
        )?;
        if self.queues[1] > 0 {
            write!(f, ", {} and {} by queue", self.queues[0], self.queues[1])?;
        }
        self.sums.map_or(Ok(()), |sums| write!(f, ", {} checksums judged right", sums.agreed))
    }
}

/// Why the port does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopbackFault {
    /// The device does not do as it is told.
    Device(Error),
    /// The PHY takes no orders.
    Phy,
    /// No packet buffers.
    NoBuffers,
    /// Nothing has come back at all.
    Silent,
    /// The transmit ring takes no frame.
    Refused,
    /// Some frames have not come back.
    Lost {
        /// Sent.
        sent: u32,
        /// Come back.
        back: u32,
    },
    /// A frame has come back changed.
    Damaged {
        /// Its serial number.
        frame: u32,
        /// The first octet that differs.
        at: usize,
    },
    /// A frame has come back with the wrong tag, or without, or with one that it was sent without.
    Tag {
        /// Its serial number.
        frame: u32,
        /// The VLAN of the tag it came with; 0 for none.
        vlan: u16,
    },
    /// A frame has come back twice.
    Twice(u32),
    /// What the device said of so many checksums is not so.
    Checksums(u64),
}

impl From<Error> for LoopbackFault {
    fn from(error: Error) -> Self {
        Self::Device(error)
    }
}

impl fmt::Display for LoopbackFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(error) => error.fmt(f),
            Self::Phy => f.write_str("the PHY takes no orders"),
            Self::NoBuffers => f.write_str("no packet buffers"),
            Self::Silent => f.write_str("no frame comes back"),
            Self::Refused => f.write_str("the transmit ring takes no frame"),
            Self::Lost { sent, back } => write!(f, "of {sent} frames {back} came back"),
            Self::Damaged { frame, at } => write!(f, "frame {frame} came back with octet {at} changed"),
            Self::Tag { frame, vlan: 0 } => write!(f, "frame {frame} came back without its tag"),
            Self::Tag { frame, vlan } => write!(f, "frame {frame} came back with a tag of VLAN {vlan}"),
            Self::Twice(frame) => write!(f, "frame {frame} came back twice"),
            Self::Checksums(count) => write!(f, "what it says of {count} checksums is not so"),
        }
    }
}

impl core::error::Error for LoopbackFault {}

/// What is under way.
struct Loop<'a, R: RegisterIo> {
    adapter: &'a Adapter<R>,
    rings: &'a mut [RxRing],
    cache: &'a mut PoolCache,
    batch: PacketBatch,
    /// Octets of the longest frame without a tag.
    longest: usize,
    /// For the frame that is sent, and the one that is expected.
    octets: Vec<u8>,
    looped: Looped,
}

impl<R: RegisterIo> Loop<'_, R> {
    /// Sends the frame with a serial number; each queue in turn.
    fn send(&mut self, serial: u32) -> Result<(), LoopbackFault> {
        let probe = Probe::new(serial, self.longest);
        probe.compose(self.adapter.mac().octets(), &mut self.octets);
        let mut packet = self.cache.alloc().ok_or(LoopbackFault::NoBuffers)?;
        if packet.append(&self.octets).is_none() {
            return Err(LoopbackFault::NoBuffers);
        }
        self.cache.set_lane(serial as usize / 2);
        if probe.summed {
            return self.adapter.transmit_summed(packet, SUMS, self.cache).map_err(|(packet, _)| {
                self.cache.recycle(packet);
                LoopbackFault::Refused
            });
        }
        if self.batch.push(packet).is_err() {
            return Err(LoopbackFault::NoBuffers);
        }
        let outcome = match probe.vlan {
            Some(vlan) => self.adapter.transmit_tagged(vlan, &mut self.batch, false, self.cache),
            None => self.adapter.transmit(&mut self.batch, self.cache),
        };
        if outcome.accepted == 1 {
            return Ok(());
        }
        for packet in self.batch.drain() {
            self.cache.recycle(packet);
        }
        Err(LoopbackFault::Refused)
    }

    /// Hands what has come back to `look`, with the number of its queue.
    fn fetch(&mut self, mut look: impl FnMut(u8, &PacketBuf)) {
        for ring in self.rings.iter_mut() {
            let (queue, mut back) = (ring.queue(), PacketBatch::new());
            let _ = ring.service(self.adapter, BURST as usize, self.cache, |packet| drop(back.push(packet)));
            for packet in back.drain() {
                look(queue, &packet);
                self.cache.recycle(packet);
            }
        }
        // Buffers of what has been sent.
        let _ = self.adapter.tx_backlog();
    }

    fn pause(&self) {
        self.adapter.delay.micros(1000);
    }

    /// Sends frames until one has come back, then waits until no more do.
    fn close(&mut self) -> Result<(), LoopbackFault> {
        let mut came = false;
        for milli in 0..PATIENCE_MILLIS {
            if self.adapter.phase() == Phase::Gone {
                return Err(Error::Gone.into());
            }
            if milli % KNOCK_MILLIS == 0 {
                match self.send(FRAMES + milli) {
                    // Before the loop is closed, frames may pile up.
                    Ok(()) | Err(LoopbackFault::Refused) => {}
                    Err(fault) => return Err(fault),
                }
            }
            self.pause();
            self.fetch(|_, _| came = true);
            if came {
                break;
            }
        }
        if !came {
            return Err(LoopbackFault::Silent);
        }
        let mut quiet = 0;
        for _ in 0..PATIENCE_MILLIS {
            let mut more = false;
            self.pause();
            self.fetch(|_, _| more = true);
            quiet = if more { 0 } else { quiet + 1 };
            if quiet > 3 * KNOCK_MILLIS {
                return Ok(());
            }
        }
        Err(LoopbackFault::Refused)
    }

    /// Sends a burst and compares what comes back.
    fn burst(&mut self, first: u32) -> Result<(), LoopbackFault> {
        let how = (self.adapter.mac().octets(), first, self.longest);
        let mut expected = core::mem::take(&mut self.octets);
        for serial in first..first + BURST {
            self.send(serial)?;
        }
        let (mut seen, mut fault) = ([false; BURST as usize], None);
        let mut looped = self.looped;
        for _ in 0..BURST_MILLIS {
            self.pause();
            self.fetch(|queue, packet| match frame::judge(how, packet, &mut seen, &mut expected) {
                Ok(probe) => {
                    looped.frames += 1;
                    looped.octets += probe.length as u64;
                    looped.tagged += u32::from(probe.vlan.is_some());
                    looped.longest = looped.longest.max(probe.length);
                    looped.queues[usize::from(queue % 2)] += 1;
                }
                Err(what) => fault = fault.or(Some(what)),
            });
            if fault.is_some() || seen.iter().all(|seen| *seen) {
                break;
            }
        }
        self.looped = looped;
        match fault {
            Some(fault) => Err(fault),
            None if seen.iter().all(|seen| *seen) => Ok(()),
            None => Err(LoopbackFault::Lost { sent: first + BURST, back: looped.frames }),
        }
    }
}

impl<R: RegisterIo> Adapter<R> {
    /// Closes the loop inside the device, sends [`FRAMES`] frames of several lengths through all queues, up to the port's longest; of every
    /// other the device takes the checksums, in every fourth it inserts a tag. It compares every octet of what comes back, and its tag. No interrupt is unmasked. Afterwards the port can only be [stopped](Self::stop_dma), whatever the
    /// answer is.
    ///
    /// # Context
    /// Thread, the only one that knows the port. Takes a second or two, at most six.
    ///
    /// # Errors
    /// [`LoopbackFault`]; of these [`Error::State`] unless freshly attached.
    pub fn loop_back(&self, rings: &mut [RxRing], cache: &mut PoolCache) -> Result<Looped, LoopbackFault> {
        if self.phase() != Phase::Attached {
            return Err(Error::State.into());
        }
        self.set_filter(ReceiveFilter { vlans: frame::vlans().collect(), ..ReceiveFilter::default() });
        self.ingress_open.store(true, Ordering::Relaxed);
        self.set_phase(Phase::Running);
        if self.variant.dma_stop == DmaStop::MasterDisable {
            self.mode.fetch_or(Rctl::LBM_MAC.bits(), Ordering::Relaxed);
        } else {
            self.write_phy(PHY_LOOPED)?;
        }
        // The MAC does not learn speed and duplex from a PHY that talks to itself.
        let ctrl = Ctrl::from_bits_retain(read_checked(&self.regs, Reg::Ctrl)?);
        let forced = Ctrl::FRCSPD | Ctrl::FRCDPLX | Ctrl::SPEED_1000 | Ctrl::FD | Ctrl::SLU;
        self.regs.write32(Reg::Ctrl, (ctrl.difference(Ctrl::ASDE) | forced).bits());
        self.enable();
        let looped = Looped { frames: 0, octets: 0, tagged: 0, longest: 0, queues: [0; 2], sums: None };
        let longest = self.frames.longest - VLAN_TAG_LEN;
        let mut under_way =
            Loop { adapter: self, rings, cache, batch: PacketBatch::new(), longest, octets: Vec::new(), looped };
        let mut result = under_way.close();
        for first in (0..FRAMES).step_by(BURST as usize) {
            result = result.and_then(|()| under_way.burst(first));
        }
        let sums = self.checksum_trial();
        let sums = (sums.agreed + sums.disagreed > 0).then_some(sums);
        let result = result.and(match sums {
            Some(ChecksumTrial { disagreed: wrong @ 1.., .. }) => Err(LoopbackFault::Checksums(wrong)),
            _ => Ok(()),
        });
        let looped = Looped { sums, ..under_way.looped };
        // Whatever it looks like, of a device that has left that is the reason.
        let result = result.or_else(|fault| read_checked(&self.regs, Reg::Status).map_err(Into::into).and(Err(fault)));
        if result == Err(Error::Gone.into()) {
            self.mark_gone();
        }
        // Whatever came of it: the reset that follows is the device's, and not on all parts the PHY's.
        let opened = if self.variant.dma_stop == DmaStop::Reset { self.write_phy(PHY_NEGOTIATE) } else { Ok(()) };
        result.and(opened).map(|()| looped)
    }

    /// Writes the PHY's control register.
    fn write_phy(&self, value: u16) -> Result<(), LoopbackFault> {
        phy::write(&self.regs, self.delay, PhyReg::Control, value).map_err(|fault| match fault {
            PhyFault::Silent => LoopbackFault::Phy,
            PhyFault::Gone => Error::Gone.into(),
        })
    }
}
