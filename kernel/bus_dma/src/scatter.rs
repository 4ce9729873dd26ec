//! The slow half of a load: several pieces or segments, bounce pages, waiting.
//!
//! Key type: [`Scatter`], the part of a map that only such loads need. Any context; allocates if the load bounces.

use alloc::{sync::Arc, vec::Vec};
use core::ptr::NonNull;

use crate::{
    DmaBuffer, DmaError, LoadOutcome, LoadReady, PAGE_SIZE, Segment,
    bounce::{BouncePage, BouncePool},
    deferred, fence,
    segment::{self, Cutter},
    tag::{MapShared, TagInner},
};

/// The segments and bounce pages of a load.
pub(crate) struct Scatter {
    pub(crate) segments: Vec<Segment>,
    pub(crate) bounced: Vec<Bounced>,
}

impl Scatter {
    pub(crate) fn with_capacity(segments: usize) -> Self {
        Self { segments: Vec::with_capacity(segments), bounced: Vec::new() }
    }
}

/// Where the pages of a bounced load come from.
pub(crate) enum Supply {
    /// From the pool, now or not at all.
    Now,
    /// From the pool, or from its queue.
    Wait(Arc<dyn LoadReady>),
    /// From the queue: here they are.
    Granted(Vec<BouncePage>),
}

/// At most one page of a buffer and the bounce page that stands in for it.
pub(crate) struct Bounced {
    pub(crate) page: BouncePage,
    /// Start in the buffer, which the map owns for as long as this exists.
    buffer: NonNull<u8>,
    /// Octets; at most `PAGE_SIZE`.
    len: usize,
}

// SAFETY: the pointer is into the buffer that the same map owns, and a `DmaBuffer` is `Send` and stays where it is.
unsafe impl Send for Bounced {}
// SAFETY: through a shared reference only the copies are reachable, which are private to the map's `&mut` methods.
unsafe impl Sync for Bounced {}

impl Bounced {
    /// Copies the buffer's octets into the page.
    pub(crate) fn copy_in(&self) {
        // SAFETY: 1. `buffer` is valid for `len` octets: a piece of the buffer the map owns (`DmaBuffer`, promise 1). 2. The
        // page is valid for `PAGE_SIZE >= len` octets and reserved for this map. 3. The page came from the platform's
        // allocator, so it does not overlap a buffer.
        unsafe { self.buffer.copy_to_nonoverlapping(self.page.virt, self.len) };
    }

    /// Copies the page's octets into the buffer.
    pub(crate) fn copy_out(&self) {
        // SAFETY: as in `copy_in`; the buffer is valid for writes, and only the map, which is borrowed mutably, reaches it.
        unsafe { self.page.virt.copy_to_nonoverlapping(self.buffer, self.len) };
    }
}

/// What a buffer asks for, found before anything is reserved.
struct Plan {
    bounce_pages: usize,
    /// Which pieces bounce; pieces beyond its end do not.
    bounce: Vec<bool>,
}

impl Plan {
    fn bounces(&self, piece: usize) -> bool {
        self.bounce.get(piece).is_some_and(|&bounces| bounces)
    }
}

/// Finds the segments of `buf`, with bounce pages from `supply` where the constraints demand them.
///
/// On an error nothing is kept: pages go back to the pool.
pub(crate) fn load<B: DmaBuffer>(
    tag: &TagInner,
    shared: &Arc<MapShared>,
    buf: &mut B,
    supply: Supply,
    into: &mut Scatter,
) -> Result<LoadOutcome, DmaError> {
    let mut pages = Vec::new();
    let mut ready = None;
    match supply {
        Supply::Now => {}
        Supply::Wait(callback) => ready = Some(callback),
        Supply::Granted(granted) => pages = granted,
    }
    let outcome = load_with(tag, shared, buf, ready, &mut pages, into);
    if outcome.is_err() {
        into.segments.clear();
        pages.extend(into.bounced.drain(..).map(|bounced| bounced.page));
    }
    if !pages.is_empty()
        && let Some(pool) = &tag.bounce
    {
        pool.give_back(pages.into_iter());
    }
    outcome
}

/// The same; leaves pages it did not need in `pages`, and on an error some in `into`.
fn load_with<B: DmaBuffer>(
    tag: &TagInner,
    shared: &Arc<MapShared>,
    buf: &mut B,
    ready: Option<Arc<dyn LoadReady>>,
    pages: &mut Vec<BouncePage>,
    into: &mut Scatter,
) -> Result<LoadOutcome, DmaError> {
    let plan = plan(tag, buf)?;
    if pages.len() < plan.bounce_pages {
        let pool = pool_for(tag, plan.bounce_pages)?;
        let taken = match ready {
            None => pool.reserve(plan.bounce_pages).ok_or(DmaError::NoMemory)?,
            Some(ready) => match deferred::reserve_or_wait(pool, shared, plan.bounce_pages, ready) {
                Some(taken) => taken,
                None => {
                    tag.deferred.bump();
                    return Ok(LoadOutcome::InProgress);
                }
            },
        };
        pages.extend(taken);
    }
    bind(buf, &plan, pages, into)?;
    build(tag, buf, &plan, into)?;
    if plan.bounce_pages != 0 {
        tag.bounced.bump();
    }
    Ok(LoadOutcome::Loaded)
}

/// Measures the buffer and decides for each piece whether it is bounced.
fn plan<B: DmaBuffer>(tag: &TagInner, buf: &mut B) -> Result<Plan, DmaError> {
    let mut total = 0_usize;
    let mut plan = Plan { bounce_pages: 0, bounce: Vec::new() };
    for index in 0..buf.pieces() {
        let (ptr, len) = buf.piece(index);
        total = total.checked_add(len).ok_or(DmaError::TooLarge)?;
        if total > tag.constraints.maxsize {
            return Err(DmaError::TooLarge);
        }
        if segment::needs_bounce(tag.platform, &tag.constraints, ptr, len)? {
            // The list stays empty, and unallocated, for loads without a bounce.
            plan.bounce.resize(index + 1, false);
            if let Some(last) = plan.bounce.last_mut() {
                *last = true;
            }
            plan.bounce_pages += len.div_ceil(PAGE_SIZE);
        }
    }
    if total == 0 { Err(DmaError::Empty) } else { Ok(plan) }
}

/// Returns the pool that can stand in under this tag's constraints.
fn pool_for(tag: &TagInner, pages: usize) -> Result<&Arc<BouncePool>, DmaError> {
    let pool = tag.bounce.as_ref().ok_or(DmaError::CannotBounce)?;
    if pool.max_addr() > tag.constraints.lowaddr || tag.constraints.alignment > PAGE_SIZE as u64 {
        return Err(DmaError::CannotBounce);
    }
    if pages > pool.total() { Err(DmaError::TooLarge) } else { Ok(pool) }
}

/// Binds each bounce page to its stretch of the buffer, and tells the compiler that the buffer is shared from now on.
fn bind<B: DmaBuffer>(
    buf: &mut B,
    plan: &Plan,
    pages: &mut Vec<BouncePage>,
    into: &mut Scatter,
) -> Result<(), DmaError> {
    for index in 0..buf.pieces() {
        let (ptr, len) = buf.piece(index);
        fence::expose(ptr);
        if plan.bounces(index) {
            for done in (0..len).step_by(PAGE_SIZE) {
                let buffer = NonNull::new(ptr.wrapping_add(done)).ok_or(DmaError::NoBusAddress)?;
                let page = pages.pop().ok_or(DmaError::NoMemory)?;
                into.bounced.push(Bounced { page, buffer, len: (len - done).min(PAGE_SIZE) });
            }
        }
    }
    Ok(())
}

/// Emits the segments, from the bounce pages where a piece has them.
fn build<B: DmaBuffer>(tag: &TagInner, buf: &mut B, plan: &Plan, into: &mut Scatter) -> Result<(), DmaError> {
    let mut cutter = Cutter::new(&tag.constraints, &mut into.segments);
    let mut substitutes = into.bounced.iter();
    for index in 0..buf.pieces() {
        let (ptr, len) = buf.piece(index);
        if plan.bounces(index) {
            for bounced in substitutes.by_ref().take(len.div_ceil(PAGE_SIZE)) {
                cutter.push(bounced.page.phys.as_u64(), bounced.len as u64)?;
            }
        } else {
            segment::for_each_run(tag.platform, ptr, len, |start, run| cutter.push(start, run))?;
        }
    }
    Ok(())
}
