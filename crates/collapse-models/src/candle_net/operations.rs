//! Operations that candle lacks or does otherwise. On CUDA devices those that take most of a step are this project's
//! own, of one pass over memory each. Those that are given a tape record on it what their gradients are.

use candle_core::{Tensor, WithDType};
use candle_nn::ops;
#[cfg(feature = "cuda")]
use collapse_kernels::cuda;
use collapse_kernels::{Activation, Float, Sgd};

use super::tape::{Tape, through_candle};
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
    tape: Option<&mut Tape>,
    weight: &Tensor,
    y: &Tensor,
    u: &Tensor,
    coefficient: f64,
    epsilon: f64,
) -> Result<(Tensor, Tensor)> {
    #[cfg(feature = "cuda")]
    if cuda::takes(weight) {
        let (divided, sigma) = cuda::divided_by_norm(weight, y, u, coefficient, epsilon)?;
        if let Some(tape) = tape {
            let (from, shape) = (weight.clone(), y.shape().clone());
            let vectors = (u.clone(), sigma.clone());
            tape.record([weight, y], &divided, move |gradient| {
                let vectors = (&vectors.0, &vectors.1);
                let [of_weight, of_y] = cuda::divided_by_norm_gradients(
                    &from,
                    vectors,
                    coefficient,
                    epsilon,
                    gradient,
                )?;
                Ok([Some(of_weight), Some(of_y.reshape(&shape)?)])
            });
        }
        return Ok((divided, sigma));
    }
    let sigma = |y: &Tensor| (u * y.flatten_all()?)?.sum_all();
    let divided = through_candle(tape, [weight, y], |[weight, y]| {
        let ratio = (sigma(y)? / coefficient)?;
        let factor = ratio.maximum(&ratio.ones_like()?)?;
        Ok(weight.broadcast_div(&(factor + epsilon)?)?)
    })?;
    Ok((divided, sigma(&y.detach())?.reshape(1)?))
}

/// `x` [N, C, H, W] with `weight` [O, C, K, K] and zeros around it.
pub(super) fn convolution(
    tape: Option<&mut Tape>,
    x: &Tensor,
    weight: &Tensor,
    stride: usize,
) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if cuda::takes(x) {
        let y = cuda::convolution(x, weight, stride)?;
        if let Some(tape) = tape {
            let of_input = tape.wants(x);
            let (from, by) = (x.clone(), weight.clone());
            tape.record([x, weight], &y, move |gradient| {
                let (of_input, of_weight) =
                    cuda::convolution_gradients(&from, &by, stride, gradient, of_input)?;
                Ok([of_input, Some(of_weight)])
            });
        }
        return Ok(y);
    }
    through_candle(tape, [x, weight], |[x, weight]| {
        Ok(x.conv2d(weight, weight.dim(2)? / 2, stride, 1, 1)?)
    })
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
    let (mean, variance) = moments(x)?;
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

/// Mean and biased variance by channel.
fn moments(x: &Tensor) -> Result<(Tensor, Tensor)> {
    let mean = x.mean_keepdim((0, 2, 3))?;
    let variance = x.broadcast_sub(&mean)?.sqr()?.mean_keepdim((0, 2, 3))?;
    Ok((mean.flatten_all()?, variance.flatten_all()?))
}

/// Batch norm of `x` [N, C, H, W] with its activation; `mean` and `variance` are of [`batch_norm_moments`] in training.
pub(super) fn batch_norm(
    tape: Option<&mut Tape>,
    x: &Tensor,
    (mean, variance): (&Tensor, &Tensor),
    (weight, bias): (&Tensor, &Tensor),
    activation: Activation,
) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if cuda::takes(x) {
        let slope = slope(activation);
        let moments = (mean, variance);
        let y = cuda::batch_norm(x, moments, (weight, bias), BATCH_NORM_EPSILON, slope)?;
        if let Some(tape) = tape {
            let kept = [x, mean, variance, weight, bias].map(Tensor::clone);
            tape.record([x, weight, bias], &y, move |gradient| {
                let [x, mean, variance, weight, bias] = &kept;
                let (moments, scale) = ((mean, variance), (weight, bias));
                let gradients = cuda::batch_norm_gradients(
                    x,
                    moments,
                    scale,
                    BATCH_NORM_EPSILON,
                    slope,
                    gradient,
                )?;
                Ok(gradients.map(Some))
            });
        }
        return Ok(y);
    }
    let taped = tape.is_some();
    through_candle(tape, [x, weight, bias], |[x, weight, bias]| {
        // Those given came off the tape; what x does to them is part of its gradient.
        let (mean, variance) = match taped {
            true => moments(x)?,
            false => (mean.clone(), variance.clone()),
        };
        let of_channel = |tensor: &Tensor| tensor.reshape((1, tensor.elem_count(), 1, 1));
        let deviation = (variance + BATCH_NORM_EPSILON)?.sqrt()?;
        let y = x
            .broadcast_sub(&of_channel(&mean)?)?
            .broadcast_div(&of_channel(&deviation)?)?
            .broadcast_mul(&of_channel(weight)?)?
            .broadcast_add(&of_channel(bias)?)?;
        activate(&y, activation)
    })
}

/// activation(a + b).
pub(super) fn add_activated(
    tape: Option<&mut Tape>,
    a: &Tensor,
    b: &Tensor,
    activation: Activation,
) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if cuda::takes(a) {
        let slope = slope(activation);
        let y = cuda::add_activated(a, b, slope)?;
        if let Some(tape) = tape {
            let out = y.clone();
            tape.record([a, b], &y, move |gradient| {
                let before = cuda::add_activated_gradient(&out, gradient, slope)?;
                Ok([Some(before.clone()), Some(before)])
            });
        }
        return Ok(y);
    }
    through_candle(tape, [a, b], |[a, b]| activate(&(a + b)?, activation))
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
pub(super) fn pool_pad(
    tape: Option<&mut Tape>,
    x: &Tensor,
    stride: usize,
    channels: usize,
) -> Result<Tensor> {
    let (_, own, side, _) = x.dims4()?;
    let padded = |x: Tensor| -> Result<Tensor> {
        Ok(match channels - own {
            0 => x,
            missing => x.pad_with_zeros(1, 0, missing)?,
        })
    };
    if side % stride != 0 {
        return through_candle(tape, [x], |[x]| {
            let kept: Vec<u32> = (0..side as u32).step_by(stride).collect();
            let kept = Tensor::from_vec(kept.clone(), kept.len(), x.device())?;
            padded(x.index_select(&kept, 2)?.index_select(&kept, 3)?)
        });
    }
    let y = padded(match stride {
        1 => x.clone(),
        _ => x.avg_pool2d(stride)?,
    })?;
    if let Some(tape) = tape {
        tape.record([x], &y, move |gradient| {
            let pooled = gradient.narrow(1, 0, own)?.contiguous()?;
            let share = 1.0 / (stride * stride) as f64;
            Ok([Some((pooled.upsample_nearest2d(side, side)? * share)?)])
        });
    }
    Ok(y)
}

/// 2×2 maxima. candle's own `max_pool2d` divides its gradient by the window's size.
pub(super) fn max_pool(tape: Option<&mut Tape>, x: &Tensor) -> Result<Tensor> {
    through_candle(tape, [x], |[x]| {
        let (n, c, h, w) = x.dims4()?;
        let (h, w) = (h / 2, w / 2);
        Ok(x.narrow(2, 0, 2 * h)?
            .narrow(3, 0, 2 * w)?
            .contiguous()?
            .reshape((n * c, h, 2, w, 2))?
            .max(4)?
            .max(2)?
            .reshape((n, c, h, w))?)
    })
}
