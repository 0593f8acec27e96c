//! AVX-512 vectors for Winograd convolutions: f32, and bf16 multiplied in pairs.
#![allow(unsafe_code)]

use super::kernel::{Kernel, Outer, Product, Work, outer, product};
use crate::conv::avx512::{Avx512, Pairs, Singles};
use crate::shape::LANES;
use half::bf16;
use std::arch::x86_64::*;

/// The lanes of two registers of sixteen 16-bit values side by side.
#[rustfmt::skip]
const INTERLEAVE: [u16; 32] = [
    0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23,
    8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31,
];

/// What both element types do alike. The safety argument is the same everywhere: `self` proves that the instructions exist.
macro_rules! arithmetic {
    ($features:literal) => {
        type V = __m512;
        type W = __m512i;
        const LANES: usize = LANES;

        #[inline]
        fn run<T: Work<Self>>(self, work: T) {
            #[target_feature(enable = $features)]
            fn with<K: Kernel, T: Work<K>>(kernel: K, work: T) {
                work.run(kernel);
            }
            // SAFETY: `self` proves that the instructions exist.
            unsafe { with(self, work) }
        }
        #[inline(always)]
        fn zero(self) -> __m512 {
            // SAFETY: `self`.
            unsafe { _mm512_setzero_ps() }
        }
        #[inline(always)]
        fn add(self, a: __m512, b: __m512) -> __m512 {
            // SAFETY: `self`.
            unsafe { _mm512_add_ps(a, b) }
        }
        #[inline(always)]
        fn sub(self, a: __m512, b: __m512) -> __m512 {
            // SAFETY: `self`.
            unsafe { _mm512_sub_ps(a, b) }
        }
        #[inline(always)]
        fn scale(self, factor: f64, a: __m512) -> __m512 {
            // SAFETY: `self`.
            unsafe { _mm512_mul_ps(_mm512_set1_ps(factor as f32), a) }
        }
        #[inline(always)]
        fn scale_add(self, factor: f64, a: __m512, b: __m512) -> __m512 {
            // SAFETY: `self`.
            unsafe { _mm512_fmadd_ps(_mm512_set1_ps(factor as f32), a, b) }
        }
        #[inline(always)]
        fn scale_sub(self, factor: f64, a: __m512, b: __m512) -> __m512 {
            // SAFETY: `self`.
            unsafe { _mm512_fnmadd_ps(_mm512_set1_ps(factor as f32), a, b) }
        }
        #[inline(always)]
        fn multiply_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
            // SAFETY: `self`.
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn load_sums(self, source: *const f32) -> __m512 {
            // SAFETY: the caller's promise.
            unsafe { _mm512_loadu_ps(source) }
        }
        #[inline(always)]
        unsafe fn store_sums(self, target: *mut f32, v: __m512) {
            // SAFETY: the caller's promise.
            unsafe { _mm512_storeu_ps(target, v) }
        }
        #[inline(always)]
        unsafe fn broadcast(self, source: *const Self::E) -> __m512i {
            // SAFETY: the caller's promise: a word of 32 bits.
            unsafe { _mm512_set1_epi32(source.cast::<i32>().read_unaligned()) }
        }
        #[inline(always)]
        unsafe fn words(self, source: *const Self::E) -> __m512i {
            // SAFETY: the caller's promise.
            unsafe { _mm512_loadu_si512(source.cast()) }
        }
        #[inline(always)]
        unsafe fn product(self, p: Product<Self>) {
            // SAFETY: the caller's promise.
            unsafe {
                if p.columns == LANES {
                    product::<Self, 8, 1>(self, &p);
                } else {
                    product::<Self, 8, 2>(self, &p);
                }
            }
        }
        #[inline(always)]
        unsafe fn outer(self, o: Outer<Self>) {
            // SAFETY: the caller's promise.
            unsafe {
                if o.columns == LANES {
                    outer::<Self, 8, 1>(self, &o);
                } else {
                    outer::<Self, 8, 2>(self, &o);
                }
            }
        }
    };
}

impl Kernel for Avx512<Singles> {
    type E = f32;
    const GROUP: usize = 1;
    arithmetic!("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl");

    #[inline(always)]
    unsafe fn load(self, source: *const f32, inside: u32) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_maskz_loadu_ps(inside as u16, source) }
    }
    #[inline(always)]
    unsafe fn put(self, target: *mut f32, v: __m512) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_ps(target, v) };
        v
    }
    #[inline(always)]
    unsafe fn put_words(self, target: *mut f32, v: [__m512; 2]) {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_ps(target, v[0]) }
    }
    #[inline(always)]
    fn multiply(self, a: __m512i, b: __m512i, sum: __m512) -> __m512 {
        // SAFETY: `self`.
        unsafe { _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum) }
    }
}

/// Sixteen bf16 as f32.
///
/// # Safety
/// AVX-512 F.
#[inline(always)]
unsafe fn widened(values: __m256i) -> __m512 {
    // SAFETY: the caller's promise.
    unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(values))) }
}

impl Kernel for Avx512<Pairs> {
    type E = bf16;
    const GROUP: usize = 2;
    arithmetic!("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16");

    #[inline(always)]
    unsafe fn load(self, source: *const bf16, inside: u32) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { widened(_mm256_maskz_loadu_epi16(inside as u16, source.cast())) }
    }
    #[inline(always)]
    unsafe fn put(self, target: *mut bf16, v: __m512) -> __m512 {
        // SAFETY: the caller's promise; the types are the same 256 bits.
        unsafe {
            let narrow = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(v));
            _mm256_storeu_si256(target.cast(), narrow);
            widened(narrow)
        }
    }
    #[inline(always)]
    unsafe fn put_words(self, target: *mut bf16, v: [__m512; 2]) {
        // SAFETY: the caller's promise; the types are the same 512 bits.
        unsafe {
            let both = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(v[1], v[0]));
            let order = _mm512_loadu_si512(INTERLEAVE.as_ptr().cast());
            _mm512_storeu_si512(target.cast(), _mm512_permutexvar_epi16(order, both));
        }
    }
    #[inline(always)]
    fn multiply(self, a: __m512i, b: __m512i, sum: __m512) -> __m512 {
        // SAFETY: `self`; the types are the same 512 bits.
        unsafe {
            _mm512_dpbf16_ps(
                sum,
                std::mem::transmute::<__m512i, __m512bh>(a),
                std::mem::transmute::<__m512i, __m512bh>(b),
            )
        }
    }
}
