//! The head: ẑ = z / max(‖z‖, 10⁻¹²) where asked, logits = (W h + b) / temperature.

use collapse_kernels::{Float, NetworkElement};

use super::{Network, Output};
use crate::Result;

const NORM_EPSILON: f64 = 1e-12;

impl<T: NetworkElement> Network<T> {
    pub(super) fn head_forward(
        &self,
        n: usize,
        features: Vec<T::Param>,
        training: bool,
    ) -> Output<T::Param> {
        let n_features = self.plan.n_features;
        let normalized = self
            .plan
            .config
            .l2
            .applies(training)
            .then(|| normalize_rows(&features, n_features));
        let input = normalized.as_deref().unwrap_or(&features);
        let weight = self.parameters.get(self.plan.head_weight);
        let bias = self.parameters.get(self.plan.head_bias);
        let temperature = self.plan.config.temperature;
        let mut logits = Vec::with_capacity(n * self.plan.n_classes());
        for row in input.chunks_exact(n_features) {
            for (w, b) in weight.chunks_exact(n_features).zip(bias) {
                let sum = dot(row, w) + *b;
                logits.push(T::Param::from_f64(sum.to_f64() / temperature));
            }
        }
        Output {
            n,
            features,
            normalized,
            logits,
        }
    }

    /// Gradients of head weight and bias, and of the raw features z.
    #[expect(clippy::type_complexity, reason = "three buffers, used once")]
    pub(super) fn head_backward(
        &self,
        features: &[T::Param],
        normalized: Option<&[T::Param]>,
        gradient: super::HeadGradient<T::Param>,
    ) -> Result<(Vec<T::Param>, Vec<T::Param>, Vec<T::Param>)> {
        let (d, c) = (self.plan.n_features, self.plan.n_classes());
        let n = features.len() / d;
        gradient.check(n, d, c)?;
        let input = normalized.unwrap_or(features);
        let weight = self.parameters.get(self.plan.head_weight);
        let zero = T::Param::ZERO;
        let mut weight_gradient = gradient.weight.unwrap_or_else(|| vec![zero; c * d]);
        let mut bias_gradient = vec![zero; c];
        let mut input_gradient = gradient.head_input.unwrap_or_else(|| vec![zero; n * d]);
        if let Some(logits) = gradient.logits {
            let scale = T::Param::from_f64(1.0 / self.plan.config.temperature);
            for i in 0..n {
                let row = &input[i * d..(i + 1) * d];
                let dx = &mut input_gradient[i * d..(i + 1) * d];
                for k in 0..c {
                    let g = logits[i * c + k] * scale;
                    bias_gradient[k] += g;
                    let w = &weight[k * d..(k + 1) * d];
                    let dw = &mut weight_gradient[k * d..(k + 1) * d];
                    for j in 0..d {
                        dx[j] += g * w[j];
                        dw[j] += g * row[j];
                    }
                }
            }
        }
        if let Some(normalized) = normalized {
            normalize_backward(features, normalized, &mut input_gradient, d);
        }
        Ok((weight_gradient, bias_gradient, input_gradient))
    }
}

fn normalize_rows<P: Float>(features: &[P], d: usize) -> Vec<P> {
    let mut out = Vec::with_capacity(features.len());
    for row in features.chunks_exact(d) {
        let norm = length(row).max(NORM_EPSILON);
        out.extend(row.iter().map(|x| P::from_f64(x.to_f64() / norm)));
    }
    out
}

/// dz = (dẑ − ẑ⟨ẑ, dẑ⟩)/‖z‖; below ε the norm is a constant and only the division remains.
fn normalize_backward<P: Float>(features: &[P], normalized: &[P], gradient: &mut [P], d: usize) {
    let rows = features
        .chunks_exact(d)
        .zip(normalized.chunks_exact(d))
        .zip(gradient.chunks_exact_mut(d));
    for ((z, unit), g) in rows {
        let norm = length(z);
        if norm > NORM_EPSILON {
            let along: f64 = unit
                .iter()
                .zip(&*g)
                .map(|(u, g)| u.to_f64() * g.to_f64())
                .sum();
            for (g, u) in g.iter_mut().zip(unit) {
                *g = P::from_f64((g.to_f64() - u.to_f64() * along) / norm);
            }
        } else {
            for g in g {
                *g = P::from_f64(g.to_f64() / NORM_EPSILON);
            }
        }
    }
}

fn length<P: Float>(row: &[P]) -> f64 {
    row.iter()
        .map(|x| x.to_f64() * x.to_f64())
        .sum::<f64>()
        .sqrt()
}

fn dot<P: Float>(a: &[P], b: &[P]) -> P {
    let sum: f64 = a.iter().zip(b).map(|(a, b)| a.to_f64() * b.to_f64()).sum();
    P::from_f64(sum)
}
