//! The loss that rewards neural collapse itself (our form; the paper's formula is unknown).

use std::collections::BTreeMap;

use collapse_models::HeadGradient;
use serde::{Deserialize, Serialize};

use super::{HeadView, LossValue};
use crate::{Error, Result};

/// Weight of each component; all 1 by default.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CollapseWeights {
    /// tr Σ_W / tr Σ_B.
    pub within_over_between: f64,
    /// Equal norms of class means and of classifier rows.
    pub equinorm: f64,
    /// Equal angles of class means and of classifier rows.
    pub equiangular: f64,
    /// Classifier and class means alike.
    pub self_duality: f64,
}

impl Default for CollapseWeights {
    fn default() -> Self {
        Self {
            within_over_between: 1.0,
            equinorm: 1.0,
            equiangular: 1.0,
            self_duality: 1.0,
        }
    }
}

impl CollapseWeights {
    pub(super) fn check(&self) -> Result<()> {
        for value in [
            self.within_over_between,
            self.equinorm,
            self.equiangular,
            self.self_duality,
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::Config {
                    field: "loss.weights",
                    value: value.to_string(),
                    remedy: "choose 0 or positive numbers",
                });
            }
        }
        Ok(())
    }
}

/// L = tr Σ_W / tr Σ_B + EN(M) + EN(W) + EA(M) + EA(W) + ‖W/‖W‖ − M/‖M‖‖² on the batch.
///
/// Over the K classes present in the batch: μ_c their means, μ_G the mean of the μ_c,
/// m_c = μ_c − μ_G the rows of M; tr Σ_W = (1/N) Σ‖h − μ_y‖², tr Σ_B = (1/K) Σ‖m_c‖².
/// EN is the standard deviation (divisor K − 1) over the mean of the rows' norms; EA the mean
/// over pairs of |cos + 1/(K − 1)|; both over all classes for the head's W, whose rows of the
/// present classes enter the self-duality. Terms that need two classes are zero for a batch
/// with one. Our choice throughout: `docs/method.md` section 6 names the terms.
#[must_use]
pub fn collapse_loss(view: &HeadView<'_>, weights: &CollapseWeights) -> LossValue {
    let n = view.labels.len();
    let d = view.weight.len() / view.n_classes;
    let mut counts = vec![0usize; view.n_classes];
    view.labels.iter().for_each(|&label| counts[label] += 1);
    let present: Vec<usize> = (0..view.n_classes).filter(|&c| counts[c] > 0).collect();
    let k = present.len();
    let row_of: Vec<usize> = {
        let mut rows = vec![usize::MAX; view.n_classes];
        present
            .iter()
            .enumerate()
            .for_each(|(row, &c)| rows[c] = row);
        rows
    };
    let h: Vec<f64> = view.head_input.iter().map(|&x| f64::from(x)).collect();
    let head: Vec<f64> = view.weight.iter().map(|&x| f64::from(x)).collect();

    let mut means = vec![0.0; k * d];
    for (x, &label) in h.chunks_exact(d).zip(view.labels) {
        let row = row_of[label];
        let share = 1.0 / counts[label] as f64;
        axpy(&mut means[row * d..][..d], share, x);
    }
    let mut centred = means.clone();
    let mut global = vec![0.0; d];
    means
        .chunks_exact(d)
        .for_each(|mean| axpy(&mut global, 1.0 / k as f64, mean));
    centred
        .chunks_exact_mut(d)
        .for_each(|mean| axpy(mean, -1.0, &global));

    let mut d_input = vec![0.0; n * d];
    let mut d_centred = vec![0.0; k * d];
    let mut d_head = vec![0.0; head.len()];
    let mut components = BTreeMap::new();

    // tr Σ_W / tr Σ_B
    let within: f64 = (0..n)
        .map(|i| distance2(&h[i * d..][..d], &means[row_of[view.labels[i]] * d..][..d]))
        .sum::<f64>()
        / n as f64;
    let between = dot(&centred, &centred) / k as f64;
    if k > 1 {
        components.insert("within_over_between", within / between);
        let slope = weights.within_over_between / between;
        for i in 0..n {
            let mean = &means[row_of[view.labels[i]] * d..][..d];
            for j in 0..d {
                d_input[i * d + j] += slope * 2.0 / n as f64 * (h[i * d + j] - mean[j]);
            }
        }
        axpy(
            &mut d_centred,
            -slope * within / between * 2.0 / k as f64,
            &centred,
        );
    }

    components.insert(
        "equinorm_means",
        equinorm(&centred, d, weights.equinorm, &mut d_centred),
    );
    components.insert(
        "equinorm_classifier",
        equinorm(&head, d, weights.equinorm, &mut d_head),
    );
    components.insert(
        "equiangular_means",
        equiangular(&centred, d, weights.equiangular, &mut d_centred),
    );
    components.insert(
        "equiangular_classifier",
        equiangular(&head, d, weights.equiangular, &mut d_head),
    );

    if k > 1 {
        let rows: Vec<f64> = present
            .iter()
            .flat_map(|&c| head[c * d..(c + 1) * d].iter().copied())
            .collect();
        let (norm_w, norm_m) = (dot(&rows, &rows).sqrt(), dot(&centred, &centred).sqrt());
        let inner = dot(&rows, &centred);
        let cosine = inner / (norm_w * norm_m);
        components.insert("self_duality", 2.0 - 2.0 * cosine);
        let slope = -2.0 * weights.self_duality / (norm_w * norm_m);
        axpy(&mut d_centred, slope, &rows);
        axpy(&mut d_centred, -slope * inner / (norm_m * norm_m), &centred);
        for (row, &c) in present.iter().enumerate() {
            let target = &mut d_head[c * d..(c + 1) * d];
            axpy(target, slope, &centred[row * d..][..d]);
            axpy(
                target,
                -slope * inner / (norm_w * norm_w),
                &rows[row * d..][..d],
            );
        }
    }

    // m_c = μ_c − mean of μ, and μ_c the mean of its samples.
    let mut average = vec![0.0; d];
    d_centred
        .chunks_exact(d)
        .for_each(|row| axpy(&mut average, 1.0 / k as f64, row));
    for (i, &label) in view.labels.iter().enumerate() {
        let share = 1.0 / counts[label] as f64;
        let row = &d_centred[row_of[label] * d..][..d];
        for j in 0..d {
            d_input[i * d + j] += share * (row[j] - average[j]);
        }
    }

    let weight_of = |name: &str| match name {
        "within_over_between" => weights.within_over_between,
        "equinorm_means" | "equinorm_classifier" => weights.equinorm,
        "equiangular_means" | "equiangular_classifier" => weights.equiangular,
        _ => weights.self_duality,
    };
    LossValue {
        value: components
            .iter()
            .map(|(name, value)| weight_of(name) * value)
            .sum(),
        components,
        gradient: HeadGradient {
            logits: None,
            head_input: Some(d_input.iter().map(|&x| x as f32).collect()),
            weight: Some(d_head.iter().map(|&x| x as f32).collect()),
        },
    }
}

/// Standard deviation (divisor K − 1) over mean of the rows' norms; adds its gradient.
fn equinorm(rows: &[f64], d: usize, weight: f64, gradient: &mut [f64]) -> f64 {
    let norms: Vec<f64> = rows.chunks_exact(d).map(|r| dot(r, r).sqrt()).collect();
    let k = norms.len() as f64;
    let mean = norms.iter().sum::<f64>() / k;
    if norms.len() < 2 || mean == 0.0 {
        return 0.0;
    }
    let deviation = (norms.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / (k - 1.0)).sqrt();
    for (i, &norm) in norms.iter().enumerate() {
        if norm == 0.0 {
            continue;
        }
        let spread = if deviation > 0.0 {
            (norm - mean) / ((k - 1.0) * deviation * mean)
        } else {
            0.0
        };
        let slope = weight * (spread - deviation / (mean * mean * k)) / norm;
        axpy(&mut gradient[i * d..][..d], slope, &rows[i * d..][..d]);
    }
    deviation / mean
}

/// Mean over pairs of |cos + 1/(K − 1)|; adds its gradient.
fn equiangular(rows: &[f64], d: usize, weight: f64, gradient: &mut [f64]) -> f64 {
    let k = rows.len() / d;
    if k < 2 {
        return 0.0;
    }
    let norms: Vec<f64> = rows.chunks_exact(d).map(|r| dot(r, r).sqrt()).collect();
    let target = 1.0 / (k as f64 - 1.0);
    let share = 2.0 / (k as f64 * (k as f64 - 1.0));
    let mut total = 0.0;
    for i in 0..k {
        for j in i + 1..k {
            if norms[i] == 0.0 || norms[j] == 0.0 {
                continue;
            }
            let (a, b) = (&rows[i * d..][..d], &rows[j * d..][..d]);
            let cosine = dot(a, b) / (norms[i] * norms[j]);
            total += share * (cosine + target).abs();
            let slope = weight * share * (cosine + target).signum();
            let both = slope / (norms[i] * norms[j]);
            axpy(&mut gradient[i * d..][..d], both, b);
            axpy(
                &mut gradient[i * d..][..d],
                -slope * cosine / (norms[i] * norms[i]),
                a,
            );
            axpy(&mut gradient[j * d..][..d], both, a);
            axpy(
                &mut gradient[j * d..][..d],
                -slope * cosine / (norms[j] * norms[j]),
                b,
            );
        }
    }
    total
}

fn axpy(y: &mut [f64], a: f64, x: &[f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += a * x);
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn distance2(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use collapse_random::Stream;

    fn random(n: usize, purpose: &str) -> Vec<f32> {
        let mut stream = Stream::new(5, purpose, 0);
        (0..n).map(|_| stream.normal() as f32).collect()
    }

    #[test]
    fn gradients_are_the_difference_quotients() {
        let (d, c) = (6, 4);
        // Class 3 is absent from the batch; its classifier row still has a gradient.
        let labels = [0usize, 1, 2, 0, 1, 2, 0, 0];
        let head_input = random(labels.len() * d, "h");
        let weight = random(c * d, "w");
        for only in 0..5 {
            let pick = |i| if only == 4 || only == i { 1.0 } else { 0.0 };
            let weights = CollapseWeights {
                within_over_between: pick(0),
                equinorm: pick(1),
                equiangular: pick(2),
                self_duality: pick(3),
            };
            let at = |head_input: &[f32], weight: &[f32]| {
                collapse_loss(
                    &HeadView {
                        head_input,
                        logits: &[],
                        weight,
                        labels: &labels,
                        n_classes: c,
                    },
                    &weights,
                )
            };
            let loss = at(&head_input, &weight);
            let check = |values: &[f32], gradient: &[f32], value: &dyn Fn(&[f32]) -> f64| {
                for i in 0..values.len() {
                    let step = 1.0f32 / 1024.0;
                    let mut moved = values.to_vec();
                    moved[i] = values[i] + step;
                    let above = value(&moved);
                    let width = f64::from(moved[i]);
                    moved[i] = values[i] - step;
                    let slope = (above - value(&moved)) / (width - f64::from(moved[i]));
                    let error = (slope - f64::from(gradient[i])).abs();
                    assert!(error < 2e-5, "component {only}, entry {i}: {error}");
                }
            };
            let gradient = &loss.gradient;
            check(
                &head_input,
                gradient.head_input.as_deref().unwrap(),
                &|moved| at(moved, &weight).value,
            );
            check(&weight, gradient.weight.as_deref().unwrap(), &|moved| {
                at(&head_input, moved).value
            });
        }
    }

    #[test]
    fn a_collapsed_batch_has_no_loss() {
        // The simplex of three classes in the plane, classifier and means alike.
        let corner = |i: usize| {
            let angle = std::f32::consts::TAU * i as f32 / 3.0;
            [angle.cos(), angle.sin()]
        };
        let weight: Vec<f32> = (0..3).flat_map(corner).collect();
        let labels = [0, 1, 2, 0, 1, 2];
        let head_input: Vec<f32> = labels.iter().flat_map(|&c| corner(c)).collect();
        let loss = collapse_loss(
            &HeadView {
                head_input: &head_input,
                logits: &[],
                weight: &weight,
                labels: &labels,
                n_classes: 3,
            },
            &CollapseWeights::default(),
        );
        assert!(loss.value.abs() < 1e-6, "{loss:?}");
    }

    #[test]
    fn a_batch_of_one_class_is_finite() {
        let loss = collapse_loss(
            &HeadView {
                head_input: &[1.0, 2.0, 3.0, 4.0],
                logits: &[],
                weight: &[1.0, 0.0, 0.0, 2.0],
                labels: &[1, 1],
                n_classes: 2,
            },
            &CollapseWeights::default(),
        );
        assert!(loss.value.is_finite());
        let gradient = loss.gradient.head_input.unwrap();
        assert!(gradient.iter().all(|g| g.is_finite()));
    }
}
