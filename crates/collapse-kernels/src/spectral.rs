//! Power iteration on a convolution, for spectral normalisation.
//!
//! Source: Mukhoti et al. (CVPR 2023), released code: the operator is the convolution of a 1×C×H×W input, not the matrix of its
//! weights; `v ← normalise(convᵀ(u))`, `u ← normalise(conv(v))`, σ = ⟨u, conv(v)⟩, norms kept from zero by 1e-12.

use crate::act::{Act, Shape};
use crate::conv::{Conv, ConvWeights, conv_backward_data, conv_backward_weights, conv_forward};
use crate::element::Float;
use crate::error::{Result, check_len};

const EPSILON: f64 = 1e-12;

fn input_shape(conv: Conv, h: usize, w: usize) -> Shape {
    Shape {
        h,
        w,
        n: 1,
        c: conv.in_channels,
    }
}

fn norm<P: Float>(x: &[P]) -> f64 {
    x.iter()
        .map(|v| v.to_f64() * v.to_f64())
        .sum::<f64>()
        .sqrt()
}

fn normalise<P: Float>(x: &mut [P]) {
    let scale = P::from_f64(1.0 / norm(x).max(EPSILON));
    x.iter_mut().for_each(|v| *v = *v * scale);
}

fn check_vectors<P: Float>(conv: Conv, input: Shape, u: &[P], v: &[P]) -> Result<()> {
    check_len(
        "the vector u [out, H, W]",
        u.len(),
        conv.output_shape(input).len(),
    )?;
    check_len("the vector v [in, H, W]", v.len(), input.len())
}

/// `iterations` rounds of the power iteration on the weights `oihw` over an h × w map; updates `u` [out · H_out · W_out] and
/// `v` [in · h · w], both flattened as torch flattens [1, C, H, W], and returns σ.
///
/// # Errors
/// If a length does not fit the convolution, or the path variable is wrong.
pub fn conv_power_iteration<P: Float>(
    conv: Conv,
    h: usize,
    w: usize,
    oihw: &[P],
    u: &mut [P],
    v: &mut [P],
    iterations: usize,
) -> Result<P> {
    let input = input_shape(conv, h, w);
    check_vectors(conv, input, u, v)?;
    let output = conv.output_shape(input);
    let weights = ConvWeights::<P>::pack(conv, oihw, P::ONE)?;
    let mut image = None;
    for _ in 0..iterations {
        let back = conv_backward_data(&Act::from_nchw(output, u)?, &weights, input, None)?;
        v.copy_from_slice(&back.to_nchw());
        normalise(v);
        let forward = conv_forward(&Act::from_nchw(input, v)?, &weights, false)?
            .0
            .to_nchw();
        u.copy_from_slice(&forward);
        normalise(u);
        image = Some(forward);
    }
    let image = match image {
        Some(image) => image,
        None => conv_forward(&Act::from_nchw(input, v)?, &weights, false)?
            .0
            .to_nchw(),
    };
    Ok(inner(u, &image))
}

fn inner<P: Float>(a: &[P], b: &[P]) -> P {
    P::from_f64(a.iter().zip(b).map(|(a, b)| a.to_f64() * b.to_f64()).sum())
}

/// σ = ⟨u, conv(v)⟩ with `u` and `v` as they are.
///
/// # Errors
/// As [`conv_power_iteration`].
pub fn conv_sigma<P: Float>(
    conv: Conv,
    h: usize,
    w: usize,
    oihw: &[P],
    u: &[P],
    v: &[P],
) -> Result<P> {
    let input = input_shape(conv, h, w);
    check_vectors(conv, input, u, v)?;
    let weights = ConvWeights::<P>::pack(conv, oihw, P::ONE)?;
    let image = conv_forward(&Act::from_nchw(input, v)?, &weights, false)?
        .0
        .to_nchw();
    Ok(inner(u, &image))
}

/// dσ/dW [out, in, kernel, kernel] with `u` and `v` held constant.
///
/// # Errors
/// As [`conv_power_iteration`].
pub fn conv_sigma_gradient<P: Float>(
    conv: Conv,
    h: usize,
    w: usize,
    u: &[P],
    v: &[P],
) -> Result<Vec<P>> {
    let input = input_shape(conv, h, w);
    check_vectors(conv, input, u, v)?;
    let mut gradient = vec![P::ZERO; conv.weight_len()];
    let (x, dy) = (
        Act::<P>::from_nchw(input, v)?,
        Act::<P>::from_nchw(conv.output_shape(input), u)?,
    );
    conv_backward_weights(&x, &dy, conv, &mut gradient)?;
    Ok(gradient)
}
