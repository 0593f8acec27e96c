//! One run in its folder.

use std::path::Path;

use collapse_data::Benchmark;
use collapse_results::Run;

use crate::error::Error;
use crate::execute::execute;
use crate::plan::RunPlan;
use crate::splits::Measured;
use crate::store::{ClaimedRun, RunManifest};
use crate::work::Work;

/// Makes one run in `folder`, or reads its result where it is finished.
///
/// # Errors
/// [`Error::HeldElsewhere`] when another process is at it; [`Error::Interrupted`] and what training says when it was
/// stopped; those of data, training, features and evaluation.
pub fn make_run(
    plan: &RunPlan,
    manifest: &RunManifest,
    folder: &Path,
    work: &Work<'_>,
) -> Result<Run, Error> {
    if work.stop.is_raised() {
        return Err(Error::Interrupted);
    }
    let Some(mut claimed) = ClaimedRun::take(folder, manifest)? else {
        return Err(Error::HeldElsewhere {
            run: plan.id().to_string(),
            folder: folder.to_owned(),
        });
    };
    let found = claimed.result();
    for note in claimed.notes() {
        work.observer.note(note);
    }
    if let Some(run) = found? {
        let (trained, measured) = images_of(plan, work.benchmark);
        work.observer
            .finished_elsewhere(&plan.id(), trained, measured);
        return Ok(run);
    }
    claimed.forget_failure()?;
    let run = match execute(plan, &claimed, work) {
        Ok(run) => run,
        Err(error) => return Err(given_up(error, plan, &claimed, work)),
    };
    claimed.finish(&run)?;
    work.observer.finished(&plan.id(), &run);
    Ok(run)
}

/// Images that a whole run is trained on and measured on.
#[must_use]
pub fn images_of(plan: &RunPlan, benchmark: &Benchmark) -> (u64, u64) {
    let parts = benchmark.id().split(plan.seed);
    let trained = (parts.train.len() * plan.train.epochs) as u64;
    (trained, Measured::new(benchmark, &parts, plan).images(plan))
}

/// What is told of a run that could not be finished: its folder keeps the reason, unless it was stopped or taken over.
fn given_up(error: Error, plan: &RunPlan, claimed: &ClaimedRun, work: &Work<'_>) -> Error {
    if claimed.is_taken_over() {
        work.observer.note(&format!(
            "{} was taken over by another process, since this one gave no sign of life or locks do not work in its folder",
            plan.id()
        ));
        return Error::HeldElsewhere {
            run: plan.id().to_string(),
            folder: claimed.folder().to_owned(),
        };
    }
    if !work.stop.is_raised() {
        let mut reason = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(deeper) = cause {
            let text = deeper.to_string();
            if !reason.contains(&text) {
                reason = format!("{reason}: {text}");
            }
            cause = deeper.source();
        }
        // The error itself is told in any case.
        let _ = claimed.record_failure(reason);
    }
    error
}
