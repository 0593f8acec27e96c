//! What several networks say of the same samples together.

use collapse_numeric::{Softmax, check_finite};
use ndarray::{Array1, Array2, ArrayView2};

use crate::error::{Error, Result};

/// The two scores of an ensemble, larger = more in-distribution, one value a sample.
#[derive(Clone, Debug, PartialEq)]
pub struct EnsembleScores {
    /// −H(p̄), the negative entropy of the mean softmax p̄ in nats, in −ln C..=0.
    pub softmax_entropy: Array1<f64>,
    /// −(H(p̄) − mean H(p)), how much less the members know together than each believes of itself, in −ln C..=0; 0
    /// where all members say the same.
    pub mutual_information: Array1<f64>,
}

/// Softmax entropy and mutual information of an ensemble from the logits `[N, C]` of each of its members.
///
/// With p_m the softmax of member m and p̄ their mean, the mutual information of the class and the member is
/// (1/M) Σ_m KL(p_m ‖ p̄). Both keep their digits where the members are sure of one class.
///
/// Source: Lakshminarayanan, Pritzel and Blundell (2017); both scores as in DDU's table of 5-ensembles.
///
/// # Errors
/// [`Error::Undefined`] for fewer than two members or no classes; [`Error::Shape`] for members of different shapes;
/// logits that are not finite.
pub fn ensemble_scores(members: &[ArrayView2<f64>]) -> Result<EnsembleScores> {
    let (n, n_classes) = common_shape(members)?;
    let mut scores = EnsembleScores {
        softmax_entropy: Array1::zeros(n),
        mutual_information: Array1::zeros(n),
    };
    for row in 0..n {
        let (entropy, information) = of_row(members, row, n_classes);
        // 0 − x, so that no entropy is 0 and not −0.
        scores.softmax_entropy[row] = 0.0 - entropy;
        scores.mutual_information[row] = 0.0 - information;
    }
    Ok(scores)
}

/// The mean softmax p̄ `[N, C]` of an ensemble, whose largest entry is its decision.
///
/// # Errors
/// As [`ensemble_scores`].
pub fn mean_softmax(members: &[ArrayView2<f64>]) -> Result<Array2<f64>> {
    let mut mean = Array2::zeros(common_shape(members)?);
    for logits in members {
        for (row, mut sum) in logits.rows().into_iter().zip(mean.rows_mut()) {
            let softmax = Softmax::of(row, 1.0);
            for (logit, sum) in row.iter().zip(&mut sum) {
                *sum += softmax.probability(*logit);
            }
        }
    }
    Ok(mean / members.len() as f64)
}

/// Samples and classes of an ensemble's logits, once they are known to belong together.
fn common_shape(members: &[ArrayView2<f64>]) -> Result<(usize, usize)> {
    let [first, _, ..] = members else {
        let reason = format!("{} member: give at least two", members.len());
        return Err(Error::undefined("an ensemble", reason));
    };
    let (n, n_classes) = first.dim();
    if n_classes == 0 {
        return Err(Error::undefined(
            "an ensemble",
            "its logits have no classes",
        ));
    }
    for member in members {
        if member.dim() != first.dim() {
            return Err(Error::Shape {
                what: "the logits of an ensemble's member",
                found: format!("shape {:?}", member.dim()),
                expected: format!("shape {:?}, that of the first member", first.dim()),
            });
        }
        check_finite("logits", *member)?;
    }
    Ok((n, n_classes))
}

/// H(p̄) and the mutual information of one sample, nats.
fn of_row(members: &[ArrayView2<f64>], row: usize, n_classes: usize) -> (f64, f64) {
    let softmaxes: Vec<_> = members
        .iter()
        .map(|logits| (logits.row(row), Softmax::of(logits.row(row), 1.0)))
        .collect();
    let n_members = members.len() as f64;
    let (mut entropy, mut information) = (0.0, 0.0);
    for class in 0..n_classes {
        let (mut mean, mut doubt) = (0.0, 0.0);
        for (logits, softmax) in &softmaxes {
            let p = softmax.probability(logits[class]);
            mean += p / n_members;
            doubt += match class == softmax.top() {
                true => softmax.doubt(),
                false => 1.0 - p,
            } / n_members;
        }
        if mean == 0.0 {
            continue;
        }
        // Near 1 the logarithm is that of the doubt, whose digits 1 − p has lost.
        let loss = match mean > 0.5 {
            true => -(-doubt).ln_1p(),
            false => -mean.ln(),
        };
        entropy += mean * loss;
        for (logits, softmax) in &softmaxes {
            let p = softmax.probability(logits[class]);
            if p > 0.0 {
                information += p * (loss - softmax.loss(logits[class])) / n_members;
            }
        }
    }
    // A divergence is not negative; its rounding may be.
    (entropy, f64::max(information, 0.0))
}
