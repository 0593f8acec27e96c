//! One run from first step to `result.json`.

use std::path::Path;
use std::time::Instant;

use collapse_evaluate::{FeatureSplits, Measurement, Split};
use collapse_features::Precision as Stored;
use collapse_models::Model;
use collapse_ood::{Intervals, Settings};
use collapse_results::{EpochRecord, Evaluation, Run, RunTimes};
use collapse_train::{Event, FittedImages, HookError, Step, Trained, Trainer};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::machine::maker;
use crate::observer::EpochProgress;
use crate::plan::RunPlan;
use crate::splits::Measured;
use crate::stop::Training;
use crate::store::ClaimedRun;
use crate::work::Work;

/// What the hook leaves in the event log.
#[derive(Serialize, Deserialize)]
struct Hooked {
    measurement: Measurement,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    evaluation: Option<Evaluation>,
}

/// Trains, extracts, evaluates; everything but `result.json` is in the claimed folder afterwards.
pub(crate) fn execute(plan: &RunPlan, claimed: &ClaimedRun, work: &Work<'_>) -> Result<Run, Error> {
    let parts = work.benchmark.id().split(plan.seed);
    let last = plan.train.epochs;
    let trainer = Trainer::new(plan.net.clone(), plan.train.clone(), claimed.folder())?
        .data_hash(work.benchmark.id().train_set().content_hash().to_hex())
        .measured_epochs(plan.measured_before_last())
        .device(work.device)
        .keep(plan.keep.clone())
        .stop_flag(work.stop.flag());

    let at = Position::of(&trainer.checkpoint())?;
    let maker = maker(work.device, work.code_version)?;
    let starts = claimed.record_start(at.epochs, at.within > 0, maker, work.one_path)?;
    let measured = Measured::new(work.benchmark, &parts, plan);
    let id = plan.id();
    work.observer.started(
        &id,
        (at.epochs * parts.train.len() + at.within) as u64,
        measured.images_after(plan, &at.evaluated),
    );
    let mut watcher = Watcher {
        plan,
        claimed,
        work,
        images: &measured,
        training: Some(work.stop.train()),
    };
    let mut trained = trainer.run(&FittedImages(&parts.train), &mut watcher)?;
    drop(watcher);

    let began = Instant::now();
    work.observer.measuring(&id, last);
    let splits = measured
        .all
        .extract(trained.model.as_mut(), plan, last, work)?;
    write_features(&splits, claimed)?;
    let splits = splits.complete(None)?;
    let fitted = splits.fit_all(&Settings::default())?;
    let evaluation = splits.evaluate(fitted, &Intervals::default())?;
    let parameters = trained.model.plan().n_parameters();
    let mut run = collect(plan, parameters, &trained, &evaluation.measurement())?;
    run.evaluations.push(splits.record(&evaluation, last)?);
    run.made_by = starts.spans(last);
    run.times.evaluate_seconds += began.elapsed().as_secs_f64();
    Ok(run)
}

/// How far the checkpoint of a run is.
#[derive(Default)]
pub(crate) struct Position {
    /// Epochs finished.
    pub(crate) epochs: usize,
    /// Images trained on in the one after them.
    pub(crate) within: usize,
    /// Epochs after which the network was measured.
    pub(crate) evaluated: Vec<usize>,
}

impl Position {
    /// Of a checkpoint; the beginning where there is none.
    pub(crate) fn of(checkpoint: &Path) -> Result<Self, Error> {
        if !checkpoint.exists() {
            return Ok(Self::default());
        }
        let state = collapse_train::read_state(checkpoint)?;
        Ok(Self {
            epochs: state.epoch,
            within: state.within.map_or(0, |part| part.images),
            evaluated: state.evaluated,
        })
    }
}

struct Watcher<'a> {
    plan: &'a RunPlan,
    claimed: &'a ClaimedRun,
    work: &'a Work<'a>,
    images: &'a Measured,
    /// Held while training, not while measuring.
    training: Option<Training<'a>>,
}

impl collapse_train::Observer for Watcher<'_> {
    fn step(&mut self, step: &Step) {
        self.work.observer.trained(step.images as u64);
    }

    fn before_write(&mut self) -> Result<(), HookError> {
        Ok(self.claimed.check()?)
    }

    fn epoch(&mut self, record: &collapse_train::EpochRecord) {
        self.work.observer.epoch(
            &self.plan.id(),
            EpochProgress {
                epoch: record.epoch,
                epochs: self.plan.train.epochs,
                loss: record.loss,
                accuracy: record.accuracy,
            },
        );
    }

    fn evaluate(
        &mut self,
        epoch: usize,
        model: &mut dyn Model,
    ) -> Result<Option<serde_json::Value>, HookError> {
        self.training = None;
        let hooked = self.measure(epoch, model);
        // Also where it was stopped: the trainer then writes the checkpoint of the epoch.
        self.training = Some(self.work.stop.train());
        Ok(Some(serde_json::to_value(hooked?)?))
    }
}

impl Watcher<'_> {
    fn measure(&self, epoch: usize, model: &mut dyn Model) -> Result<Hooked, Error> {
        self.work.observer.measuring(&self.plan.id(), epoch);
        let images = self.images.at(self.plan, epoch);
        let splits = images.extract(model, self.plan, epoch, self.work)?;
        let splits = splits.complete(None)?;
        if !self.plan.evaluate_at.contains(&epoch) {
            return Ok(Hooked {
                measurement: splits.measure()?,
                evaluation: None,
            });
        }
        let fitted = splits.fit_all(&Settings::default())?;
        let evaluation = splits.evaluate(fitted, &Intervals::default())?;
        Ok(Hooked {
            measurement: evaluation.measurement(),
            evaluation: Some(splits.record(&evaluation, epoch)?),
        })
    }
}

fn write_features(splits: &FeatureSplits, claimed: &ClaimedRun) -> Result<(), Error> {
    let folder = claimed.folder().join("features");
    claimed.check()?;
    std::fs::create_dir_all(&folder).map_err(|source| Error::Unwritable {
        path: folder.clone(),
        source,
    })?;
    let write = |name: &str, split: &Split| -> Result<(), Error> {
        claimed.check()?;
        let path = folder.join(format!("{name}.safetensors"));
        Ok(split.features.write(path, Stored::F32)?)
    };
    let own = splits.train.iter().chain(&splits.validation);
    for split in own.chain([&splits.test]) {
        write(&split.name, split)?;
    }
    for split in &splits.ood {
        write(&format!("ood-{}", split.name), split)?;
    }
    Ok(())
}

/// Joins the event log and the last measurement into a run without its last evaluation.
fn collect(
    plan: &RunPlan,
    parameters: usize,
    trained: &Trained,
    last: &Measurement,
) -> Result<Run, Error> {
    let mut run = Run {
        group: plan.group.clone(),
        seed: plan.seed,
        parameters,
        evaluations: Vec::new(),
        history: Vec::new(),
        made_by: Vec::new(),
        times: RunTimes::default(),
    };
    let untrained = EpochRecord {
        epoch: 0,
        learning_rate: 0.0,
        train_loss: None,
        train_accuracy: None,
        validation_accuracy: None,
        geometry: None,
        geometry_counterpart: None,
        auroc: Vec::new(),
    };
    for event in &trained.events {
        match event {
            Event::Epoch(record) => {
                run.times.train_seconds += record.time;
                run.history.push(EpochRecord {
                    epoch: record.epoch,
                    learning_rate: record.learning_rate,
                    train_loss: Some(record.loss),
                    train_accuracy: Some(record.accuracy),
                    ..untrained.clone()
                });
            }
            Event::Evaluation {
                epoch,
                values,
                time,
            } => {
                run.times.evaluate_seconds += time;
                let hooked: Hooked =
                    serde_json::from_value(values.clone()).map_err(|source| Error::Damaged {
                        path: trained.checkpoint.with_file_name("events.jsonl"),
                        message: source.to_string(),
                    })?;
                if *epoch == 0 {
                    run.history.push(untrained.clone());
                }
                note(&mut run.history, *epoch, &hooked.measurement);
                run.evaluations.extend(hooked.evaluation);
            }
        }
    }
    note(&mut run.history, plan.train.epochs, last);
    Ok(run)
}

fn note(history: &mut [EpochRecord], epoch: usize, measurement: &Measurement) {
    if let Some(record) = history.iter_mut().find(|record| record.epoch == epoch) {
        record.validation_accuracy = measurement.validation_accuracy;
        record.geometry = measurement.geometry;
        record.geometry_counterpart = measurement.geometry_counterpart;
        record.auroc.clone_from(&measurement.auroc);
    }
}
