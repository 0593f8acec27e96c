//! OpenMax: the probability of no known class, by the tails of the distances to the class means.

use collapse_numeric::{log_sum_exp, norm, rows_by_class};
use collapse_results::ScoreId;
use ndarray::{Array1, ArrayView1, Axis};
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::inputs::{Inputs, TrainInputs};

/// Added to distances before a Weibull distribution is fitted to them, as libMR does.
const TRANSLATION: f64 = 10_000.0;

/// ln ((1 − p₀) / p₀), with p₀ OpenMax's probability of the unknown class: its order is that of 1 − p₀, which rounds to 0
/// or 1 long before. [`unknown`](Self::unknown) turns a score back into p₀.
///
/// The r-th largest of the logits, r up to `revised`, loses the share w · (revised + 1 − r) / revised, where w is the
/// chance, by a Weibull distribution fitted to the largest distances of the class's training logits to their mean, of a
/// smaller distance than the sample's. What all lose is the logit of the unknown class. A class without training samples
/// loses all of its share.
///
/// Source: Bendale and Boult, *Towards Open Set Deep Networks* (2016), with Euclidean distances and all training samples of a
/// class, as pytorch-ood 0.4.0.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OpenMax {
    /// By class of the network, `[C]`; `None` where no training sample has the class.
    classes: Vec<Option<Tail>>,
    revised: usize,
}

/// The mean of a class's logits and the tail of the distances to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Tail {
    mean: Array1<f64>,
    /// The smallest distance of the tail.
    least: f64,
    shape: f64,
    log_scale: f64,
}

impl OpenMax {
    /// Fits the tails of the `tail` largest distances (20 in the paper); at most C classes are `revised` (10 in the paper).
    ///
    /// # Errors
    /// [`Error::NeedsLogits`]; [`Error::Setting`]; [`Error::Undefined`] for a class whose largest distances are all equal.
    pub fn fit(train: &TrainInputs, tail: usize, revised: usize) -> Result<Self> {
        for (name, value, least) in [("openmax tail", tail, 2), ("openmax revised", revised, 1)] {
            if value < least {
                return Err(Error::Setting {
                    name,
                    value: value.to_string(),
                    expected: format!("at least {least}"),
                });
            }
        }
        let logits = train.inputs().logits_for()?;
        let members = rows_by_class(train.labels(), logits.nrows(), train.n_classes())?;
        let fit = |(class, rows): (usize, Vec<usize>)| {
            if rows.is_empty() {
                return Ok(None);
            }
            let own = logits.select(Axis(0), &rows);
            let mean = own.sum_axis(Axis(0)) / rows.len() as f64;
            let mut distances: Vec<f64> = own
                .rows()
                .into_iter()
                .map(|row| norm((&row - &mean).view()))
                .collect();
            distances.sort_by(f64::total_cmp);
            let largest = &distances[distances.len().saturating_sub(tail)..];
            Tail::fit(mean, largest).map(Some).ok_or_else(|| {
                let reason = format!(
                    "the largest distances of class {class}'s {} logits to their mean are all equal, so they have no tail",
                    rows.len()
                );
                Error::undefined("the Weibull distribution", reason)
            })
        };
        let classes = members.into_iter().enumerate().map(fit);
        Ok(Self {
            classes: classes.collect::<Result<_>>()?,
            revised: revised.min(logits.ncols()),
        })
    }

    /// OpenMax's probability of the unknown class, in 0..=1, of a score.
    #[must_use]
    pub fn unknown(score: f64) -> f64 {
        1.0 / (1.0 + score.exp())
    }

    fn score(&self, logits: ArrayView1<f64>) -> f64 {
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        let mut known = logits.to_owned();
        let mut unknown = 0.0;
        for (rank, &class) in order.iter().take(self.revised).enumerate() {
            let weight = (self.revised - rank) as f64 / self.revised as f64;
            let outside = match &self.classes[class] {
                Some(tail) => tail.chance_of_less(logits),
                None => 1.0,
            };
            let lost = logits[class] * weight * outside;
            known[class] -= lost;
            unknown += lost;
        }
        log_sum_exp(known.view()) - unknown
    }
}

impl Tail {
    /// The Weibull distribution of greatest likelihood; `None` for distances that are all equal.
    ///
    /// With y = ln(x / largest x), its shape c solves Σ y eᶜʸ / Σ eᶜʸ − 1/c = mean y, whose left side grows with c.
    fn fit(mean: Array1<f64>, distances: &[f64]) -> Option<Self> {
        let (least, largest) = (*distances.first()?, *distances.last()?);
        let top = TRANSLATION + (largest - least);
        // Near the largest the difference to it is the more exact, far from it the translated distance.
        let logarithm = |distance: &f64| match (distance - largest) / top {
            less if less > -0.5 => less.ln_1p(),
            _ => (TRANSLATION + (distance - least)).ln() - top.ln(),
        };
        let logarithms: Vec<f64> = distances.iter().map(logarithm).collect();
        let average = logarithms.iter().sum::<f64>() / logarithms.len() as f64;
        // Also where the spread is below what the translated distances resolve.
        if average >= 0.0 || !top.is_finite() {
            return None;
        }
        let excess = |shape: f64| {
            let (mut sum, mut moment) = (0.0, 0.0);
            for y in &logarithms {
                let weight = (shape * y).exp();
                sum += weight;
                moment += weight * y;
            }
            moment / sum - 1.0 / shape - average
        };
        let (mut low, mut high) = (0.0, -1.0 / average);
        while excess(high) < 0.0 {
            (low, high) = (high, 2.0 * high);
        }
        while high - low > 1e-15 * high {
            let middle = 0.5 * (low + high);
            if middle <= low || middle >= high {
                break;
            }
            match excess(middle) < 0.0 {
                true => low = middle,
                false => high = middle,
            }
        }
        let shape = 0.5 * (low + high);
        let power = logarithms.iter().map(|y| (shape * y).exp()).sum::<f64>();
        Some(Self {
            mean,
            least,
            shape,
            log_scale: top.ln() + (power / logarithms.len() as f64).ln() / shape,
        })
    }

    /// The distribution function at the distance of these logits.
    fn chance_of_less(&self, logits: ArrayView1<f64>) -> f64 {
        let distance = norm((&logits - &self.mean).view());
        let moved = distance - self.least + TRANSLATION;
        if moved <= 0.0 {
            return 0.0;
        }
        let power = (self.shape * (moved.ln() - self.log_scale)).exp();
        -(-power).exp_m1()
    }
}

impl Detector for OpenMax {
    fn id(&self) -> ScoreId {
        ScoreId::new("openmax")
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        let logits = inputs.logits_of(self.classes.len())?;
        Ok(logits
            .rows()
            .into_iter()
            .map(|row| self.score(row))
            .collect())
    }
}
