//! A run under way: where it stands, and what guards it between two steps.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use collapse_models::Batch;

use crate::checkpoint::{EpochPart, RunState, Snapshot};
use crate::data::TrainSet;
use crate::events::EpochRecord;
use crate::learner::{Learner, StepResult};
use crate::observer::{Observer, permitted};
use crate::{Error, Result};

/// Images that a network must give finite outputs for at the end of an epoch.
const PROBED: usize = 16;

/// All that changes while a run goes on.
pub(crate) struct Run {
    pub(crate) state: RunState,
    pub(crate) learner: Learner,
    /// Its checkpoint.
    pub(crate) path: PathBuf,
}

impl Run {
    /// The beginning of the epoch that is under way.
    pub(crate) fn part(&mut self) -> &mut EpochPart {
        self.state.within.get_or_insert_default()
    }

    /// Counts a finished step on so many images.
    pub(crate) fn count(&mut self, images: usize, rate: f64, result: &StepResult) {
        self.state.step += 1;
        let part = self.part();
        part.steps += 1;
        part.images += images;
        part.hits += result.hits;
        part.loss += images as f64 * result.loss;
        part.rate = rate;
        for (&name, value) in &result.components {
            *part.components.entry(name.to_owned()).or_default() += images as f64 * value;
        }
    }

    /// Ends the epoch that is under way.
    pub(crate) fn close_epoch(&mut self) -> Result<()> {
        self.state.within = None;
        self.state.epoch += 1;
        self.write()
    }

    pub(crate) fn write(&mut self) -> Result<()> {
        let Learner {
            model, optimizer, ..
        } = &mut self.learner;
        let (momentum, average) = optimizer.state()?;
        let snapshot = Snapshot {
            state: &self.state,
            parameters: model.parameters()?,
            momentum,
            average,
        };
        snapshot.write(&self.path)
    }

    /// The checkpoint, if there is one.
    pub(crate) fn checkpoint(&self) -> Option<PathBuf> {
        self.path.exists().then(|| self.path.clone())
    }

    /// Stores the steps that no checkpoint holds yet, and says that the run was stopped.
    pub(crate) fn interrupted(&mut self, observer: &mut dyn Observer) -> Error {
        let finished = self
            .state
            .within
            .as_ref()
            .is_some_and(|part| part.steps > 0);
        if finished
            && self.check_weights(f64::NAN).is_ok()
            && let Err(error) = permitted(observer).and_then(|()| self.write())
        {
            return error;
        }
        Error::Interrupted {
            epoch: self.state.epoch + 1,
            step: self.state.step,
            checkpoint: self.checkpoint(),
        }
    }

    /// Fails when a weight or statistic is not finite; losses can stay finite while a weight does not.
    fn check_weights(&mut self, loss: f64) -> Result<()> {
        let parameters = self.learner.model.parameters()?;
        let broken = parameters
            .iter()
            .find(|(_, values)| !values.iter().all(|x| x.is_finite()))
            .map(|(spec, _)| spec.name.clone());
        self.finite(broken, loss)
    }

    /// Fails when the network that would be evaluated now gives no numbers.
    ///
    /// Weights can be finite and so large that features are not; the loss of the next step would tell, but after the
    /// last one there is none.
    fn check_outputs(&mut self, set: &dyn TrainSet, loss: f64) -> Result<()> {
        let probed: Vec<usize> = (0..set.len().min(PROBED)).collect();
        let mut values = Vec::new();
        set.batch(&probed, 0, 0, false, &mut values)
            .map_err(Error::Batch)?;
        let images = Batch::hwnc(probed.len(), set.side(), set.channels(), &values);
        let output = self
            .learner
            .evaluated(|model| model.forward_eval(&images))??;
        let outputs = [("features", &output.features), ("logits", &output.logits)];
        let broken = outputs
            .into_iter()
            .find(|(_, values)| !values.iter().all(|x| x.is_finite()))
            .map(|(name, _)| name.to_owned());
        self.finite(broken, loss)
    }

    /// Fails when the tensor of this name was found not to be finite.
    fn finite(&self, broken: Option<String>, loss: f64) -> Result<()> {
        match broken {
            None => Ok(()),
            Some(tensor) => Err(Error::NotFinite {
                tensor,
                epoch: self.state.epoch + 1,
                step: self.state.step,
                loss,
                checkpoint: self.checkpoint(),
            }),
        }
    }
}

/// Stands between the steps of an epoch: stop flag, numbers that are none, checkpoints in time.
pub(crate) struct Guard<'a> {
    stop: &'a AtomicBool,
    /// A loss above it is divergence.
    loss_limit: f64,
    /// Seconds between two checkpoints.
    interval: f64,
    began: Instant,
    saved: Instant,
    /// Seconds of the epoch before this process.
    before: f64,
}

impl<'a> Guard<'a> {
    pub(crate) fn new(stop: &'a AtomicBool, loss_limit: f64, interval: f64, run: &mut Run) -> Self {
        let now = Instant::now();
        Self {
            stop,
            loss_limit,
            interval,
            began: now,
            saved: now,
            before: run.part().time,
        }
    }

    /// Fails when the run is to stop; its finished steps are then stored.
    pub(crate) fn before_step(&self, run: &mut Run, observer: &mut dyn Observer) -> Result<()> {
        if !self.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        run.part().time = self.seconds();
        Err(run.interrupted(observer))
    }

    /// Fails when the step found what is no number; no checkpoint is written from then on.
    pub(crate) fn after_step(&self, run: &Run, result: &StepResult) -> Result<()> {
        if result.is_sound(self.loss_limit) {
            return Ok(());
        }
        Err(Error::Diverged {
            epoch: run.state.epoch + 1,
            step: run.state.step + 1,
            loss: result.loss,
            checkpoint: run.checkpoint(),
        })
    }

    /// Writes a checkpoint when the last one is old enough.
    pub(crate) fn save_in_time(
        &mut self,
        run: &mut Run,
        loss: f64,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        if self.saved.elapsed().as_secs_f64() < self.interval {
            return Ok(());
        }
        run.check_weights(loss)?;
        run.part().time = self.seconds();
        permitted(observer)?;
        run.write()?;
        self.saved = Instant::now();
        Ok(())
    }

    /// The record of the epoch whose last step is done.
    pub(crate) fn end_of_epoch(self, run: &mut Run, set: &dyn TrainSet) -> Result<EpochRecord> {
        run.part().time = self.seconds();
        let part = run.part().clone();
        let n = part.images.max(1) as f64;
        run.check_weights(part.loss / n)?;
        run.check_outputs(set, part.loss / n)?;
        let means = part
            .components
            .into_iter()
            .map(|(name, sum)| (name, sum / n));
        Ok(EpochRecord {
            epoch: run.state.epoch + 1,
            learning_rate: part.rate,
            loss: part.loss / n,
            accuracy: part.hits as f64 / n,
            components: means.collect(),
            time: part.time,
        })
    }

    fn seconds(&self) -> f64 {
        self.before + self.began.elapsed().as_secs_f64()
    }
}

/// Where a run's checkpoint stands.
pub(crate) fn checkpoint_path(folder: &Path) -> PathBuf {
    folder.join("checkpoint.safetensors")
}
