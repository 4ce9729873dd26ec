//! The token that says "this device does no DMA any more".
//!
//! Key type: [`DmaStopped`]. Any context.

use crate::{DmaTag, tag::TagInner};

/// Testifies that a device has stopped all DMA, so that memory it was given may be taken back.
///
/// The token is a claim, not a measurement: bus_dma never knows what the hardware owns. The driver that knows how its
/// device acknowledges (a master-disable bit, a reset that completed) makes the claim, in one place, right after it has
/// seen the acknowledgement; the borrow keeps the token from outliving the device's tag. It counts for that tag and those below
/// it: nobody frees one device's memory because another has stopped.
#[derive(Debug)]
pub struct DmaStopped<'a> {
    device: &'a str,
    port: &'a TagInner,
}

impl<'a> DmaStopped<'a> {
    /// Claims that `device`, whose memory is all under the tag `port`, has stopped all DMA: it acknowledged, was reset, was
    /// never started, or is gone.
    ///
    /// A wrong claim is memory corruption without an unsafe block in sight: call this where the acknowledgement is read
    /// and nowhere else.
    #[must_use]
    pub fn attest(device: &'a str, port: &'a DmaTag) -> Self {
        Self { device, port: port.inner() }
    }

    /// Returns the name of the device the claim is about.
    pub const fn device(&self) -> &'a str {
        self.device
    }

    /// Returns whether the claim is about the device that memory under `tag` was lent to.
    pub(crate) fn covers(&self, tag: &TagInner) -> bool {
        tag.line().any(|above| core::ptr::eq(above, self.port))
    }
}
