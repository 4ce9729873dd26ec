//! The table's limits and clocks ([`ArpConfig`]) and its counters ([`ArpStatistics`]). Plain data; any context.

use core::time::Duration;

/// The limits and clocks of an [`ArpTable`](crate::ArpTable).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpConfig {
    /// Neighbours in all, at most 32,768.
    pub max_entries: usize,
    /// Neighbours being asked for or known not to answer; the rest of the table is for those that do.
    pub max_unresolved: usize,
    /// Packets held for one neighbour; a further one pushes out the oldest.
    pub max_hold: usize,
    /// Packets held for all neighbours together, at most 32,768.
    pub max_held: usize,
    /// Time between two requests for the same neighbour. RFC 1122 2.3.2.1 recommends no more than one a second.
    pub retry: Duration,
    /// Requests without an answer before giving up.
    pub max_tries: u8,
    /// How long a neighbour that did not answer is not asked again.
    pub negative: Duration,
    /// How long an answer is believed (RFC 1122 2.3.2.1).
    pub max_age: Duration,
    /// Shortest time between two defences of an address of ours (RFC 5227 2.4, `DEFEND_INTERVAL`).
    pub defend: Duration,
    /// Makes the places of neighbours in the table hard to predict; random at boot.
    pub seed: u64,
}

impl Default for ArpConfig {
    fn default() -> Self {
        Self {
            max_entries: 4096,
            max_unresolved: 1024,
            max_hold: 16,
            max_held: 512,
            retry: Duration::from_secs(1),
            max_tries: 5,
            negative: Duration::from_secs(20),
            max_age: Duration::from_secs(1200),
            defend: Duration::from_secs(10),
            seed: 0,
        }
    }
}

/// The table's counters since boot, and its present size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArpStatistics {
    /// Neighbours in the table.
    pub entries: usize,
    /// Of these, the ones without an address.
    pub unresolved: usize,
    /// Packets held.
    pub held: usize,
    /// Valid requests received.
    pub requests_received: u64,
    /// Valid replies received.
    pub replies_received: u64,
    /// Requests that the table asked to be sent, unicast ones included.
    pub requests_sent: u64,
    /// Replies that the table asked to be sent.
    pub replies_sent: u64,
    /// Neighbours whose address became known.
    pub learned: u64,
    /// Neighbours whose address changed.
    pub moved: u64,
    /// Neighbours forgotten because their time was up.
    pub expired: u64,
    /// Neighbours forgotten to make room.
    pub evicted: u64,
    /// Times a neighbour did not answer.
    pub timeouts: u64,
    /// Times somebody else claimed an address of ours.
    pub conflicts: u64,
    /// Packets that were pushed out of a full hold queue.
    pub hold_replaced: u64,
    /// Neighbours that could not be entered because the table was full.
    pub table_full: u64,
}
