//! A hot path timed in turn with its yardstick.

use anyhow::Result;
use collapse_benches::{Case, Work};
use serde::{Deserialize, Serialize};

use super::super::measure::Timings;

/// A standard deviation from a median absolute deviation, and the standard error of a median from a standard deviation, both
/// of normal errors.
const DEVIATION: f64 = 1.4826;
const ERROR_OF_MEDIAN: f64 = 1.2533;

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    /// How often the inputs are made anew: at other addresses, the same work may take another time.
    blocks: usize,
    /// Pairs of work and yardstick of each.
    pairs: usize,
    /// Seconds of either half of a pair, at least.
    sample_s: f64,
}

impl Effort {
    pub(super) fn new(short: bool) -> Self {
        match short {
            true => Self {
                blocks: 3,
                pairs: 5,
                sample_s: 4e-3,
            },
            false => Self {
                blocks: 4,
                pairs: 5,
                sample_s: 5e-3,
            },
        }
    }
}

/// Pairs of one hot path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Measured {
    /// Name of the case.
    pub(super) id: String,
    /// Seconds of one call of the work, pair by pair.
    pub(super) work_s: Vec<f64>,
    /// Seconds of one call of the yardstick beside it.
    pub(super) yardstick_s: Vec<f64>,
}

impl Measured {
    /// How many times the work fits into its yardstick: larger is faster.
    pub(super) fn ratio(&self) -> f64 {
        Timings::new(self.ratios()).median()
    }

    /// Standard error of the ratio, relative.
    pub(super) fn error(&self) -> f64 {
        let pairs = self.work_s.len().max(1) as f64;
        ERROR_OF_MEDIAN * spread(&self.ratios()) / pairs.sqrt()
    }

    /// Spread of the yardstick, which always does the same: what the machine adds.
    pub(super) fn restlessness(&self) -> f64 {
        spread(&self.yardstick_s)
    }

    /// Median seconds of the work.
    pub(super) fn work_median_s(&self) -> f64 {
        Timings::new(self.work_s.clone()).median()
    }

    /// Median seconds of the yardstick.
    pub(super) fn yardstick_median_s(&self) -> f64 {
        Timings::new(self.yardstick_s.clone()).median()
    }

    /// Both measurements as one.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.work_s.extend(other.work_s);
        self.yardstick_s.extend(other.yardstick_s);
        self
    }

    fn ratios(&self) -> Vec<f64> {
        let pairs = self.yardstick_s.iter().zip(&self.work_s);
        pairs.map(|(yardstick, work)| yardstick / work).collect()
    }
}

/// Robust relative standard deviation.
fn spread(values: &[f64]) -> f64 {
    let median = Timings::new(values.to_vec()).median();
    let deviations = values.iter().map(|value| (value - median).abs()).collect();
    DEVIATION * Timings::new(deviations).median() / median
}

pub(super) fn measure(case: &Case, effort: Effort) -> Result<Measured> {
    let mut measured = Measured {
        id: case.id.clone(),
        work_s: Vec::new(),
        yardstick_s: Vec::new(),
    };
    // Kept to the end, so that each block finds other addresses.
    let mut prepared = Vec::new();
    for _ in 0..effort.blocks {
        let (mut work, mut yardstick) = (case.prepare()?, case.yardstick.prepare()?);
        let work_calls = calls(&mut work, effort)?;
        let yardstick_calls = calls(&mut yardstick, effort)?;
        for _ in 0..effort.pairs {
            measured.work_s.push(seconds(&mut work, work_calls)?);
            let yardstick_s = seconds(&mut yardstick, yardstick_calls)?;
            measured.yardstick_s.push(yardstick_s);
        }
        prepared.push((work, yardstick));
    }
    drop(prepared);
    // The next case finds the memory of the kernels as this one found it.
    collapse_kernels::release_idle_memory();
    Ok(measured)
}

/// Calls that fill a sample.
fn calls(work: &mut Work, effort: Effort) -> Result<usize> {
    let mut calls = 1;
    loop {
        let taken = seconds(work, calls)? * calls as f64;
        if taken >= effort.sample_s {
            return Ok(calls);
        }
        let missing = (effort.sample_s / taken.max(1e-6)).min(64.0);
        calls = (calls as f64 * missing * 1.1).ceil() as usize;
    }
}

/// Seconds of one of so many calls.
fn seconds(work: &mut Work, calls: usize) -> Result<f64> {
    let began = processor_time();
    for _ in 0..calls {
        work()?;
    }
    Ok((processor_time() - began) / calls as f64)
}

/// Seconds that this process has computed: other processes on the machine do not count.
#[cfg(unix)]
fn processor_time() -> f64 {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;
    getrusage(UsageWho::RUSAGE_SELF).map_or(f64::NAN, |usage| {
        let spent = usage.user_time() + usage.system_time();
        1e-6 * spent.num_microseconds() as f64
    })
}

/// Seconds on the clock, where the system does not tell of processor time.
#[cfg(not(unix))]
fn processor_time() -> f64 {
    use std::sync::OnceLock;
    use std::time::Instant;
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    BEGAN.get_or_init(Instant::now).elapsed().as_secs_f64()
}
