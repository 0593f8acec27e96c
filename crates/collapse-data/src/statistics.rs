//! Mean and standard deviation of a set's channels.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::ImageSet;

/// Mean and standard deviation of each channel, pixels scaled to 0..=1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChannelStatistics {
    /// One mean a channel.
    pub mean: Vec<f64>,
    /// One standard deviation a channel.
    pub std: Vec<f64>,
}

impl ImageSet {
    /// Mean and standard deviation (divisor: number of pixels) of each channel, in 0..=1.
    ///
    /// Exact: sums are integers, so no order of summation matters. An empty set gives zeros.
    #[must_use]
    pub fn channel_statistics(&self) -> ChannelStatistics {
        let channels = self.shape().channels;
        let (sums, squares) = self
            .pixels()
            .par_chunks(self.image_bytes() * 256)
            .map(|block| {
                let mut sums = vec![0u64; channels];
                let mut squares = vec![0u64; channels];
                for pixel in block.chunks_exact(channels) {
                    for c in 0..channels {
                        let v = u64::from(pixel[c]);
                        sums[c] += v;
                        squares[c] += v * v;
                    }
                }
                (sums, squares)
            })
            .reduce(
                || (vec![0; channels], vec![0; channels]),
                |mut a, b| {
                    for c in 0..channels {
                        a.0[c] += b.0[c];
                        a.1[c] += b.1[c];
                    }
                    a
                },
            );
        let n = (self.pixels().len() / channels).max(1) as f64;
        let mean: Vec<f64> = sums.iter().map(|&s| s as f64 / n / 255.0).collect();
        let std = squares
            .iter()
            .zip(&mean)
            .map(|(&q, m)| (q as f64 / n / (255.0 * 255.0) - m * m).max(0.0).sqrt())
            .collect();
        ChannelStatistics { mean, std }
    }
}
