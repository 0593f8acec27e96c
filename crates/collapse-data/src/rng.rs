//! Named ChaCha streams: every random choice follows from (seed, purpose, epoch).

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// The stream for `purpose`; `epoch` is 0 where there are no epochs.
pub(crate) fn stream(seed: u64, purpose: &str, epoch: u64) -> ChaCha8Rng {
    let mut hasher = Sha256::new();
    hasher.update(b"collapse-data\0");
    hasher.update(purpose.as_bytes());
    hasher.update([0]);
    hasher.update(seed.to_le_bytes());
    hasher.update(epoch.to_le_bytes());
    ChaCha8Rng::from_seed(hasher.finalize().into())
}

/// Uniform in `0..bound` (`bound` > 0) by multiply-shift; the bias is below bound / 2^64.
pub(crate) fn below(rng: &mut ChaCha8Rng, bound: usize) -> usize {
    ((u128::from(rng.next_u64()) * bound as u128) >> 64) as usize
}

/// Fisher–Yates.
pub(crate) fn shuffle<T>(rng: &mut ChaCha8Rng, items: &mut [T]) {
    for i in (1..items.len()).rev() {
        items.swap(i, below(rng, i + 1));
    }
}

/// Uniform in the open interval (0, 1), 53 bits.
pub(crate) fn unit(rng: &mut ChaCha8Rng) -> f64 {
    ((rng.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

/// A standard normal pair (Box–Muller).
pub(crate) fn normal_pair(rng: &mut ChaCha8Rng) -> (f64, f64) {
    let radius = (-2.0 * unit(rng).ln()).sqrt();
    let angle = std::f64::consts::TAU * unit(rng);
    (radius * angle.cos(), radius * angle.sin())
}
