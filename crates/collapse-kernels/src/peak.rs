//! What the machine could do at most: multiplications on registers alone.
#![allow(unsafe_code)]

use crate::error::Result;
use crate::path::{KernelPath, with_kernel_path};
use std::sync::OnceLock;
use std::time::Instant;

/// Operand type of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// f32 operands.
    F32,
    /// bf16 operands, f32 sums.
    Bf16,
}

/// Independent sums, enough to hide the latency of two multiplications a cycle.
const SUMS: usize = 12;
const ROUNDS: usize = 1 << 22;

/// GFLOP/s of all threads of rayon's pool in a loop that never touches memory: the yardstick for "share of peak". Takes some
/// tens of milliseconds a repetition; the best of five.
///
/// # Errors
/// If this machine cannot run the path.
pub fn peak_gflops_register_loop(path: KernelPath, precision: Precision) -> Result<f64> {
    with_kernel_path(path, || {
        let mut best = 0.0f64;
        for _ in 0..5 {
            let start = Instant::now();
            let flops: f64 =
                rayon::broadcast(|_| rounds(path, precision, usual_rounds(path, precision)))
                    .iter()
                    .sum();
            best = best.max(flops / start.elapsed().as_secs_f64() / 1e9);
        }
        best
    })
}

/// Some milliseconds of work.
fn usual_rounds(path: KernelPath, precision: Precision) -> usize {
    match (path, precision) {
        (KernelPath::AmxBf16, Precision::Bf16) => ROUNDS / 8,
        (KernelPath::Portable | KernelPath::Neon, _) => ROUNDS / 4,
        _ => ROUNDS,
    }
}

/// Whether products of bf16 are faster than those of f32 on a path: by AMX they are, by `vdpbf16ps` where registers say so (an Intel Xeon
/// does half as many of them, see the project's docs/performance.md). Takes a few milliseconds, once a process.
///
/// # Errors
/// If this machine cannot run the path.
pub fn bf16_products_pay(path: KernelPath) -> Result<bool> {
    static PAIRS_PAY: OnceLock<bool> = OnceLock::new();
    with_kernel_path(path, || match path {
        KernelPath::AmxBf16 => true,
        KernelPath::Avx512Bf16 => *PAIRS_PAY.get_or_init(|| pays_on_registers(path)),
        _ => false,
    })
}

fn pays_on_registers(path: KernelPath) -> bool {
    const TRIES: usize = 40;
    const ROUNDS: usize = 1 << 10;
    let rate = |precision| {
        let start = Instant::now();
        rounds(path, precision, ROUNDS) / start.elapsed().as_secs_f64()
    };
    let rates = (0..TRIES).map(|_| (rate(Precision::Bf16), rate(Precision::F32)));
    let (bf16, f32) = rates.fold((0.0f64, 0.0f64), |best, rates| {
        (best.0.max(rates.0), best.1.max(rates.1))
    });
    bf16 > f32
}

/// Does at least so many floating-point operations on registers alone, on this thread, and returns how many: a yardstick for the
/// time of other work.
///
/// # Errors
/// If this machine cannot run the path.
pub fn register_loop(path: KernelPath, precision: Precision, flops: f64) -> Result<f64> {
    with_kernel_path(path, || {
        let one_round = rounds(path, precision, 1);
        let needed = (flops / one_round).ceil().max(1.0);
        rounds(path, precision, needed as usize)
    })
}

/// Runs the loop for so many rounds and returns the floating-point operations it did.
fn rounds(path: KernelPath, precision: Precision, rounds: usize) -> f64 {
    #[cfg(target_arch = "x86_64")]
    match (path, precision) {
        // SAFETY: `with_kernel_path` checked that the machine runs this path.
        (KernelPath::AmxBf16, Precision::Bf16) => return unsafe { x86::tiles(rounds) },
        // SAFETY: as above.
        (KernelPath::Avx512Bf16, Precision::Bf16) => return unsafe { x86::pairs(rounds) },
        // SAFETY: as above.
        (KernelPath::Avx512 | KernelPath::Avx512Bf16 | KernelPath::AmxBf16, _) => {
            return unsafe { x86::avx512(rounds) };
        }
        // SAFETY: as above.
        (KernelPath::Avx2, _) => return unsafe { x86::avx2(rounds) },
        _ => {}
    }
    let _ = (path, precision);
    portable(rounds)
}

fn portable(rounds: usize) -> f64 {
    use crate::element::Float;
    const LANES: usize = 4;
    let factor = std::hint::black_box(0.999f32);
    let mut sums = [[1.0f32; LANES]; SUMS];
    for _ in 0..rounds {
        for sum in &mut sums {
            for lane in sum {
                *lane = factor.multiply_add(*lane, factor);
            }
        }
    }
    std::hint::black_box(sums);
    (rounds * SUMS * LANES * 2) as f64
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::SUMS;
    use crate::conv::{TileSession, tile_products};
    use std::arch::x86_64::*;
    use std::hint::black_box;

    /// # Safety
    /// The machine has AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn avx2(rounds: usize) -> f64 {
        let a = _mm256_set1_ps(black_box(0.5));
        let mut sums = [_mm256_setzero_ps(); SUMS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, a, a);
            }
        }
        black_box(sums);
        (rounds * SUMS * 16) as f64
    }

    /// # Safety
    /// The machine has AVX-512 F.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn avx512(rounds: usize) -> f64 {
        let a = _mm512_set1_ps(black_box(0.5));
        let mut sums = [_mm512_setzero_ps(); SUMS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, a, a);
            }
        }
        black_box(sums);
        (rounds * SUMS * 32) as f64
    }

    /// # Safety
    /// The machine has AVX512-BF16.
    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) unsafe fn pairs(rounds: usize) -> f64 {
        // SAFETY: the same 512 bits under another name.
        let a: __m512bh = unsafe { std::mem::transmute(_mm512_set1_epi32(black_box(0x3f00_3f00))) };
        let mut sums = [_mm512_setzero_ps(); SUMS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_dpbf16_ps(*sum, a, a);
            }
        }
        black_box(sums);
        (rounds * SUMS * 64) as f64
    }

    /// # Safety
    /// The machine has AMX and grants it.
    pub(super) unsafe fn tiles(rounds: usize) -> f64 {
        let session = TileSession::new();
        // SAFETY: the session configured this thread's tiles.
        unsafe { tile_products(&session, rounds) };
        (rounds * 4 * 2 * 16 * 16 * 32) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_pays_where_registers_multiply_it_faster() {
        for path in KernelPath::available() {
            let pays = bf16_products_pay(path).unwrap();
            if path != KernelPath::Avx512Bf16 {
                assert_eq!(pays, path == KernelPath::AmxBf16, "{path}");
                continue;
            }
            let seconds = |precision| {
                let times = (0..5).map(|_| {
                    let start = Instant::now();
                    register_loop(path, precision, 1e8).unwrap();
                    start.elapsed().as_secs_f64()
                });
                times.fold(f64::INFINITY, f64::min)
            };
            let gain = seconds(Precision::F32) / seconds(Precision::Bf16);
            // Between these an emulator may say either.
            if !(0.8..1.25).contains(&gain) {
                assert_eq!(pays, gain > 1.0, "{gain}");
            }
        }
    }
}
