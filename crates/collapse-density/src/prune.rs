//! The log-sum-exp score without the classes that cannot matter.
//!
//! `‖L⁻¹ r‖²` grows panel by panel of the forward substitution, so after any panel
//! `−½ (constant + partial sum)` bounds the log-density from above. On trained features all but one class fall hundreds of nats behind within
//! the first panels, and the score costs little more than one triangular solve per row instead of `C`.

use collapse_numeric::{Cholesky, PANEL, RowSource, argmax, log_sum_exp, overflow_to_infinity};
use ndarray::{Array1, ArrayView1};
use rayon::prelude::*;

use crate::factor::Factor;
use crate::labelled::{Form, LabelledGaussianMixture};
use crate::rows::center;

/// Nats below the best class at which a class is left: `C e⁻⁸⁰` is far under half a unit in the last place of the sum.
const MARGIN: f64 = 80.0;
/// Rows of one parallel task.
const TASK_ROWS: usize = 256;
/// Bounds held at a time (32 MiB).
const BOUNDS: usize = 1 << 22;

/// A mixture of full covariances, more than one panel wide.
pub(crate) struct Pruned<'a> {
    means: Vec<Vec<f64>>,
    factors: Vec<&'a Cholesky>,
    /// `−½ (D ln 2π + ln det Σ_c) + log-weight`.
    offsets: Vec<f64>,
}

/// Log-densities of some rows under one class.
type Found = Vec<(usize, f64)>;

impl<'a> Pruned<'a> {
    /// `None` where the covariance has no panels to stop at.
    pub(crate) fn new(model: &'a LabelledGaussianMixture, log_weights: &[f64]) -> Option<Self> {
        let Form::PerClass(factors) = &model.form else {
            return None;
        };
        if model.n_features() <= PANEL {
            return None;
        }
        let cholesky = |factor: &'a Factor| match factor {
            Factor::Full(cholesky) => Some(cholesky),
            Factor::Diagonal(_) | Factor::LowRank(_) => None,
        };
        let constants = model.constants();
        let pairs = constants.iter().zip(log_weights);
        Some(Self {
            means: model
                .class_means()
                .rows()
                .into_iter()
                .map(|m| m.to_vec())
                .collect(),
            factors: factors.iter().map(cholesky).collect::<Option<_>>()?,
            offsets: pairs
                .map(|(constant, weight)| weight - 0.5 * constant)
                .collect(),
        })
    }

    /// Scores of finite rows of the right width.
    pub(crate) fn score<R: RowSource>(&self, features: &R) -> Array1<f64> {
        let rows = (BOUNDS / self.factors.len()).clamp(TASK_ROWS, 1 << 14);
        let starts = (0..features.nrows()).step_by(rows);
        let chunk = |start| self.score_chunk(features, start, rows.min(features.nrows() - start));
        Array1::from_iter(starts.flat_map(chunk))
    }

    /// Scores of `count` rows from row `start`; row indices below are relative to it.
    fn score_chunk<R: RowSource>(&self, features: &R, start: usize, count: usize) -> Vec<f64> {
        let n_classes = self.factors.len();
        let mut values = self.first_panel(features, start, count);
        let guess: Vec<usize> = values
            .par_chunks(n_classes)
            .map(|row| argmax(ArrayView1::from(row)))
            .collect();

        // The likeliest class in full gives each row a bound from below.
        let mut likeliest = vec![Vec::new(); n_classes];
        for (row, &class) in guess.iter().enumerate() {
            likeliest[class].push(row);
        }
        let mut best = vec![f64::NEG_INFINITY; guess.len()];
        for (class, found) in self.evaluate(features, start, &likeliest, &best) {
            for (row, value) in found {
                best[row] = value;
                values[row * n_classes + class] = value;
            }
        }

        // Every other class goes on until it falls behind.
        let mut others = vec![Vec::new(); n_classes];
        for (row, bounds) in values.chunks_exact_mut(n_classes).enumerate() {
            for (class, bound) in bounds.iter_mut().enumerate() {
                if class == guess[row] {
                    continue;
                }
                if *bound >= best[row] - MARGIN {
                    others[class].push(row);
                }
                *bound = f64::NEG_INFINITY;
            }
        }
        for (class, found) in self.evaluate(features, start, &others, &best) {
            for (row, value) in found {
                values[row * n_classes + class] = value;
            }
        }
        let rows = values.par_chunks(n_classes);
        rows.map(|row| log_sum_exp(ArrayView1::from(row))).collect()
    }

    /// Bounds from above after the first panel, `[n, C]` row-major.
    fn first_panel<R: RowSource>(&self, features: &R, start: usize, count: usize) -> Vec<f64> {
        let n_classes = self.factors.len();
        let mut bounds = vec![0.0; count * n_classes];
        bounds
            .par_chunks_mut(TASK_ROWS * n_classes)
            .enumerate()
            .for_each(|(task, bounds)| {
                let rows = bounds.len() / n_classes;
                let mut head = vec![0.0; rows * PANEL];
                for (class, factor) in self.factors.iter().enumerate() {
                    for (i, head) in head.chunks_exact_mut(PANEL).enumerate() {
                        let row = start + task * TASK_ROWS + i;
                        center(features, row, &self.means[class], head);
                    }
                    let mut squared = vec![0.0; rows];
                    factor.solve_panel(0, &mut head, PANEL, &mut squared);
                    for (row, squared) in squared.into_iter().enumerate() {
                        bounds[row * n_classes + class] = self.log_density(class, squared);
                    }
                }
            });
        bounds
    }

    /// Log-densities of the listed rows of each class, but for the rows that fall behind `best` on the way. Found in a fixed order.
    fn evaluate<R: RowSource>(
        &self,
        features: &R,
        start: usize,
        rows: &[Vec<usize>],
        best: &[f64],
    ) -> Vec<(usize, Found)> {
        let tasks: Vec<(usize, &[usize])> = rows
            .iter()
            .enumerate()
            .flat_map(|(class, rows)| rows.chunks(TASK_ROWS).map(move |run| (class, run)))
            .collect();
        tasks
            .into_par_iter()
            .map(|(class, rows)| (class, self.solve(features, start, class, rows, best)))
            .collect()
    }

    fn solve<R: RowSource>(
        &self,
        features: &R,
        start: usize,
        class: usize,
        rows: &[usize],
        best: &[f64],
    ) -> Found {
        let (mean, factor) = (&self.means[class], self.factors[class]);
        let d = mean.len();
        let mut alive = rows.to_vec();
        let mut squared = vec![0.0; alive.len()];
        let mut centered = vec![0.0; alive.len() * d];
        for (row, centered) in alive.iter().zip(centered.chunks_exact_mut(d)) {
            center(features, start + row, mean, centered);
        }
        for panel in 0..factor.n_panels() {
            factor.solve_panel(panel, &mut centered, d, &mut squared);
            let mut kept = 0;
            for at in 0..alive.len() {
                let bound = self.log_density(class, squared[at]);
                if bound < best[alive[at]] - MARGIN {
                    continue;
                }
                if kept < at {
                    alive[kept] = alive[at];
                    squared[kept] = squared[at];
                    centered.copy_within(at * d..(at + 1) * d, kept * d);
                }
                kept += 1;
            }
            alive.truncate(kept);
            squared.truncate(kept);
            centered.truncate(kept * d);
            if kept == 0 {
                break;
            }
        }
        let values = squared
            .iter()
            .map(|squared| self.log_density(class, *squared));
        alive.iter().copied().zip(values).collect()
    }

    fn log_density(&self, class: usize, squared: f64) -> f64 {
        self.offsets[class] - 0.5 * overflow_to_infinity(squared)
    }
}
