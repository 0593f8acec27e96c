//! Operations that candle lacks or does otherwise. On CUDA devices those that take most of a step are this project's
//! own, of one pass over memory each.

use candle_core::{Tensor, WithDType};
use candle_nn::ops;
#[cfg(feature = "cuda")]
use collapse_kernels::cuda;
use collapse_kernels::{Activation, Float, Sgd};

use crate::{BATCH_NORM_EPSILON, Result};

pub(super) const NORM_EPSILON: f64 = 1e-12;

pub(super) fn unit_length(x: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if cuda::takes(x) {
        return Ok(cuda::unit_length(x)?);
    }
    let norm = x.sqr()?.sum_all()?.sqrt()?;
    let floor = (norm.ones_like()? * NORM_EPSILON)?;
    Ok(x.broadcast_div(&norm.maximum(&floor)?)?)
}

/// `weight` divided by max(σ / coefficient, 1) + epsilon, and σ \[1\]; σ = ⟨u, y⟩ is part of the graph through y.
pub(super) fn divided_by_norm(
    weight: &Tensor,
    y: &Tensor,
    u: &Tensor,
    coefficient: f64,
    epsilon: f64,
) -> Result<(Tensor, Tensor)> {
    #[cfg(feature = "cuda")]
    if cuda::takes(weight) {
        return Ok(cuda::divided_by_norm(weight, y, u, coefficient, epsilon)?);
    }
    let sigma = (u * y)?.sum_all()?;
    let found = sigma.detach().reshape(1)?;
    let ratio = (sigma / coefficient)?;
    let factor = ratio.maximum(&ratio.ones_like()?)?;
    Ok((weight.broadcast_div(&(factor + epsilon)?)?, found))
}

/// `x` [N, C, H, W] with `weight` [O, C, K, K] and zeros around it.
pub(super) fn convolution(x: &Tensor, weight: &Tensor, stride: usize) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if cuda::takes(x) {
        return Ok(cuda::convolution(x, weight, stride)?);
    }
    Ok(x.conv2d(weight, weight.dim(2)? / 2, stride, 1, 1)?)
}

/// The transposed convolution of `y` to maps of `side` × `side`; no gradient is wanted of it.
pub(super) fn convolution_transposed(
    y: &Tensor,
    weight: &Tensor,
    side: usize,
    stride: usize,
) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if cuda::takes(y) {
        let input = (y.dim(0)?, weight.dim(1)?, side, side);
        return Ok(cuda::convolution_input_gradient(y, weight, input, stride)?);
    }
    let output_padding = if stride > 1 { 1 - side % 2 } else { 0 };
    let padding = weight.dim(2)? / 2;
    Ok(y.conv_transpose2d(weight, padding, output_padding, stride, 1)?)
}

/// Moments of a batch and the running ones after it, all [channels].
pub(super) struct Moments {
    pub(super) mean: Tensor,
    pub(super) variance: Tensor,
    pub(super) running_mean: Tensor,
    pub(super) running_variance: Tensor,
}

pub(super) fn batch_norm_moments(
    x: &Tensor,
    running_mean: &Tensor,
    running_variance: &Tensor,
    momentum: f64,
) -> Result<Moments> {
    #[cfg(feature = "cuda")]
    if cuda::takes(x) {
        let cuda::Moments {
            mean,
            variance,
            running_mean,
            running_variance,
        } = cuda::batch_norm_moments(x, running_mean, running_variance, momentum)?;
        return Ok(Moments {
            mean,
            variance,
            running_mean,
            running_variance,
        });
    }
    let mean = x.mean_keepdim((0, 2, 3))?;
    let variance = x.broadcast_sub(&mean)?.sqr()?.mean_keepdim((0, 2, 3))?;
    let (mean, variance) = (mean.flatten_all()?, variance.flatten_all()?);
    let count = (x.elem_count() / mean.elem_count()) as f64;
    let unbiased = count / (count - 1.0).max(1.0);
    let moved = |running: &Tensor, batch: &Tensor, factor: f64| -> Result<Tensor> {
        Ok(((batch.detach() * (momentum * factor))? + (running * (1.0 - momentum))?)?)
    };
    Ok(Moments {
        running_mean: moved(running_mean, &mean, 1.0)?,
        running_variance: moved(running_variance, &variance, unbiased)?,
        mean,
        variance,
    })
}

/// Batch norm of `x` [N, C, H, W] with its activation; `mean` and `variance` are of [`batch_norm_moments`] in training.
pub(super) fn batch_norm(
    x: &Tensor,
    (mean, variance): (&Tensor, &Tensor),
    (weight, bias): (&Tensor, &Tensor),
    activation: Activation,
) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if cuda::takes(x) {
        let (moments, scale) = ((mean, variance), (weight, bias));
        let slope = slope(activation);
        return Ok(cuda::batch_norm(
            x,
            moments,
            scale,
            BATCH_NORM_EPSILON,
            slope,
        )?);
    }
    let of_channel = |tensor: &Tensor| tensor.reshape((1, tensor.elem_count(), 1, 1));
    let deviation = (variance + BATCH_NORM_EPSILON)?.sqrt()?;
    let y = x
        .broadcast_sub(&of_channel(mean)?)?
        .broadcast_div(&of_channel(&deviation)?)?
        .broadcast_mul(&of_channel(weight)?)?
        .broadcast_add(&of_channel(bias)?)?;
    activate(&y, activation)
}

/// activation(a + b).
pub(super) fn add_activated(a: &Tensor, b: &Tensor, activation: Activation) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if cuda::takes(a) {
        return Ok(cuda::add_activated(a, b, slope(activation))?);
    }
    activate(&(a + b)?, activation)
}

/// Weights and momentum after a step.
pub(super) fn sgd_step<P: Float + WithDType>(
    weight: &Tensor,
    momentum: &Tensor,
    gradient: &Tensor,
    rule: &Sgd<P>,
) -> Result<(Tensor, Tensor)> {
    let of = |x: P| Float::to_f64(x);
    #[cfg(feature = "cuda")]
    if cuda::takes(weight) {
        let rule = Sgd {
            learning_rate: of(rule.learning_rate) as f32,
            momentum: of(rule.momentum) as f32,
            weight_decay: of(rule.weight_decay) as f32,
            nesterov: rule.nesterov,
        };
        return Ok(cuda::sgd_step(weight, momentum, gradient, rule)?);
    }
    let g = (gradient + (weight * of(rule.weight_decay))?)?;
    let v = ((momentum * of(rule.momentum))? + &g)?;
    let step = match rule.nesterov {
        true => (g + (&v * of(rule.momentum))?)?,
        false => v.clone(),
    };
    Ok(((weight - (step * of(rule.learning_rate))?)?, v))
}

/// The slope of a leaky ReLU that is the activation.
#[cfg(feature = "cuda")]
fn slope(activation: Activation) -> f64 {
    match activation {
        Activation::LeakyRelu(slope) => slope,
        _ => 1.0,
    }
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
