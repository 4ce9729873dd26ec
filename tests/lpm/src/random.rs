//! A small seeded random generator: [`Random`], so that every table, stream and failure can be had again.

/// xorshift64*.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts from `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Returns 32 random bits.
    pub const fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    /// Returns a number below `bound`, in whatever type the caller counts in.
    ///
    /// # Panics
    /// If the type cannot hold it.
    pub fn below<T: TryFrom<u64>>(&mut self, bound: usize) -> T {
        let scaled = (u64::from(self.next()) * bound as u64) >> 32;
        T::try_from(scaled).ok().expect("the bound fits the type")
    }
}
