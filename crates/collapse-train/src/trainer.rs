//! The training loop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use collapse_kernels::bf16;
use collapse_models::{
    Batch, CandleNet, Device, Gradients, Model, NetConfig, Network, Parameters, Plan,
};
use collapse_numeric::argmax;

use ndarray::ArrayView1;

use crate::checkpoint::{Checkpoint, EpochPart, KeepConfig, RunState, Snapshot, checkpoint_path};
use crate::data::{Draw, TrainSet, batch_bounds, check_set, epoch_order, for_each_batch};
use crate::events::{EpochRecord, Event, EventLog, read_events};
use crate::loss::HeadView;
use crate::schedule::{log_spaced_epochs, warm_up};
use crate::sgd::update_average;
use crate::{Error, Precision, Result, Sgd, TrainConfig};

/// What the evaluation hook may fail with.
pub type HookError = Box<dyn std::error::Error + Send + Sync>;

/// One finished step, for a progress display.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Step within the epoch, from 1.
    pub step: usize,
    /// Steps of an epoch.
    pub steps: usize,
    /// The batch's loss.
    pub loss: f64,
}

/// Watches a run; every method may be left out.
pub trait Observer {
    /// After every step.
    fn step(&mut self, _step: &Step) {}

    /// After every epoch.
    fn epoch(&mut self, _record: &EpochRecord) {}

    /// Before every write into the run's folder; an error stops the run with nothing written.
    fn before_write(&mut self) -> Result<(), HookError> {
        Ok(())
    }

    /// At the log-spaced epochs (0 = untrained): measure the network, e.g. through
    /// [`extract`](crate::extract). What is returned goes into the event log, so it must depend
    /// on the network and the data alone.
    fn evaluate(
        &mut self,
        _epoch: usize,
        _model: &mut dyn Model,
    ) -> Result<Option<serde_json::Value>, HookError> {
        Ok(None)
    }
}

/// Watches nothing.
impl Observer for () {}

/// A training run in a folder.
///
/// The folder receives `checkpoint.safetensors` (after every epoch and, in long epochs, every ten
/// minutes) and `events.jsonl`; a run that was killed continues there and ends with the same bytes
/// (but for times).
#[derive(Clone, Debug)]
pub struct Trainer {
    net: NetConfig,
    config: TrainConfig,
    folder: PathBuf,
    data_hash: String,
    keep: KeepConfig,
    measured: Vec<usize>,
    stop: Arc<AtomicBool>,
    device: Device,
}

/// A finished run.
pub struct Trained {
    /// The network; with an average of the weights, that.
    pub model: Box<dyn Model>,
    /// One record per epoch.
    pub history: Vec<EpochRecord>,
    /// All events, evaluations included.
    pub events: Vec<Event>,
    /// The last checkpoint.
    pub checkpoint: PathBuf,
}

impl Trainer {
    /// A run of `config` on `net` in `folder`; fails when either configuration does.
    pub fn new(net: NetConfig, config: TrainConfig, folder: impl Into<PathBuf>) -> Result<Self> {
        net.check()?;
        config.check()?;
        Ok(Self {
            measured: log_spaced_epochs(config.epochs),
            net,
            config,
            folder: folder.into(),
            data_hash: String::new(),
            keep: KeepConfig::default(),
            stop: Arc::default(),
            device: Device::Cpu,
        })
    }

    /// Where to compute, instead of on the CPU kernels.
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Hash of the training data; a checkpoint made from other data is refused.
    pub fn data_hash(mut self, hash: impl Into<String>) -> Self {
        self.data_hash = hash.into();
        self
    }

    /// When checkpoints are written and which stay beside the latest.
    pub fn keep(mut self, keep: KeepConfig) -> Self {
        self.keep = keep;
        self
    }

    /// Epochs at which the observer evaluates, instead of the log-spaced ones.
    pub fn measured_epochs(mut self, epochs: impl Into<Vec<usize>>) -> Self {
        self.measured = epochs.into();
        self
    }

    /// A flag that stops the run before the next step, e.g. raised by Ctrl-C; a checkpoint is
    /// written, so nothing is lost.
    pub fn stop_flag(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = stop;
        self
    }

    /// Where the checkpoint stands.
    pub fn checkpoint(&self) -> PathBuf {
        checkpoint_path(&self.folder)
    }

    /// Where the event log stands.
    pub fn events(&self) -> PathBuf {
        self.folder.join("events.jsonl")
    }

    /// Trains to the last epoch, from the checkpoint if there is one.
    pub fn run(&self, set: &dyn TrainSet, observer: &mut dyn Observer) -> Result<Trained> {
        let computed_by = match self.device {
            Device::Cpu => collapse_kernels::kernel_path()?.name().to_owned(),
            other => other.to_string(),
        };
        let mut state = RunState::new(&self.net, &self.config, &self.data_hash, &computed_by);
        let plan = self.net.plan()?;
        check_set(set, &plan, true)?;

        let path = self.checkpoint();
        let resumed = Checkpoint::resume(&path, &state)?;
        let mut sgd = Sgd::new(self.config.sgd, &plan);
        let (mut model, mut average) = match resumed {
            Some(checkpoint) => {
                state = checkpoint.state;
                // Another machine may have begun it.
                state.kernel_path = computed_by;
                // The process may have ended between the checkpoint and its copy.
                if state.within.is_none() {
                    permitted(observer)?;
                    self.keep.apply(&path, state.epoch)?;
                }
                sgd.momentum = checkpoint.momentum;
                (self.model(checkpoint.parameters)?, checkpoint.average)
            }
            None => {
                let parameters = Parameters::initialise(&self.net, self.config.seed)?;
                let average = self.config.ema_decay.map(|_| parameters.clone());
                (self.model(parameters)?, average)
            }
        };
        let mut events: Vec<Event> = match (state.epoch, &state.within) {
            (0, None) => Vec::new(),
            (last, _) => read_events(&self.events())?
                .into_iter()
                .filter(|event| event.epoch() <= last)
                .collect(),
        };
        permitted(observer)?;
        let mut log = EventLog::rewrite(&self.events(), &events)?;
        let record = |log: &mut EventLog, events: &mut Vec<Event>, event: Event| {
            log.append(&event)?;
            events.push(event);
            Ok::<(), Error>(())
        };

        if state.epoch == 0
            && state.within.is_none()
            && let Some(event) = self.evaluate(0, model.as_mut(), &mut average, observer)?
        {
            permitted(observer)?;
            record(&mut log, &mut events, event)?;
        }
        let mut run = Running {
            plan,
            state,
            model,
            sgd,
            average,
        };
        while run.state.epoch < self.config.epochs {
            let epoch = self.epoch(set, &mut run, observer)?;
            observer.epoch(&epoch);
            permitted(observer)?;
            record(&mut log, &mut events, Event::Epoch(epoch))?;
            let model = run.model.as_mut();
            let evaluation = self.evaluate(run.state.epoch, model, &mut run.average, observer)?;
            permitted(observer)?;
            if let Some(event) = evaluation {
                record(&mut log, &mut events, event)?;
            }
            run.write(&path)?;
            self.keep.apply(&path, run.state.epoch)?;
        }
        let Running {
            mut model, average, ..
        } = run;
        if let Some(mut average) = average {
            std::mem::swap(model.parameters_mut(), &mut average);
        }
        let history = events.iter().filter_map(|event| match event {
            Event::Epoch(record) => Some(record.clone()),
            Event::Evaluation { .. } => None,
        });
        Ok(Trained {
            model,
            history: history.collect(),
            events,
            checkpoint: path,
        })
    }

    fn model(&self, parameters: Parameters<f32>) -> Result<Box<dyn Model>> {
        let mut model = load_model_on(self.device, &self.net, self.config.precision, parameters)?;
        model.seed_dropout(self.config.seed);
        Ok(model)
    }

    /// One epoch, or what is left of it: shuffled batches, forward, loss, backward, step.
    fn epoch(
        &self,
        set: &dyn TrainSet,
        run: &mut Running,
        observer: &mut dyn Observer,
    ) -> Result<EpochRecord> {
        let (began, mut saved) = (Instant::now(), Instant::now());
        let epoch = run.state.epoch + 1;
        let order = epoch_order(self.config.seed, epoch as u64, set.len());
        let steps = batch_bounds(order.len(), self.config.batch_size).len();
        let rate = self.config.learning_rate(epoch);
        let mut part = run.state.within.take().unwrap_or_default();
        let before = part.time;
        let draw = Draw {
            order: &order,
            batch_size: self.config.batch_size,
            skip: part.steps,
            epoch: epoch as u64,
            seed: self.config.seed,
            augment: self.config.augment,
        };
        let path = self.checkpoint();
        let checkpoint = || Some(path.clone()).filter(|path| path.exists());
        for_each_batch(set, draw, |indices, images| {
            if self.stop.load(Ordering::Relaxed) {
                if part.steps > 0 && run.check(epoch, part.loss, checkpoint).is_ok() {
                    part.time = before + began.elapsed().as_secs_f64();
                    run.state.within = Some(part.clone());
                    permitted(observer)?;
                    run.write(&path)?;
                }
                return Err(Error::Interrupted {
                    epoch,
                    step: run.state.step,
                    checkpoint: checkpoint(),
                });
            }
            let labels: Vec<usize> = indices.iter().map(|&i| set.labels()[i]).collect();
            let model = run.model.as_mut();
            let (loss, mut gradients) = self.pass(model, images, &labels, &mut part)?;
            let step = run.state.step + 1;
            let norm = self.config.clip_norm.map(|_| gradients.norm());
            let finite = loss.is_finite() && norm.is_none_or(f64::is_finite);
            if !finite || loss > self.config.divergence_limit {
                return Err(Error::Diverged {
                    epoch,
                    step,
                    loss,
                    checkpoint: checkpoint(),
                });
            }
            if let (Some(limit), Some(norm)) = (self.config.clip_norm, norm)
                && norm > limit
            {
                gradients.scale(limit / norm);
            }
            part.rate = warm_up(rate, step - 1, steps as u64, self.config.warm_up_epochs);
            run.sgd.step(model, &gradients, part.rate)?;
            if let (Some(average), Some(decay)) = (run.average.as_mut(), self.config.ema_decay) {
                update_average(average, model.parameters(), decay);
            }
            run.state.step = step;
            part.steps += 1;
            observer.step(&Step {
                epoch,
                step: part.steps,
                steps,
                loss,
            });
            if part.steps == steps {
                // Losses can stay finite while a weight does not: no checkpoint may hold it.
                run.check(epoch, loss, checkpoint)?;
            }
            // A measurement may be stopped: the epoch before it is not lost then.
            let to_be_measured = part.steps == steps && self.measured.contains(&epoch);
            if part.steps == steps && !to_be_measured {
                return Ok(());
            }
            if to_be_measured || saved.elapsed().as_secs_f64() >= self.keep.interval_seconds {
                run.check(epoch, loss, checkpoint)?;
                part.time = before + began.elapsed().as_secs_f64();
                run.state.within = Some(part.clone());
                permitted(observer)?;
                run.write(&path)?;
                run.state.within = None;
                saved = Instant::now();
            }
            Ok(())
        })?;
        run.state.epoch = epoch;
        Ok(part.record(epoch, before + began.elapsed().as_secs_f64()))
    }

    fn pass(
        &self,
        model: &mut dyn Model,
        images: &Batch<'_, f32>,
        labels: &[usize],
        part: &mut EpochPart,
    ) -> Result<(f64, Gradients<f32>)> {
        let n_classes = model.plan().n_classes();
        let (head, _) = model.plan().head_tensors();
        let mut value = f64::NAN;
        let gradients = model.train_pass(images, &mut |output, parameters| {
            let loss = self.config.loss.evaluate(&HeadView {
                head_input: output.head_input(),
                logits: &output.logits,
                weight: parameters.get(head),
                labels,
                n_classes,
            });
            value = loss.value;
            let rows = output.logits.chunks_exact(n_classes).zip(labels);
            let hits = rows.filter(|(row, label)| argmax(ArrayView1::from(*row)) == **label);
            part.add(labels.len(), hits.count(), loss.value, &loss.components);
            loss.gradient
        })?;
        Ok((value, gradients))
    }

    /// Calls the observer's hook if the epoch is one to be measured.
    fn evaluate(
        &self,
        epoch: usize,
        model: &mut dyn Model,
        average: &mut Option<Parameters<f32>>,
        observer: &mut dyn Observer,
    ) -> Result<Option<Event>> {
        if !self.measured.contains(&epoch) {
            return Ok(None);
        }
        let began = Instant::now();
        // The hook must leave no trace in the run, so it sees a copy of what the run goes on with.
        let kept = model.parameters().clone();
        if let Some(average) = average {
            model.parameters_mut().clone_from(average);
        }
        let values = observer
            .evaluate(epoch, model)
            .map_err(|source| Error::Evaluation { epoch, source })?;
        *model.parameters_mut() = kept;
        Ok(values.map(|values| Event::Evaluation {
            epoch,
            values,
            time: began.elapsed().as_secs_f64(),
        }))
    }
}

/// Fails when the observer forbids to write.
fn permitted(observer: &mut dyn Observer) -> Result<()> {
    observer.before_write().map_err(Error::Forbidden)
}

/// All that changes while a run goes on.
struct Running {
    plan: Plan,
    state: RunState,
    model: Box<dyn Model>,
    sgd: Sgd,
    average: Option<Parameters<f32>>,
}

impl Running {
    fn write(&self, path: &Path) -> Result<()> {
        let snapshot = Snapshot {
            state: &self.state,
            plan: &self.plan,
            parameters: self.model.parameters(),
            sgd: &self.sgd,
            average: self.average.as_ref(),
        };
        snapshot.write(path)
    }

    /// Fails when a weight or statistic is not finite.
    fn check(
        &self,
        epoch: usize,
        loss: f64,
        checkpoint: impl Fn() -> Option<PathBuf>,
    ) -> Result<()> {
        let mut tensors = self.model.parameters().iter();
        let broken = tensors.find(|(_, values)| !values.iter().all(|x| x.is_finite()));
        match broken {
            None => Ok(()),
            Some((spec, _)) => Err(Error::NotFinite {
                tensor: spec.name.clone(),
                epoch,
                step: self.state.step,
                loss,
                checkpoint: checkpoint(),
            }),
        }
    }
}

/// A network of `precision` with the given parameters, on the CPU kernels.
pub fn load_model(
    net: &NetConfig,
    precision: Precision,
    parameters: Parameters<f32>,
) -> Result<Box<dyn Model>> {
    load_model_on(Device::Cpu, net, precision, parameters)
}

/// A network of `precision` with the given parameters on `device`.
///
/// Fails when the device is not there, or asked for bf16 outside the CPU kernels.
pub fn load_model_on(
    device: Device,
    net: &NetConfig,
    precision: Precision,
    parameters: Parameters<f32>,
) -> Result<Box<dyn Model>> {
    Ok(match (device.open()?, precision) {
        (None, Precision::F32) => Box::new(Network::<f32>::from_parameters(net, parameters)?),
        (None, Precision::Bf16) => Box::new(Network::<bf16>::from_parameters(net, parameters)?),
        (Some(opened), Precision::F32) => Box::new(CandleNet::new(net, parameters, opened)?),
        (Some(_), Precision::Bf16) => {
            return Err(Error::Config {
                field: "precision",
                value: format!("bf16 on {device}"),
                remedy: "choose f32: bf16 is trained by the CPU kernels only",
            });
        }
    })
}

/// The network stored in a checkpoint: the average of the weights where there is one.
pub fn model_from_checkpoint(path: &Path) -> Result<Box<dyn Model>> {
    let checkpoint = Checkpoint::read(path)?;
    let parameters = checkpoint.average.unwrap_or(checkpoint.parameters);
    load_model(
        &checkpoint.state.net,
        checkpoint.state.train.precision,
        parameters,
    )
}

impl EpochPart {
    fn add(
        &mut self,
        images: usize,
        hits: usize,
        loss: f64,
        components: &BTreeMap<&'static str, f64>,
    ) {
        self.images += images;
        self.hits += hits;
        self.loss += images as f64 * loss;
        for (&name, value) in components {
            *self.components.entry(name.to_owned()).or_default() += images as f64 * value;
        }
    }

    fn record(self, epoch: usize, time: f64) -> EpochRecord {
        let n = self.images.max(1) as f64;
        EpochRecord {
            epoch,
            learning_rate: self.rate,
            loss: self.loss / n,
            accuracy: self.hits as f64 / n,
            components: self
                .components
                .into_iter()
                .map(|(name, sum)| (name, sum / n))
                .collect(),
            time,
        }
    }
}
