//! A receive ring that begins anew: at attach, and when the watchdog has the device reset.

use core::iter;

use bus_dma::{DmaMap, FromDevice, PreRead};
use ksync::atomic::Ordering;
use pktbuf::{BufferSize, HEADROOM, PacketBuf, PoolCache};

use super::RxRing;
use crate::{adapter::Adapter, regs::RegisterIo};

impl RxRing {
    /// Arms every slot and gives them all to the device, which starts at descriptor 0. The device does no DMA.
    pub(crate) fn restart<R: RegisterIo>(&mut self, regs: &R) {
        self.skipping = false;
        // Each writes the one before it: so the last first, and once more at its turn.
        let last = self.maps.len() - 1;
        for index in iter::once(last).chain(0..=last) {
            self.next = index;
            self.arm_again();
        }
        self.next = 0;
        self.publish(regs);
    }

    /// Stands still for the watchdog's reset of the device. The thread of queue 0 makes it, when the threads of all other queues
    /// stand still; it then hands up what had been received before, and starts again.
    #[cold]
    pub(super) fn recover<R: RegisterIo>(
        &mut self,
        adapter: &Adapter<R>,
        cache: &mut PoolCache,
        mut sink: impl FnMut(PacketBuf),
    ) -> usize {
        if self.queue != 0 {
            adapter.stand_still(self.queue, self.generation);
            return 0;
        }
        if !adapter.all_stand_still() || adapter.reset_for_recovery(cache).is_err() {
            return 0;
        }
        let served = self.harvest(adapter.received(self.queue), self.maps.len(), cache, &mut sink);
        adapter.restart_after_recovery(self);
        served
    }

    /// Hands up what had been received before the thread of queue 0 reset the device, and gives the ring to the device again, which
    /// has been programmed to find it empty.
    #[cold]
    pub(super) fn rejoin<R: RegisterIo>(
        &mut self,
        adapter: &Adapter<R>,
        cache: &mut PoolCache,
        mut sink: impl FnMut(PacketBuf),
    ) -> usize {
        let served = self.harvest(adapter.received(self.queue), self.maps.len(), cache, &mut sink);
        self.generation = adapter.generation();
        self.restart(adapter.regs());
        // ORDERING: release, as in `service`.
        adapter.received(self.queue).next.store(0, Ordering::Release);
        served
    }
}

/// Loads a fresh buffer for reception, or gives it back.
#[inline]
pub(crate) fn arm(map: &mut DmaMap<FromDevice>, mut fresh: PacketBuf, size: BufferSize) -> Result<(), PacketBuf> {
    if fresh.set_window(HEADROOM, size.octets()).is_none() {
        return Err(fresh);
    }
    map.load(fresh).map_err(|(fresh, _)| fresh)?;
    map.sync(PreRead);
    Ok(())
}
