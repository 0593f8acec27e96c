//! The tile instructions, through inline assembly: their intrinsics are not stable.
//!
//! `tmm0`–`tmm3` are the accumulators, `tmm4`–`tmm5` left and `tmm6`–`tmm7` right operands. The compiler never allocates tile
//! registers, so they keep their values from one block of assembly to the next.
#![allow(unsafe_code)]

use super::{OPERAND, Strip, TILE, Tiles};
use crate::conv::avx512::Words;
use crate::path::Level;
use crate::shape::LANES;
use half::bf16;
use std::arch::asm;
use std::arch::x86_64::*;
use std::marker::PhantomData;

/// Only made on a configured thread; tied to it.
pub(crate) struct Hardware(PhantomData<*const ()>);

/// Releases the tiles, so that the kernel need not save 8 KiB at every switch of the thread.
pub(crate) struct Configured(PhantomData<*const ()>);

impl Drop for Configured {
    fn drop(&mut self) {
        // SAFETY: only made by `configure`, on this thread.
        unsafe { asm!("tilerelease", options(nostack, nomem)) }
    }
}

#[repr(C, align(64))]
struct TileConfiguration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_per_row: [u16; 16],
    rows: [u8; 16],
}

/// How far ahead right operands are fetched, in bytes: two steps.
const AHEAD: usize = 2 * 1024;

impl Tiles for Hardware {
    const LEVEL: Level = Level::Avx512;
    type Session = Configured;

    fn configure(depth: usize) -> Configured {
        let mut configuration = TileConfiguration {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            bytes_per_row: [0; 16],
            rows: [0; 16],
        };
        for tile in 0..8 {
            let left = tile == 4 || tile == 5;
            let right = tile == 6 || tile == 7;
            configuration.bytes_per_row[tile] = if left { depth as u16 * 2 } else { 64 };
            configuration.rows[tile] = if right { depth as u8 / 2 } else { 16 };
        }
        // SAFETY: reads 64 bytes; only reached on paths for which AMX was detected and granted.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const configuration, options(nostack, readonly))
        }
        Configured(PhantomData)
    }

    #[inline(always)]
    unsafe fn zeroed() -> Self {
        // SAFETY: the thread is configured, says the caller.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                options(nostack, nomem)
            )
        }
        Self(PhantomData)
    }

    /// Longer than a page: four loops of assembly, one for each number of tiles, side by side so that what they share shows.
    #[inline(always)]
    unsafe fn multiply<const R: usize, const C: usize>(&mut self, strip: Strip) {
        if strip.steps == 0 {
            return;
        }
        // SAFETY: reads exactly the operand tiles of the strip, which the caller says are readable; a prefetch never faults.
        unsafe {
            match (R, C) {
                (2, 2) => asm!(
                    "2:",
                    "tileloadd tmm6, [{b0} + {row}*1]",
                    "tileloadd tmm4, [{a0} + {lda}*1]",
                    "prefetcht0 [{b0} + {ahead}]", "prefetcht0 [{b0} + {ahead} + 64]",
                    "prefetcht0 [{b0} + {ahead} + 128]", "prefetcht0 [{b0} + {ahead} + 192]",
                    "prefetcht0 [{b0} + {ahead} + 256]", "prefetcht0 [{b0} + {ahead} + 320]",
                    "prefetcht0 [{b0} + {ahead} + 384]", "prefetcht0 [{b0} + {ahead} + 448]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tileloadd tmm7, [{b1} + {row}*1]",
                    "prefetcht0 [{b0} + {ahead} + 512]", "prefetcht0 [{b0} + {ahead} + 576]",
                    "prefetcht0 [{b0} + {ahead} + 640]", "prefetcht0 [{b0} + {ahead} + 704]",
                    "prefetcht0 [{b0} + {ahead} + 768]", "prefetcht0 [{b0} + {ahead} + 832]",
                    "prefetcht0 [{b0} + {ahead} + 896]", "prefetcht0 [{b0} + {ahead} + 960]",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tileloadd tmm5, [{a1} + {lda}*1]",
                    "prefetcht0 [{b1} + {ahead}]", "prefetcht0 [{b1} + {ahead} + 64]",
                    "prefetcht0 [{b1} + {ahead} + 128]", "prefetcht0 [{b1} + {ahead} + 192]",
                    "prefetcht0 [{b1} + {ahead} + 256]", "prefetcht0 [{b1} + {ahead} + 320]",
                    "prefetcht0 [{b1} + {ahead} + 384]", "prefetcht0 [{b1} + {ahead} + 448]",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "prefetcht0 [{b1} + {ahead} + 512]", "prefetcht0 [{b1} + {ahead} + 576]",
                    "prefetcht0 [{b1} + {ahead} + 640]", "prefetcht0 [{b1} + {ahead} + 704]",
                    "prefetcht0 [{b1} + {ahead} + 768]", "prefetcht0 [{b1} + {ahead} + 832]",
                    "prefetcht0 [{b1} + {ahead} + 896]", "prefetcht0 [{b1} + {ahead} + 960]",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                    "add {a0}, {a_step}", "add {a1}, {a_step}", "add {b0}, {b_step}", "add {b1}, {b_step}",
                    "dec {n}", "jnz 2b",
                    a0 = inout(reg) strip.left[0] => _, a1 = inout(reg) strip.left[1] => _,
                    b0 = inout(reg) strip.right[0] => _, b1 = inout(reg) strip.right[1] => _,
                    n = inout(reg) strip.steps => _, lda = in(reg) strip.left_stride, row = in(reg) 64usize,
                    a_step = in(reg) strip.left_step, b_step = in(reg) strip.right_step,
                    ahead = const AHEAD, options(nostack, readonly)
                ),
                (2, _) => asm!(
                    "2:",
                    "tileloadd tmm6, [{b0} + {row}*1]",
                    "tileloadd tmm4, [{a0} + {lda}*1]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tileloadd tmm5, [{a1} + {lda}*1]",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "add {a0}, {a_step}", "add {a1}, {a_step}", "add {b0}, {b_step}",
                    "dec {n}", "jnz 2b",
                    a0 = inout(reg) strip.left[0] => _, a1 = inout(reg) strip.left[1] => _,
                    b0 = inout(reg) strip.right[0] => _,
                    n = inout(reg) strip.steps => _, lda = in(reg) strip.left_stride, row = in(reg) 64usize,
                    a_step = in(reg) strip.left_step, b_step = in(reg) strip.right_step,
                    options(nostack, readonly)
                ),
                (_, 2) => asm!(
                    "2:",
                    "tileloadd tmm4, [{a0} + {lda}*1]",
                    "tileloadd tmm6, [{b0} + {row}*1]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tileloadd tmm7, [{b1} + {row}*1]",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "add {a0}, {a_step}", "add {b0}, {b_step}", "add {b1}, {b_step}",
                    "dec {n}", "jnz 2b",
                    a0 = inout(reg) strip.left[0] => _,
                    b0 = inout(reg) strip.right[0] => _, b1 = inout(reg) strip.right[1] => _,
                    n = inout(reg) strip.steps => _, lda = in(reg) strip.left_stride, row = in(reg) 64usize,
                    a_step = in(reg) strip.left_step, b_step = in(reg) strip.right_step,
                    options(nostack, readonly)
                ),
                _ => asm!(
                    "2:",
                    "tileloadd tmm4, [{a0} + {lda}*1]",
                    "tileloadd tmm6, [{b0} + {row}*1]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "add {a0}, {a_step}", "add {b0}, {b_step}",
                    "dec {n}", "jnz 2b",
                    a0 = inout(reg) strip.left[0] => _, b0 = inout(reg) strip.right[0] => _,
                    n = inout(reg) strip.steps => _, lda = in(reg) strip.left_stride, row = in(reg) 64usize,
                    a_step = in(reg) strip.left_step, b_step = in(reg) strip.right_step,
                    options(nostack, readonly)
                ),
            }
        }
    }

    #[inline(always)]
    unsafe fn load<const R: usize, const C: usize>(&mut self, from: [[*const f32; 2]; 2]) {
        // SAFETY: reads 1 KiB from each of the parts taking part, readable says the caller.
        unsafe {
            asm!("tileloadd tmm0, [{} + {}*1]", in(reg) from[0][0], in(reg) 64usize, options(nostack, readonly));
            if C == 2 {
                asm!("tileloadd tmm1, [{} + {}*1]", in(reg) from[0][1], in(reg) 64usize, options(nostack, readonly));
            }
            if R == 2 {
                asm!("tileloadd tmm2, [{} + {}*1]", in(reg) from[1][0], in(reg) 64usize, options(nostack, readonly));
            }
            if R == 2 && C == 2 {
                asm!("tileloadd tmm3, [{} + {}*1]", in(reg) from[1][1], in(reg) 64usize, options(nostack, readonly));
            }
        }
    }

    #[inline(always)]
    unsafe fn store<const R: usize, const C: usize>(&self, to: [[*mut f32; 2]; 2]) {
        // SAFETY: writes 1 KiB to each of the parts taking part, writable says the caller.
        unsafe {
            asm!("tilestored [{} + {}*1], tmm0", in(reg) to[0][0], in(reg) 64usize, options(nostack));
            if C == 2 {
                asm!("tilestored [{} + {}*1], tmm1", in(reg) to[0][1], in(reg) 64usize, options(nostack));
            }
            if R == 2 {
                asm!("tilestored [{} + {}*1], tmm2", in(reg) to[1][0], in(reg) 64usize, options(nostack));
            }
            if R == 2 && C == 2 {
                asm!("tilestored [{} + {}*1], tmm3", in(reg) to[1][1], in(reg) 64usize, options(nostack));
            }
        }
    }

    #[inline(always)]
    unsafe fn write_back(sums: &[f32; TILE], target: *mut bf16, stride: usize, accumulate: bool) {
        /// # Safety
        /// As [`Tiles::write_back`].
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
        unsafe fn rows(sums: &[f32; TILE], target: *mut bf16, stride: usize, accumulate: bool) {
            for r in 0..16 {
                // SAFETY: row r of sums and target, the latter ours says the caller.
                unsafe {
                    __m512i::store(
                        target.add(r * stride),
                        _mm512_loadu_ps(sums.as_ptr().add(r * LANES)),
                        accumulate,
                    )
                }
            }
        }
        // SAFETY: the caller's promise.
        unsafe { rows(sums, target, stride, accumulate) }
    }

    fn transpose<'a>(images: impl ExactSizeIterator<Item = &'a [bf16]>, tile: &mut [bf16]) {
        let mut rows = [[bf16::ZERO; LANES]; 32];
        for (row, image) in rows.iter_mut().zip(images) {
            row.copy_from_slice(&image[..LANES]);
        }
        let tile: &mut [bf16] = &mut tile[..OPERAND];
        // SAFETY: the tile has 512 elements; only reached on paths (or in tests) where AVX-512 was detected.
        unsafe { transpose(&rows, tile.as_mut_ptr()) }
    }
}

/// A configured thread, for measurements.
pub(crate) struct TileSession {
    _configured: Configured,
}

impl TileSession {
    /// Only on paths for which AMX was detected.
    pub(crate) fn new() -> Self {
        Self {
            _configured: Hardware::configure(32),
        }
    }
}

/// `rounds` times four tile products on registers.
///
/// # Safety
/// The session was made on a machine with AMX.
pub(crate) unsafe fn tile_products(_session: &TileSession, rounds: usize) {
    // SAFETY: touches configured tile registers only.
    unsafe {
        asm!(
            "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
            "tilezero tmm4", "tilezero tmm5", "tilezero tmm6", "tilezero tmm7",
            "2:",
            "tdpbf16ps tmm0, tmm4, tmm6", "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6", "tdpbf16ps tmm3, tmm5, tmm7",
            "dec {n}", "jnz 2b",
            n = inout(reg) rounds.max(1) => _, options(nostack, nomem)
        )
    }
}

/// 32 images × 16 channels to 16 channels × 32 images, as a 16 × 16 transpose of image pairs.
///
/// # Safety
/// `tile` takes 512 elements; the machine has AVX-512 F and BW.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn transpose(rows: &[[bf16; LANES]; 32], tile: *mut bf16) {
    // SAFETY: loads stay in `rows`, stores in the 512 elements.
    unsafe {
        let lanes = |r: usize| _mm512_cvtepu16_epi32(_mm256_loadu_si256(rows[r].as_ptr().cast()));
        let mut m: [__m512i; 16] = std::array::from_fn(|p| {
            _mm512_or_si512(lanes(2 * p), _mm512_slli_epi32::<16>(lanes(2 * p + 1)))
        });
        let mut t = m;
        for i in 0..8 {
            t[2 * i] = _mm512_unpacklo_epi32(m[2 * i], m[2 * i + 1]);
            t[2 * i + 1] = _mm512_unpackhi_epi32(m[2 * i], m[2 * i + 1]);
        }
        for i in 0..4 {
            let b = 4 * i;
            m[b] = _mm512_unpacklo_epi64(t[b], t[b + 2]);
            m[b + 1] = _mm512_unpackhi_epi64(t[b], t[b + 2]);
            m[b + 2] = _mm512_unpacklo_epi64(t[b + 1], t[b + 3]);
            m[b + 3] = _mm512_unpackhi_epi64(t[b + 1], t[b + 3]);
        }
        for j in 0..4 {
            let a = _mm512_shuffle_i32x4::<0x88>(m[j], m[4 + j]);
            let b = _mm512_shuffle_i32x4::<0xdd>(m[j], m[4 + j]);
            let c = _mm512_shuffle_i32x4::<0x88>(m[8 + j], m[12 + j]);
            let d = _mm512_shuffle_i32x4::<0xdd>(m[8 + j], m[12 + j]);
            t[j] = _mm512_shuffle_i32x4::<0x88>(a, c);
            t[8 + j] = _mm512_shuffle_i32x4::<0xdd>(a, c);
            t[4 + j] = _mm512_shuffle_i32x4::<0x88>(b, d);
            t[12 + j] = _mm512_shuffle_i32x4::<0xdd>(b, d);
        }
        for (j, lanes) in t.iter().enumerate() {
            _mm512_storeu_si512(tile.add(j * 32).cast(), *lanes);
        }
    }
}
