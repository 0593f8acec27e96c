//! AVX2 and FMA vectors of f32 for Winograd convolutions.
#![allow(unsafe_code)]

use super::kernel::{Kernel, Outer, Product, Work, outer, product};
use crate::conv::avx2::Avx2;
use std::arch::x86_64::*;

/// The safety argument is the same everywhere: `self` proves that the instructions exist.
impl Kernel for Avx2 {
    type E = f32;
    type V = __m256;
    type W = __m256;
    const LANES: usize = 8;
    const GROUP: usize = 1;

    #[inline]
    fn run<T: Work<Self>>(self, work: T) {
        #[target_feature(enable = "avx2,fma")]
        fn with<T: Work<Avx2>>(kernel: Avx2, work: T) {
            work.run(kernel);
        }
        // SAFETY: `self` proves that the instructions exist.
        unsafe { with(self, work) }
    }
    #[inline(always)]
    fn zero(self) -> __m256 {
        // SAFETY: `self`.
        unsafe { _mm256_setzero_ps() }
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self`.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self`.
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    fn scale(self, factor: f64, a: __m256) -> __m256 {
        // SAFETY: `self`.
        unsafe { _mm256_mul_ps(_mm256_set1_ps(factor as f32), a) }
    }
    #[inline(always)]
    fn scale_add(self, factor: f64, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self`.
        unsafe { _mm256_fmadd_ps(_mm256_set1_ps(factor as f32), a, b) }
    }
    #[inline(always)]
    fn scale_sub(self, factor: f64, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self`.
        unsafe { _mm256_fnmadd_ps(_mm256_set1_ps(factor as f32), a, b) }
    }
    #[inline(always)]
    fn multiply_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: `self`.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn load(self, source: *const f32, inside: u32) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe {
            let mask = _mm256_castsi256_ps(_mm256_set1_epi32(inside.cast_signed()));
            _mm256_and_ps(_mm256_loadu_ps(source), mask)
        }
    }
    #[inline(always)]
    unsafe fn put(self, target: *mut f32, v: __m256) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_ps(target, v) };
        v
    }
    #[inline(always)]
    unsafe fn put_words(self, target: *mut f32, v: [__m256; 2]) {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_ps(target, v[0]) }
    }
    #[inline(always)]
    unsafe fn load_sums(self, source: *const f32) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_ps(source) }
    }
    #[inline(always)]
    unsafe fn store_sums(self, target: *mut f32, v: __m256) {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_ps(target, v) }
    }
    #[inline(always)]
    unsafe fn broadcast(self, source: *const f32) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { _mm256_set1_ps(*source) }
    }
    #[inline(always)]
    unsafe fn words(self, source: *const f32) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_ps(source) }
    }
    #[inline(always)]
    fn multiply(self, a: __m256, b: __m256, sum: __m256) -> __m256 {
        // SAFETY: `self`.
        unsafe { _mm256_fmadd_ps(a, b, sum) }
    }
    /// Eight sums of sixteen registers: as many as hide the latency of two multiplications a cycle.
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
