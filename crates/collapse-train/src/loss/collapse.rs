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
    let d = view.weight.len() / view.n_classes;
    let h: Vec<f64> = view.head_input.iter().map(|&x| f64::from(x)).collect();
    let head: Vec<f64> = view.weight.iter().map(|&x| f64::from(x)).collect();
    let classes = BatchClasses::of(view, &h, d);
    let mut slopes = Slopes {
        input: vec![0.0; h.len()],
        centred: vec![0.0; classes.centred.len()],
        head: vec![0.0; head.len()],
    };
    let mut components = BTreeMap::new();
    if classes.present.len() > 1 {
        let weight = weights.within_over_between;
        let value = classes.within_over_between(view.labels, &h, weight, &mut slopes);
        components.insert("within_over_between", value);
    }
    let Slopes {
        centred: d_centred,
        head: d_head,
        ..
    } = &mut slopes;
    let m = &classes.centred;
    for (name, value) in [
        (
            "equinorm_means",
            equinorm(m, d, weights.equinorm, d_centred),
        ),
        (
            "equinorm_classifier",
            equinorm(&head, d, weights.equinorm, d_head),
        ),
        (
            "equiangular_means",
            equiangular(m, d, weights.equiangular, d_centred),
        ),
        (
            "equiangular_classifier",
            equiangular(&head, d, weights.equiangular, d_head),
        ),
    ] {
        components.insert(name, value);
    }
    if classes.present.len() > 1 {
        let value = classes.self_duality(&head, weights.self_duality, &mut slopes);
        components.insert("self_duality", value);
    }
    classes.means_to_samples(view.labels, &mut slopes);

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
            head_input: Some(slopes.input.iter().map(|&x| x as f32).collect()),
            weight: Some(slopes.head.iter().map(|&x| x as f32).collect()),
        },
    }
}

/// Gradients under way: of the samples `[N, D]`, of the centred class means `[K, D]` and of the head `[C, D]`.
struct Slopes {
    input: Vec<f64>,
    centred: Vec<f64>,
    head: Vec<f64>,
}

/// The K classes present in a batch.
struct BatchClasses {
    d: usize,
    /// Samples of every class of the head, `[C]`.
    counts: Vec<usize>,
    /// The present classes, `[K]`.
    present: Vec<usize>,
    /// Row of every class of the head among the present ones, `[C]`.
    row_of: Vec<usize>,
    /// μ_c, `[K, D]`.
    means: Vec<f64>,
    /// m_c = μ_c − μ_G, `[K, D]`.
    centred: Vec<f64>,
}

impl BatchClasses {
    fn of(view: &HeadView<'_>, h: &[f64], d: usize) -> Self {
        let mut counts = vec![0usize; view.n_classes];
        view.labels.iter().for_each(|&label| counts[label] += 1);
        let present: Vec<usize> = (0..view.n_classes).filter(|&c| counts[c] > 0).collect();
        let k = present.len();
        let mut row_of = vec![usize::MAX; view.n_classes];
        for (row, &class) in present.iter().enumerate() {
            row_of[class] = row;
        }
        let mut means = vec![0.0; k * d];
        for (x, &label) in h.chunks_exact(d).zip(view.labels) {
            let share = 1.0 / counts[label] as f64;
            axpy(&mut means[row_of[label] * d..][..d], share, x);
        }
        let global = mean_row(&means, d);
        let mut centred = means.clone();
        centred
            .chunks_exact_mut(d)
            .for_each(|mean| axpy(mean, -1.0, &global));
        Self {
            d,
            counts,
            present,
            row_of,
            means,
            centred,
        }
    }

    fn mean_of(&self, label: usize) -> &[f64] {
        &self.means[self.row_of[label] * self.d..][..self.d]
    }

    /// tr Σ_W / tr Σ_B; adds its gradient.
    fn within_over_between(
        &self,
        labels: &[usize],
        h: &[f64],
        weight: f64,
        slopes: &mut Slopes,
    ) -> f64 {
        let (n, k) = (labels.len() as f64, self.present.len() as f64);
        let samples = || h.chunks_exact(self.d).zip(labels);
        let squares = samples().map(|(x, &label)| distance2(x, self.mean_of(label)));
        let within = squares.sum::<f64>() / n;
        let between = dot(&self.centred, &self.centred) / k;
        let slope = weight / between;
        let rows = slopes.input.chunks_exact_mut(self.d);
        for (target, (x, &label)) in rows.zip(samples()) {
            for ((target, x), mean) in target.iter_mut().zip(x).zip(self.mean_of(label)) {
                *target += slope * 2.0 / n * (x - mean);
            }
        }
        let shrink = -slope * within / between * 2.0 / k;
        axpy(&mut slopes.centred, shrink, &self.centred);
        within / between
    }

    /// ‖W/‖W‖ − M/‖M‖‖² over the present classes; adds its gradient.
    fn self_duality(&self, head: &[f64], weight: f64, slopes: &mut Slopes) -> f64 {
        let (d, m) = (self.d, &self.centred);
        let present = self.present.iter();
        let rows: Vec<f64> = present
            .flat_map(|&c| head[c * d..(c + 1) * d].iter().copied())
            .collect();
        let (norm_w, norm_m) = (dot(&rows, &rows).sqrt(), dot(m, m).sqrt());
        let inner = dot(&rows, m);
        let slope = -2.0 * weight / (norm_w * norm_m);
        axpy(&mut slopes.centred, slope, &rows);
        axpy(&mut slopes.centred, -slope * inner / (norm_m * norm_m), m);
        for (row, &class) in self.present.iter().enumerate() {
            let target = &mut slopes.head[class * d..(class + 1) * d];
            axpy(target, slope, &m[row * d..][..d]);
            let back = -slope * inner / (norm_w * norm_w);
            axpy(target, back, &rows[row * d..][..d]);
        }
        2.0 - 2.0 * inner / (norm_w * norm_m)
    }

    /// Carries the gradient of the centred means to the samples: m_c = μ_c − mean of μ, and μ_c the mean of its samples.
    fn means_to_samples(&self, labels: &[usize], slopes: &mut Slopes) {
        let average = mean_row(&slopes.centred, self.d);
        let rows = slopes.input.chunks_exact_mut(self.d);
        for (target, &label) in rows.zip(labels) {
            let share = 1.0 / self.counts[label] as f64;
            let row = &slopes.centred[self.row_of[label] * self.d..][..self.d];
            for ((target, row), average) in target.iter_mut().zip(row).zip(&average) {
                *target += share * (row - average);
            }
        }
    }
}

/// Mean of the rows of `[K, D]`, `[D]`.
fn mean_row(rows: &[f64], d: usize) -> Vec<f64> {
    let share = 1.0 / (rows.len() / d) as f64;
    let mut mean = vec![0.0; d];
    rows.chunks_exact(d)
        .for_each(|row| axpy(&mut mean, share, row));
    mean
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
