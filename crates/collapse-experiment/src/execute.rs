//! One run from first step to `result.json`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use collapse_data::{Benchmark, Parts};
use collapse_features::{FeatureSet, Precision as Stored};
use collapse_models::Model;
use collapse_results::{EpochRecord, Evaluation, Run, RunTimes};
use collapse_train::{Event, HookError, Step, Trained, Trainer, extract};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::evaluate::{Measurement, Splits, evaluate, measure};
use crate::images::{FittedImages, HeldOutImages};
use crate::observer::{EpochProgress, Observer};
use crate::plan::RunPlan;

/// Images of one forward pass when features are extracted.
const EXTRACTION_BATCH: usize = 256;

/// What the hook leaves in the event log.
#[derive(Serialize, Deserialize)]
struct Hooked {
    measurement: Measurement,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    evaluation: Option<Evaluation>,
}

/// Trains, extracts, evaluates; everything but `result.json` is in `folder` afterwards.
pub(crate) fn execute(
    plan: &RunPlan,
    benchmark: &Benchmark,
    folder: &Path,
    observer: &dyn Observer,
    stop: &Arc<AtomicBool>,
) -> Result<Run, Error> {
    let parts = benchmark.id().split(plan.seed);
    let last = plan.train.epochs;
    let before_last = |epochs: &[usize]| -> Vec<usize> {
        epochs
            .iter()
            .copied()
            .filter(|&epoch| epoch < last)
            .collect()
    };
    let trainer = Trainer::new(plan.net.clone(), plan.train.clone(), folder)?
        .data_hash(benchmark.id().train_set().content_hash().to_hex())
        .measured_epochs(before_last(&plan.measure_at))
        .device(plan.device)
        .keep(plan.keep.clone())
        .stop_flag(Arc::clone(stop));

    let done = if trainer.checkpoint().exists() {
        collapse_train::read_state(&trainer.checkpoint())?.epoch
    } else {
        0
    };
    let id = plan.id();
    observer.started(&id, (done * parts.train.len()) as u64);
    let mut watcher = Watcher {
        plan,
        benchmark,
        parts: &parts,
        observer,
        evaluate_at: before_last(&plan.evaluate_at),
    };
    let mut trained = trainer.run(&FittedImages(&parts.train), &mut watcher)?;

    let began = Instant::now();
    observer.measuring(&id, last);
    let splits = extract_splits(trained.model.as_mut(), plan, benchmark, &parts, last)?;
    write_features(&splits, &folder.join("features"))?;
    let evaluation = evaluate(&splits, last)?;
    let measurement = measure(&splits)?;
    let parameters = trained.model.plan().n_parameters();
    let mut run = collect(plan, parameters, &trained, &measurement)?;
    run.evaluations.push(evaluation);
    run.times.evaluate_seconds += began.elapsed().as_secs_f64();
    Ok(run)
}

struct Watcher<'a> {
    plan: &'a RunPlan,
    benchmark: &'a Benchmark,
    parts: &'a Parts,
    observer: &'a dyn Observer,
    evaluate_at: Vec<usize>,
}

impl collapse_train::Observer for Watcher<'_> {
    fn step(&mut self, _step: &Step) {
        self.observer.trained(self.plan.train.batch_size as u64);
    }

    fn epoch(&mut self, record: &collapse_train::EpochRecord) {
        self.observer.epoch(
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
        self.observer.measuring(&self.plan.id(), epoch);
        let splits = extract_splits(model, self.plan, self.benchmark, self.parts, epoch)?;
        let evaluation = match self.evaluate_at.contains(&epoch) {
            true => Some(evaluate(&splits, epoch)?),
            false => None,
        };
        let hooked = Hooked {
            measurement: measure(&splits)?,
            evaluation,
        };
        Ok(Some(serde_json::to_value(hooked)?))
    }
}

fn extract_splits(
    model: &mut dyn Model,
    plan: &RunPlan,
    benchmark: &Benchmark,
    parts: &Parts,
    epoch: usize,
) -> Result<Splits, Error> {
    let mut of = |view: &collapse_data::View, split: &str| -> Result<FeatureSet, Error> {
        let metadata = [
            ("dataset", view.name().to_owned()),
            ("split", split.to_owned()),
            ("epoch", epoch.to_string()),
            ("seed", plan.seed.to_string()),
            ("group", plan.group.clone()),
        ];
        Ok(extract(
            model,
            &HeldOutImages(view),
            EXTRACTION_BATCH,
            &metadata,
        )?)
    };
    Ok(Splits {
        train: of(parts.train.view(), "train")?,
        validation: Some(of(&parts.validation, "validation")?),
        test: of(&benchmark.id().test(), "test")?,
        ood: benchmark
            .ood()
            .iter()
            .map(|view| Ok((view.name().to_owned(), of(view, "ood")?)))
            .collect::<Result<_, Error>>()?,
    })
}

fn write_features(splits: &Splits, folder: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|source| Error::Unwritable {
        path: folder.to_owned(),
        source,
    })?;
    let write = |name: &str, set: &FeatureSet| {
        set.write(folder.join(format!("{name}.safetensors")), Stored::F32)
    };
    write("train", &splits.train)?;
    if let Some(validation) = &splits.validation {
        write("validation", validation)?;
    }
    write("test", &splits.test)?;
    for (name, set) in &splits.ood {
        write(&format!("ood-{name}"), set)?;
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
        record.auroc.clone_from(&measurement.auroc);
    }
}
