//! Inputs of the benchmarks, the same in every run.

use anyhow::Result;
use collapse_data::{Constants, ImageSet, ImageShape, InDistribution, Part};
use collapse_random::Stream;
use ndarray::Array2;

/// `n` values uniform in [-1, 1).
#[must_use]
pub fn noise_f32(seed: u64, n: usize) -> Vec<f32> {
    let mut stream = Stream::new(seed, "bench", 0);
    (0..n)
        .map(|_| (2.0 * stream.uniform() - 1.0) as f32)
        .collect()
}

/// `n` standard normal values.
#[must_use]
pub fn normals(seed: u64, purpose: &str, n: usize) -> Vec<f64> {
    let mut stream = Stream::new(seed, purpose, 0);
    (0..n).map(|_| stream.normal()).collect()
}

/// Images of noise in CIFAR-10's form, `n_train` of them for training and validation and ten for the test.
///
/// # Errors
/// If `n_train` is 0.
pub fn noise_images(n_train: usize) -> Result<InDistribution> {
    let set = |part, n: usize| {
        let mut stream = Stream::new(1, "bench", 0);
        let pixels = (0..n * 32 * 32 * 3)
            .map(|_| (stream.uniform() * 256.0) as u8)
            .collect();
        ImageSet::new(
            "noise",
            part,
            ImageShape::new(32, 32, 3),
            pixels,
            Some((0..n).map(|i| i % 10).collect()),
            (0..10).map(|class| class.to_string()).collect(),
        )
    };
    let (train, test) = (set(Part::Train, n_train)?, set(Part::Test, 10)?);
    Ok(InDistribution::new(train, test, Constants::Ddu)?)
}

/// Normal classes with means of their own and correlated neighbours.
#[derive(Clone, Copy, Debug)]
pub struct ClassFeatures {
    /// Dimensions.
    pub d: usize,
    /// Classes.
    pub n_classes: usize,
    /// Distance of the class means, in standard deviations of a feature.
    pub separation: f64,
}

impl ClassFeatures {
    /// Features `[n, d]` and labels i mod C; the class means are the same for every purpose.
    #[must_use]
    pub fn draw(&self, n: usize, purpose: &str) -> (Array2<f64>, Vec<usize>) {
        let mut centres = Stream::new(1, "bench-centres", 0);
        let centres = Array2::from_shape_fn((self.n_classes, self.d), |_| {
            self.separation * centres.normal()
        });
        let mut noise = Stream::new(1, purpose, 0);
        let mut before = 0.0;
        let values = Array2::from_shape_fn((n, self.d), |(i, j)| {
            let own = noise.normal();
            let neighbour = if j > 0 { 0.5 * before } else { 0.0 };
            before = own;
            centres[(i % self.n_classes, j)] + own + neighbour
        });
        (values, (0..n).map(|i| i % self.n_classes).collect())
    }
}
