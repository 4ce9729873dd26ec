//! The token that says "this device does no DMA any more".
//!
//! Key type: [`DmaStopped`]. Any context.

/// Testifies that a device has stopped all DMA, so that memory it was given may be taken back.
///
/// The token is a claim, not a measurement: bus_dma never knows what the hardware owns. The driver that knows how its
/// device acknowledges (a master-disable bit, a reset that completed) makes the claim, in one place, right after it has
/// seen the acknowledgement; the borrow keeps the token from outliving that driver's own state.
#[derive(Debug)]
pub struct DmaStopped<'a> {
    device: &'a str,
}

impl<'a> DmaStopped<'a> {
    /// Claims that `device` has stopped all DMA: it acknowledged, was reset, was never started, or is gone.
    ///
    /// A wrong claim is memory corruption without an unsafe block in sight: call this where the acknowledgement is read
    /// and nowhere else.
    #[must_use]
    pub const fn attest(device: &'a str) -> Self {
        Self { device }
    }

    /// Returns the name of the device the claim is about.
    pub const fn device(&self) -> &'a str {
        self.device
    }
}
