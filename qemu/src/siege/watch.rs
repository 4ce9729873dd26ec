//! What leaves the cards, beside what the console says at that moment: [`Watch`].
//!
//! QEMU records every frame that a card sends in a file (filter-dump, one unbuffered write for each frame, before the frame
//! enters any socket). Every record is cut to one length, so the size of the file is the number of frames that have left.
//! The thread that reads the console looks at these sizes as soon as a line is complete: no buffer lies between.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::guest::Guest;

/// Octets of each frame that are recorded; every frame has as many.
const SNAP_LENGTH: u64 = 16;
/// Octets of the file's own header and of that of a record (libpcap's format, version 2.4).
const FILE_HEADER: u64 = 24;
const RECORD: u64 = 16 + SNAP_LENGTH;

/// A line of the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sighting {
    /// When it was complete.
    pub(super) at: Instant,
    /// The line.
    pub(super) text: String,
    /// Frames that had left the cards since they were made, in the order of the cards.
    pub(super) left: Vec<u64>,
}

/// The lines of the console since they were last taken.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    records: Vec<PathBuf>,
    /// The line that is not complete yet.
    begun: Vec<u8>,
    seen: Vec<Sighting>,
}

fn record_name(card: usize) -> String {
    format!("left{card}.pcap")
}

/// Returns what QEMU has to be told about so many cards.
pub(super) fn arguments(cards: usize) -> Vec<String> {
    let filter = |card| {
        let file = record_name(card);
        // The direction is that of the network behind the card: it receives what the card sends.
        format!("filter-dump,id=left{card},netdev=net{card},queue=rx,maxlen={SNAP_LENGTH},file={file}")
    };
    (0..cards).flat_map(|card| ["-object".into(), filter(card)]).collect()
}

impl Watch {
    /// Begins to watch a guest that was started with [`arguments`].
    pub(super) fn new(guest: &mut Guest, cards: usize) -> Self {
        let records = (0..cards).map(|card| guest.folder().join(record_name(card))).collect();
        let state = Arc::new(Mutex::new(State { records, begun: Vec::new(), seen: Vec::new() }));
        let watching = Arc::clone(&state);
        let mirror = move |bytes: &[u8]| lock(&watching).take(bytes);
        guest.console().set_mirror(Some(Box::new(mirror)));
        Self { state }
    }

    /// Returns the frames that have left each card by now.
    pub(super) fn left(&self) -> Vec<u64> {
        lock(&self.state).left()
    }

    /// Takes the lines seen since the last call.
    pub(super) fn take(&self) -> Vec<Sighting> {
        std::mem::take(&mut lock(&self.state).seen)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn left(&self) -> Vec<u64> {
        let length = |path: &PathBuf| fs::metadata(path).map_or(0, |file| file.len());
        self.records.iter().map(|path| length(path).saturating_sub(FILE_HEADER) / RECORD).collect()
    }

    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let text = String::from_utf8_lossy(&self.begun).trim_end().to_owned();
                self.begun.clear();
                let left = self.left();
                self.seen.push(Sighting { at: Instant::now(), text, left });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_seen_with_the_frames_that_had_left_by_then() {
        let folder = crate::workspace::scratch("watch");
        let record = folder.join("left0.pcap");
        let mut state = State { records: vec![record.clone()], begun: Vec::new(), seen: Vec::new() };
        state.take(b"one\r\nshut");
        fs::write(&record, vec![0; 24 + 3 * 32]).unwrap();
        state.take(b"down: x\n\n");
        let seen: Vec<(&str, u64)> = state.seen.iter().map(|line| (line.text.as_str(), line.left[0])).collect();
        assert_eq!(seen, [("one", 0), ("shutdown: x", 3), ("", 3)]);
        fs::remove_dir_all(folder).unwrap();
    }
}
