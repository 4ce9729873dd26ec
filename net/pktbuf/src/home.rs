//! The way home for many buffers at once, of whatever pools: [`send`] and, for who has a cache, [`PoolCache::recycle_later`].
//!
//! Context: any; one pool's lock at a time, once for each run of buffers of one pool.
//!
//! [`PoolCache::recycle_later`]: crate::PoolCache::recycle_later

use core::iter;

use crate::PacketBuf;

/// Gives buffers back to the pools they are of. `buffers` must not use a pool itself: it is asked while a pool's lock is held.
#[inline]
pub fn send(buffers: impl IntoIterator<Item = PacketBuf>) {
    let mut buffers = buffers.into_iter();
    let mut turn = buffers.next();
    while let Some(first) = turn {
        turn = send_run(first, || buffers.next());
    }
}

/// Gives `first`, and what `next` has, back to the pool they are of, under one lock. Returns the first that is of another pool.
#[cold]
pub(crate) fn send_run(first: PacketBuf, mut next: impl FnMut() -> Option<PacketBuf>) -> Option<PacketBuf> {
    let Some(pool) = first.pool() else { return next() };
    let (mut first, mut other) = (Some(first), None);
    pool.take_back(iter::from_fn(|| {
        let buffer = first.take().or_else(&mut next)?;
        let mut frame = None;
        other = buffer.enlist(pool, &mut frame).err();
        frame
    }));
    other
}
