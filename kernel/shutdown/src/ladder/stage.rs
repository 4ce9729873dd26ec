//! The states a [`Ladder`](crate::Ladder) passes, one type each.

use crate::device::{AllJoined, DeviceStopped};
use alloc::vec::Vec;

/// Somebody owns the shutdown; nothing has changed yet.
#[derive(Debug)]
pub struct Claimed;
/// New work is refused; everything still runs.
#[derive(Debug)]
pub struct Announced;
/// No device receives from the wire any more.
#[derive(Debug)]
pub struct IngressClosed;
/// Rings and queues are empty, or what was left is counted.
#[derive(Debug)]
pub struct Drained;
/// No device can interrupt.
#[derive(Debug)]
pub struct Masked;
/// Everything that could touch a ring has ended; without the proof nothing will be freed.
#[derive(Debug)]
pub struct Joined(pub(crate) Option<AllJoined>);
/// No device does DMA; a device without its proof keeps its memory for ever.
#[derive(Debug)]
pub struct Stopped(pub(crate) Vec<Option<DeviceStopped>>);
/// DMA resources are gone, or quarantined.
#[derive(Debug)]
pub struct TornDown;
/// No device can reach the bus.
#[derive(Debug)]
pub struct Quiet;
/// Nothing runs but the caller.
#[derive(Debug)]
pub struct Parked;
