//! The residual outside the principal subspace, and energy with it as a virtual logit.

use collapse_numeric::{
    About, Projection, RowSource, argmax, covariance, log_sum_exp, matmul_nt, symmetric_eigen,
    trapezoid,
};
use collapse_results::ScoreId;
use ndarray::{Array1, Array2, Axis, s};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::head::Head;
use crate::inputs::{Inputs, TrainInputs, check_columns};

/// −‖(z − u) outside the principal subspace‖, with u = −W⁺ b, the point where all logits vanish.
///
/// Source: Wang et al., *ViM: Out-Of-Distribution with Virtual-logit Matching* (2022).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Residual {
    origin: Array1<f64>,
    /// Orthonormal rows that span the complement of the principal subspace, each with one zero more before it than the last.
    complement: Array2<f64>,
}

impl Residual {
    /// Fits the principal subspace of `dimension` < D (uncentred second moment of z − u). `None` chooses as OpenOOD
    /// does: 1000 for D ≥ 2048, 512 for D ≥ 768, else D / 2.
    ///
    /// # Errors
    /// [`Error::NeedsHead`], [`Error::Setting`], [`Error::Density`].
    pub fn fit(train: &TrainInputs, dimension: Option<usize>) -> Result<Self> {
        let head = train.head()?;
        let features = train.inputs().head_rows();
        let (n, d) = features.dim();
        let kept = dimension.unwrap_or(match d {
            2048.. => 1000,
            768.. => 512,
            _ => d / 2,
        });
        if kept >= d {
            let expected = format!("below the feature dimension {d}");
            return Err(Error::Setting {
                name: "vim dimension",
                value: kept.to_string(),
                expected,
            });
        }
        let origin = vanishing_point(head)?;
        let moment = covariance(features, origin.view(), n as f64)?;
        let eigen = symmetric_eigen(moment.view())?;
        Ok(Self {
            origin,
            complement: trapezoid(eigen.vectors.slice(s![kept.., ..]))?,
        })
    }

    /// ‖(z − u) outside the principal subspace‖ of rows `[N, D]`, `[N]`.
    fn norms<R: RowSource>(&self, features: R) -> Result<Array1<f64>> {
        let d = self.origin.len();
        check_columns(&features, d)?;
        let complement = Projection::new(self.complement.view());
        let n = features.nrows();
        let origin = self.origin.to_vec();
        let moved = About {
            rows: &features,
            center: &origin,
        };
        Ok(complement.lengths(n, moved).into())
    }
}

impl Detector for Residual {
    fn id(&self) -> ScoreId {
        ScoreId::new("residual")
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        Ok(-self.norms(inputs.head_rows())?)
    }
}

/// u = −W⁺ b through the C × C matrix W Wᵀ, directions that it does not reach left out.
fn vanishing_point(head: &Head) -> Result<Array1<f64>> {
    let gram = matmul_nt(head.weight.view(), head.weight.view())?;
    let eigen = symmetric_eigen(gram.view())?;
    let floor = eigen.values[0].max(0.0) * f64::EPSILON * gram.nrows() as f64;
    let mut combination = Array1::<f64>::zeros(gram.nrows());
    for (value, vector) in eigen.values.iter().zip(eigen.vectors.rows()) {
        if *value > floor {
            combination.scaled_add(-vector.dot(&head.bias) / value, &vector);
        }
    }
    Ok(combination.dot(&head.weight))
}

/// logsumexp f − α ‖residual‖: energy with the residual as a virtual logit, α matched on the training set.
///
/// Source: Wang et al., *ViM: Out-Of-Distribution with Virtual-logit Matching* (2022).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Vim {
    residual: Residual,
    alpha: f64,
}

impl Vim {
    /// Fits subspace and α = mean max logit / mean residual norm; `dimension` as [`Residual::fit`].
    ///
    /// # Errors
    /// As [`Residual::fit`]; [`Error::NeedsLogits`]; [`Error::Undefined`] when the training features have no residual.
    pub fn fit(train: &TrainInputs, dimension: Option<usize>) -> Result<Self> {
        let residual = Residual::fit(train, dimension)?;
        let norms = residual.norms(train.inputs().head_rows())?;
        let logits = train.inputs().logits_for()?;
        let top: f64 = logits.axis_iter(Axis(0)).map(|row| row[argmax(row)]).sum();
        if norms.sum() == 0.0 {
            let reason = "the training features have no part outside the principal subspace; lower its dimension";
            return Err(Error::undefined("the score", reason));
        }
        Ok(Self {
            alpha: top / norms.sum(),
            residual,
        })
    }

    /// The weight of the residual.
    #[must_use]
    pub fn alpha(&self) -> f64 {
        self.alpha
    }
}

impl Detector for Vim {
    fn id(&self) -> ScoreId {
        ScoreId::new("vim")
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        let logits = inputs.logits_for()?;
        let rows = logits.axis_iter(Axis(0)).into_par_iter();
        let energy: Vec<f64> = rows.map(log_sum_exp).collect();
        Ok(Array1::from(energy) - self.alpha * self.residual.norms(inputs.head_rows())?)
    }
}
