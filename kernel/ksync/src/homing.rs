//! Owners that send a thing home when they are done with it: the handle behind packet buffers.
//!
//! Key type: [`Homing`], one machine word, never null. It is what a `&'static mut T` cannot be: something whose owner runs code
//! at the end and then passes the borrow on. Any context; nothing here blocks.

use core::{
    fmt,
    marker::PhantomData,
    mem,
    ops::{Deref, DerefMut},
    ptr::NonNull,
};

/// A thing of static life that knows where it belongs.
pub trait Home: Sized + 'static {
    /// Takes the thing back: called with the last owner's borrow when that owner drops its [`Homing`].
    fn go_home(this: &'static mut Self);
}

/// The one owner of a `&'static mut T`, which calls [`Home::go_home`] when it is dropped.
///
/// Forgotten, it leaks the thing, which stays borrowed for ever.
pub struct Homing<T: Home> {
    /// Made from a `&'static mut T` by `new`, and that borrow is nobody else's until it leaves again by `into_inner` or `drop`.
    thing: NonNull<T>,
    owns: PhantomData<&'static mut T>,
}

impl<T: Home> Homing<T> {
    /// Takes the borrow over.
    #[inline]
    pub fn new(thing: &'static mut T) -> Self {
        Self { thing: NonNull::from(thing), owns: PhantomData }
    }

    /// Gives the borrow back; the thing does not go home.
    #[inline]
    pub fn into_inner(self) -> &'static mut T {
        let mut thing = self.thing;
        mem::forget(self);
        // SAFETY: `thing` comes from the `&'static mut T` given to `new` and is used by this value alone; the value has just been
        // forgotten, so the borrow leaves once only.
        unsafe { thing.as_mut() }
    }
}

impl<T: Home> Deref for Homing<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: valid for ever and borrowed by this value alone (see the field); the shared borrow ends with that of `self`.
        unsafe { self.thing.as_ref() }
    }
}

impl<T: Home> DerefMut for Homing<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `&mut self` excludes every other borrow of the thing.
        unsafe { self.thing.as_mut() }
    }
}

impl<T: Home> Drop for Homing<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: as in `into_inner`; a value is dropped once, and nothing reads `thing` afterwards.
        T::go_home(unsafe { self.thing.as_mut() });
    }
}

// SAFETY: a `Homing<T>` is a `&'static mut T` with a drop, and goes where that may go.
unsafe impl<T: Home + Send> Send for Homing<T> {}
// SAFETY: as above; through `&Homing<T>` there is only `&T`.
unsafe impl<T: Home + Sync> Sync for Homing<T> {}

impl<T: Home + fmt::Debug> fmt::Debug for Homing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

const _: () = {
    struct Nobody;
    impl Home for Nobody {
        fn go_home(_: &'static mut Self) {}
    }
    assert!(size_of::<Option<Homing<Nobody>>>() == size_of::<usize>());
};

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use alloc::boxed::Box;
    use core::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[derive(Debug)]
    struct Pigeon {
        homecomings: &'static AtomicU32,
        name: u32,
    }

    impl Home for Pigeon {
        fn go_home(this: &'static mut Self) {
            this.homecomings.fetch_add(this.name, Ordering::Relaxed);
        }
    }

    fn pigeon(name: u32) -> (Homing<Pigeon>, &'static AtomicU32) {
        let homecomings: &'static AtomicU32 = Box::leak(Box::new(AtomicU32::new(0)));
        (Homing::new(Box::leak(Box::new(Pigeon { homecomings, name }))), homecomings)
    }

    #[test]
    fn a_dropped_owner_sends_its_thing_home_once_as_it_was_left() {
        let (mut owner, homecomings) = pigeon(1);
        owner.name = 7;
        let moved = owner;
        assert_eq!((moved.name, homecomings.load(Ordering::Relaxed)), (7, 0));
        drop(moved);
        assert_eq!(homecomings.load(Ordering::Relaxed), 7);
    }

    #[test]
    fn a_thing_that_was_taken_out_stays_away_and_can_be_owned_again() {
        let (owner, homecomings) = pigeon(1);
        let thing = owner.into_inner();
        assert_eq!(homecomings.load(Ordering::Relaxed), 0);
        drop(Homing::new(thing));
        assert_eq!(homecomings.load(Ordering::Relaxed), 1);
    }
}
