//! From partial statistics to factors: divisors, shrinkage and the jitter ladder.

use collapse_numeric::{Cholesky, SymmetricPanels};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::factor::{Factor, LowRank};
use crate::params::{Covariance, Jitter, Shrinkage};
use crate::shrinkage;
use crate::statistics::ClassMoments;

/// Factors of all classes, the jitter and the shrinkage that made them possible.
pub(crate) struct Fitted {
    pub(crate) factors: Vec<Factor>,
    pub(crate) jitter: f64,
    pub(crate) shrinkage: Option<Vec<f64>>,
}

/// Factorises per-class covariances (all forms but the tied one).
pub(crate) fn per_class(
    classes: Vec<ClassMoments>,
    covariance: Covariance,
    jitter: Jitter,
) -> Result<Fitted> {
    for (class_idx, class) in classes.iter().enumerate() {
        check_range(class_idx, &class.diagonal(), class.spread)?;
    }
    let mut weights = None;
    let (factors, jitter) = match covariance {
        Covariance::Diagonal => diagonal(&classes, jitter)?,
        Covariance::LowRank { rank, ridge } => {
            let factors = classes.par_iter().map(|class| low_rank(class, rank, ridge));
            (factors.collect::<Result<_>>()?, ridge)
        }
        Covariance::Shrinkage(rule) => {
            let rho: Vec<f64> = classes.iter().map(|class| weight(class, rule)).collect();
            let shrunk = classes.into_iter().zip(&rho);
            let shrunk = shrunk.filter_map(|(class, rho)| {
                let (samples, spread) = (class.count, class.spread);
                Some(Scaled {
                    scatter: class.into_scatter()?.shrunk(*rho),
                    scale: 1.0 / samples as f64,
                    samples,
                    spread,
                })
            });
            let factors = full(shrunk.collect(), jitter)?;
            weights = Some(rho);
            factors
        }
        Covariance::Full | Covariance::Tied => {
            let scaled = classes.into_iter().filter_map(|class| {
                let (samples, spread) = (class.count, class.spread);
                Some(Scaled {
                    scatter: class.into_scatter()?,
                    scale: 1.0 / (samples - 1) as f64,
                    samples,
                    spread,
                })
            });
            full(scaled.collect(), jitter)?
        }
    };
    Ok(Fitted {
        factors,
        jitter,
        shrinkage: weights,
    })
}

/// A scatter matrix and what makes it a covariance.
pub(crate) struct Scaled {
    pub(crate) scatter: SymmetricPanels,
    /// One over the divisor.
    pub(crate) scale: f64,
    pub(crate) samples: usize,
    pub(crate) spread: f64,
}

fn full(scaled: Vec<Scaled>, jitter: Jitter) -> Result<(Vec<Factor>, f64)> {
    let (factors, jitter) = factorise(scaled, jitter)?;
    Ok((factors.into_iter().map(Factor::Full).collect(), jitter))
}

/// Cholesky factors of all matrices at the first jitter where every one exists, in the memory of the matrices.
///
/// Where there is a choice, each rung is tried on copies, one class at a time (a few where they are small), since a class
/// that fails sends all of them up the ladder. A rung that changes no diagonal entry gives the same bits as no jitter, so it is
/// not tried again: of DDU's 310 rungs about 20 remain. The matrix that failed last is tried first.
pub(crate) fn factorise(scaled: Vec<Scaled>, jitter: Jitter) -> Result<(Vec<Cholesky>, f64)> {
    for (class, scaled) in scaled.iter().enumerate() {
        check_range(class, &scaled.scatter.diagonal(), scaled.spread)?;
    }
    let singular = |class: usize, samples: usize, dimension: usize, jitter: f64| {
        Err(Error::Singular {
            class,
            samples,
            dimension,
            jitter,
        })
    };
    let shift = match jitter {
        Jitter::Fixed(shift) => shift,
        Jitter::Ladder => match climb(&scaled, &jitter.candidates()) {
            Ok(shift) => shift,
            Err(class) => {
                let (samples, d) = (scaled[class].samples, scaled[class].scatter.dimension());
                return singular(class, samples, d, LAST_RUNG);
            }
        },
    };
    let factor = |(class, one): (usize, Scaled)| {
        let (samples, d) = (one.samples, one.scatter.dimension());
        let factor = one.scatter.into_cholesky(one.scale, shift);
        factor.ok_or((class, samples, d))
    };
    let factors: Result<Vec<Cholesky>, _> = match side_by_side(&scaled) {
        true => {
            let tried = scaled.into_par_iter().enumerate().map(factor);
            tried.collect::<Vec<_>>().into_iter().collect()
        }
        false => scaled.into_iter().enumerate().map(factor).collect(),
    };
    match factors {
        Ok(factors) => Ok((factors, shift)),
        Err((class, samples, d)) => singular(class, samples, d, shift),
    }
}

/// The first rung at which every matrix has a factor, or the class that has none at the last.
fn climb(scaled: &[Scaled], rungs: &[f64]) -> Result<f64, usize> {
    let diagonals: Vec<Vec<f64>> = scaled
        .iter()
        .map(|s| s.scatter.diagonal().iter().map(|v| v * s.scale).collect())
        .collect();
    let factorable = |s: &Scaled, shift: f64| s.scatter.cholesky(s.scale, shift).is_some();
    let mut last_failure = 0;
    for (rung, &shift) in rungs.iter().enumerate() {
        let unchanged = |d: &Vec<f64>| d.iter().all(|v| v + shift == *v);
        if rung > 0
            && (diagonals.get(last_failure).is_some_and(unchanged)
                || scaled
                    .get(last_failure)
                    .is_some_and(|s| !factorable(s, shift)))
        {
            continue;
        }
        let failure = if side_by_side(scaled) {
            let failures = scaled.par_iter().map(|s| !factorable(s, shift));
            failures
                .collect::<Vec<bool>>()
                .iter()
                .position(|failed| *failed)
        } else {
            scaled.iter().position(|s| !factorable(s, shift))
        };
        match failure {
            Some(class) => last_failure = class,
            None => return Ok(shift),
        }
    }
    Err(last_failure)
}

/// Matrices up to this many rows are factorised side by side; larger ones have parallel work inside.
const SMALL: usize = 512;

fn side_by_side(scaled: &[Scaled]) -> bool {
    scaled.iter().map(|s| s.scatter.dimension()).max() <= Some(SMALL)
}

/// The last rung of DDU's ladder.
const LAST_RUNG: f64 = 0.1;

fn diagonal(classes: &[ClassMoments], jitter: Jitter) -> Result<(Vec<Factor>, f64)> {
    let variances: Vec<Vec<f64>> = classes
        .iter()
        .map(|class| {
            let divisor = (class.count - 1) as f64;
            class.diagonal().iter().map(|v| v / divisor).collect()
        })
        .collect();
    let singular = |shift: f64| {
        let positive = |values: &Vec<f64>| values.iter().all(|v| v + shift > 0.0);
        variances.iter().position(|values| !positive(values))
    };
    let candidates = jitter.candidates();
    let Some(shift) = candidates
        .iter()
        .copied()
        .find(|shift| singular(*shift).is_none())
    else {
        let largest = candidates.last().copied().unwrap_or(0.0);
        let class = singular(largest).unwrap_or(0);
        return Err(Error::Singular {
            class,
            samples: classes[class].count,
            dimension: variances[class].len(),
            jitter: largest,
        });
    };
    let deviations = |values: Vec<f64>| values.iter().map(|v| (v + shift).sqrt()).collect();
    let factors = variances
        .into_iter()
        .map(|values| Factor::Diagonal(deviations(values)));
    Ok((factors.collect(), shift))
}

fn low_rank(class: &ClassMoments, rank: Option<usize>, ridge: f64) -> Result<Factor> {
    let divisor = (class.count - 1) as f64;
    // n samples span at most n − 1 directions about their mean.
    let rank = rank.unwrap_or(usize::MAX).min(class.count - 1);
    let low = match (class.scatter_rows(), class.scatter()) {
        (Some(rows), _) => {
            let d = class.diagonal().len();
            LowRank::of_rows(rows, d, divisor, rank, ridge)?
        }
        (None, Some(scatter)) => {
            LowRank::of_covariance(&scatter.to_dense(1.0 / divisor), rank, ridge)?
        }
        (None, None) => return Err(Error::Empty),
    };
    Ok(Factor::LowRank(low))
}

fn weight(class: &ClassMoments, rule: Shrinkage) -> f64 {
    let Some(scatter) = class.scatter() else {
        return 0.0;
    };
    let (count, d) = (class.count, scatter.dimension());
    let n = count as f64;
    // Relative to the trace, so that no fourth power leaves the range of f64.
    let trace: f64 = scatter.diagonal().iter().sum::<f64>() / n;
    if trace <= 0.0 {
        return 0.0;
    }
    let squared_norm = scatter.relative_squared_norm(n * trace);
    match rule {
        Shrinkage::Oas => shrinkage::oas(count, d, 1.0, squared_norm),
        Shrinkage::LedoitWolf => {
            let fourth = class.fourth_moment().unwrap_or(0.0) / trace / trace;
            shrinkage::ledoit_wolf(count, d, 1.0, squared_norm, fourth)
        }
    }
}

/// Squares must neither overflow nor vanish beside a spread that is there.
fn check_range(class: usize, diagonal: &[f64], spread: f64) -> Result<()> {
    let trace: f64 = diagonal.iter().sum();
    if !trace.is_finite() {
        let what = "covariance";
        return Err(Error::Range { class, what });
    }
    if spread > 0.0 && trace < f64::MIN_POSITIVE {
        let what = "variance";
        return Err(Error::Range { class, what });
    }
    Ok(())
}
