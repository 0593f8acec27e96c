//! Inputs of the benchmarks, the same in every run.
//!
//! ```
//! let first: Vec<f64> = collapse_benches::noise(1).take(2).collect();
//! assert_eq!(first, collapse_benches::noise(1).take(2).collect::<Vec<_>>());
//! assert!(first.iter().all(|value| (-1.0..1.0).contains(value)));
//! ```
//!
//! Run with `cargo bench --package collapse-benches`, one file with `--bench kernels`, one case with
//! a part of its name after `--`. `COLLAPSE_KERNEL_PATH` and `RAYON_NUM_THREADS` choose the path
//! and the threads. To compare two versions: `-- --save-baseline before`, then `-- --baseline before`.

/// An endless stream of values in [-1, 1), the same for the same seed (splitmix64, 24 bits each).
pub fn noise(seed: u64) -> impl Iterator<Item = f64> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        (z >> 40) as f64 / f64::from(1 << 23) - 1.0
    })
}

/// `n` values of [`noise`] as f32.
pub fn noise_f32(seed: u64, n: usize) -> Vec<f32> {
    noise(seed).take(n).map(|value| value as f32).collect()
}
