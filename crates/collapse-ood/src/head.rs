//! The last linear layer.

use collapse_numeric::{RowSource, inner_products, log_sum_exp};
use ndarray::{Array1, Array2, ArrayView1};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::inputs::{Inputs, check_columns};

/// Rows that are changed and multiplied together: they stay in the second-level cache.
const BLOCK_ROWS: usize = 32;

/// The last linear layer, kept by the detectors that compute with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// Weight, `[C, D]`.
    pub weight: Array2<f64>,
    /// Bias, `[C]`.
    pub bias: Array1<f64>,
}

impl Head {
    /// ln Σ_c exp of the logits of every row, `[N]`, of what `shape` makes of the features that the head saw; it is given a row and
    /// its number in the whole set.
    pub(crate) fn energies(
        &self,
        inputs: &Inputs,
        mut shape: impl FnMut(usize, &mut [f64]) -> Result<()>,
    ) -> Result<Array1<f64>> {
        let features = inputs.head_rows();
        let (c, d) = self.weight.dim();
        check_columns(features, d)?;
        let weight = self.weight.as_standard_layout();
        let weight = weight.as_slice().unwrap_or_default();
        let n = features.nrows();
        let (mut shaped, mut logits) = (vec![0.0; BLOCK_ROWS * d], vec![0.0; BLOCK_ROWS * c]);
        let mut energies = Vec::with_capacity(n);
        for start in (0..n).step_by(BLOCK_ROWS) {
            let count = BLOCK_ROWS.min(n - start);
            let (shaped, logits) = (&mut shaped[..count * d], &mut logits[..count * c]);
            for (row, out) in shaped.chunks_exact_mut(d).enumerate() {
                features.read(start + row, out);
                shape(inputs.row_number(start + row), out)?;
            }
            inner_products(shaped, weight, d, logits);
            energies.extend(logits.chunks_exact_mut(c).map(|logits| {
                let biased = logits.iter_mut().zip(&self.bias);
                biased.for_each(|(logit, bias)| *logit += bias);
                log_sum_exp(ArrayView1::from(&*logits))
            }));
        }
        Ok(energies.into())
    }
}
