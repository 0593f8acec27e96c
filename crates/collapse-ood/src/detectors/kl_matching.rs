//! KL matching: is the softmax like that of the training samples of some class?

use collapse_numeric::{Softmax, argmax, rows_by_class};
use collapse_results::ScoreId;
use ndarray::{Array1, Array2, ArrayView1};
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
        let mean = |rows: Vec<usize>| {
            let mut mean = MeanSoftmax::new(n_classes);
            for row in rows {
                let row = logits.row(row);
                mean.add(&Softmax::of(row, 1.0), row);
            }
            mean
        };
        let members = rows_by_class(&tops, n, n_classes)?.into_par_iter();
        let means: Vec<MeanSoftmax> = members.map(mean).collect();
        let predicted = means.iter().filter(|mean| mean.count > 0.0).count();
        let rows = means.iter().enumerate();
        let typical = rows
            .filter(|(_, mean)| mean.count > 0.0)
            .flat_map(|(class, mean)| mean.logarithms(class));
        let typical = Array2::from_shape_vec((predicted, n_classes), typical.collect());
        Ok(Self {
            log_typical: typical.map_err(|_| Error::Stored {
                what: "the mean softmaxes",
            })?,
        })
    }
}

/// The mean softmax of some rows, in logarithms.
#[derive(Clone)]
struct MeanSoftmax {
    count: f64,
    /// Σ p_c = exp(largest_c) · sum_c, `[C]` each.
    largest: Vec<f64>,
    sum: Vec<f64>,
    /// Σ (1 − p) of the predicted class, which keeps its digits where p is nearly 1.
    doubt: f64,
}

impl MeanSoftmax {
    fn new(n_classes: usize) -> Self {
        Self {
            count: 0.0,
            largest: vec![f64::NEG_INFINITY; n_classes],
            sum: vec![0.0; n_classes],
            doubt: 0.0,
        }
    }

    fn add(&mut self, softmax: &Softmax, row: ArrayView1<f64>) {
        self.count += 1.0;
        self.doubt += softmax.doubt();
        for ((largest, sum), logit) in self.largest.iter_mut().zip(&mut self.sum).zip(row) {
            let log_p = -softmax.loss(*logit);
            if log_p > *largest {
                *sum = *sum * (*largest - log_p).exp() + 1.0;
                *largest = log_p;
            } else {
                *sum += (log_p - *largest).exp();
            }
        }
    }

    fn logarithms(&self, class: usize) -> Vec<f64> {
        let mean = |(largest, sum): (&f64, &f64)| largest + (sum / self.count).ln();
        let mut logarithms: Vec<f64> = self.largest.iter().zip(&self.sum).map(mean).collect();
        logarithms[class] = (-self.doubt / self.count).ln_1p();
        logarithms
    }
}

impl Detector for KlMatching {
    fn id(&self) -> ScoreId {
        ScoreId::new("kl_matching")
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        let logits = inputs.logits_for()?;
        if logits.ncols() != self.log_typical.ncols() {
            return Err(Error::Shape {
                what: "logits",
                found: format!("{} columns", logits.ncols()),
                expected: format!("{}, as in the training logits", self.log_typical.ncols()),
            });
        }
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
