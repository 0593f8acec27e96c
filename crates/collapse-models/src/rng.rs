//! Named streams of random numbers: (seed, purpose, index) decides every draw.
//!
//! The key of a ChaCha8 generator is the seed, the index and the purpose's name, so two
//! purposes never share numbers and a stream can be opened in the middle of a run.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// One stream.
///
/// ```
/// use collapse_models::rng::Stream;
///
/// let mut a = Stream::new(7, "shuffle", 3);
/// let mut b = Stream::new(7, "shuffle", 3);
/// assert_eq!(a.permutation(10), b.permutation(10));
/// assert_ne!(Stream::new(7, "shuffle", 4).permutation(10), b.permutation(10));
/// ```
#[derive(Clone, Debug)]
pub struct Stream {
    generator: ChaCha8Rng,
    spare_normal: Option<f64>,
}

impl Stream {
    /// Opens the stream of `purpose` (its first 16 bytes count) and `index` (an epoch, a tensor).
    pub fn new(seed: u64, purpose: &str, index: u64) -> Self {
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&index.to_le_bytes());
        for (slot, byte) in key[16..].iter_mut().zip(purpose.bytes()) {
            *slot = byte;
        }
        Self {
            generator: ChaCha8Rng::from_seed(key),
            spare_normal: None,
        }
    }

    /// A part of the stream (seed, purpose, index) that is drawn from independently of the others.
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
        f64::from(self.generator.next_u32() >> 8) * f64::from(2.0f32.powi(-24))
    }

    /// Standard normal, by Box and Muller's transform.
    pub fn normal(&mut self) -> f64 {
        if let Some(value) = self.spare_normal.take() {
            return value;
        }
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        let angle = std::f64::consts::TAU * self.uniform();
        self.spare_normal = Some(radius * angle.sin());
        radius * angle.cos()
    }

    /// Uniform in `0..bound`, without bias; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        let zone = u64::MAX - u64::MAX % bound;
        loop {
            let draw = self.generator.next_u64();
            if draw < zone {
                return draw % bound;
            }
        }
    }

    /// A permutation of `0..n` (Fisher and Yates).
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i as u64 + 1) as usize);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_and_indices_separate_streams() {
        let first = |purpose, index| Stream::new(1, purpose, index).below(u64::MAX);
        assert_ne!(first("init", 0), first("init", 1));
        assert_ne!(first("init", 0), first("shuffle", 0));
        assert_eq!(first("init", 5), first("init", 5));
    }

    #[test]
    fn moments_are_right() {
        let mut stream = Stream::new(3, "test", 0);
        let draws: Vec<f64> = (0..20_000).map(|_| stream.normal()).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05);
    }

    #[test]
    fn permutation_holds_every_index_once() {
        let mut order = Stream::new(9, "shuffle", 2).permutation(1000);
        order.sort_unstable();
        assert!(order.iter().copied().eq(0..1000));
    }
}
