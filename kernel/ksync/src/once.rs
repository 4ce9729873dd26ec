//! A cell that is written once and then read by everybody.
//!
//! Wraps `spin::Once`. Not modelled by loom: initialisation happens at boot, before there is a second CPU that could race with it.

/// A value made at the first call of [`Once::call_once`].
///
/// # Context
/// [`Once::get`] is allowed anywhere. [`Once::call_once`] spins while another CPU runs the initialiser: thread context only.
#[derive(Debug, Default)]
pub struct Once<T> {
    cell: spin::Once<T>,
}

impl<T> Once<T> {
    /// Returns an empty cell.
    #[must_use]
    pub const fn new() -> Self {
        Self { cell: spin::Once::new() }
    }

    /// Returns the value, making it with `init` if nobody has yet.
    pub fn call_once(&self, init: impl FnOnce() -> T) -> &T {
        self.cell.call_once(init)
    }

    /// Returns the value if it has been made.
    #[inline]
    #[must_use]
    pub fn get(&self) -> Option<&T> {
        self.cell.get()
    }
}

#[cfg(test)]
mod tests {
    use super::Once;

    #[test]
    fn the_first_initialiser_wins() {
        let once = Once::new();
        assert_eq!(once.get(), None);
        assert_eq!(*once.call_once(|| 1), 1);
        assert_eq!(*once.call_once(|| 2), 1);
        assert_eq!(once.get(), Some(&1));
    }
}
