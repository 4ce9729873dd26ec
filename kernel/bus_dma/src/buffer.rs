//! Buffers that may be lent to a device.
//!
//! Key trait: [`DmaBuffer`].

use alloc::{boxed::Box, vec::Vec};

use pktbuf::PacketBuf;

/// A buffer that a map can own while a device works on it.
///
/// # Safety
/// The implementer promises, for as long as the value exists (it may be moved, and may be forgotten):
/// 1. Each piece stays where it is, is valid for reads and writes of its length, and nobody but the owner of the value
///    reaches it.
/// 2. [`pieces`](Self::pieces) and [`piece`](Self::piece) give the same answers until the owner changes the value.
pub unsafe trait DmaBuffer: Send + 'static {
    /// Returns into how many pieces the buffer is scattered.
    fn pieces(&self) -> usize;

    /// Returns start and length of piece `index`, which is `< self.pieces()`; a null length for an empty piece.
    fn piece(&mut self, index: usize) -> (*mut u8, usize);
}

/// The piece is the packet's window.
// SAFETY: `pktbuf` promises (module `buffer`) that the storage is a `&'static mut` which keeps its address while the handle
// moves, and that nobody else reaches it until the handle is dropped; the window changes only by the owner's hand.
unsafe impl DmaBuffer for PacketBuf {
    #[inline]
    fn pieces(&self) -> usize {
        1
    }

    #[inline]
    fn piece(&mut self, _index: usize) -> (*mut u8, usize) {
        self.window()
    }
}

// SAFETY: a unique borrow for ever of memory that does not move.
unsafe impl DmaBuffer for &'static mut [u8] {
    fn pieces(&self) -> usize {
        1
    }

    fn piece(&mut self, _index: usize) -> (*mut u8, usize) {
        (self.as_mut_ptr(), self.len())
    }
}

// SAFETY: the octets are on the heap, owned by the box, and stay there when it moves.
unsafe impl DmaBuffer for Box<[u8]> {
    fn pieces(&self) -> usize {
        1
    }

    fn piece(&mut self, _index: usize) -> (*mut u8, usize) {
        (self.as_mut_ptr(), self.len())
    }
}

/// A buffer scattered over several: a packet chain.
// SAFETY: each element keeps the promises for its one piece or more, and the owner of the vector owns the elements. Moving
// the vector, or the elements within it, moves no piece.
unsafe impl<B: DmaBuffer> DmaBuffer for Vec<B> {
    fn pieces(&self) -> usize {
        self.iter().map(DmaBuffer::pieces).sum()
    }

    fn piece(&mut self, mut index: usize) -> (*mut u8, usize) {
        for buffer in self.iter_mut() {
            let pieces = buffer.pieces();
            if index < pieces {
                return buffer.piece(index);
            }
            index -= pieces;
        }
        (core::ptr::null_mut(), 0)
    }
}
