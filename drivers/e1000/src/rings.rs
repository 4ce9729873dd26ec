//! The rings as a view shows them: where driver and device stand.
//!
//! Context: any, also the debugger in a world that stands still; nothing waits or allocates.

use ksync::{Held, atomic::Ordering};

use crate::{
    adapter::Adapter,
    desc,
    regs::{ALL_ONES, Reg, RegisterIo},
};

/// Octets of a descriptor, in which RDLEN and TDLEN count.
const DESCRIPTOR: u32 = 16;
const _: () = assert!(DESCRIPTOR as usize == desc::OCTETS);

/// What the device says about one ring; `None` where it reads all ones, as one does that has left the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRing {
    /// Descriptors, from RDLEN or TDLEN.
    pub len: Option<u32>,
    /// RDH or TDH: the descriptor the device is at.
    pub head: Option<u32>,
    /// RDT or TDT: the first descriptor the device must not touch.
    pub tail: Option<u32>,
}

impl DeviceRing {
    fn read<R: RegisterIo>(regs: &R, [len, head, tail]: [Reg; 3]) -> Self {
        let checked = |reg| Some(regs.read32(reg)).filter(|value| *value != ALL_ONES);
        Self { len: checked(len).map(|octets| octets / DESCRIPTOR), head: checked(head), tail: checked(tail) }
    }

    /// Returns the descriptors that are the device's: from its head to the tail.
    #[must_use]
    pub fn owned(&self) -> Option<u32> {
        let (len, head, tail) = (self.len?, self.head?, self.tail?);
        (head < len && tail < len).then(|| (tail + len - head) % len)
    }
}

/// The receive ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RxLook {
    /// The device's side.
    pub device: DeviceRing,
    /// The descriptor that the interrupt thread serves next.
    pub next: u32,
}

/// The transmit ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxLook {
    /// The device's side.
    pub device: DeviceRing,
    /// The descriptor that is used next.
    pub next: usize,
    /// The oldest descriptor in use.
    pub clean: usize,
    /// Descriptors in use.
    pub used: usize,
    /// Those of them that the device has not been told of.
    pub unflushed: usize,
    /// Nothing may be put in: the device is being reset.
    pub paused: bool,
}

impl<R: RegisterIo> Adapter<R> {
    /// Looks at a queue's receive ring; at that of queue 0 if there is no such queue.
    #[must_use]
    pub fn look_at_rx(&self, queue: u8) -> RxLook {
        // ORDERING: relaxed; a view of a running ring is old when it is shown.
        let next = self.received(queue).next.load(Ordering::Relaxed);
        RxLook { device: DeviceRing::read(&self.regs, [Reg::Rdlen(queue), Reg::Rdh(queue), Reg::Rdt(queue)]), next }
    }

    /// Looks at a queue's transmit ring; `None` after the teardown, or if there is no such queue.
    ///
    /// # Errors
    /// [`Held`] if a CPU was stopped while it was sending.
    pub fn look_at_tx(&self, queue: u8) -> Result<Option<TxLook>, Held> {
        let device = DeviceRing::read(&self.regs, [Reg::Tdlen(queue), Reg::Tdh(queue), Reg::Tdt(queue)]);
        let Some(queue) = self.queues.iter().nth(usize::from(queue)) else { return Ok(None) };
        let ring = queue.tx.look()?;
        Ok(ring.as_ref().map(|ring| ring.look(device)))
    }

    /// Calls `visit` with the name of each of the adapter's locks and whether somebody holds it. Never waits.
    pub fn locks(&self, visit: &mut dyn FnMut(&'static str, bool)) {
        for (queue, name) in self.queues.iter().zip(["transmit ring", "transmit ring 1"]) {
            visit(name, queue.tx.is_held());
        }
        visit("statistics", self.hardware.is_held());
        visit("receive filter", self.receive_filter.is_held());
        visit("tags", self.tags.is_held());
    }
}
