//! Named streams of random numbers: (seed, purpose, index) decides every draw, on every platform.
//!
//! ```
//! use collapse_random::Stream;
//!
//! let mut shuffle = Stream::new(7, "shuffle", 3); // seed 7, epoch 3
//! let order = shuffle.permutation(10);
//! assert_eq!(order, Stream::new(7, "shuffle", 3).permutation(10));
//! assert_ne!(order, Stream::new(7, "shuffle", 4).permutation(10));
//! ```
//!
//! The key of a ChaCha8 generator is the SHA-256 of purpose, seed and index. So no two purposes share numbers, and a
//! stream can be opened in the middle of a run: nothing has to be saved but the names. (Our choice.)
//!
//! # Caveats
//! - ChaCha8 is fast and statistically sound; nothing here is meant for cryptography.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// One stream.
#[derive(Clone, Debug)]
pub struct Stream {
    generator: ChaCha8Rng,
    spare_normal: Option<f64>,
}

impl Stream {
    /// Opens the stream of `seed`, `purpose` and `index` (an epoch, a tensor, a resample; 0 where there is none).
    #[must_use]
    pub fn new(seed: u64, purpose: &str, index: u64) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"collapse\0");
        hasher.update(purpose.as_bytes());
        hasher.update([0]);
        hasher.update(seed.to_le_bytes());
        hasher.update(index.to_le_bytes());
        Self {
            generator: ChaCha8Rng::from_seed(hasher.finalize().into()),
            spare_normal: None,
        }
    }

    /// One of 2⁶⁴ parts of the stream, each drawn from independently of the others (by a thread, say).
    #[must_use]
    pub fn part(seed: u64, purpose: &str, index: u64, part: u64) -> Self {
        let mut stream = Self::new(seed, purpose, index);
        stream.generator.set_stream(part);
        stream
    }

    /// 32 uniform bits.
    pub fn bits(&mut self) -> u32 {
        self.generator.next_u32()
    }

    /// Uniform in [0, 1), a multiple of 2⁻²⁴: exact in f32.
    pub fn uniform(&mut self) -> f64 {
        f64::from(self.bits() >> 8) / f64::from(1u32 << 24)
    }

    /// Uniform in the open interval (0, 1), 53 bits.
    pub fn open_uniform(&mut self) -> f64 {
        ((self.generator.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal, by Box and Muller's transform.
    pub fn normal(&mut self) -> f64 {
        if let Some(value) = self.spare_normal.take() {
            return value;
        }
        let radius = (-2.0 * self.open_uniform().ln()).sqrt();
        let angle = std::f64::consts::TAU * self.open_uniform();
        self.spare_normal = Some(radius * angle.sin());
        radius * angle.cos()
    }

    /// Uniform in `0..bound`, without bias; 0 when `bound` is 0 (Lemire, 2019).
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 {
            return 0;
        }
        let bound = bound as u64;
        loop {
            let product = u128::from(self.generator.next_u64()) * u128::from(bound);
            // The low half below 2^64 mod bound is where some values would come once too often.
            if product as u64 >= bound.wrapping_neg() % bound {
                return (product >> 64) as usize;
            }
        }
    }

    /// Puts `items` into a uniformly random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// A uniformly random order of `0..n`.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statrs::distribution::{ChiSquared, ContinuousCDF, Normal};

    #[test]
    fn seed_purpose_index_and_part_each_separate_streams() {
        let first = |mut stream: Stream| stream.bits();
        let long = "a purpose of more than sixteen bytes, ";
        let streams = [
            Stream::new(1, "init", 0),
            Stream::new(2, "init", 0),
            Stream::new(1, "init", 1),
            Stream::new(1, "shuffle", 0),
            Stream::new(1, &format!("{long}one"), 0),
            Stream::new(1, &format!("{long}two"), 0),
            Stream::part(1, "init", 0, 1),
        ];
        let mut draws: Vec<u32> = streams.into_iter().map(first).collect();
        assert_eq!(draws[0], first(Stream::part(1, "init", 0, 0)));
        draws.sort_unstable();
        draws.dedup();
        assert_eq!(draws.len(), 7);
    }

    /// The derivation is a promise: runs made years apart are compared. Values of an independent ChaCha8 and SHA-256.
    #[test]
    fn the_derivation_does_not_change() {
        let mut stream = Stream::new(7, "shuffle", 3);
        assert_eq!(stream.permutation(8), [0, 7, 1, 6, 3, 2, 5, 4]);
        assert_eq!(stream.bits(), 0xe89fee27);
    }

    #[test]
    fn normals_follow_their_distribution() {
        let mut stream = Stream::new(3, "test", 0);
        let normal = Normal::standard();
        let n = 20_000;
        let mut u: Vec<f64> = (0..n).map(|_| normal.cdf(stream.normal())).collect();
        u.sort_by(f64::total_cmp);
        let distance = u.iter().enumerate().map(|(i, u)| {
            let (below, above) = (i as f64 / n as f64, (i + 1) as f64 / n as f64);
            (u - below).abs().max((above - u).abs())
        });
        // Kolmogorov and Smirnov's bound at 0.1 %.
        assert!(distance.fold(0.0, f64::max) < 1.95 / f64::from(n).sqrt());
    }

    #[test]
    fn bounded_draws_are_uniform() {
        let (bound, n) = (7, 70_000);
        let mut stream = Stream::new(5, "test", 0);
        let mut counts = vec![0.0; bound];
        (0..n).for_each(|_| counts[stream.below(bound)] += 1.0);
        let expected = n as f64 / bound as f64;
        let statistic: f64 = counts
            .iter()
            .map(|c: &f64| (c - expected).powi(2) / expected)
            .sum();
        let distribution = ChiSquared::new(bound as f64 - 1.0).unwrap();
        assert!(distribution.sf(statistic) > 1e-3);
        assert_eq!(stream.below(0), 0);
        assert_eq!(stream.below(1), 0);
    }

    #[test]
    fn a_permutation_holds_every_index_once() {
        let mut order = Stream::new(9, "shuffle", 2).permutation(1000);
        order.sort_unstable();
        assert!(order.iter().copied().eq(0..1000));
    }
}
