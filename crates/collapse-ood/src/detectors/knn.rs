use std::sync::OnceLock;

use collapse_numeric::inner_products;
use ndarray::{Array1, Array2, ArrayView2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::inputs::{Inputs, TrainInputs, check_columns};

/// Queries of one parallel task and bank rows of one product: 1 MiB of similarities in f32.
const QUERY_ROWS: usize = 256;
const BANK_ROWS: usize = 1024;

/// Minus the distance of ẑ to its k-th nearest normalised training feature.
///
/// Similarities are computed in f32, whose rounding is bounded; every training row that could be among the k nearest is
/// then measured in f64, so the result is that of f64 at the speed of f32.
///
/// Source: Sun et al., *Out-of-Distribution Detection with Deep Nearest Neighbors* (2022).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Knn {
    bank: Array2<f64>,
    neighbours: usize,
    squared: bool,
    #[serde(skip)]
    rounded: OnceLock<Vec<f32>>,
}

impl Knn {
    /// Stores the normalised training features; `neighbours` in 1..=N.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn fit(train: &TrainInputs, neighbours: usize) -> Result<Self> {
        let bank = train.inputs().normalized().to_owned();
        if neighbours == 0 || neighbours > bank.nrows() {
            let expected = format!(
                "between 1 and {}, the number of training samples",
                bank.nrows()
            );
            return Err(Error::Setting {
                name: "knn neighbours",
                value: neighbours.to_string(),
                expected,
            });
        }
        Ok(Self {
            bank,
            neighbours,
            squared: false,
            rounded: OnceLock::new(),
        })
    }

    /// Scores by the squared distance, as OpenOOD does; the order is the same.
    #[must_use]
    pub fn squared(mut self) -> Self {
        self.squared = true;
        self
    }

    /// Squared distances of normalised rows to their k-th neighbours.
    fn nearest(&self, queries: ArrayView2<f64>) -> Vec<f64> {
        let d = self.bank.ncols();
        let bank = self
            .rounded
            .get_or_init(|| self.bank.iter().map(|&value| value as f32).collect());
        // |f32 product − exact| of vectors of at most unit length: D roundings of sums and products, two of the
        // operands, and a little for terms of second order.
        let margin = (d + 8) as f32 * f32::EPSILON;
        let blocks: Vec<ArrayView2<f64>> = queries.axis_chunks_iter(Axis(0), QUERY_ROWS).collect();
        let scores = blocks.into_par_iter().map(|block| {
            let rows = block.nrows();
            let rounded: Vec<f32> = block.iter().map(|&value| value as f32).collect();
            let mut found: Vec<Candidates> = (0..rows)
                .map(|_| Candidates::new(self.neighbours, margin))
                .collect();
            let mut similarities = vec![0f32; rows * BANK_ROWS];
            for (part, bank) in bank.chunks(BANK_ROWS * d).enumerate() {
                let width = bank.len() / d;
                let similarities = &mut similarities[..rows * width];
                inner_products(&rounded, bank, d, similarities);
                for (found, row) in found.iter_mut().zip(similarities.chunks_exact(width)) {
                    found.offer(row, part * BANK_ROWS);
                }
            }
            let exact = |(found, query): (Candidates, ndarray::ArrayView1<f64>)| {
                let distance = |index: usize| -> f64 {
                    query
                        .iter()
                        .zip(self.bank.row(index))
                        .map(|(a, b)| (a - b) * (a - b))
                        .sum()
                };
                let mut distances: Vec<f64> = found.finish().into_iter().map(distance).collect();
                *distances
                    .select_nth_unstable_by(self.neighbours - 1, f64::total_cmp)
                    .1
            };
            found
                .into_iter()
                .zip(block.rows())
                .map(exact)
                .collect::<Vec<f64>>()
        });
        scores.collect::<Vec<_>>().concat()
    }
}

impl Detector for Knn {
    fn name(&self) -> &'static str {
        "knn"
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        let features = inputs.normalized();
        check_columns(features, self.bank.ncols())?;
        let squared = self.nearest(features);
        Ok(squared
            .into_iter()
            .map(|squared| {
                if self.squared {
                    -squared
                } else {
                    -squared.sqrt()
                }
            })
            .collect())
    }
}

/// The rows that may be among the `k` most similar to one query.
struct Candidates {
    k: usize,
    /// Twice the bound on the error of a similarity.
    slack: f32,
    /// Nothing below can be among the k most similar.
    threshold: f32,
    /// Candidates that make another selection worth its time.
    limit: usize,
    kept: Vec<(f32, u32)>,
}

impl Candidates {
    fn new(k: usize, margin: f32) -> Self {
        let kept = Vec::with_capacity(4 * k + BANK_ROWS);
        Self {
            k,
            slack: 2.0 * margin,
            threshold: f32::NEG_INFINITY,
            limit: 4 * k,
            kept,
        }
    }

    fn offer(&mut self, similarities: &[f32], first: usize) {
        for (chunk, values) in similarities.chunks(16).enumerate() {
            // One vectorised test rejects most chunks.
            if values
                .iter()
                .fold(false, |any, &value| any | (value >= self.threshold))
            {
                for (offset, &value) in values.iter().enumerate() {
                    if value >= self.threshold {
                        self.kept
                            .push((value, (first + chunk * 16 + offset) as u32));
                    }
                }
            }
        }
        if self.kept.len() >= self.limit {
            self.tighten();
            // Many near-equal rows stay; do not go through them again and again.
            self.limit = (4 * self.k).max(2 * self.kept.len());
        }
    }

    fn tighten(&mut self) {
        if self.kept.len() < self.k {
            return;
        }
        let (_, kth, _) = self
            .kept
            .select_nth_unstable_by(self.k - 1, |a, b| b.0.total_cmp(&a.0));
        self.threshold = kth.0 - self.slack;
        let threshold = self.threshold;
        self.kept.retain(|candidate| candidate.0 >= threshold);
    }

    fn finish(mut self) -> Vec<usize> {
        self.tighten();
        self.kept
            .into_iter()
            .map(|(_, index)| index as usize)
            .collect()
    }
}
