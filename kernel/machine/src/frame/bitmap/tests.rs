//! The promises of the frame bitmap.

use std::{collections::BTreeSet, vec, vec::Vec};

use super::{FrameBitmap, LOW_FRAMES, Run};
use crate::frame::{FRAME_SIZE, FrameError, RunRequest};

/// Takes a run anywhere.
trait Anywhere {
    fn allocate_run(&mut self, run: &Run) -> Option<usize>;
}

impl Anywhere for FrameBitmap<'_> {
    fn allocate_run(&mut self, run: &Run) -> Option<usize> {
        self.allocate_run_within(run, 0, usize::MAX)
    }
}

fn run(request: RunRequest) -> Run {
    Run::from_request(&request).expect("the request is possible")
}

#[test]
fn single_frames_come_from_the_top_and_never_from_low_memory() {
    let mut words = [0_u64; 8];
    let mut map = FrameBitmap::new(&mut words, 512);
    map.add_free(1, 512);
    let all: Vec<usize> = core::iter::from_fn(|| map.allocate_one()).collect();
    assert_eq!(all, (LOW_FRAMES..512).rev().collect::<Vec<_>>());
    assert_eq!(map.free(), LOW_FRAMES - 1);
}

#[test]
fn a_low_limit_opens_low_memory_to_a_run() {
    let mut words = [0_u64; 8];
    let mut map = FrameBitmap::new(&mut words, 512);
    map.add_free(1, 512);
    let low = RunRequest { max_addr: 0xF_FFFF, ..RunRequest::new(1) };
    assert_eq!(map.allocate_run(&run(low)), Some(1));
    assert_eq!(map.allocate_run(&run(RunRequest::new(1))), Some(LOW_FRAMES));
}

#[test]
fn runs_respect_alignment_boundary_and_limit() {
    let mut words = [0_u64; 32];
    let mut map = FrameBitmap::new(&mut words, 2048);
    map.add_free(1, 2048);
    assert_eq!(map.allocate_run(&run(RunRequest::new(3))), Some(256));
    let aligned = RunRequest { alignment: 16 * FRAME_SIZE, ..RunRequest::new(2) };
    assert_eq!(map.allocate_run(&run(aligned)), Some(272));
    let bounded = RunRequest { boundary: 16 * FRAME_SIZE, ..RunRequest::new(14) };
    assert_eq!(map.allocate_run(&run(bounded)), Some(274));
    let next = map.allocate_run(&run(bounded)).expect("there is room");
    assert_eq!(next, 288, "259..272 holds only 13 frames before its boundary");
    let limited = RunRequest { max_addr: 300 * FRAME_SIZE - 1, ..RunRequest::new(14) };
    assert_eq!(map.allocate_run(&run(limited)), None);
}

#[test]
fn a_run_keeps_to_the_range_it_is_asked_for_and_to_its_own_limit() {
    let mut words = [0_u64; 32];
    let mut map = FrameBitmap::new(&mut words, 2048);
    map.add_free(1, 2048);
    let two = run(RunRequest::new(2));
    assert_eq!(map.allocate_run_within(&two, 1000, 1003), Some(1000));
    assert_eq!(map.allocate_run_within(&two, 1000, 1003), None, "one frame is left");
    assert_eq!(map.allocate_run_within(&two, 0, 100), None, "low memory is not for everybody");
    let low = run(RunRequest { max_addr: 900 * FRAME_SIZE - 1, ..RunRequest::new(2) });
    assert_eq!(map.allocate_run_within(&low, 1000, 2048), None);
    assert_eq!(map.allocate_run_within(&two, 4096, usize::MAX), None, "beyond all memory");
    assert_eq!(map.allocate_run_within(&low, 0, usize::MAX), Some(256));
}

#[test]
fn impossible_requests_are_refused() {
    for request in [
        RunRequest::new(0),
        RunRequest { alignment: 3, ..RunRequest::new(1) },
        RunRequest { boundary: FRAME_SIZE, ..RunRequest::new(2) },
        RunRequest { boundary: 12_288, ..RunRequest::new(1) },
    ] {
        assert_eq!(Run::from_request(&request), Err(FrameError::Impossible));
    }
}

#[test]
fn freeing_what_is_free_changes_nothing() {
    let mut words = [0_u64; 8];
    let mut map = FrameBitmap::new(&mut words, 512);
    map.add_free(1, 512);
    let start = map.allocate_run(&run(RunRequest::new(4))).expect("there is room");
    assert_eq!(map.free_run(start, 5), Err(FrameError::NotAllocated));
    assert_eq!(map.free_run(start, 4), Ok(()));
    assert_eq!(map.free_run(start, 4), Err(FrameError::NotAllocated));
    assert_eq!(map.free_run(0, 1), Err(FrameError::NotAllocated));
    assert_eq!(map.free(), map.total());
}

/// Random operations against a set of frames: no frame is handed out twice and the count is right.
#[test]
fn random_operations_never_hand_a_frame_out_twice() {
    let mut words = vec![0_u64; 64];
    let mut map = FrameBitmap::new(&mut words, 4096);
    map.add_free(10, 4000);
    let total = map.free();
    let mut held: Vec<(usize, usize)> = Vec::new();
    let mut owned = BTreeSet::new();
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..20_000 {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        match seed % 3 {
            0 => held.extend(map.allocate_one().map(|frame| (frame, 1))),
            1 => {
                let count = (seed >> 8) as usize % 40 + 1;
                let alignment = FRAME_SIZE << ((seed >> 16) % 5);
                let request = RunRequest { alignment, boundary: 64 * FRAME_SIZE, ..RunRequest::new(count) };
                if let Some(start) = map.allocate_run(&run(request)) {
                    assert_eq!(start as u64 * FRAME_SIZE % alignment, 0);
                    assert_eq!(start / 64, (start + count - 1) / 64);
                    held.push((start, count));
                }
            }
            _ if !held.is_empty() => {
                let (start, count) = held.swap_remove((seed >> 8) as usize % held.len());
                (start..start + count).for_each(|frame| assert!(owned.remove(&frame)));
                map.free_run(start, count).expect("it was allocated");
                continue;
            }
            _ => continue,
        }
        if let Some(&(start, count)) = held.last() {
            // The last entry may be an old one if nothing was allocated in this round.
            if !owned.contains(&start) {
                (start..start + count).for_each(|frame| assert!(owned.insert(frame), "frame {frame} given out twice"));
            }
        }
        assert_eq!(map.free() + owned.len(), total);
    }
}

/// Adding goes by whole words where it can: the result is that of one by one, wherever a range begins and ends.
#[test]
fn ranges_are_added_as_if_frame_by_frame() {
    for (first, end) in [(0, 256), (1, 63), (63, 65), (64, 128), (70, 250), (128, 300), (200, 200)] {
        for taken in [None, Some(130)] {
            let (mut words, mut one_by_one) = ([0_u64; 4], [0_u64; 4]);
            let mut bitmap = FrameBitmap::new(&mut words, 256);
            let mut slow = FrameBitmap::new(&mut one_by_one, 256);
            for bitmap in [&mut bitmap, &mut slow] {
                taken.into_iter().for_each(|frame| bitmap.add_free(frame, frame + 1));
            }
            bitmap.add_free(first, end);
            (first..end).for_each(|frame| slow.add_free(frame, frame + 1));
            assert_eq!((bitmap.total(), bitmap.free()), (slow.total(), slow.free()), "{first}..{end}");
            assert_eq!((bitmap.top_word, &*bitmap.words), (slow.top_word, &*slow.words), "{first}..{end}");
        }
    }
}
