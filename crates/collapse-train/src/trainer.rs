//! The training loop.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use collapse_models::{Device, Model, NetConfig, Parameters};

use crate::checkpoint::{Checkpoint, RunState};
use crate::config::ValidTrainConfig;
use crate::data::{Batches, Draw, TrainSet, batch_bounds, check_set, epoch_order};
use crate::events::{EpochRecord, Event, EventLog};
use crate::keep::KeepConfig;
use crate::learner::Learner;
use crate::observer::{Observer, Step, permitted};
use crate::run::{Guard, Run, checkpoint_path};
use crate::schedule::{log_spaced_epochs, warm_up};
use crate::{Error, Result, TrainConfig, load_model_on};

/// A training run in a folder.
///
/// The folder receives `checkpoint.safetensors` (after every epoch and, in long epochs, every ten
/// minutes) and `events.jsonl`; a run that was killed continues there and ends with the same bytes
/// (but for times).
#[derive(Clone, Debug)]
pub struct Trainer {
    net: NetConfig,
    config: ValidTrainConfig,
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
    /// A run of `config` on `net` in `folder`.
    ///
    /// # Errors
    /// [`Error::Config`] and [`Error::Model`] with the field that has no meaning.
    pub fn new(net: NetConfig, config: TrainConfig, folder: impl Into<PathBuf>) -> Result<Self> {
        net.check()?;
        let config = config.check()?;
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
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Hash of the training data; a checkpoint made from other data is refused.
    #[must_use]
    pub fn data_hash(mut self, hash: impl Into<String>) -> Self {
        self.data_hash = hash.into();
        self
    }

    /// When checkpoints are written and which stay beside the latest.
    #[must_use]
    pub fn keep(mut self, keep: KeepConfig) -> Self {
        self.keep = keep;
        self
    }

    /// Epochs at which the observer evaluates, instead of the log-spaced ones.
    #[must_use]
    pub fn measured_epochs(mut self, epochs: impl Into<Vec<usize>>) -> Self {
        self.measured = epochs.into();
        self
    }

    /// A flag that stops the run before the next step, e.g. raised by Ctrl-C; a checkpoint is
    /// written, so nothing is lost.
    #[must_use]
    pub fn stop_flag(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = stop;
        self
    }

    /// Where the checkpoint stands.
    #[must_use]
    pub fn checkpoint(&self) -> PathBuf {
        checkpoint_path(&self.folder)
    }

    /// Where the event log stands.
    #[must_use]
    pub fn events(&self) -> PathBuf {
        self.folder.join("events.jsonl")
    }

    /// Trains to the last epoch, from the checkpoint if there is one.
    ///
    /// # Errors
    /// [`Error::Data`] and [`Error::Label`] when the set is not the network's; [`Error::OtherRun`], [`Error::File`] and
    /// [`Error::EventsLost`] when the folder holds another run, or this one damaged; [`Error::Diverged`],
    /// [`Error::NotFinite`] and [`Error::Interrupted`] with the last good checkpoint; those of set, network, observer
    /// and files.
    pub fn run(&self, set: &dyn TrainSet, observer: &mut dyn Observer) -> Result<Trained> {
        let (mut run, mut log) = self.begin(set, observer)?;
        if run.state.epoch == 0 && run.state.within.is_none() {
            self.evaluate(0, &mut run, &mut log, observer)?;
        }
        while run.state.epoch < self.config.epochs {
            let record = self.epoch(set, &mut run, observer)?;
            let epoch = record.epoch;
            observer.epoch(&record);
            permitted(observer)?;
            log.append(Event::Epoch(record))?;
            if self.measured.contains(&epoch) {
                // Measuring takes long and may be killed: the epoch is not lost then.
                permitted(observer)?;
                run.write()?;
            }
            self.evaluate(epoch, &mut run, &mut log, observer)?;
            permitted(observer)?;
            run.close_epoch()?;
            self.keep.apply(&run.path, epoch)?;
        }
        let events = log.into_events();
        let history = events.iter().filter_map(|event| match event {
            Event::Epoch(record) => Some(record.clone()),
            Event::Evaluation { .. } => None,
        });
        Ok(Trained {
            model: run.learner.into_model()?,
            history: history.collect(),
            events,
            checkpoint: run.path,
        })
    }

    /// One epoch, or what is left of it.
    fn epoch(
        &self,
        set: &dyn TrainSet,
        run: &mut Run,
        observer: &mut dyn Observer,
    ) -> Result<EpochRecord> {
        let config = &self.config;
        let epoch = run.state.epoch + 1;
        let order = epoch_order(config.seed, epoch as u64, set.len());
        let steps = batch_bounds(order.len(), config.batch_size).len();
        let draw = Draw {
            order: &order,
            batch_size: config.batch_size,
            skip: run.part().steps,
            epoch: epoch as u64,
            seed: config.seed,
            augment: config.augment,
        };
        let rate_of_epoch = config.learning_rate(epoch);
        let interval = self.keep.interval_seconds;
        let mut guard = Guard::new(&self.stop, config.divergence_limit, interval, run);
        thread::scope(|scope| -> Result<()> {
            for batch in Batches::read_ahead(scope, set, draw) {
                guard.before_step(run, observer)?;
                let batch = batch?;
                let labels: Vec<usize> = batch.indices.iter().map(|&i| set.labels()[i]).collect();
                let rate = warm_up(
                    rate_of_epoch,
                    run.state.step,
                    steps as u64,
                    config.warm_up_epochs,
                );
                let result = run.learner.step(&batch.images(), &labels, rate)?;
                guard.after_step(run, &result)?;
                run.count(labels.len(), rate, &result);
                let step = run.part().steps;
                observer.step(&Step {
                    epoch,
                    step,
                    steps,
                    images: labels.len(),
                    loss: result.loss,
                });
                if step < steps {
                    guard.save_in_time(run, result.loss, observer)?;
                }
            }
            Ok(())
        })?;
        guard.end_of_epoch(run, set)
    }

    /// Lets the observer measure the network, if `epoch` is one to be measured.
    fn evaluate(
        &self,
        epoch: usize,
        run: &mut Run,
        log: &mut EventLog,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        if !self.measured.contains(&epoch) {
            return Ok(());
        }
        let began = Instant::now();
        match run
            .learner
            .evaluated(|model| observer.evaluate(epoch, model))?
        {
            Ok(None) => Ok(()),
            Ok(Some(values)) => {
                permitted(observer)?;
                run.state.evaluated.push(epoch);
                log.append(Event::Evaluation {
                    epoch,
                    values,
                    time: began.elapsed().as_secs_f64(),
                })
            }
            Err(_) if self.stop.load(Ordering::Relaxed) => Err(run.interrupted(observer)),
            Err(source) => Err(Error::Evaluation { epoch, source }),
        }
    }

    /// The run where its folder left it, or a new one, with its log.
    fn begin(&self, set: &dyn TrainSet, observer: &mut dyn Observer) -> Result<(Run, EventLog)> {
        let computed_by = match self.device {
            Device::Cpu => collapse_kernels::kernel_path()?.name().to_owned(),
            other => other.to_string(),
        };
        self.keep.check()?;
        let ours = RunState::new(&self.net, &self.config, &self.data_hash, &computed_by);
        check_set(set, &self.net.plan()?, true)?;
        let path = self.checkpoint();
        let steps = batch_bounds(set.len(), self.config.batch_size).len();
        let (state, learner) = match Checkpoint::resume(&path, &ours, steps)? {
            Some(checkpoint) => {
                let (momentum, average) = (checkpoint.momentum, checkpoint.average);
                let model = self.model(checkpoint.parameters)?;
                let learner = Learner::resume(model, momentum, average, self.config.clone());
                let mut state = checkpoint.state;
                // Another machine may have begun it.
                state.kernel_path = computed_by;
                (state, learner)
            }
            None => {
                let parameters = Parameters::initialise(&self.net, self.config.seed)?;
                let model = self.model(parameters)?;
                (ours, Learner::new(model, self.config.clone())?)
            }
        };
        let events = match path.exists() {
            true => state.events(&self.events())?,
            false => Vec::new(),
        };
        permitted(observer)?;
        // The process may have ended between the checkpoint and its copy.
        if state.within.is_none() && state.epoch > 0 {
            self.keep.apply(&path, state.epoch)?;
        }
        let log = EventLog::rewrite(&self.events(), events)?;
        let run = Run {
            state,
            learner,
            path,
        };
        Ok((run, log))
    }

    fn model(&self, parameters: Parameters<f32>) -> Result<Box<dyn Model>> {
        load_model_on(self.device, &self.net, self.config.precision, parameters)
    }
}
