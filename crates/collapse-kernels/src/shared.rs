//! A slice that several tasks write in disjoint places the borrow checker cannot see.
#![allow(unsafe_code)]

use std::marker::PhantomData;

pub(crate) struct SharedMut<'a, T> {
    pointer: *mut T,
    len: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: access goes through unsafe methods whose callers promise disjointness; the elements may cross threads.
unsafe impl<T: Send> Send for SharedMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedMut<'_, T> {}

impl<'a, T> SharedMut<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self {
            pointer: slice.as_mut_ptr(),
            len: slice.len(),
            borrow: PhantomData,
        }
    }

    /// # Safety
    /// `offset` lies inside the slice; what is done with the pointer races with nobody.
    pub(crate) unsafe fn pointer(&self, offset: usize) -> *mut T {
        debug_assert!(offset < self.len);
        // SAFETY: inside the slice, says the caller.
        unsafe { self.pointer.add(offset) }
    }

    /// # Safety
    /// Nobody else accesses these elements while the result lives.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn slice(&self, offset: usize, len: usize) -> &mut [T] {
        assert!(offset + len <= self.len, "range outside the shared slice");
        // SAFETY: in bounds by the check, exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(offset), len) }
    }
}
