//! From measurements to a verdict.

use anyhow::Result;
use collapse_benches::Case;

use super::floors::Floor;
use super::measure::Measured;
use super::outcome::{Outcome, Verdict};

/// Measurements in this process before nothing more is expected of another.
const ATTEMPTS: usize = 3;
/// Processes of their own that must agree before a slow-down is told.
pub(super) const CONFIRMATIONS: usize = 3;
/// Relative standard error of a ratio from which it says nothing about slow-downs of a quarter.
const NOISY: f64 = 0.05;
/// Relative spread of the yardstick from which the machine is too restless.
const RESTLESS: f64 = 0.15;
/// How much longer than when blessed the yardstick may take before the machine, not the code, is thought to be slow.
const HELD_UP: f64 = 1.3;

/// Processor time over time on the clock below which other processes crowd the machine, and how far below its floor, relative, a hot
/// path must then lie: they empty its caches, which the yardstick has no need of.
const CROWDED: f64 = 0.5;
const CROWDED_MARGIN: f64 = 0.06;

/// What one measurement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    Held,
    Below,
    Unclear(&'static str),
}

/// A hot path before its verdict.
pub(super) struct Trial<'a> {
    floor: Option<&'a Floor>,
    measured: Measured,
    measurements: usize,
    verdict: Option<Verdict>,
    /// Why a process could not tell.
    unclear: Option<&'static str>,
}

impl<'a> Trial<'a> {
    /// Measures with `here`, again where that is unclear.
    pub(super) fn begin(
        floor: Option<&'a Floor>,
        mut here: impl FnMut() -> Result<Measured>,
    ) -> Result<Self> {
        let mut trial = Self {
            floor,
            measured: here()?,
            measurements: 1,
            verdict: None,
            unclear: None,
        };
        let Some(floor) = floor else {
            trial.verdict = Some(Verdict::NoFloor);
            return Ok(trial);
        };
        while let Finding::Unclear(_) = look(&trial.measured, floor)
            && trial.measurements < ATTEMPTS
        {
            trial.measured.extend(here()?);
            trial.measurements += 1;
        }
        if look(&trial.measured, floor) == Finding::Held {
            trial.verdict = Some(Verdict::Held);
        }
        Ok(trial)
    }

    /// Whether other processes must measure it too.
    pub(super) fn is_open(&self) -> bool {
        self.verdict.is_none()
    }

    /// Takes in what another process measured, with other addresses and some time later.
    pub(super) fn hear(&mut self, again: Measured) {
        let Some(floor) = self.floor else { return };
        self.measurements += 1;
        match look(&again, floor) {
            Finding::Held => {
                self.verdict = Some(Verdict::Held);
                self.measured = again;
                return;
            }
            Finding::Unclear(reason) => self.unclear = Some(reason),
            Finding::Below => {}
        }
        self.measured.extend(again);
    }

    /// The verdict on all measurements together.
    pub(super) fn outcome(self, case: &Case) -> Outcome {
        let (verdict, reason) = self.verdict();
        let measured = &self.measured;
        Outcome {
            id: case.id.clone(),
            yardstick: case.yardstick.name,
            ratio: measured.ratio(),
            error: measured.error(),
            work_s: measured.work_median_s(),
            yardstick_s: measured.yardstick_median_s(),
            share_of_core: measured.share_of_core,
            blessed: self.floor.map(|floor| floor.ratio),
            floor: self.floor.map(|floor| floor.floor),
            measurements: self.measurements,
            verdict,
            reason,
        }
    }

    fn verdict(&self) -> (Verdict, Option<&'static str>) {
        let (None, Some(floor)) = (self.verdict, self.floor) else {
            return (self.verdict.unwrap_or(Verdict::NoFloor), None);
        };
        match (look(&self.measured, floor), self.unclear) {
            (Finding::Held, _) => (Verdict::Held, None),
            (Finding::Below, None) => (Verdict::Slower, None),
            (Finding::Unclear(reason), _) | (Finding::Below, Some(reason)) => {
                (Verdict::Inconclusive, Some(reason))
            }
        }
    }
}

fn look(measured: &Measured, floor: &Floor) -> Finding {
    let (ratio, error) = (measured.ratio(), measured.error());
    if error > NOISY {
        return Finding::Unclear("the ratio scatters too much");
    }
    if ratio >= floor.floor {
        return Finding::Held;
    }
    if measured.favourable_ratio() >= floor.floor {
        return Finding::Unclear("a fifth of the pairs reach the floor");
    }
    if measured.share_of_core < CROWDED && ratio >= (1.0 - CROWDED_MARGIN) * floor.floor {
        return Finding::Unclear("a little below the floor on a crowded machine");
    }
    if ratio * (1.0 + 2.0 * error) >= floor.floor {
        return Finding::Unclear("within two standard errors of the floor");
    }
    if measured.restlessness() > RESTLESS {
        return Finding::Unclear("the yardstick itself scatters");
    }
    if measured.yardstick_median_s() > HELD_UP * floor.yardstick_s {
        return Finding::Unclear("the yardstick itself takes longer than when blessed");
    }
    Finding::Below
}

#[cfg(test)]
mod tests;
