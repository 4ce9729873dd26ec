//! What the device does wrong on purpose.
//!
//! Key type: [`Faults`]. All off by default: a perfect device.

/// Faults of a device, switched by the test at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Write-backs (DD) happen so many steps after the work they report; the interrupt does not wait for them.
    pub late_write_back: u32,
    /// A receive descriptor is written back twice: once more, as it was, before the device does anything else. QEMU's 82574L.
    pub writes_back_twice: bool,
    /// As much later again for the write-backs of sent descriptors alone.
    pub late_completion: u32,
    /// Steps that each descriptor takes to be sent, beyond the first.
    pub slow_transmit: u32,
    /// The transmitter is stuck until the next reset.
    pub transmit_stuck: bool,
    /// The transmitter is stuck until it is switched off.
    pub transmit_stalled: bool,
    /// CTRL.RST never clears, resets nothing, and the engine keeps running.
    pub never_resets: bool,
    /// CTRL.RST clears and registers reset, but write-backs that were under way still happen.
    pub write_back_after_reset: bool,
    /// After a reset the receiver comes back on by itself, with the ring it knew.
    pub runs_after_reset: bool,
    /// CTRL.RST clears itself and resets nothing, as on QEMU up to 7.2.
    pub reset_is_hollow: bool,
    /// IMC is ignored.
    pub mask_stuck: bool,
    /// EERD never says done.
    pub eeprom_dead: bool,
    /// It may be asked anything while it reloads after a reset: for a panic, which waits for nothing, beside threads that do not know of it.
    pub may_be_hurried: bool,
    /// Microseconds that pass between the first look at the clock after a reset and the next: not a fault, but a driver that is busy.
    pub busy_after_reset: u32,
    /// RAH0 and RAL0 are empty after reset.
    pub address_not_preloaded: bool,
    /// GIO master disable is never acknowledged: STATUS keeps saying that requests are pending (82574L).
    pub master_stuck: bool,
    /// RCTL.EN is ignored once it was set: frames go on being received until a reset.
    pub receives_after_stop: bool,
    /// TCTL.EN is ignored once it was set: descriptors go on being sent and completed until a reset.
    pub sends_after_stop: bool,
    /// An interrupt that was raised arrives so many steps later, masked meanwhile or not: it was on its way already.
    pub late_interrupt: u32,
    /// It moves just before a write to ICR takes effect: not a fault, but a frame that comes at that moment.
    pub moves_before_icr: bool,
    /// So many more reads of ICR show a receive cause that has not happened.
    pub spurious_causes: u32,
    /// What it says about checksums is the contrary of what is so.
    pub checksum_lies: bool,
    /// The checksums it fills in are wrong.
    pub sums_wrongly: bool,
    /// MDIC never says ready.
    pub phy_dead: bool,
    /// Nothing comes back through the loop.
    pub loop_open: bool,
    /// Every so-many-th frame that goes through the loop is lost; 0 for none.
    pub loop_loses: u32,
    /// Every so-many-th frame that goes through the loop has a bit changed; 0 for none.
    pub loop_damages: u32,
    /// Frames in the loop that are longer than so many octets are cut; 0 for none.
    pub loop_cuts: usize,
    /// The number of a tag that is taken off is told wrongly.
    pub strips_wrongly: bool,
    /// No tag is inserted in what is sent.
    pub inserts_no_tags: bool,
    /// Every so-many-th frame that goes through the loop comes back twice; 0 for none.
    pub loop_doubles: u32,
    /// The device leaves the bus at the so-many-th access to a register from now; 0 for never.
    pub gone_after: u32,
    /// Bus mastering cannot be switched off.
    pub bus_master_stuck: bool,
    /// The device has left the bus: all registers read all ones, nothing is written, nothing moves.
    pub gone: bool,
}
