//! Statistics of a batch between the layers.

/// Mean and biased variance of a convolution's output over the batch, per channel.
pub(super) struct Statistics<P> {
    pub(super) mean: Vec<P>,
    pub(super) variance: Vec<P>,
}
