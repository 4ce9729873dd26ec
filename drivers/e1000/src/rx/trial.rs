//! Serving a ring whose device is on trial: its checksum verdicts are compared with software's, and not believed.

use pktbuf::{PacketBuf, PoolCache};

use super::RxRing;
use crate::{rxsum::Verdicts, stats::RxCounters};

impl RxRing {
    /// Serves frames one by one, and compares the device's verdicts about each with software's.
    #[cold]
    pub(super) fn harvest_comparing(
        &mut self,
        counters: &RxCounters,
        budget: usize,
        cache: &mut PoolCache,
        sink: &mut impl FnMut(PacketBuf),
    ) -> usize {
        let mut served = 0;
        while served < budget {
            // Looked at before the frame is taken, and both only if it is there by now: it may come at any moment.
            let Some(device) = self.available().map(Verdicts::of_device) else { break };
            let mut frame = None;
            if self.harvest(counters, 1, cache, &mut |packet| frame = Some(packet)) == 0 {
                break;
            }
            served += 1;
            let Some(frame) = frame else { continue };
            counters.trial.compare(device, Verdicts::of_software(frame.bytes()));
            sink(frame);
        }
        self.vouched = false;
        served
    }
}
