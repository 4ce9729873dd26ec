//! The edges of the ladder: each "this before that" that something depends on, and a switch that leaves one out.
//!
//! The switch is for one test (the feature `mutations`, which does not build for the bare machine): it leaves out one edge
//! after the other and sees that some scenario of `tests/races` fails each time. Otherwise every edge is kept, at no cost.

use core::fmt;

macro_rules! edges {
    ($($(#[$doc:meta])* $edge:ident = $text:literal,)*) => {
        /// One ordering that the ladder or the claim keeps.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Edge { $($(#[$doc])* $edge,)* }

        impl Edge {
            /// All edges, from the claim down the ladder.
            pub const ALL: &'static [Self] = &[$(Self::$edge),*];

            /// Returns what the edge orders.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$edge => $text,)* }
            }
        }
    };
}

edges! {
    /// Left out, a second asker walks as well (R11).
    OneOwner = "one owner, however many ask",
    /// Left out, the exit of the first request is carried out, whatever was asked for meanwhile (R11).
    StrongestExit = "the exit is settled last, as the strongest request",
    /// Left out, a shutdown begins although a panic has asked (R10).
    PanicNeverWalks = "after a panic nobody begins to walk",
    /// Left out, the ladder goes on beside a panic (R10).
    PanicPreempts = "each stage gives way to a panic",
    /// Left out, work goes on being accepted while rings are drained.
    AnnounceBeforeDrain = "announce before the drain",
    /// Left out, devices are taken down one after the other, all the way: the failure of 2004 (R1).
    DevicesTogether = "all devices pass a stage before any enters the next",
    /// Left out, what comes in after the drain stays in the ring (R5).
    CloseBeforeDrain = "close ingress before the drain",
    /// Left out, nobody is woken for what waits in the rings (R20).
    DrainBeforeMask = "drain before mask",
    /// Left out, packets wait for ever for an address (R9).
    FlushHeld = "flush what is held before the threads end",
    /// Left out, what waits in a protocol queue is dropped instead of forwarded (R9).
    QueuesDrained = "drain protocol queues before the flush",
    /// Left out, a frame that a thread has in hand finds its queue closed (R9).
    HandsEmptied = "hands empty before the flush",
    /// Left out, a device interrupts while its thread leaves (R2).
    MaskBeforeJoin = "mask before join",
    /// Left out, DMA is stopped under a thread that is still at work (R1, R5).
    JoinBeforeStop = "join interrupt threads before stop DMA",
    /// Left out, a thread still sends into a device that was stopped after its own thread had joined (R1).
    JoinAllBeforeStop = "join the threads of all devices before stop DMA of any",
    /// Left out, a thread's last act leaves its device unmasked (R20).
    MaskAfterJoin = "mask again after join",
    /// Left out, a timer runs on (R6).
    CalloutsBeforeStop = "join timers and queue threads before stop DMA",
    /// Left out, a command sends into a ring that nobody empties any more.
    CloseEgressAfterJoin = "close egress before the last drain",
    /// Left out, what the threads' last passes sent does not leave (R1).
    DrainAfterJoin = "drain transmit rings after join",
    /// Left out, memory would be freed under a device at work (R3).
    StopBeforeTearDown = "stop DMA before tear down",
    /// Left out, a device loses the bus while it is at work (R15).
    StopBeforeBusMasterOff = "stop DMA before bus mastering off",
    /// Left out, a device that nobody could stop runs on (R13, R16).
    ForceWithoutProof = "stop by force what has no proof",
    /// Left out, the memory of a device that did not stop is freed (R16).
    QuarantineWithoutProof = "no proof, no freeing",
    /// Left out, a device can reach memory in the next kernel (R15).
    BusMasterOffBeforeExit = "bus mastering off before the exit",
    /// Left out, nobody notices a write to freed memory (R3).
    TripwireBeforeExit = "tripwire before the exit",
    /// Left out, another processor still runs at the end.
    ParkBeforeExit = "park CPUs before the exit",
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which edges are kept.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Edges {
    #[cfg(feature = "mutations")]
    without: Option<Edge>,
}

impl Edges {
    /// Every edge.
    pub(crate) const fn all() -> Self {
        Self {
            #[cfg(feature = "mutations")]
            without: None,
        }
    }

    /// Every edge but one.
    #[cfg(feature = "mutations")]
    pub(crate) const fn but(edge: Option<Edge>) -> Self {
        Self { without: edge }
    }

    /// Returns whether `edge` is kept.
    #[cfg(feature = "mutations")]
    pub(crate) fn keep(self, edge: Edge) -> bool {
        self.without != Some(edge)
    }

    /// Returns whether `edge` is kept: always.
    #[cfg(not(feature = "mutations"))]
    #[inline]
    pub(crate) const fn keep(self, _edge: Edge) -> bool {
        true
    }
}
