//! What a driver's rings do for each packet, as one step each: [`DmaMap::exchange`] for reception, [`DmaMap::lend`] and
//! [`DmaMap::take_back`] for transmission.
//!
//! Each is exactly its longer spelling (`load`, `sync`, `unload`), without the states in between that nobody would see. Any
//! context; the fast path is a few comparisons, as for [`load`](DmaMap::load).

use alloc::boxed::Box;
use core::mem::{self, MaybeUninit};

use crate::{
    DmaBuffer, DmaError, DmaMap, FromDevice, PostRead, PostWrite, PreRead, PreWrite, Segment, ToDevice, fence,
    scatter::{self, Scatter, Supply},
    tag::Phase,
};

impl<B: DmaBuffer> DmaMap<FromDevice, B> {
    /// Takes the full buffer out of a loaded map and puts `fresh` in its place: `PostRead`, unload, load, `PreRead`. Returns the full
    /// buffer and where the device finds the fresh one.
    ///
    /// The device must have said that it is done with the buffer.
    ///
    /// # Errors
    /// `fresh`, and why it cannot be lent ([`DmaError`]; [`DmaError::TooManySegments`] if it would take more than one segment, and
    /// [`DmaError::Empty`] if the map is not loaded). Nothing has changed then: the full buffer is still lent.
    #[inline]
    pub fn exchange(&mut self, mut fresh: B) -> Result<(B, Segment), (B, DmaError)> {
        if self.quick && fresh.pieces() == 1 {
            let (ptr, len) = fresh.piece(0);
            if let Some((addr, len)) = self.tag.fast.translate(ptr, len) {
                fence::expose(ptr);
                self.first = Segment { addr, len };
                self.count = 1;
                let full = mem::replace(&mut self.buffer, MaybeUninit::new(fresh));
                fence::device_barrier();
                // SAFETY: `quick` says that the phase is `Loaded`, so `own` (or this function) has written the buffer that was here; it has been moved
                // out of the map and is read this once.
                return Ok((unsafe { full.assume_init() }, self.first));
            }
        }
        // Taken apart, so that the compiler keeps the usual result in registers.
        match self.exchange_slowly(fresh) {
            Ok((full, segment)) => Ok((full, segment)),
            Err((fresh, error)) => Err((fresh, error)),
        }
    }

    /// The same through the slow half: the fresh buffer gets its segments before the full one is given up.
    #[cold]
    fn exchange_slowly(&mut self, mut fresh: B) -> Result<(B, Segment), (B, DmaError)> {
        if self.phase != Phase::Loaded {
            return Err((fresh, DmaError::Empty));
        }
        let capacity = self.tag.constraints.nsegments;
        let mut next = self.next.take().unwrap_or_else(|| Box::new(Scatter::with_capacity(capacity)));
        let loaded = scatter::load(&self.tag, &self.shared, &mut fresh, Supply::Now, &mut next);
        let refused = match loaded {
            Ok(_) if next.segments.len() != 1 => Some(DmaError::TooManySegments),
            Ok(_) => None,
            Err(error) => Some(error),
        };
        if let Some(error) = refused {
            self.give_back_pages(&mut next);
            self.next = Some(next);
            return Err((fresh, error));
        }
        self.sync(PostRead);
        if self.involved {
            self.close();
        }
        let full = self.disown();
        self.next = self.slow.replace(next);
        self.settle();
        self.own(fresh, Phase::Loaded);
        self.sync(PreRead);
        Ok((full, self.first))
    }
}

impl<B: DmaBuffer> DmaMap<ToDevice, B> {
    /// Lends `buf` to the device, to be read: load and `PreWrite`. Returns where the device finds it.
    ///
    /// # Errors
    /// As [`load`](DmaMap::load); [`DmaError::TooManySegments`] if it would take more than one segment.
    #[inline]
    pub fn lend(&mut self, mut buf: B) -> Result<Segment, (B, DmaError)> {
        if self.phase == Phase::Idle && buf.pieces() == 1 {
            let (ptr, len) = buf.piece(0);
            if let Some((addr, len)) = self.tag.fast.translate(ptr, len) {
                fence::expose(ptr);
                let segment = Segment { addr, len };
                self.own_quickly(buf, segment);
                fence::device_barrier();
                return Ok(segment);
            }
        }
        // Taken apart, so that the compiler keeps the usual result in registers.
        match self.lend_slowly(buf) {
            Ok(segment) => Ok(segment),
            Err((buf, error)) => Err((buf, error)),
        }
    }

    #[cold]
    fn lend_slowly(&mut self, buf: B) -> Result<Segment, (B, DmaError)> {
        self.load(buf)?;
        self.sync(PreWrite);
        if self.count == 1 { Ok(self.first) } else { self.lend_refused() }
    }

    #[cold]
    fn lend_refused(&mut self) -> Result<Segment, (B, DmaError)> {
        if self.involved {
            self.close();
        }
        Err((self.disown(), DmaError::TooManySegments))
    }

    /// Takes the buffer back after the device has said that it has read it: `PostWrite` and unload. `None` if the map is not loaded.
    #[inline]
    pub fn take_back(&mut self) -> Option<B> {
        if !self.quick {
            return self.take_back_slowly();
        }
        fence::device_barrier();
        Some(self.disown_quickly())
    }

    #[cold]
    fn take_back_slowly(&mut self) -> Option<B> {
        self.sync(PostWrite);
        self.unload()
    }
}
