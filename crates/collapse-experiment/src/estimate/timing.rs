//! Parts of a run, timed: a training step, the forward pass of an image, the statistics, a durable write.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use collapse_data::{Benchmark, Parts};
use collapse_evaluate::{FeatureSplits, Split};
use collapse_features::{FeatureSet, Head};
use collapse_models::{Device, Parameters};
use collapse_ood::{Intervals, Settings};
use collapse_random::Stream;
use collapse_train::{
    Batches, Draw, FittedImages, HeldOutImages, Learner, TrainSet, epoch_order, extract,
    load_model_on,
};
use ndarray::{Array1, Array2};

use super::memory_now;
use crate::error::Error;
use crate::plan::RunPlan;
use crate::reproduce::{Setting, thread_pool};
use crate::splits::{EXTRACTION_BATCH, Measured, SplitImages};

/// Steps are timed for so long, but at least [`LEAST_STEPS`].
const STEPS_FOR: Duration = Duration::from_millis(1500);
const LEAST_STEPS: usize = 3;
/// Images are run forward for about so long, and statistics are timed on ever more images until they take so long.
const ENOUGH: Duration = Duration::from_millis(2000);
/// Images of the smallest statistics that are timed.
const FEWEST: usize = 1000;
/// No timing is better than this, as a share: machines speed up, slow down and have other work.
const LEAST_ERROR: f64 = 0.2;
/// Bytes of a run's results, events and manifest.
const RECORDS: u64 = 80 << 10;
/// How wrong an extrapolation to a size twice as large may be, as a share.
const PER_DOUBLING: f64 = 0.1;

/// Seconds of something, with the standard error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timed {
    pub(super) seconds: f64,
    pub(super) error: f64,
}

impl Timed {
    fn of(samples: &[f64]) -> Self {
        let n = samples.len().max(1) as f64;
        let mean = samples.iter().sum::<f64>() / n;
        let squares: f64 = samples.iter().map(|x| (x - mean).powi(2)).sum();
        let error = (squares / n / n).sqrt();
        Self {
            seconds: mean,
            error: error.max(LEAST_ERROR * mean),
        }
    }

    fn times(self, factor: f64) -> Self {
        Self {
            seconds: factor * self.seconds,
            error: factor * self.error,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            seconds: self.seconds + other.seconds,
            error: self.error.hypot(other.error),
        }
    }
}

/// What the parts of a group's runs cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Costs {
    pub(super) step: Timed,
    pub(super) gpu_step: Option<Timed>,
    /// A measurement on the way.
    pub(super) measure: Timed,
    /// A whole evaluation.
    pub(super) evaluate: Timed,
    /// A checkpoint.
    pub(super) write: Timed,
    pub(super) disk_bytes: u64,
    pub(super) memory_bytes: u64,
}

/// Times parts of runs under the conditions of making them: as many at a time, each on as many threads.
pub(super) struct Bench<'a> {
    setting: &'a Setting<'a>,
    jobs: usize,
    threads: usize,
    folder: PathBuf,
    gpu: Option<Device>,
    base_memory: u64,
    costs: BTreeMap<String, Costs>,
    statistics: BTreeMap<String, Statistics>,
}

/// Seconds of statistics on so many training images, with all other splits in proportion.
#[derive(Clone, Copy)]
struct Statistics {
    measure: Timed,
    evaluate: Timed,
}

/// Seconds of a training step, and of the forward pass of one image.
struct Step {
    train: Timed,
    forward: Timed,
}

impl<'a> Bench<'a> {
    pub(super) fn new(
        setting: &'a Setting<'a>,
        jobs: usize,
        threads: usize,
    ) -> Result<Self, Error> {
        let gpus = [Device::Cuda(0), Device::Metal(0)];
        Ok(Self {
            setting,
            jobs,
            threads,
            folder: existing(setting.store.root()).to_owned(),
            gpu: gpus
                .into_iter()
                .filter(|_| setting.work.device == Device::Cpu)
                .find(|device| device.open().is_ok()),
            base_memory: memory_now(),
            costs: BTreeMap::new(),
            statistics: BTreeMap::new(),
        })
    }

    pub(super) fn benchmark(&self) -> &'a Benchmark {
        self.setting.work.benchmark
    }

    pub(super) fn has_gpu(&self) -> bool {
        self.gpu.is_some()
    }

    /// Bytes that the process needed before anything was timed: the program and the images.
    pub(super) fn base_memory(&self) -> u64 {
        self.base_memory
    }

    /// The costs of a run of `plan`, timed once for all runs that differ in nothing that costs time.
    pub(super) fn costs(&mut self, plan: &RunPlan) -> Result<Costs, Error> {
        if self.setting.work.stop.is_raised() {
            return Err(Error::Interrupted);
        }
        let net = &plan.net;
        let train = &plan.train;
        let key = format!(
            "{} {} {} {:?} {:?} {} {:?}",
            net.net,
            net.width,
            net.modified,
            net.spectral_norm.is_some(),
            train.loss,
            train.precision.name(),
            plan.measure_images,
        );
        if let Some(found) = self.costs.get(&key) {
            return Ok(*found);
        }
        let costs = self.time(plan)?;
        self.costs.insert(key, costs);
        Ok(costs)
    }

    fn time(&mut self, plan: &RunPlan) -> Result<Costs, Error> {
        let parts = self.benchmark().id().split(plan.seed);
        let before = memory_now();
        let Step { train, forward } = self.step(plan, self.setting.work.device, &parts)?;
        let training_memory =
            memory_now().saturating_sub(before.max(self.base_memory)) / self.jobs as u64;
        let gpu_step = match self.gpu {
            Some(gpu) => Some(self.step(plan, gpu, &parts)?.train),
            None => None,
        };
        let network = plan.net.plan()?;
        let (d, c) = (network.n_features(), network.n_classes());
        let images = Measured::new(self.benchmark(), &parts, plan);
        let total = |images: &SplitImages| images.sizes().iter().sum::<usize>() as f64;
        let on_the_way = images.at(plan, 0);
        let part = self.statistics(on_the_way, d, c)?;
        let whole = self.statistics(&images.all, d, c)?;
        // Every tensor, statistics and power-iteration vectors too, and the momentum of the trained ones.
        let all: usize = network.tensors().iter().map(|tensor| tensor.len()).sum();
        let tensors = 4 * (all + network.n_parameters()) as u64;
        let rows = images.all.sizes().iter().sum::<usize>() as u64;
        let values = rows * (d + c) as u64;
        let features = self.write(4 * values)?;
        Ok(Costs {
            step: train,
            gpu_step,
            measure: forward.times(total(on_the_way)).plus(part.measure),
            evaluate: forward
                .times(total(&images.all))
                .plus(whole.evaluate)
                .plus(features),
            write: self.write(tensors)?,
            disk_bytes: tensors + 4 * values + 8 * rows + RECORDS,
            // Features as read, as the head sees them, and a detector's own copy, in f64.
            memory_bytes: training_memory.max(3 * tensors) + 3 * 8 * values,
        })
    }

    /// A training step and the forward pass of an image, in all jobs at once.
    fn step(&self, plan: &RunPlan, device: Device, parts: &Parts) -> Result<Step, Error> {
        let start = Barrier::new(self.jobs);
        let timed = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.jobs)
                .map(|_| {
                    scope.spawn(|| {
                        // Built before the barrier, which all must reach.
                        let pool = thread_pool(self.threads);
                        start.wait();
                        pool?.install(|| self.time_steps(plan, device, parts))
                    })
                })
                .collect();
            let join =
                |worker: std::thread::ScopedJoinHandle<'_, Result<_, Error>>| match worker.join() {
                    Ok(outcome) => outcome,
                    Err(panic) => std::panic::resume_unwind(panic),
                };
            workers
                .into_iter()
                .map(join)
                .collect::<Result<Vec<_>, Error>>()
        })?;
        let (steps, forward): (Vec<Vec<f64>>, Vec<f64>) = timed.into_iter().unzip();
        Ok(Step {
            train: Timed::of(&steps.concat()),
            forward: Timed::of(&forward),
        })
    }

    /// Seconds of single steps, and of the forward pass of one image.
    fn time_steps(
        &self,
        plan: &RunPlan,
        device: Device,
        parts: &Parts,
    ) -> Result<(Vec<f64>, f64), Error> {
        let mut train = plan.train.clone();
        if device != Device::Cpu {
            train.precision = collapse_train::Precision::F32;
        }
        let set = FittedImages(&parts.train);
        let parameters = Parameters::initialise(&plan.net, train.seed)?;
        let model = load_model_on(device, &plan.net, train.precision, parameters)?;
        let mut learner = Learner::new(model, train.clone().check()?)?;
        let mut samples = Vec::new();
        let began = Instant::now();
        let mut epoch = 0;
        let enough =
            |samples: &Vec<f64>| samples.len() > LEAST_STEPS && began.elapsed() > STEPS_FOR;
        while !enough(&samples) {
            epoch += 1;
            let order = epoch_order(train.seed, epoch, set.len());
            let draw = Draw {
                order: &order,
                batch_size: train.batch_size,
                skip: 0,
                epoch,
                seed: train.seed,
                augment: train.augment,
            };
            std::thread::scope(|scope| -> Result<(), Error> {
                let mut last = Instant::now();
                for batch in Batches::read_ahead(scope, &set, draw) {
                    let batch = batch?;
                    let labels: Vec<usize> =
                        batch.indices.iter().map(|&i| set.labels()[i]).collect();
                    learner.step(&batch.images(), &labels, train.sgd.learning_rate)?;
                    samples.push(last.elapsed().as_secs_f64());
                    last = Instant::now();
                    if enough(&samples) {
                        break;
                    }
                    if self.setting.work.stop.is_raised() {
                        return Err(Error::Interrupted);
                    }
                }
                Ok(())
            })?;
        }
        // The first step touches its memory for the first time.
        samples.remove(0);
        let step = Timed::of(&samples).seconds / train.batch_size as f64;
        let images = (ENOUGH.as_secs_f64() / (step / 3.0)) as usize;
        let view = parts.train.view().part(images.max(EXTRACTION_BATCH), 0);
        let began = Instant::now();
        extract(
            learner.model(),
            &HeldOutImages(&view),
            EXTRACTION_BATCH,
            &[],
            &mut |_| self.setting.work.stop.go_on(),
        )?;
        Ok((samples, began.elapsed().as_secs_f64() / view.len() as f64))
    }

    /// Seconds of the statistics of `images` with `d` features and `c` logits, on made-up features.
    ///
    /// They are timed on ever more images until that takes long enough; from there the last doubling's growth is
    /// carried on.
    fn statistics(
        &mut self,
        images: &SplitImages,
        d: usize,
        c: usize,
    ) -> Result<Statistics, Error> {
        let sizes = images.sizes();
        let key = format!("{sizes:?} {d} {c}");
        if let Some(found) = self.statistics.get(&key) {
            return Ok(*found);
        }
        let largest = sizes.iter().copied().max().unwrap_or(1);
        let pool = thread_pool(self.threads)?;
        let mut n = FEWEST.min(largest);
        let (mut measure, mut evaluate) = self.time_statistics(&pool, &sizes, n, (d, c))?;
        let mut growth = 1.5f64;
        while n < largest && measure + evaluate < ENOUGH.as_secs_f64() {
            let more = (2 * n).min(largest);
            let before = measure + evaluate;
            (measure, evaluate) = self.time_statistics(&pool, &sizes, more, (d, c))?;
            let factor = more as f64 / n as f64;
            growth = ((measure + evaluate) / before).ln() / factor.ln();
            n = more;
        }
        let factor = largest as f64 / n as f64;
        let scale = factor.powf(growth.clamp(1.0, 2.0));
        let share = LEAST_ERROR + PER_DOUBLING * factor.log2();
        let timed = |seconds: f64| Timed {
            seconds: scale * seconds,
            error: share * scale * seconds,
        };
        let found = Statistics {
            measure: timed(measure),
            evaluate: timed(evaluate),
        };
        self.statistics.insert(key, found);
        Ok(found)
    }

    /// Seconds of a measurement and of an evaluation with at most `limit` images a split, in all jobs at once.
    fn time_statistics(
        &self,
        pool: &rayon::ThreadPool,
        sizes: &[usize],
        limit: usize,
        (d, c): (usize, usize),
    ) -> Result<(f64, f64), Error> {
        if self.setting.work.stop.is_raised() {
            return Err(Error::Interrupted);
        }
        let largest = sizes.iter().copied().max().unwrap_or(1) as f64;
        let shrunk = |n: usize| {
            (n as f64 * limit as f64 / largest)
                .ceil()
                .max(2.0 * c as f64) as usize
        };
        let made = |index: usize, n: usize, name: String| -> Result<Split, Error> {
            Ok(Split::new(&name, features(index, shrunk(n), d, c)))
        };
        let name = |index: usize| format!("set {index}");
        let splits = FeatureSplits {
            train: Some(made(0, sizes[0], "train".to_owned())?),
            validation: Some(made(1, sizes[1], "validation".to_owned())?),
            test: made(2, sizes[2], "test".to_owned())?,
            ood: (3..sizes.len())
                .map(|index| made(index, sizes[index], name(index)))
                .collect::<Result<_, Error>>()?,
        };
        pool.install(|| {
            let splits = splits.complete(Some(false))?;
            let began = Instant::now();
            splits.measure()?;
            let measured = began.elapsed().as_secs_f64();
            let began = Instant::now();
            let fitted = splits.fit_all(&Settings::default())?;
            splits.evaluate(fitted, &Intervals::default())?;
            Ok((measured, began.elapsed().as_secs_f64()))
        })
    }

    /// Seconds of a durable write of so many bytes, where the runs will be stored.
    fn write(&self, bytes: u64) -> Result<Timed, Error> {
        const SMALL: usize = 1 << 16;
        const LARGE: usize = 1 << 23;
        let Ok(folder) = tempfile::tempdir_in(&self.folder).or_else(|_| tempfile::tempdir()) else {
            return Ok(Timed::of(&[0.0]));
        };
        let time = |size: usize| -> Result<f64, Error> {
            let content = vec![1; size];
            let began = Instant::now();
            collapse_files::replace(&folder.path().join("file"), &content)?;
            Ok(began.elapsed().as_secs_f64())
        };
        let (small, large) = (time(SMALL)?, time(LARGE)?);
        let rate = (large - small).max(0.0) / (LARGE - SMALL) as f64;
        Ok(Timed::of(&[small + rate * bytes as f64]))
    }
}

/// Made-up features of `n` images: classes around their own axes, a little noise, as a trained network has them.
fn features(index: usize, n: usize, d: usize, c: usize) -> FeatureSet {
    let mut stream = Stream::new(0, "features of an estimate", index as u64);
    let ood = index > 2;
    let values = Array2::from_shape_fn((n, d), |(i, j)| {
        let axis = if !ood && j % c == i % c { 1.0 } else { 0.0 };
        axis + 0.3 * stream.normal()
    });
    let weight = Array2::from_shape_fn((c, d), |(i, j)| if j % c == i { 1.0 } else { 0.0 });
    let mut set = FeatureSet::new(values);
    set.labels = (!ood).then(|| (0..n).map(|i| i % c).collect());
    set.head = Some(Head {
        weight,
        bias: Array1::zeros(c),
    });
    set
}

/// The folder, or the nearest one above it that exists.
pub(super) fn existing(folder: &Path) -> &Path {
    let mut above = folder.ancestors().filter(|path| path.exists());
    above.next().unwrap_or(Path::new("."))
}
