//! The mistake of 2004, for the test that finds it: one device is taken down all the way while the next still forwards.

use super::{For, Ladder};
use crate::device::{AllJoined, DeviceStopped};
use alloc::vec;

impl<S> Ladder<'_, S> {
    /// Takes the devices off the ladder and down, one after the other.
    pub(super) fn one_by_one(&mut self) {
        for device in core::mem::take(&mut self.devices) {
            self.devices = vec![device];
            let deadline = self.plant.now() + self.budgets.join;
            self.each(deadline, |device| device.close_ingress());
            self.wait_until_idle(deadline, For::Everything);
            let down = |device: &mut dyn crate::Teardown| {
                device.mask()?;
                device.begin_join();
                device.join(deadline)?;
                device.mask()?;
                device.stop_dma(&AllJoined(()), deadline)?;
                device.tear_down(DeviceStopped(()))?;
                device.bus_master_off()
            };
            self.each(deadline, down);
            self.devices.clear();
        }
    }
}
