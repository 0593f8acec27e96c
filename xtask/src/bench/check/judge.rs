//! From measurements to a verdict.

use anyhow::Result;
use collapse_benches::Case;

use super::floors::Floor;
use super::measure::Measured;
use super::outcome::{Outcome, Verdict};

/// Measurements in this process before nothing more is expected of another.
const ATTEMPTS: usize = 3;
/// Processes of their own that must agree before a slow-down is told.
const CONFIRMATIONS: usize = 2;
/// Relative standard error of a ratio from which it says nothing about slow-downs of a quarter.
const NOISY: f64 = 0.05;
/// Relative spread of the yardstick from which the machine is too restless.
const RESTLESS: f64 = 0.15;
/// How much longer than when blessed the yardstick may take before the machine, not the code, is thought to be slow.
const HELD_UP: f64 = 1.3;

/// What one measurement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    Held,
    Below,
    Unclear(&'static str),
}

/// Measures with `here`, again where it is unclear, and with `elsewhere` before a slow-down is told.
pub(super) fn settle(
    case: &Case,
    floor: Option<&Floor>,
    here: impl FnMut() -> Result<Measured>,
    elsewhere: impl FnMut() -> Result<Measured>,
) -> Result<Outcome> {
    let settled = match floor {
        Some(floor) => against_floor(floor, here, elsewhere)?,
        None => without_floor(here)?,
    };
    let measured = &settled.measured;
    Ok(Outcome {
        id: case.id.clone(),
        yardstick: case.yardstick.name,
        ratio: measured.ratio(),
        error: measured.error(),
        work_s: measured.work_median_s(),
        yardstick_s: measured.yardstick_median_s(),
        blessed: floor.map(|floor| floor.ratio),
        floor: floor.map(|floor| floor.floor),
        measurements: settled.measurements,
        verdict: settled.verdict,
        reason: settled.reason,
    })
}

struct Settled {
    measured: Measured,
    measurements: usize,
    verdict: Verdict,
    reason: Option<&'static str>,
}

fn without_floor(mut here: impl FnMut() -> Result<Measured>) -> Result<Settled> {
    Ok(Settled {
        measured: here()?,
        measurements: 1,
        verdict: Verdict::NoFloor,
        reason: None,
    })
}

fn against_floor(
    floor: &Floor,
    mut here: impl FnMut() -> Result<Measured>,
    mut elsewhere: impl FnMut() -> Result<Measured>,
) -> Result<Settled> {
    let settled = |measured, measurements, verdict, reason| {
        Ok(Settled {
            measured,
            measurements,
            verdict,
            reason,
        })
    };
    let mut measured = here()?;
    let mut measurements = 1;
    while let Finding::Unclear(_) = look(&measured, floor)
        && measurements < ATTEMPTS
    {
        measured = measured.and(here()?);
        measurements += 1;
    }
    if look(&measured, floor) == Finding::Held {
        return settled(measured, measurements, Verdict::Held, None);
    }
    // Below its floor, or unclear: another process has other addresses, and some seconds have passed.
    let mut unclear = None;
    let mut first = Some(measured);
    let mut together: Option<Measured> = None;
    for _ in 0..CONFIRMATIONS {
        let again = elsewhere()?;
        measurements += 1;
        match look(&again, floor) {
            Finding::Held => return settled(again, measurements, Verdict::Held, None),
            Finding::Unclear(reason) => unclear = Some(reason),
            Finding::Below => {}
        }
        let before = together.take().or_else(|| first.take());
        together = Some(match before {
            Some(before) => before.and(again),
            None => again,
        });
    }
    let Some(measured) = together.or(first) else {
        anyhow::bail!("nothing was measured");
    };
    match (look(&measured, floor), unclear) {
        (Finding::Held, _) => settled(measured, measurements, Verdict::Held, None),
        (Finding::Below, None) => settled(measured, measurements, Verdict::Slower, None),
        (Finding::Unclear(reason), _) | (Finding::Below, Some(reason)) => {
            settled(measured, measurements, Verdict::Inconclusive, Some(reason))
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
