//! Batch normalisation with what surrounds it: statistics, activation, residual.

mod backward;
mod forward;
mod moments;

pub use backward::{BnBackward, bn_act_backward};
pub(crate) use forward::Shortcut;
pub use forward::{Residual, bn_act_forward};
pub use moments::{ChannelStatistics, channel_statistics};
pub(crate) use moments::{
    Moments, MomentsView, PixelMoments, PixelMomentsView, channel_statistics_on,
};

use crate::element::Float;
use crate::error::{Result, check_len};
use crate::shape::LANES;

/// What follows the normalisation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// `x` where positive, `slope · x` elsewhere; slope 0 is ReLU.
    LeakyRelu(f64),
}

impl Activation {
    fn slope<P: Float>(self) -> P {
        match self {
            Self::Identity => P::ONE,
            Self::LeakyRelu(slope) => P::from_f64(slope),
        }
    }
}

/// Per-channel statistics and parameters of a batch norm: `weight · (y − mean) / √(variance + eps) + bias`.
#[derive(Debug, Clone, Copy)]
pub struct BatchNorm<'a, P> {
    /// Mean of each channel: of the batch in training, the running one in evaluation.
    pub mean: &'a [P],
    /// Biased variance of each channel.
    pub variance: &'a [P],
    /// Added to the variance.
    pub eps: P,
    /// Scale.
    pub weight: &'a [P],
    /// Shift.
    pub bias: &'a [P],
}

impl<P: Float> BatchNorm<'_, P> {
    fn check(&self, channels: usize) -> Result<()> {
        check_len("the batch norm mean", self.mean.len(), channels)?;
        check_len("the batch norm variance", self.variance.len(), channels)?;
        check_len("the batch norm weight", self.weight.len(), channels)?;
        check_len("the batch norm bias", self.bias.len(), channels)
    }

    fn inverse_deviation(&self, channel: usize) -> P {
        P::ONE / (self.variance[channel] + self.eps).sqrt()
    }

    /// `y · scale + shift` of every channel; zero in the padding, which therefore stays zero.
    fn affine(&self) -> Affine<P> {
        let mut affine = Affine {
            scale: lanes(self.mean.len()),
            shift: lanes(self.mean.len()),
        };
        for c in 0..self.mean.len() {
            let scale = self.weight[c] * self.inverse_deviation(c);
            affine.scale[c / LANES][c % LANES] = scale;
            affine.shift[c / LANES][c % LANES] = self.bias[c] - self.mean[c] * scale;
        }
        affine
    }
}

struct Affine<P> {
    scale: Vec<[P; LANES]>,
    shift: Vec<[P; LANES]>,
}

/// Zeros for every channel and its padding.
fn lanes<P: Float>(channels: usize) -> Vec<[P; LANES]> {
    vec![[P::ZERO; LANES]; channels.div_ceil(LANES)]
}

/// Where a walk over the blocks of sixteen channels of a pixel's images stands. One loop that counts so, because compilers
/// turn a loop over the blocks inside one over the images into gathers across blocks.
#[derive(Clone, Copy, Default)]
struct Place {
    image: usize,
    block: usize,
}

impl Place {
    #[inline(always)]
    fn advance(&mut self, blocks: usize) {
        self.block += 1;
        if self.block == blocks {
            self.block = 0;
            self.image += 1;
        }
    }
}
