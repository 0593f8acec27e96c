//! From partial statistics to factors: divisors, shrinkage and the jitter ladder.

use rayon::prelude::*;

use crate::error::{DensityError, Result};
use crate::factor::{Factor, LowRank};
use crate::linalg::{Cholesky, SymmetricPanels};
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
    mut classes: Vec<ClassMoments>,
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
            let factors = classes.iter().map(|class| low_rank(class, rank, ridge));
            (factors.collect::<Result<_>>()?, ridge)
        }
        Covariance::Shrinkage(rule) => {
            let rho: Vec<f64> = classes.iter().map(|class| weight(class, rule)).collect();
            let mut shrunk = Vec::with_capacity(classes.len());
            for (class, rho) in classes.iter_mut().zip(&rho) {
                let Some(scatter) = class.take_scatter() else {
                    continue;
                };
                shrunk.push((scatter.shrunk(*rho), class.count, class.spread));
            }
            let scaled: Vec<Scaled> = shrunk
                .iter()
                .map(|(scatter, count, spread)| (scatter, 1.0 / *count as f64, *count, *spread))
                .collect();
            weights = Some(rho);
            full(&scaled, jitter)?
        }
        Covariance::Full | Covariance::Tied => {
            let scaled: Vec<Scaled> = classes
                .iter()
                .filter_map(|class| {
                    let divisor = (class.count - 1) as f64;
                    Some((class.scatter()?, 1.0 / divisor, class.count, class.spread))
                })
                .collect();
            full(&scaled, jitter)?
        }
    };
    Ok(Fitted {
        factors,
        jitter,
        shrinkage: weights,
    })
}

/// A scatter matrix, the factor that makes it a covariance, the samples behind it and their spread.
pub(crate) type Scaled<'a> = (&'a SymmetricPanels, f64, usize, f64);

fn full(scaled: &[Scaled], jitter: Jitter) -> Result<(Vec<Factor>, f64)> {
    let (factors, jitter) = factorise(scaled, jitter)?;
    Ok((factors.into_iter().map(Factor::Full).collect(), jitter))
}

/// Cholesky factors of all matrices at the first jitter where every one exists.
///
/// A rung that changes no diagonal entry gives the same bits as no jitter, so it is not tried again: of DDU's 310
/// rungs about 20 remain. The matrix that failed last is tried first.
pub(crate) fn factorise(scaled: &[Scaled], jitter: Jitter) -> Result<(Vec<Cholesky>, f64)> {
    for (class, (scatter, _, _, spread)) in scaled.iter().enumerate() {
        check_range(class, &scatter.diagonal(), *spread)?;
    }
    let diagonals: Vec<Vec<f64>> = scaled
        .iter()
        .map(|(scatter, scale, ..)| scatter.diagonal().iter().map(|v| v * scale).collect())
        .collect();
    let candidates = jitter.candidates();
    let mut last_failure = 0;
    for (rung, &shift) in candidates.iter().enumerate() {
        let unchanged = |d: &Vec<f64>| d.iter().all(|v| v + shift == *v);
        if rung > 0 && diagonals.get(last_failure).is_some_and(unchanged) {
            continue;
        }
        if let Some((scatter, scale, ..)) = scaled.get(last_failure)
            && rung > 0
            && scatter.cholesky(*scale, shift).is_none()
        {
            continue;
        }
        let factors: Vec<Option<Cholesky>> = scaled
            .par_iter()
            .map(|(scatter, scale, ..)| scatter.cholesky(*scale, shift))
            .collect();
        match factors.iter().position(Option::is_none) {
            Some(class) => last_failure = class,
            None => return Ok((factors.into_iter().flatten().collect(), shift)),
        }
    }
    let (scatter, _, samples, _) = scaled[last_failure];
    Err(DensityError::Singular {
        class: last_failure,
        samples,
        dimension: scatter.dimension(),
        jitter: candidates.last().copied().unwrap_or(0.0),
    })
}

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
        return Err(DensityError::Singular {
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
    let scatter = class.scatter().ok_or(DensityError::Empty)?;
    let divisor = (class.count - 1) as f64;
    // n samples span at most n − 1 directions about their mean.
    let rank = rank.unwrap_or(usize::MAX).min(class.count - 1);
    let covariance = scatter.to_dense(1.0 / divisor);
    Ok(Factor::LowRank(LowRank::new(&covariance, rank, ridge)?))
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
        return Err(DensityError::Range { class, what });
    }
    if spread > 0.0 && trace < f64::MIN_POSITIVE {
        let what = "variance";
        return Err(DensityError::Range { class, what });
    }
    Ok(())
}
