//! The direction of a map, in its type, and the synchronisations each direction has.
//!
//! Key types: [`FromDevice`], [`ToDevice`], [`Bidirectional`]; [`PreRead`], [`PostRead`], [`PreWrite`], [`PostWrite`].

use core::fmt::Debug;

/// Which way the data of a map goes. Implemented by the three markers here and by nothing else.
pub trait Direction: Debug + Send + Sync + 'static + sealed::Sealed {
    /// Says whether the device may write into the buffer.
    const DEVICE_WRITES: bool;
}

/// The device writes, the processor reads: receive buffers.
#[derive(Clone, Copy, Debug)]
pub struct FromDevice;

/// The processor writes, the device reads: transmit buffers.
#[derive(Clone, Copy, Debug)]
pub struct ToDevice;

/// Either side writes.
#[derive(Clone, Copy, Debug)]
pub struct Bidirectional;

impl Direction for FromDevice {
    const DEVICE_WRITES: bool = true;
}
impl Direction for ToDevice {
    const DEVICE_WRITES: bool = false;
}
impl Direction for Bidirectional {
    const DEVICE_WRITES: bool = true;
}

/// The four synchronisations, as values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncOperation {
    /// See [`PreRead`].
    PreRead,
    /// See [`PostRead`].
    PostRead,
    /// See [`PreWrite`].
    PreWrite,
    /// See [`PostWrite`].
    PostWrite,
}

/// A synchronisation that a map of direction `D` has.
pub trait DmaSync<D: Direction>: sealed::Sealed {
    /// The operation as a value.
    const OPERATION: SyncOperation;
}

/// Before the device writes: whatever the processor wrote lands before what the device will.
#[derive(Clone, Copy, Debug)]
pub struct PreRead;

/// After the device wrote: the processor now sees it. Copies bounced data into the buffer.
#[derive(Clone, Copy, Debug)]
pub struct PostRead;

/// Before the device reads: it will see what the processor wrote. Copies the buffer into bounce pages, if it has any.
#[derive(Clone, Copy, Debug)]
pub struct PreWrite;

/// After the device has read.
#[derive(Clone, Copy, Debug)]
pub struct PostWrite;

macro_rules! operations {
    ($($operation:ident: $($direction:ident)+;)+) => {
        $(
            impl sealed::Sealed for $operation {}
            $(impl DmaSync<$direction> for $operation {
                const OPERATION: SyncOperation = SyncOperation::$operation;
            })+
        )+
    };
}

operations! {
    PreRead: FromDevice Bidirectional;
    PostRead: FromDevice Bidirectional;
    PreWrite: ToDevice Bidirectional;
    PostWrite: ToDevice Bidirectional;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::FromDevice {}
    impl Sealed for super::ToDevice {}
    impl Sealed for super::Bidirectional {}
}
