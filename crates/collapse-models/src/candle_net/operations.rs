//! Operations that candle lacks or does otherwise.

use candle_core::Tensor;
use candle_nn::ops;
use collapse_kernels::Activation;

use crate::Result;

pub(super) const NORM_EPSILON: f64 = 1e-12;

pub(super) fn unit_length(x: &Tensor) -> Result<Tensor> {
    let norm = x.sqr()?.sum_all()?.sqrt()?;
    let floor = (norm.ones_like()? * NORM_EPSILON)?;
    Ok(x.broadcast_div(&norm.maximum(&floor)?)?)
}

pub(super) fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    Ok(match activation {
        Activation::LeakyRelu(0.0) => x.relu()?,
        Activation::LeakyRelu(slope) => ops::leaky_relu(x, slope)?,
        _ => x.clone(),
    })
}

/// Average pool (subsampling where the side is odd), then zero channels.
pub(super) fn pool_pad(x: &Tensor, stride: usize, channels: usize) -> Result<Tensor> {
    let side = x.dim(2)?;
    let pooled = if stride == 1 {
        x.clone()
    } else if side % stride == 0 {
        x.avg_pool2d(stride)?
    } else {
        let kept: Vec<u32> = (0..side as u32).step_by(stride).collect();
        let kept = Tensor::from_vec(kept.clone(), kept.len(), x.device())?;
        x.index_select(&kept, 2)?.index_select(&kept, 3)?
    };
    let missing = channels - x.dim(1)?;
    Ok(if missing == 0 {
        pooled
    } else {
        pooled.pad_with_zeros(1, 0, missing)?
    })
}

/// 2×2 maxima. candle's own `max_pool2d` divides its gradient by the window's size.
pub(super) fn max_pool(x: &Tensor) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let (h, w) = (h / 2, w / 2);
    Ok(x.narrow(2, 0, 2 * h)?
        .narrow(3, 0, 2 * w)?
        .contiguous()?
        .reshape((n * c, h, 2, w, 2))?
        .max(4)?
        .max(2)?
        .reshape((n, c, h, w))?)
}
