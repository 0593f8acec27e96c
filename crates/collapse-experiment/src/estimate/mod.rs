//! What an experiment will take, before it is begun: from the parts of a run, each timed on the spot.

mod timing;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use collapse_results::Maker;
use serde::Serialize;

use crate::error::Error;
use crate::execute::Position;
use crate::machine::{maker, peak_memory};
use crate::manifest::Manifest;
use crate::plan::RunPlan;
use crate::reproduce::{Setting, Wanted, begun_precision, jobs_and_threads, wanted};
use crate::splits::Measured;
use crate::store::CHECKPOINT;
use timing::{Bench, Costs};

/// What a scale takes on this machine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Name of the scale.
    pub scale: String,
    /// Code and processor that the times are of.
    pub maker: Maker,
    /// Cores that work.
    pub cores: usize,
    /// Runs at a time.
    pub jobs: usize,
    /// Each group.
    pub groups: Vec<GroupEstimate>,
    /// Runs asked for.
    pub runs: usize,
    /// Of these, finished before.
    pub done: usize,
    /// Images still to be trained on, each once an epoch.
    pub trained_images: u64,
    /// Images still to be measured.
    pub measured_images: u64,
    /// Seconds that everything still takes on this machine.
    pub seconds: f64,
    /// Standard error of `seconds`, as a share of it: of the timings, and of sizes that were not timed themselves.
    pub error: f64,
    /// Seconds that training alone takes on the graphics processor; `None` = unknown, since none was measured.
    pub gpu_seconds: Option<f64>,
    /// Bytes that the runs still to be made fill.
    pub disk_bytes: u64,
    /// Bytes free where they go; `None` where the system does not tell.
    pub disk_free: Option<u64>,
    /// Bytes of memory while runs are made.
    pub memory_bytes: u64,
}

/// What the runs of one group take.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupEstimate {
    /// Identifier.
    pub group: String,
    /// Runs asked for.
    pub runs: usize,
    /// Of these, finished before.
    pub done: usize,
    /// Seconds of a training step.
    pub step_seconds: f64,
    /// Seconds of a training step on the graphics processor; `None` = not measured.
    pub gpu_step_seconds: Option<f64>,
    /// Seconds of a measurement on the way.
    pub measure_seconds: f64,
    /// Seconds of a whole evaluation.
    pub evaluate_seconds: f64,
    /// Seconds of a whole run, from its beginning, beside as many others as `jobs` says.
    pub run_seconds: f64,
    /// Bytes that a finished run fills.
    pub disk_bytes: u64,
    /// Bytes of memory that a run needs beside the images.
    pub memory_bytes: u64,
}

/// How much of a run is still to be done.
struct Left {
    seconds: f64,
    variance: f64,
    gpu_seconds: Option<f64>,
    trained: u64,
    measured: u64,
}

/// Times the parts of the runs of `manifest` on this machine and adds them up. Nothing is written into the store.
///
/// # Errors
/// Those of reading the store, and of networks and images that do not fit each other; [`Error::Interrupted`].
pub fn estimate(manifest: &Manifest, setting: &Setting<'_>) -> Result<Estimate, Error> {
    let here = crate::plan::auto_precision(setting.work.device, collapse_kernels::kernel_path()?)?;
    let auto = begun_precision(manifest, setting.store).unwrap_or(here);
    let wanted = wanted(manifest, auto, setting)?;
    let (jobs, threads) = jobs_and_threads(manifest.parallel(), wanted.len(), setting);
    let mut bench = Bench::new(setting, jobs, threads)?;
    let mut groups: BTreeMap<&str, GroupEstimate> = BTreeMap::new();
    let mut workers = vec![0.0f64; jobs];
    let (mut all, mut disk) = (Left::nothing(), 0);
    for (index, Wanted { plan, manifest }) in wanted.iter().enumerate() {
        let costs = bench.costs(plan)?;
        let group = groups
            .entry(&plan.group)
            .or_insert_with(|| bench.group(plan, &costs));
        group.runs += 1;
        let folder = setting.store.folder(&plan.group, plan.seed);
        if setting.store.finished(manifest)?.is_some() {
            group.done += 1;
            continue;
        }
        if setting.shard.is_some_and(|shard| !shard.has(index)) {
            continue;
        }
        let left = bench.left(plan, &costs, &folder)?;
        disk += group.disk_bytes;
        // The next run goes to whoever is free first, as in making them.
        if let Some(free) = workers.iter_mut().min_by(|a, b| a.total_cmp(b)) {
            *free += left.seconds;
        }
        all.add(&left);
    }
    let seconds = workers.iter().copied().fold(0.0, f64::max);
    let groups: Vec<GroupEstimate> = in_order(manifest, groups);
    let largest = groups.iter().map(|group| group.memory_bytes).max();
    Ok(Estimate {
        scale: manifest.scale().to_owned(),
        maker: maker(setting.work.device, setting.work.code_version)?,
        cores: rayon::current_num_threads(),
        jobs,
        runs: groups.iter().map(|group| group.runs).sum(),
        done: groups.iter().map(|group| group.done).sum(),
        trained_images: all.trained,
        measured_images: all.measured,
        seconds,
        error: match all.seconds > 0.0 {
            true => all.variance.sqrt() / all.seconds,
            false => 0.0,
        },
        gpu_seconds: all.gpu_seconds.filter(|_| bench.has_gpu()),
        disk_bytes: disk,
        disk_free: free_space(setting.store.root()),
        // What timing needed, a run needs too.
        memory_bytes: memory_now().max(bench.base_memory() + jobs as u64 * largest.unwrap_or(0)),
        groups,
    })
}

fn in_order(manifest: &Manifest, mut groups: BTreeMap<&str, GroupEstimate>) -> Vec<GroupEstimate> {
    let ids = manifest.groups().iter();
    ids.filter_map(|group| groups.remove(group.id.as_str()))
        .collect()
}

impl Left {
    fn nothing() -> Self {
        Self {
            seconds: 0.0,
            variance: 0.0,
            gpu_seconds: Some(0.0),
            trained: 0,
            measured: 0,
        }
    }

    fn add(&mut self, other: &Self) {
        self.seconds += other.seconds;
        // The same timings stand behind all runs: their errors do not average out.
        self.variance = (self.variance.sqrt() + other.variance.sqrt()).powi(2);
        self.gpu_seconds = self.gpu_seconds.zip(other.gpu_seconds).map(|(a, b)| a + b);
        self.trained += other.trained;
        self.measured += other.measured;
    }
}

impl Bench<'_> {
    /// The group of `plan`, without runs.
    fn group(&self, plan: &RunPlan, costs: &Costs) -> GroupEstimate {
        let whole = self.work_left(plan, costs, &Position::default());
        GroupEstimate {
            group: plan.group.clone(),
            runs: 0,
            done: 0,
            step_seconds: costs.step.seconds,
            gpu_step_seconds: costs.gpu_step.map(|step| step.seconds),
            measure_seconds: costs.measure.seconds,
            evaluate_seconds: costs.evaluate.seconds,
            run_seconds: whole.seconds,
            disk_bytes: costs.disk_bytes,
            memory_bytes: costs.memory_bytes,
        }
    }

    /// What is left of the run in `folder`.
    fn left(&self, plan: &RunPlan, costs: &Costs, folder: &Path) -> Result<Left, Error> {
        // A damaged checkpoint is set aside by whoever makes the run.
        let at = Position::of(&folder.join(CHECKPOINT)).unwrap_or_default();
        Ok(self.work_left(plan, costs, &at))
    }

    /// The work of a run that stands at `at`.
    fn work_left(&self, plan: &RunPlan, costs: &Costs, at: &Position) -> Left {
        let parts = self.benchmark().id().split(plan.seed);
        let n = parts.train.len();
        let epochs_left = plan.train.epochs.saturating_sub(at.epochs);
        let trained = (n * epochs_left).saturating_sub(at.within);
        let steps = trained as f64 / plan.train.batch_size as f64;
        let measured = Measured::new(self.benchmark(), &parts, plan);
        let whole: BTreeSet<usize> = plan.evaluate_at.iter().copied().collect();
        let ahead = plan.measured_before_last().into_iter();
        let ahead: Vec<usize> = ahead
            .filter(|epoch| !at.evaluated.contains(epoch))
            .collect();
        let evaluations = 1 + ahead.iter().filter(|epoch| whole.contains(epoch)).count();
        let on_the_way = ahead.len() + 1 - evaluations;
        // A checkpoint after each epoch, another before each measurement, and the feature files.
        let writes = epochs_left + ahead.len() + 1;
        let parts = [
            (steps, costs.step),
            (on_the_way as f64, costs.measure),
            (evaluations as f64, costs.evaluate),
            (writes as f64, costs.write),
        ];
        let deviations = parts.map(|(times, cost)| times * cost.error);
        Left {
            seconds: parts.iter().map(|(times, cost)| times * cost.seconds).sum(),
            variance: deviations
                .iter()
                .map(|deviation| deviation * deviation)
                .sum(),
            gpu_seconds: costs.gpu_step.map(|step| steps * step.seconds),
            trained: trained as u64,
            measured: measured.images(plan) - measured.images_after(plan, &at.evaluated),
        }
    }
}

/// Bytes free in the folder, or in the nearest one above that exists.
#[cfg(unix)]
fn free_space(folder: &Path) -> Option<u64> {
    let found = nix::sys::statvfs::statvfs(timing::existing(folder)).ok()?;
    // The width of these numbers differs between systems.
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
    Some(found.blocks_available() as u64 * found.fragment_size() as u64)
}

#[cfg(not(unix))]
fn free_space(_folder: &Path) -> Option<u64> {
    None
}

/// Bytes that the process has needed so far, 0 where the system does not tell.
fn memory_now() -> u64 {
    peak_memory().unwrap_or(0)
}
