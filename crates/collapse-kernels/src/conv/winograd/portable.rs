//! Winograd convolutions in plain Rust: the twin the others are tested against, and the path of other architectures and of f64.
//!
//! Compiled for the baseline of the target alone: f64 takes it only to be checked.
#![allow(unsafe_code)]

use super::kernel::{Kernel, Outer, Product, Work, outer, product};
use crate::conv::portable::Portable;
use crate::element::Float;

/// Lanes of a vector.
const WIDTH: usize = 8;

impl<P: Float> Kernel for Portable<P> {
    type E = P;
    type V = [P; WIDTH];
    type W = [P; WIDTH];
    const LANES: usize = WIDTH;
    const GROUP: usize = 1;

    #[inline]
    fn run<T: Work<Self>>(self, work: T) {
        work.run(self);
    }
    #[inline(always)]
    fn zero(self) -> [P; WIDTH] {
        [P::ZERO; WIDTH]
    }
    #[inline(always)]
    fn add(self, mut a: [P; WIDTH], b: [P; WIDTH]) -> [P; WIDTH] {
        for j in 0..WIDTH {
            a[j] += b[j];
        }
        a
    }
    #[inline(always)]
    fn sub(self, mut a: [P; WIDTH], b: [P; WIDTH]) -> [P; WIDTH] {
        for j in 0..WIDTH {
            a[j] -= b[j];
        }
        a
    }
    #[inline(always)]
    fn scale(self, factor: f64, a: [P; WIDTH]) -> [P; WIDTH] {
        let factor = P::from_f64(factor);
        a.map(|a| factor * a)
    }
    #[inline(always)]
    fn scale_add(self, factor: f64, a: [P; WIDTH], b: [P; WIDTH]) -> [P; WIDTH] {
        self.multiply_add([P::from_f64(factor); WIDTH], a, b)
    }
    #[inline(always)]
    fn scale_sub(self, factor: f64, a: [P; WIDTH], b: [P; WIDTH]) -> [P; WIDTH] {
        self.multiply_add([P::from_f64(-factor); WIDTH], a, b)
    }
    #[inline(always)]
    fn multiply_add(self, a: [P; WIDTH], b: [P; WIDTH], mut c: [P; WIDTH]) -> [P; WIDTH] {
        for j in 0..WIDTH {
            c[j] = a[j].multiply_add(b[j], c[j]);
        }
        c
    }
    #[inline(always)]
    unsafe fn load(self, source: *const P, inside: u32) -> [P; WIDTH] {
        if inside == 0 {
            return self.zero();
        }
        // SAFETY: the caller's promise.
        unsafe { *source.cast() }
    }
    #[inline(always)]
    unsafe fn put(self, target: *mut P, v: [P; WIDTH]) -> [P; WIDTH] {
        // SAFETY: the caller's promise.
        unsafe { *target.cast() = v };
        v
    }
    #[inline(always)]
    unsafe fn put_words(self, target: *mut P, v: [[P; WIDTH]; 2]) {
        // SAFETY: the caller's promise.
        unsafe { *target.cast() = v[0] }
    }
    #[inline(always)]
    unsafe fn load_sums(self, source: *const P) -> [P; WIDTH] {
        // SAFETY: the caller's promise.
        unsafe { *source.cast() }
    }
    #[inline(always)]
    unsafe fn store_sums(self, target: *mut P, v: [P; WIDTH]) {
        // SAFETY: the caller's promise.
        unsafe { *target.cast() = v }
    }
    #[inline(always)]
    unsafe fn broadcast(self, source: *const P) -> [P; WIDTH] {
        // SAFETY: the caller's promise.
        [unsafe { *source }; WIDTH]
    }
    #[inline(always)]
    unsafe fn words(self, source: *const P) -> [P; WIDTH] {
        // SAFETY: the caller's promise.
        unsafe { *source.cast() }
    }
    #[inline(always)]
    fn multiply(self, a: [P; WIDTH], b: [P; WIDTH], sum: [P; WIDTH]) -> [P; WIDTH] {
        self.multiply_add(a, b, sum)
    }
    #[inline(always)]
    unsafe fn product(self, p: Product<Self>) {
        // SAFETY: the caller's promise.
        unsafe { product::<Self, 4, 2>(self, &p) }
    }
    #[inline(always)]
    unsafe fn outer(self, o: Outer<Self>) {
        // SAFETY: the caller's promise.
        unsafe { outer::<Self, 4, 2>(self, &o) }
    }
}
