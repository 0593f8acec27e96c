//! Whether the labelled and the unlabelled density say the same.

use std::fmt;

use collapse_numeric::{RowSource, argmax};
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

use crate::em::EmMixture;
use crate::error::{Error, Result};
use crate::labelled::LabelledGaussianMixture;

/// Agreement of a labelled mixture and an EM mixture on some rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Spearman's rank correlation of the two scores, −1..=1: 1 when both put all rows in one order, which is all that detection
    /// by either needs.
    pub rank_correlation: f64,
    /// Mean absolute difference of the log-likelihoods (priors included) per dimension, nats.
    pub mean_gap: f64,
    /// Adjusted Rand index of the likeliest class against the likeliest cluster, at most 1: 1 when clusters and classes are
    /// the same partition, about 0 when they have nothing to do with each other. Source: Hubert and Arabie (1985).
    pub adjusted_rand: f64,
}

impl Agreement {
    /// Our choice of what counts as agreement: both orders and both partitions nearly alike (0.95 and 0.9).
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.rank_correlation >= 0.95 && self.adjusted_rand >= 0.9
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, rank correlation {:.3}, partitions alike to {:.3}, {:.2e} nats a dimension apart",
            if self.agrees() { "agree" } else { "disagree" },
            self.rank_correlation,
            self.adjusted_rand,
            self.mean_gap
        )
    }
}

/// Compares two densities on features `[N, D]`, `N ≥ 3`.
///
/// # Errors
/// Another number of columns, NaN or infinite features, fewer than three rows, and scores that are all equal or
/// infinite, which have no order to compare.
pub fn agreement<R: RowSource>(
    labelled: &LabelledGaussianMixture,
    em: &EmMixture,
    features: R,
) -> Result<Agreement> {
    let priors = labelled.log_priors();
    let by_class = labelled.log_density(&features)? + &priors;
    let by_cluster = em.log_density(&features)? + em.weights().mapv(f64::ln);
    let scores = labelled.score_with_priors(&features, &priors.to_vec())?;
    let others = em.score(&features)?;
    let undefined = |value: String| Error::Parameter {
        name: "the agreement",
        value,
        expected: "three rows or more whose scores are finite and differ",
    };
    if features.nrows() < 3 {
        return Err(undefined(format!("of {} rows", features.nrows())));
    }
    let rank_correlation = spearman(&scores, &others);
    if !rank_correlation.is_finite() {
        return Err(undefined("undefined".into()));
    }
    let gaps = (&scores - &others).mapv(f64::abs);
    Ok(Agreement {
        rank_correlation,
        mean_gap: gaps.mean().unwrap_or(f64::NAN) / features.ncols() as f64,
        adjusted_rand: adjusted_rand(&likeliest(&by_class), &likeliest(&by_cluster)),
    })
}

fn likeliest(densities: &Array2<f64>) -> Vec<usize> {
    densities.rows().into_iter().map(argmax).collect()
}

/// Pearson's correlation of average ranks; NaN where one side is constant or a value is not finite.
fn spearman(a: &Array1<f64>, b: &Array1<f64>) -> f64 {
    if a.iter().chain(b).any(|v| !v.is_finite()) {
        return f64::NAN;
    }
    let (a, b) = (ranks(a), ranks(b));
    let middle = 0.5 * (a.len() as f64 - 1.0);
    let (a, b) = (a - middle, b - middle);
    a.dot(&b) / (a.dot(&a) * b.dot(&b)).sqrt()
}

fn ranks(values: &Array1<f64>) -> Array1<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|i, j| values[*i].total_cmp(&values[*j]));
    let mut ranks = Array1::zeros(values.len());
    let mut start = 0;
    for ties in order.chunk_by(|i, j| values[*i] == values[*j]) {
        let rank = start as f64 + 0.5 * (ties.len() - 1) as f64;
        ties.iter().for_each(|i| ranks[*i] = rank);
        start += ties.len();
    }
    ranks
}

/// 1 for two partitions of one part each, where the index is 0/0.
fn adjusted_rand(a: &[usize], b: &[usize]) -> f64 {
    let size = |labels: &[usize]| labels.iter().max().map_or(0, |label| label + 1);
    let mut table = Array2::<f64>::zeros((size(a), size(b)));
    a.iter().zip(b).for_each(|(a, b)| table[[*a, *b]] += 1.0);
    let pairs = |n: f64| 0.5 * n * (n - 1.0);
    let together = table.iter().copied().map(pairs).sum::<f64>();
    let rows: f64 = table.rows().into_iter().map(|row| pairs(row.sum())).sum();
    let columns: f64 = table
        .columns()
        .into_iter()
        .map(|column| pairs(column.sum()))
        .sum();
    let expected = rows * columns / pairs(a.len() as f64);
    let largest = 0.5 * (rows + columns);
    if largest == expected {
        return 1.0;
    }
    (together - expected) / (largest - expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    /// Values of scipy 1.17.1 `spearmanr` and scikit-learn 1.9.1 `adjusted_rand_score`.
    #[test]
    fn the_statistics_agree_with_scipy_and_scikit_learn() {
        let (a, b) = (
            array![1.0, 2.0, 2.0, 3.0, 5.0, 4.0],
            array![2.0, 1.0, 4.0, 4.0, 6.0, 5.0],
        );
        assert!((spearman(&a, &b) - 0.8676470588235294).abs() < 1e-12);
        assert!(spearman(&a, &Array1::ones(6)).is_nan());
        assert!((adjusted_rand(&[0, 0, 1, 1], &[0, 0, 1, 2]) - 0.5714285714285714).abs() < 1e-15);
        assert_eq!(adjusted_rand(&[0, 0, 1, 1], &[1, 1, 0, 0]), 1.0);
        assert!((adjusted_rand(&[0, 1, 0, 1], &[0, 0, 1, 1]) + 0.5).abs() < 1e-15);
        assert_eq!(adjusted_rand(&[0, 0], &[0, 0]), 1.0);
    }
}
