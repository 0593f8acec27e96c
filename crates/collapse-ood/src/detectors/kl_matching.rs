//! KL matching: is the softmax like that of the training samples of some class?

use collapse_numeric::{Softmax, argmax, log_sum_exp, rows_by_class};
use collapse_results::ScoreId;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::inputs::{Inputs, TrainInputs};

/// −min_k KL(p ‖ d_k), with d_k the mean softmax of the training samples that the network predicts as class k; classes that
/// it predicts for none are left out.
///
/// All in logarithms, so that probabilities below the range of f64 neither vanish nor make the divergence infinite.
///
/// Source: Hendrycks et al., *Scaling Out-of-Distribution Detection for Real-World Settings* (2022).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KlMatching {
    /// ln d, one row for each predicted class, `[K, C]`.
    log_typical: Array2<f64>,
}

impl KlMatching {
    /// Stores the mean softmax of each predicted class.
    ///
    /// # Errors
    /// [`Error::NeedsLogits`].
    pub fn fit(train: &TrainInputs) -> Result<Self> {
        let logits = train.inputs().logits_for()?;
        let (n, n_classes) = logits.dim();
        let tops: Vec<usize> = logits.rows().into_iter().map(argmax).collect();
        let mut members = rows_by_class(&tops, n, n_classes)?;
        members.retain(|rows| !rows.is_empty());
        let typical = members
            .par_iter()
            .map(|rows| log_mean_softmax(logits, rows, tops[rows[0]]));
        let typical = typical.collect::<Vec<_>>().concat();
        let typical = Array2::from_shape_vec((members.len(), n_classes), typical);
        Ok(Self {
            log_typical: typical.map_err(|_| Error::Stored {
                what: "the mean softmaxes",
            })?,
        })
    }
}

/// Below this a sum of probabilities may have lost some to the end of the range of f64.
const SAFE_SUM: f64 = 1e-290;

/// ln of the mean softmax of some rows of `logits` `[N, C]` whose largest logit is that of `class`, `[C]`.
fn log_mean_softmax(logits: ArrayView2<f64>, rows: &[usize], class: usize) -> Vec<f64> {
    let count = rows.len() as f64;
    let (mut sums, mut weights) = (vec![0.0; logits.ncols()], vec![0.0; logits.ncols()]);
    // Σ (1 − p) of the class, which keeps its digits where p is nearly 1.
    let mut doubt = 0.0;
    for &row in rows {
        let row = logits.row(row);
        for (weight, logit) in weights.iter_mut().zip(row) {
            *weight = (logit - row[class]).exp();
        }
        weights[class] = 0.0;
        let others: f64 = weights.iter().sum();
        doubt += others / (1.0 + others);
        for (sum, weight) in sums.iter_mut().zip(&weights) {
            *sum += weight / (1.0 + others);
        }
    }
    let log_mean = |(column, sum): (usize, &f64)| match *sum {
        _ if column == class => (-doubt / count).ln_1p(),
        sum if sum > SAFE_SUM => (sum / count).ln(),
        _ => {
            let log_p =
                |&row: &usize| -Softmax::of(logits.row(row), 1.0).loss(logits[[row, column]]);
            let logs: Array1<f64> = rows.iter().map(log_p).collect();
            log_sum_exp(logs.view()) - count.ln()
        }
    };
    sums.iter().enumerate().map(log_mean).collect()
}

impl Detector for KlMatching {
    fn id(&self) -> ScoreId {
        ScoreId::new("kl_matching")
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        let logits = inputs.logits_of(self.log_typical.ncols())?;
        // p and ln p of each class.
        let mut own: Vec<(f64, f64)> = Vec::new();
        let score = |row: ArrayView1<f64>| {
            let softmax = Softmax::of(row, 1.0);
            own.clear();
            own.extend(
                row.iter()
                    .map(|logit| (softmax.probability(*logit), -softmax.loss(*logit))),
            );
            let divergence = |typical: ArrayView1<f64>| {
                let term = |((p, log_p), log_d): (&(f64, f64), &f64)| match *p {
                    // p ln p tends to zero with p.
                    0.0 => 0.0,
                    p => p * (log_p - log_d),
                };
                own.iter().zip(typical).map(term).sum::<f64>()
            };
            let typical = self.log_typical.rows().into_iter();
            -typical.map(divergence).fold(f64::INFINITY, f64::min)
        };
        Ok(logits.rows().into_iter().map(score).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn mean_softmaxes_keep_their_logarithms_beyond_the_range_of_probabilities() {
        let logits = array![[2.0, 1.0, -900.0], [3.0, 0.5, -1000.0], [0.0, 9.0, 0.0]];
        let found = log_mean_softmax(logits.view(), &[0, 1], 0);
        let p = [1.0 / (1.0 + (-1f64).exp()), 1.0 / (1.0 + (-2.5f64).exp())];
        let mean = (p[0] + p[1]) / 2.0;
        assert!(
            (found[0] - mean.ln()).abs() < 1e-15 && (found[1] - (1.0 - mean).ln()).abs() < 1e-14
        );
        // The second row's is smaller by a factor e⁻¹⁰¹.
        assert!((found[2] - (-902.0 + p[0].ln() - 2f64.ln())).abs() < 1e-12);
    }
}
