//! VRA: energy after rectifying the activations from both sides.

use std::ops::Range;

use collapse_numeric::{RowSource, RowsView};
use collapse_results::ScoreId;
use ndarray::{Array1, ArrayView1, Axis};
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::head::Head;
use crate::inputs::{Inputs, TrainInputs};
use crate::percentile::percentile_of;

/// What happens to activations below the lower threshold, and whose percentiles the thresholds are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum VraVariant {
    /// They become zero; thresholds of all activations together, as in the paper.
    #[default]
    Suppress,
    /// They are raised to it; thresholds of every feature alone, as in pytorch-ood 0.4.0.
    ClipFeatures,
}

/// Energy of the head on features that are clipped from above at one percentile of the training activations and
/// suppressed below another.
///
/// Source: Xu et al., *VRA: Variational Rectified Activation for Out-of-distribution Detection* (2023).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Vra {
    head: Head,
    variant: VraVariant,
    /// `[D]`.
    lower: Array1<f64>,
    /// `[D]`.
    upper: Array1<f64>,
}

impl Vra {
    /// Finds the thresholds at the percentiles `lower` ≤ `upper` in 0..=100.
    ///
    /// # Errors
    /// [`Error::NeedsHead`], [`Error::Setting`].
    pub fn fit(train: &TrainInputs, variant: VraVariant, lower: f64, upper: f64) -> Result<Self> {
        let head = train.head()?.clone();
        if lower > upper {
            return Err(Error::Setting {
                name: "vra lower percentile",
                value: lower.to_string(),
                expected: format!("at most the upper one, {upper}"),
            });
        }
        let features = train.inputs().head_rows();
        let d = features.ncols();
        let at = |name, percentile| -> Result<Array1<f64>> {
            match variant {
                VraVariant::Suppress => {
                    let threshold = percentile_of(name, &features, percentile)?;
                    Ok(Array1::from_elem(d, threshold))
                }
                VraVariant::ClipFeatures => {
                    let blocks = (0..d).step_by(COLUMNS);
                    let blocks =
                        blocks.map(|start| columns(features, start..d.min(start + COLUMNS)));
                    let of = |column: Vec<f64>| {
                        let column = ArrayView1::from(&column).insert_axis(Axis(1));
                        percentile_of(name, &column, percentile)
                    };
                    blocks.flatten().map(of).collect()
                }
            }
        };
        Ok(Self {
            lower: at("vra lower percentile", lower)?,
            upper: at("vra upper percentile", upper)?,
            head,
            variant,
        })
    }
}

/// Columns that are copied at a time.
const COLUMNS: usize = 16;

/// Some columns, `[N]` each.
fn columns(features: RowsView, which: Range<usize>) -> Vec<Vec<f64>> {
    let mut columns = vec![Vec::with_capacity(features.nrows()); which.len()];
    let mut row = vec![0.0; which.end];
    for i in 0..features.nrows() {
        features.read(i, &mut row);
        let values = &row[which.clone()];
        columns
            .iter_mut()
            .zip(values)
            .for_each(|(column, value)| column.push(*value));
    }
    columns
}

impl Detector for Vra {
    fn id(&self) -> ScoreId {
        ScoreId::new("vra")
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        self.head.energies(inputs, |_, row| {
            let bounds = self.lower.iter().zip(&self.upper);
            for (value, (lower, upper)) in row.iter_mut().zip(bounds) {
                *value = match self.variant {
                    VraVariant::Suppress if *value < *lower => 0.0,
                    _ => value.max(*lower).min(*upper),
                };
            }
            Ok(())
        })
    }
}
