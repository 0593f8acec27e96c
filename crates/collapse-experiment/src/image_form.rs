//! The form of the images that a network is made for.

use collapse_data::Benchmark;

/// What a network must know of its images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageForm {
    /// Classes.
    pub n_classes: usize,
    /// Channels.
    pub channels: usize,
    /// Side in pixels.
    pub side: usize,
}

impl ImageForm {
    /// The form of a benchmark's images.
    #[must_use]
    pub fn of(benchmark: &Benchmark) -> Self {
        let images = benchmark.id().train_set();
        Self {
            n_classes: images.n_classes(),
            channels: images.shape().channels,
            side: images.shape().height,
        }
    }
}
