//! Loads against a naive reference of the rules, which goes octet by octet, over arbitrary physical layouts.

use bus_dma::{
    Bidirectional, BouncePool, Constraints, DmaError, DmaMap, DmaTag, PAGE_SIZE, PostRead, PreWrite, Segment,
};
use proptest::prelude::*;

use crate::sim::{ARENA_BASE, Sim};

const PAGES: usize = 12;

/// Frame numbers with breaks, runs and jumps back.
fn frames() -> impl Strategy<Value = Vec<u64>> {
    (any::<u64>(), prop::collection::vec(any::<(bool, u16)>(), PAGES)).prop_map(|(seed, steps)| {
        let base = ARENA_BASE / PAGE_SIZE as u64;
        let mut frames = vec![base + seed % 1000];
        for (adjacent, jump) in steps.into_iter().skip(1) {
            let mut next = if adjacent { frames[frames.len() - 1] + 1 } else { base + u64::from(jump) };
            while frames.contains(&next) {
                next += 1;
            }
            frames.push(next);
        }
        frames
    })
}

fn constraints() -> impl Strategy<Value = Constraints> {
    let alignment =
        prop_oneof![4 => Just(1_u64), 3 => (0_u32..8).prop_map(|b| 1 << b), 1 => (8_u32..14).prop_map(|b| 1 << b)];
    let boundary = prop_oneof![2 => Just(0_u64), 2 => (6_u32..20).prop_map(|b| 1 << b)];
    let lowaddr = prop_oneof![3 => Just(u64::MAX), 1 => (0_u64..0x1800_0000).prop_map(|a| ARENA_BASE / 2 + a)];
    let maxsize = prop_oneof![3 => Just(usize::MAX), 1 => 1_usize..20_000];
    let maxsegsz = prop_oneof![2 => Just(u32::MAX), 2 => 1_u32..6000];
    (alignment, boundary, lowaddr, maxsize, 1_usize..40, maxsegsz)
        .prop_map(|(alignment, boundary, lowaddr, maxsize, nsegments, maxsegsz)| Constraints {
            alignment,
            boundary,
            lowaddr,
            maxsize,
            nsegments,
            maxsegsz,
        })
        .prop_filter("valid", |c| c.validate().is_ok())
}

/// Gaps between and lengths of the pieces of a buffer.
fn cuts() -> impl Strategy<Value = Vec<(usize, usize)>> {
    let gap = prop_oneof![2 => Just(0_usize), 2 => (0_usize..40).prop_map(|n| n * 64), 1 => 0_usize..5000];
    let len = prop_oneof![1 => Just(0_usize), 4 => 1_usize..2500, 1 => 2500_usize..12_000];
    prop::collection::vec((gap, len), 1..5)
}

fn pieces(mut arena: &'static mut [u8], cuts: &[(usize, usize)]) -> Vec<&'static mut [u8]> {
    let mut pieces = Vec::new();
    for &(gap, len) in cuts {
        let (_, rest) = arena.split_at_mut(gap.min(arena.len()));
        let (piece, rest) = rest.split_at_mut(len.min(rest.len()));
        pieces.push(piece);
        arena = rest;
    }
    pieces
}

/// What the rules say about a load.
#[derive(Debug, PartialEq, Eq)]
enum Ruling {
    Segments(Vec<(u64, u64)>),
    Bounce,
    Refused(DmaError),
}

fn ruling(sim: &Sim, c: &Constraints, pieces: &[&[u8]]) -> Ruling {
    let addresses: Vec<Vec<u64>> = pieces
        .iter()
        .map(|piece| piece.iter().map(|octet| sim.phys_at(std::ptr::from_ref(octet)).unwrap()).collect())
        .collect();
    let total = addresses.iter().map(Vec::len).sum::<usize>();
    if total > c.maxsize {
        return Ruling::Refused(DmaError::TooLarge);
    }
    if total == 0 {
        return Ruling::Refused(DmaError::Empty);
    }
    for piece in &addresses {
        let starts = |i: usize| i == 0 || piece[i] != piece[i - 1] + 1;
        let misplaced = |(i, &a): (usize, &u64)| a > c.lowaddr || (starts(i) && a % c.alignment != 0);
        if piece.iter().enumerate().any(misplaced) {
            return Ruling::Bounce;
        }
    }
    let longest = u64::from(c.maxsegsz);
    let longest = if longest < c.alignment { longest } else { longest / c.alignment * c.alignment };
    let mut segments: Vec<(u64, u64)> = Vec::new();
    for address in addresses.into_iter().flatten() {
        let crosses = c.boundary != 0 && address % c.boundary == 0;
        match segments.last_mut() {
            Some((start, len)) if *start + *len == address && *len < longest && !crosses => *len += 1,
            _ => {
                if segments.len() == c.nsegments || address % c.alignment != 0 {
                    return Ruling::Refused(DmaError::TooManySegments);
                }
                segments.push((address, 1));
            }
        }
    }
    Ruling::Segments(segments)
}

/// Every segment obeys every constraint, whatever memory it is in.
fn check_limits(c: &Constraints, segments: &[Segment]) -> Result<(), TestCaseError> {
    prop_assert!(!segments.is_empty() && segments.len() <= c.nsegments);
    for segment in segments {
        let (first, len) = (segment.addr.as_u64(), u64::from(segment.len));
        let last = first + len - 1;
        prop_assert!(len >= 1 && segment.len <= c.maxsegsz);
        prop_assert_eq!(first % c.alignment, 0);
        prop_assert!(last <= c.lowaddr);
        prop_assert!(c.boundary == 0 || first / c.boundary == last / c.boundary);
    }
    Ok(())
}

fn pattern(len: usize, salt: usize) -> Vec<u8> {
    (0..len).map(|i| ((i + salt) * 2_654_435_761).to_le_bytes()[2]).collect()
}

type ScatteredMap = DmaMap<Bidirectional, Vec<&'static mut [u8]>>;

/// The device sees what the processor wrote, and the processor gets back what the device wrote.
fn check_transfer(sim: &Sim, map: &mut ScatteredMap, written: &[u8]) -> Result<(), TestCaseError> {
    map.sync(PreWrite);
    prop_assert_eq!(&sim.dma_read(map.segments()), written);
    let answer = pattern(written.len(), 99);
    sim.dma_write(map.segments(), &answer);
    map.sync(PostRead);
    let buf = map.unload().expect("the map is loaded");
    prop_assert_eq!(buf.concat(), answer);
    prop_assert!(map.segments().is_empty());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_load_obeys_the_rules_on_any_physical_layout(frames in frames(), c in constraints(), cuts in cuts(), pool_pages in 0_usize..20) {
        let (sim, arena) = Sim::new(&frames);
        let sim = sim.leak();
        let pool = BouncePool::new(sim, pool_pages, ARENA_BASE / 2).unwrap();
        let root = DmaTag::root_with_bounce("root", sim, pool.clone());
        let tag = root.child("under test", c).unwrap();
        let mut map: ScatteredMap = tag.create_map().unwrap();
        let mut buf = pieces(arena, &cuts);
        for (salt, piece) in buf.iter_mut().enumerate() {
            piece.copy_from_slice(&pattern(piece.len(), salt));
        }
        let written = buf.concat();
        let ruling = ruling(sim, &c, &buf.iter().map(|piece| &**piece).collect::<Vec<_>>());
        let outcome = map.load(buf);
        match (&ruling, &outcome) {
            (Ruling::Segments(expected), Ok(())) => {
                let found: Vec<_> = map.segments().iter().map(|s| (s.addr.as_u64(), u64::from(s.len))).collect();
                prop_assert_eq!(&found, expected);
                prop_assert_eq!(pool.statistics().free, pool_pages, "nothing was bounced without need");
            }
            (Ruling::Refused(expected), Err((_, error))) => prop_assert_eq!(expected, error),
            (Ruling::Bounce, Ok(())) => prop_assert_eq!(tag.live().bounced, 1),
            (Ruling::Bounce, Err((_, error))) => prop_assert!(
                (*error == DmaError::TooLarge && pool_pages < 20)
                    || *error == DmaError::TooManySegments
                    || (*error == DmaError::CannotBounce && c.alignment > PAGE_SIZE as u64),
                "{error}"
            ),
            _ => prop_assert!(false, "{ruling:?} but {:?}", outcome.map_err(|(_, error)| error)),
        }
        if let Err((buf, _)) = outcome {
            prop_assert_eq!(buf.concat(), written, "a refused buffer comes back as it went");
            prop_assert!(!map.is_loaded());
        } else {
            check_limits(&c, map.segments())?;
            check_transfer(sim, &mut map, &written)?;
        }
        prop_assert_eq!(pool.statistics().free, pool_pages, "all bounce pages are home");
        map.destroy().unwrap();
        tag.destroy().unwrap();
        root.destroy().unwrap();
        drop(pool);
        prop_assert!(sim.allocations.lock().unwrap().is_empty(), "the pool's pages were freed");
    }

    #[test]
    fn the_fast_path_rules_as_the_slow_one(c in constraints(), offset in 0_usize..3 * PAGE_SIZE, len in 0_usize..9000) {
        let first = ARENA_BASE / PAGE_SIZE as u64 + 3;
        let (sim, arena) = Sim::linear(first, 6);
        let sim = sim.leak();
        let root = DmaTag::root("root", sim);
        let tag = root.child("under test", c).unwrap();
        let mut map: DmaMap<Bidirectional, &'static mut [u8]> = tag.create_map().unwrap();
        let buf = &mut arena[offset..offset + len];
        let ruling = ruling(sim, &c, &[&*buf]);
        match (ruling, map.load(buf)) {
            (Ruling::Segments(expected), Ok(())) => {
                let found: Vec<_> = map.segments().iter().map(|s| (s.addr.as_u64(), u64::from(s.len))).collect();
                prop_assert_eq!(&found, &expected);
                let walked = sim.walks.load(std::sync::atomic::Ordering::Relaxed);
                prop_assert_eq!(walked == 0, expected.len() == 1, "one segment, and only that, takes the fast path");
                map.unload().expect("the map is loaded");
            }
            (Ruling::Refused(expected), Err((_, error))) => prop_assert_eq!(expected, error),
            (Ruling::Bounce, Err((_, error))) => prop_assert_eq!(error, DmaError::CannotBounce),
            (ruling, outcome) => prop_assert!(false, "{ruling:?} but {:?}", outcome.map_err(|(_, error)| error)),
        }
    }

    #[test]
    fn a_child_allows_what_both_it_and_its_parent_allow(a in constraints(), b in constraints(), start in 0_u64..1 << 20, len in 1_u64..9000) {
        let allows = |c: &Constraints| {
            let last = start + len - 1;
            start % c.alignment == 0
                && (c.boundary == 0 || start / c.boundary == last / c.boundary)
                && last <= c.lowaddr
                && len <= u64::from(c.maxsegsz)
                && len <= c.maxsize as u64
        };
        let both = a.intersect(&b);
        prop_assert_eq!(allows(&both), allows(&a) && allows(&b));
        prop_assert_eq!(both, b.intersect(&a));
        prop_assert_eq!(both.intersect(&a), both);
    }
}

#[test]
fn the_last_octet_decides_whether_a_buffer_is_in_reach() {
    let first = ARENA_BASE / PAGE_SIZE as u64;
    // Once through the window and once page by page; a buffer that ends within a page, and one that ends with it.
    for (window, len) in [(true, 100_u16), (false, 100), (true, 4096), (false, 4096)] {
        let (mut sim, arena) = Sim::linear(first, 1);
        sim.window = sim.window.filter(|_| window);
        let sim = sim.leak();
        let root = DmaTag::root("root", sim);
        let last = ARENA_BASE + u64::from(len) - 1;
        let buf = &mut arena[..usize::from(len)];
        let tag = |lowaddr| root.child("x", Constraints { lowaddr, ..Constraints::ANY }).unwrap();
        let mut short: DmaMap<Bidirectional, _> = tag(last - 1).create_map().unwrap();
        let (buf, error) = short.load(buf).unwrap_err();
        assert_eq!(error, DmaError::CannotBounce);
        let walked = sim.walks.load(std::sync::atomic::Ordering::Relaxed);
        let mut enough: DmaMap<Bidirectional, _> = tag(last).create_map().unwrap();
        enough.load(buf).unwrap();
        assert_eq!(walked == sim.walks.load(std::sync::atomic::Ordering::Relaxed), window);
        enough.unload().unwrap();
    }
}
