//! How far a figure would move with other samples from the same two sets.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use super::detection::Detection;
use super::ranking::{Positive, Ranking, Ties, area, fpr_at, least_error, precision_recall};
use crate::error::{Error, Result};

/// A confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Ranking {
    /// DeLong's variance of the AUROC.
    ///
    /// Source: DeLong, DeLong and Clarke-Pearson (1988), by ranks in O(N log N) as Sun and Xu (2014).
    ///
    /// # Errors
    /// [`Error::Undefined`] when a set has one sample only.
    pub fn delong_variance(&self) -> Result<f64> {
        let (n_id, n_ood) = self.sizes();
        if n_id < 2 || n_ood < 2 {
            let reason = format!("{n_id} ID and {n_ood} OoD scores; give at least two of each");
            return Err(Error::undefined("the variance of the AUROC", reason));
        }
        let auroc = self.auroc();
        let (mut id_above, mut ood_above) = (0u64, 0u64);
        let (mut id_spread, mut ood_spread) = (0.0, 0.0);
        for Ties { id, ood } in self.descending() {
            // Share of OoD that an ID sample of this group beats, and of ID that beat an OoD sample.
            let beaten = ((n_ood - ood_above - ood) as f64 + 0.5 * ood as f64) / n_ood as f64;
            let beating = (id_above as f64 + 0.5 * id as f64) / n_id as f64;
            id_spread += id as f64 * (beaten - auroc).powi(2);
            ood_spread += ood as f64 * (beating - auroc).powi(2);
            id_above += id;
            ood_above += ood;
        }
        let (n, m) = (n_id as f64, n_ood as f64);
        Ok(id_spread / ((n - 1.0) * n) + ood_spread / ((m - 1.0) * m))
    }

    /// DeLong's normal interval of the AUROC at `level` (for example 0.95), cut to 0..=1.
    ///
    /// It shrinks to a point where the sets are separated perfectly, which two finite samples do not prove.
    ///
    /// # Errors
    /// As [`delong_variance`](Self::delong_variance); [`Error::Setting`] when `level` is not between 0 and 1.
    pub fn delong_interval(&self, level: f64) -> Result<Interval> {
        check_level(level)?;
        let auroc = self.auroc();
        let half =
            Normal::standard().inverse_cdf(0.5 + 0.5 * level) * self.delong_variance()?.sqrt();
        Ok(Interval {
            low: (auroc - half).max(0.0),
            high: (auroc + half).min(1.0),
        })
    }
}

/// [`Ranking::delong_variance`] of in-distribution against out-of-distribution scores.
///
/// # Errors
/// As [`Ranking::new`]; [`Error::Undefined`] when a set has one sample only.
pub fn delong_variance(id: &[f64], ood: &[f64]) -> Result<f64> {
    Ranking::new(id, ood)?.delong_variance()
}

/// [`Ranking::delong_interval`] of in-distribution against out-of-distribution scores.
///
/// # Errors
/// As [`delong_variance`]; [`Error::Setting`] when `level` is not between 0 and 1.
pub fn delong_interval(id: &[f64], ood: &[f64], level: f64) -> Result<Interval> {
    Ranking::new(id, ood)?.delong_interval(level)
}

/// Settings of a bootstrap.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Resamples; the ends of a 95 % interval need a thousand or more.
    pub resamples: usize,
    /// Level of the intervals, between 0 and 1.
    pub level: f64,
    /// Seed; the same seed gives the same intervals on any number of threads.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self {
            resamples: 1000,
            level: 0.95,
            seed: 0,
        }
    }
}

/// Percentile intervals of every detection figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BootstrapIntervals {
    /// Of the AUROC.
    pub auroc: Interval,
    /// Of the average precision with ID positive.
    pub aupr_in: Interval,
    /// Of the average precision with OoD positive.
    pub aupr_out: Interval,
    /// Of the FPR at 95 % TPR with ID positive.
    pub fpr95_id_positive: Interval,
    /// Of the FPR at 95 % TPR with OoD positive.
    pub fpr95_ood_positive: Interval,
    /// Of the least detection error.
    pub detection_error: Interval,
}

impl Bootstrap {
    /// Intervals of all figures; each set is resampled with replacement at its own size.
    ///
    /// # Errors
    /// As [`Ranking::new`]; [`Error::Setting`] without resamples or with a level outside 0..1.
    pub fn intervals(&self, id: &[f64], ood: &[f64]) -> Result<BootstrapIntervals> {
        self.intervals_of(&Ranking::new(id, ood)?)
    }

    /// As [`intervals`](Self::intervals) of scores ranked before.
    ///
    /// # Errors
    /// [`Error::Setting`] without resamples or with a level outside 0..1.
    pub fn intervals_of(&self, ranking: &Ranking) -> Result<BootstrapIntervals> {
        check_level(self.level)?;
        if self.resamples == 0 {
            let expected = "at least 1, better 1000".into();
            return Err(Error::Setting {
                name: "resamples",
                value: "0".into(),
                expected,
            });
        }
        let groups: Vec<Ties> = ranking.descending().collect();
        let owner = |count: fn(&Ties) -> u64| -> Vec<u32> {
            let repeat = |(group, ties)| std::iter::repeat_n(group as u32, count(ties) as usize);
            groups.iter().enumerate().flat_map(repeat).collect()
        };
        let (id_groups, ood_groups) = (owner(|ties| ties.id), owner(|ties| ties.ood));
        let figures: Vec<Detection> = (0..self.resamples)
            .into_par_iter()
            .map_init(
                || vec![Ties::default(); groups.len()],
                |counts, resample| {
                    let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
                    rng.set_stream(resample as u64);
                    counts.fill(Ties::default());
                    for _ in 0..id_groups.len() {
                        counts[id_groups[below(&mut rng, id_groups.len())] as usize].id += 1;
                    }
                    for _ in 0..ood_groups.len() {
                        counts[ood_groups[below(&mut rng, ood_groups.len())] as usize].ood += 1;
                    }
                    figures(counts, id_groups.len() as u64, ood_groups.len() as u64)
                },
            )
            .collect();
        let interval = |figure: fn(&Detection) -> f64| {
            let mut values: Vec<f64> = figures.iter().map(figure).collect();
            values.sort_unstable_by(f64::total_cmp);
            Interval {
                low: quantile(&values, 0.5 - 0.5 * self.level),
                high: quantile(&values, 0.5 + 0.5 * self.level),
            }
        };
        Ok(BootstrapIntervals {
            auroc: interval(|figures| figures.auroc),
            aupr_in: interval(|figures| figures.aupr_in),
            aupr_out: interval(|figures| figures.aupr_out),
            fpr95_id_positive: interval(|figures| figures.fpr95_id_positive),
            fpr95_ood_positive: interval(|figures| figures.fpr95_ood_positive),
            detection_error: interval(|figures| figures.detection_error),
        })
    }
}

fn figures(counts: &[Ties], n_id: u64, n_ood: u64) -> Detection {
    // Groups that the resample left out are no thresholds.
    let down = || counts.iter().copied().filter(|ties| ties.id + ties.ood > 0);
    let up = || {
        counts
            .iter()
            .rev()
            .copied()
            .filter(|ties| ties.id + ties.ood > 0)
    };
    Detection {
        auroc: area(down(), n_id, n_ood),
        aupr_in: precision_recall(down(), Positive::Id, n_id).step,
        aupr_out: precision_recall(up(), Positive::Ood, n_ood).step,
        fpr95_id_positive: fpr_at(down(), Positive::Id, (n_id, n_ood), 0.95),
        fpr95_ood_positive: fpr_at(up(), Positive::Ood, (n_ood, n_id), 0.95),
        detection_error: least_error(down(), n_id, n_ood),
    }
}

/// Uniform in `0..bound` by multiply-shift; the bias is below bound / 2⁶⁴.
fn below(rng: &mut ChaCha8Rng, bound: usize) -> usize {
    ((u128::from(rng.next_u64()) * bound as u128) >> 64) as usize
}

/// Linear interpolation between the order statistics of sorted, non-empty `values`.
fn quantile(values: &[f64], share: f64) -> f64 {
    let position = share * (values.len() - 1) as f64;
    let low = position.floor() as usize;
    let high = (low + 1).min(values.len() - 1);
    values[low] + (position - low as f64) * (values[high] - values[low])
}

pub(crate) fn check_level(level: f64) -> Result<()> {
    if level > 0.0 && level < 1.0 {
        return Ok(());
    }
    Err(Error::Setting {
        name: "confidence level",
        value: level.to_string(),
        expected: "between 0 and 1".into(),
    })
}
