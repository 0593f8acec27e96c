//! Soft spectral normalisation: W_used = W · s, with s from the spectral norm σ of the layer.
//!
//! 3×3 convolutions iterate on the convolution operator over the layer's nominal input,
//! s = 1 / (max(1, σ/c) + 10⁻⁵); 1×1 convolutions iterate on the matrix, s = 1 / max(1, σ/c).
//! Source: DDU, `spectral_norm_conv_inplace.py` and `spectral_norm_fc.py`.

use collapse_kernels::{
    ConvWeights, ConvolveParam, Float, NetworkElement, add_conv_sigma_gradient,
    conv_power_iteration, conv_sigma, inner_product, within_pool,
};
use rayon::prelude::*;

use super::{Network, Packed};
use crate::{ConvId, ConvSpec, Parameters, Result, SpectralSpec};

const NORM_EPSILON: f64 = 1e-12;
const CONV_EPSILON: f64 = 1e-5;
/// Weights a task takes; decides the order of summation.
const PER_TASK: usize = 1 << 16;

/// How one convolution's weights are scaled, and whether σ takes part in the gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scaling {
    /// W_used = scale · W.
    pub(super) scale: f64,
    /// σ/c exceeds 1, so that the scale depends on the weights.
    pub(super) bound: bool,
}

impl<T: NetworkElement> Network<T> {
    /// Packs the weights for training (one power iteration) or evaluation (u and v frozen).
    pub(super) fn prepare(&mut self, mode: Packed) -> Result<()> {
        if mode == Packed::Eval && self.ready == Packed::Eval {
            return Ok(());
        }
        self.ready = Packed::Stale;
        self.scalings.clear();
        for (i, spec) in self.plan.convs.iter().enumerate() {
            let scaling = match spec.spectral {
                None => Scaling {
                    scale: 1.0,
                    bound: false,
                },
                Some(spectral) => {
                    advance(spec, &spectral, &mut self.parameters, mode == Packed::Train)?
                }
            };
            self.scalings.push(scaling);
            let weights = self.parameters.get(spec.weight);
            let scale = T::Param::from_f64(scaling.scale);
            match self.packed.get_mut(i) {
                Some(packed) => packed.repack(weights, scale)?,
                None => {
                    let map = (spec.input, spec.input);
                    let packed = ConvWeights::pack(spec.conv, map, weights, scale)?;
                    self.packed.push(packed);
                }
            }
        }
        self.ready = mode;
        Ok(())
    }

    /// What precedes a training forward: power iterations, then packing of the weights.
    /// [`forward_train`](Self::forward_train) calls it; it is public to be timed.
    ///
    /// # Errors
    /// [`Error::Kernel`](crate::Error::Kernel) when a parameter has another length than planned.
    pub fn prepare_train(&mut self) -> Result<()> {
        within_pool(|| self.prepare(Packed::Train))
    }

    /// Turns the gradient of W_used, scaled already as the weights are, into that of W, in place.
    pub(super) fn spectral_backward(&self, conv: ConvId, gradient: &mut [T::Param]) -> Result<()> {
        let spec = &self.plan.convs[conv];
        let Some(spectral) = spec.spectral.filter(|_| self.scalings[conv].bound) else {
            return Ok(());
        };
        // d(s·W)/dW with s = 1/(σ/c + e): s·G − s/c · ⟨s·G, W⟩ · dσ/dW, u and v constant.
        let inner: f64 = gradient
            .par_chunks(PER_TASK)
            .zip(self.parameters.get(spec.weight).par_chunks(PER_TASK))
            .map(|(g, w)| inner_product(g, w))
            .collect::<Vec<f64>>()
            .iter()
            .sum();
        let factor = -self.scalings[conv].scale / spectral.coefficient * inner;
        let factor = T::Param::from_f64(factor);
        let (u, v) = (
            self.parameters.get(spectral.u),
            self.parameters.get(spectral.v),
        );
        if spec.conv.kernel() == 1 {
            for (row, &u) in gradient.chunks_exact_mut(v.len()).zip(u) {
                for (g, &v) in row.iter_mut().zip(v) {
                    *g += factor * u * v;
                }
            }
        } else {
            let side = spec.input;
            add_conv_sigma_gradient(spec.conv, side, side, u, v, factor, gradient)?;
        }
        Ok(())
    }

    /// The weights [output, input, kernel, kernel] that a convolution really uses, s · W, at the last forward; `None`
    /// before the first.
    #[must_use]
    pub fn used_weights(&self, conv: ConvId) -> Option<Vec<T::Param>> {
        let scale = T::Param::from_f64(self.scalings.get(conv.index())?.scale);
        let weights = self
            .parameters
            .get(self.plan.convs.get(conv.index())?.weight);
        Some(weights.iter().map(|&w| w * scale).collect())
    }
}

fn advance<P: ConvolveParam>(
    spec: &ConvSpec,
    spectral: &SpectralSpec,
    parameters: &mut Parameters<P>,
    iterate: bool,
) -> Result<Scaling> {
    let mut u = std::mem::take(parameters.vec_mut(spectral.u));
    let mut v = std::mem::take(parameters.vec_mut(spectral.v));
    let weights = parameters.get(spec.weight);
    let side = spec.input;
    let sigma = if spec.conv.kernel() == 1 {
        Ok(matrix_sigma(weights, &mut u, &mut v, iterate))
    } else if iterate {
        conv_power_iteration(spec.conv, side, side, weights, &mut u, &mut v, 1)
    } else {
        conv_sigma(spec.conv, side, side, weights, &u, &v)
    };
    *parameters.vec_mut(spectral.u) = u;
    *parameters.vec_mut(spectral.v) = v;
    let sigma = sigma?;
    parameters.get_mut(spectral.sigma)[0] = sigma;
    let ratio = sigma.to_f64() / spectral.coefficient;
    let epsilon = if spec.conv.kernel() == 1 {
        0.0
    } else {
        CONV_EPSILON
    };
    Ok(Scaling {
        scale: 1.0 / (ratio.max(1.0) + epsilon),
        bound: ratio > 1.0,
    })
}

/// Power iteration on the matrix W [out, in]: v = Wᵀu, u = Wv, σ = uᵀWv.
fn matrix_sigma<P: Float>(weights: &[P], u: &mut [P], v: &mut [P], iterate: bool) -> P {
    let columns = v.len();
    if iterate {
        let mut sum = vec![0.0; columns];
        for (row, u) in weights.chunks_exact(columns).zip(&*u) {
            let u = u.to_f64();
            for (s, w) in sum.iter_mut().zip(row) {
                *s += u * w.to_f64();
            }
        }
        normalize(&sum, v);
    }
    let product: Vec<f64> = weights
        .chunks_exact(columns)
        .map(|row| inner_product(row, v))
        .collect();
    if iterate {
        normalize(&product, u);
    }
    P::from_f64(
        u.iter()
            .zip(&product)
            .map(|(u, p)| u.to_f64() * p)
            .sum::<f64>(),
    )
}

fn normalize<P: Float>(from: &[f64], to: &mut [P]) {
    let norm = from.iter().map(|x| x * x).sum::<f64>().sqrt();
    let norm = norm.max(NORM_EPSILON);
    for (to, from) in to.iter_mut().zip(from) {
        *to = P::from_f64(from / norm);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrix_iteration_finds_the_largest_singular_value() {
        // diag(3, 1) rotated on the left keeps its singular values.
        let (c, s) = (0.6f64, 0.8f64);
        let weights = [3.0 * c, -s, 3.0 * s, c];
        let (mut u, mut v) = ([1.0, 0.0], [0.0, 1.0]);
        let mut sigma = 0.0;
        for _ in 0..30 {
            sigma = matrix_sigma(&weights, &mut u, &mut v, true);
        }
        assert!((sigma - 3.0).abs() < 1e-12);
        assert!((matrix_sigma(&weights, &mut u, &mut v, false) - 3.0).abs() < 1e-12);
    }
}
