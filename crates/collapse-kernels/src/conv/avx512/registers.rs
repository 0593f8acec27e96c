//! Registers of 32-bit words, an f32 or a pair of bf16 each: sixteen, a whole panel, or eight, the half of a narrow panel that is
//! not zero. Eight take half the time of sixteen on cores that divide 512-bit operations, and no more on others.
#![allow(unsafe_code)]

use crate::element::Element;
use half::bf16;
use std::arch::x86_64::*;

/// What registers of both lengths do whatever their words are.
///
/// # Safety
/// Of every method: the machine has AVX-512 F and VL, and a pointer's target holds as many words or sums as the register.
pub(in crate::conv) trait Register: Copy {
    type Sums: Copy;
    const LANES: usize;

    unsafe fn zero() -> Self::Sums;
    unsafe fn words(source: *const i32) -> Self;
    unsafe fn broadcast(word: i32) -> Self;
    /// Adds the sums to those at `target`.
    unsafe fn add_to(target: *mut f32, sums: Self::Sums);
}

/// What depends on the words.
///
/// # Safety
/// As [`Register`]'s, and for bf16 the machine has AVX512-BF16.
pub(in crate::conv) trait Words<E: Element>: Register {
    /// `sums + Σ self · b` in each lane.
    unsafe fn multiply(self, b: Self, sums: Self::Sums) -> Self::Sums;
    /// Writes or adds the results as elements.
    unsafe fn store(target: *mut E, sums: Self::Sums, accumulate: bool);
}

impl Register for __m512i {
    type Sums = __m512;
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> __m512 {
        // SAFETY: the caller's promises.
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn words(source: *const i32) -> Self {
        // SAFETY: the caller's promises.
        unsafe { _mm512_loadu_si512(source.cast()) }
    }
    #[inline(always)]
    unsafe fn broadcast(word: i32) -> Self {
        // SAFETY: the caller's promises.
        unsafe { _mm512_set1_epi32(word) }
    }
    #[inline(always)]
    unsafe fn add_to(target: *mut f32, sums: __m512) {
        // SAFETY: the caller's promises.
        unsafe { _mm512_storeu_ps(target, _mm512_add_ps(_mm512_loadu_ps(target), sums)) }
    }
}

impl Register for __m256i {
    type Sums = __m256;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> __m256 {
        // SAFETY: the caller's promises.
        unsafe { _mm256_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn words(source: *const i32) -> Self {
        // SAFETY: the caller's promises.
        unsafe { _mm256_loadu_si256(source.cast()) }
    }
    #[inline(always)]
    unsafe fn broadcast(word: i32) -> Self {
        // SAFETY: the caller's promises.
        unsafe { _mm256_set1_epi32(word) }
    }
    #[inline(always)]
    unsafe fn add_to(target: *mut f32, sums: __m256) {
        // SAFETY: the caller's promises.
        unsafe { _mm256_storeu_ps(target, _mm256_add_ps(_mm256_loadu_ps(target), sums)) }
    }
}

impl Words<f32> for __m512i {
    #[inline(always)]
    unsafe fn multiply(self, b: Self, sums: __m512) -> __m512 {
        // SAFETY: the caller's promises.
        unsafe { _mm512_fmadd_ps(_mm512_castsi512_ps(self), _mm512_castsi512_ps(b), sums) }
    }
    #[inline(always)]
    unsafe fn store(target: *mut f32, sums: __m512, accumulate: bool) {
        // SAFETY: the caller's promises.
        unsafe {
            if accumulate {
                Self::add_to(target, sums);
            } else {
                _mm512_storeu_ps(target, sums);
            }
        }
    }
}

impl Words<f32> for __m256i {
    #[inline(always)]
    unsafe fn multiply(self, b: Self, sums: __m256) -> __m256 {
        // SAFETY: the caller's promises.
        unsafe { _mm256_fmadd_ps(_mm256_castsi256_ps(self), _mm256_castsi256_ps(b), sums) }
    }
    #[inline(always)]
    unsafe fn store(target: *mut f32, sums: __m256, accumulate: bool) {
        // SAFETY: the caller's promises.
        unsafe {
            if accumulate {
                Self::add_to(target, sums);
            } else {
                _mm256_storeu_ps(target, sums);
            }
        }
    }
}

impl Words<bf16> for __m512i {
    #[inline(always)]
    unsafe fn multiply(self, b: Self, sums: __m512) -> __m512 {
        // SAFETY: the caller's promises; the types are the same 512 bits.
        unsafe {
            _mm512_dpbf16_ps(
                sums,
                std::mem::transmute::<__m512i, __m512bh>(self),
                std::mem::transmute::<__m512i, __m512bh>(b),
            )
        }
    }
    #[inline(always)]
    unsafe fn store(target: *mut bf16, sums: __m512, accumulate: bool) {
        // SAFETY: the caller's promises; the types are the same 256 bits.
        unsafe {
            let target = target.cast::<__m256i>();
            let sums = if accumulate {
                let old = _mm512_cvtepu16_epi32(_mm256_loadu_si256(target));
                _mm512_add_ps(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(old)), sums)
            } else {
                sums
            };
            let narrow = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(sums));
            _mm256_storeu_si256(target, narrow);
        }
    }
}

impl Words<bf16> for __m256i {
    #[inline(always)]
    unsafe fn multiply(self, b: Self, sums: __m256) -> __m256 {
        // SAFETY: the caller's promises; the types are the same 256 bits.
        unsafe {
            _mm256_dpbf16_ps(
                sums,
                std::mem::transmute::<__m256i, __m256bh>(self),
                std::mem::transmute::<__m256i, __m256bh>(b),
            )
        }
    }
    #[inline(always)]
    unsafe fn store(target: *mut bf16, sums: __m256, accumulate: bool) {
        // SAFETY: the caller's promises; the types are the same 128 bits.
        unsafe {
            let target = target.cast::<__m128i>();
            let sums = if accumulate {
                let old = _mm256_cvtepu16_epi32(_mm_loadu_si128(target));
                _mm256_add_ps(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(old)), sums)
            } else {
                sums
            };
            let narrow = std::mem::transmute::<__m128bh, __m128i>(_mm256_cvtneps_pbh(sums));
            _mm_storeu_si128(target, narrow);
        }
    }
}
