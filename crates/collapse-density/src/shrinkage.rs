//! Weights of the identity in a shrunk covariance `(1 − ρ) S + ρ (tr S / D) I`, with `S` of divisor `n`.

/// Ledoit and Wolf's weight, 0..=1, from `tr S`, `‖S‖_F²` and `Σ ‖r‖⁴` of the centred rows.
///
/// Source: Ledoit and Wolf (2004), the form of scikit-learn's `ledoit_wolf_shrinkage`.
pub(crate) fn ledoit_wolf(
    n: usize,
    dimension: usize,
    trace: f64,
    squared_norm: f64,
    fourth: f64,
) -> f64 {
    let (n, d) = (n as f64, dimension as f64);
    let delta = (squared_norm - trace * trace / d) / d;
    let beta = (fourth / n - squared_norm) / (d * n);
    if delta <= 0.0 {
        return 0.0;
    }
    beta.clamp(0.0, delta) / delta
}

/// The oracle-approximating weight, 0..=1.
///
/// Source: Chen et al. (2010), the form of scikit-learn's `oas`.
pub(crate) fn oas(n: usize, dimension: usize, trace: f64, squared_norm: f64) -> f64 {
    let (n, d) = (n as f64, dimension as f64);
    let alpha = squared_norm / (d * d);
    let mu = trace / d;
    let numerator = alpha + mu * mu;
    let denominator = (n + 1.0) * (alpha - mu * mu / d);
    if denominator <= 0.0 {
        return 1.0;
    }
    (numerator / denominator).min(1.0)
}
