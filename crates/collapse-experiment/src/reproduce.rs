//! All runs of a manifest: those finished before are kept, the others are made, with whoever else is at it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use collapse_models::Device;
use collapse_results::{Results, Run};
use collapse_train::Precision;

use crate::choice::Shard;
use crate::ensembles::ensembles;
use crate::error::Error;
use crate::gather::gather;
use crate::image_form::ImageForm;
use crate::machine::maker;
use crate::make::{images_of, make_run};
use crate::manifest::{GroupSpec, Manifest, Parallel};
use crate::plan::{RunPlan, auto_precision, describe_data, plan};
use crate::store::{RunManifest, RunStore};
use crate::work::Work;

/// How often a run that another process holds is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Where and how the runs are made.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// What every run is made with.
    pub work: Work<'a>,
    /// Where runs are stored.
    pub store: &'a RunStore,
    /// The command line, recorded in the results.
    pub command: &'a str,
    /// Runs at a time, from 1; `None` = as the manifest says.
    pub jobs: Option<usize>,
    /// The part of the runs that is made here; `None` = all of them.
    pub shard: Option<Shard>,
}

/// A run that the manifest asks for.
pub(crate) struct Wanted {
    pub(crate) plan: RunPlan,
    pub(crate) manifest: RunManifest,
}

/// Makes all runs of `manifest` and collects them, tables not yet made.
///
/// Any number of processes may do so in one store at the same time. A run that another holds is left to it and
/// looked at again when all others are done: finished, it is taken over as it is; given up, it is made here. So the
/// call ends when everything is finished. With a shard, it ends when that part is, and the results hold what else
/// is finished by then.
///
/// # Errors
/// [`Error::Argument`] when `jobs` is 0; [`Error::MixedPaths`] when one path is asked for and a run was made on another;
/// otherwise the first error of a run, after those under way were finished.
pub fn reproduce(manifest: &Manifest, setting: &Setting<'_>) -> Result<Results, Error> {
    let began = Instant::now();
    if setting.jobs == Some(0) {
        return Err(Error::Argument {
            argument: "--jobs",
            value: "0".to_owned(),
            remedy: "give at least one run at a time".to_owned(),
        });
    }
    let auto = settle_precision(manifest, setting.store, setting.work.device)?;
    let wanted = wanted(manifest, auto, setting)?;
    let mut finished: BTreeMap<usize, Run> = BTreeMap::new();
    let mut pending = VecDeque::new();
    for (index, run) in wanted.iter().enumerate() {
        match setting.store.finished(&run.manifest)? {
            Some(run) => {
                finished.insert(index, run);
            }
            None if setting.shard.is_none_or(|shard| shard.has(index)) => pending.push_back(index),
            None => {}
        }
    }
    if setting.work.one_path {
        check_paths(&wanted, &finished, setting)?;
    }
    announce(&wanted, &pending, finished.len(), setting);
    finished.extend(make_all(&wanted, pending, manifest.parallel(), setting)?);
    for (index, run) in wanted.iter().enumerate() {
        if !finished.contains_key(&index)
            && let Some(run) = setting.store.finished(&run.manifest)?
        {
            finished.insert(index, run);
        }
    }

    let data = describe_data(setting.work.benchmark);
    let mut results = gather(manifest, auto, data, finished.into_values().collect());
    let (found, left_out) = ensembles(&results, setting.store);
    results.ensembles = found;
    for line in &left_out {
        setting.work.observer.note(line);
    }
    results.provenance.code_version = setting.work.code_version.to_owned();
    results.provenance.command = setting.command.to_owned();
    results
        .times
        .insert("runs".to_owned(), began.elapsed().as_secs_f64());
    Ok(results)
}

pub(crate) fn wanted(
    manifest: &Manifest,
    auto: Precision,
    setting: &Setting<'_>,
) -> Result<Vec<Wanted>, Error> {
    plan(manifest, ImageForm::of(setting.work.benchmark), auto)?
        .into_iter()
        .map(|plan| {
            let manifest = plan.manifest(setting.work.benchmark, setting.work.code_version)?;
            Ok(Wanted { plan, manifest })
        })
        .collect()
}

/// What `auto` means in this store: what it meant to the first process that worked there.
fn settle_precision(
    manifest: &Manifest,
    store: &RunStore,
    device: Device,
) -> Result<Precision, Error> {
    let here = auto_precision(device, collapse_kernels::kernel_path()?)?;
    if !manifest.has_auto_precision() {
        return Ok(here);
    }
    store.settle_precision(begun_precision(manifest, store).unwrap_or(here))
}

/// What `auto` was settled to mean in a store, or what its runs were begun with.
pub(crate) fn begun_precision(manifest: &Manifest, store: &RunStore) -> Option<Precision> {
    if let Ok(Some(settled)) = store.settled_precision() {
        return Some(settled);
    }
    let begun = |group: &GroupSpec| {
        let mut seeds = manifest.seeds().iter();
        seeds.find_map(|&seed| {
            let run = RunManifest::read(&store.folder(&group.id, seed)).ok()??;
            run.precision()
        })
    };
    let mut groups = manifest.groups().iter();
    groups.find_map(|group| group.precision.is_none().then(|| begun(group))?)
}

fn check_paths(
    wanted: &[Wanted],
    finished: &BTreeMap<usize, Run>,
    setting: &Setting<'_>,
) -> Result<(), Error> {
    for (&index, run) in finished {
        let plan = &wanted[index].plan;
        let here = maker(setting.work.device, setting.work.code_version)?.kernel_path;
        let mut paths = run.made_by.iter().map(|span| &span.maker.kernel_path);
        if let Some(found) = paths.find(|found| **found != here) {
            return Err(Error::MixedPaths {
                run: plan.id().to_string(),
                found: found.clone(),
                here,
            });
        }
    }
    Ok(())
}

fn announce(wanted: &[Wanted], pending: &VecDeque<usize>, kept: usize, setting: &Setting<'_>) {
    let benchmark = setting.work.benchmark;
    let (mut trained, mut measured) = (0, 0);
    for &index in pending {
        let (of_training, of_measuring) = images_of(&wanted[index].plan, benchmark);
        trained += of_training;
        measured += of_measuring;
    }
    setting
        .work
        .observer
        .planned(pending.len(), kept, trained, measured);
}

/// The runs still to be made, as all workers of a process see them.
#[derive(Default)]
struct Queue {
    pending: VecDeque<usize>,
    /// Held by other processes when last looked at.
    held: VecDeque<usize>,
    finished: BTreeMap<usize, Run>,
    error: Option<Error>,
    said: bool,
}

impl Queue {
    /// The next run, and whether it was held by another process before.
    fn next(&mut self) -> Option<(usize, bool)> {
        if self.error.is_some() {
            return None;
        }
        let fresh = self.pending.pop_front().map(|index| (index, false));
        fresh.or_else(|| self.held.pop_front().map(|index| (index, true)))
    }
}

/// How many of `runs` are made at a time, and the threads of each.
pub(crate) fn jobs_and_threads(
    parallel: Parallel,
    runs: usize,
    setting: &Setting<'_>,
) -> (usize, usize) {
    let cores = rayon::current_num_threads();
    let jobs = setting
        .jobs
        .unwrap_or(match (parallel, setting.work.device) {
            (Parallel::Runs, Device::Cpu) => cores,
            // Another device is one, however many cores there are beside it.
            _ => 1,
        });
    let jobs = jobs.clamp(1, runs.max(1));
    (jobs, (cores / jobs).max(1))
}

pub(crate) fn thread_pool(threads: usize) -> Result<rayon::ThreadPool, Error> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| Error::Threads {
            message: error.to_string(),
        })
}

/// Works the queue off on as many workers as jobs, each with its share of the cores.
fn make_all(
    wanted: &[Wanted],
    pending: VecDeque<usize>,
    parallel: Parallel,
    setting: &Setting<'_>,
) -> Result<BTreeMap<usize, Run>, Error> {
    let (jobs, threads) = jobs_and_threads(parallel, pending.len(), setting);
    let queue = Mutex::new(Queue {
        pending,
        ..Queue::default()
    });
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                if let Err(error) = work_off(wanted, &queue, threads, setting) {
                    // The others finish the run they are at; nothing new is begun.
                    lock(&queue).error.get_or_insert(error);
                }
            });
        }
    });
    let queue = queue
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    match queue.error {
        Some(error) => Err(error),
        None => Ok(queue.finished),
    }
}

fn work_off(
    wanted: &[Wanted],
    queue: &Mutex<Queue>,
    threads: usize,
    setting: &Setting<'_>,
) -> Result<(), Error> {
    let pool = thread_pool(threads)?;
    loop {
        let next = lock(queue).next();
        let Some((index, held_before)) = next else {
            return Ok(());
        };
        if held_before {
            wait(setting)?;
        }
        let Wanted { plan, manifest } = &wanted[index];
        let folder = setting.store.folder(&plan.group, plan.seed);
        match pool.install(|| make_run(plan, manifest, &folder, &setting.work)) {
            Ok(run) => {
                lock(queue).finished.insert(index, run);
            }
            Err(Error::HeldElsewhere { .. }) => put_back(index, queue, setting),
            Err(error) => return Err(error),
        }
    }
}

/// Puts a run that another process holds behind all others.
fn put_back(index: usize, queue: &Mutex<Queue>, setting: &Setting<'_>) {
    let mut queue = lock(queue);
    queue.held.push_back(index);
    if queue.pending.is_empty() && !queue.said {
        queue.said = true;
        setting.work.observer.note(&format!(
            "waiting for {} that other processes hold; whatever one gives up is finished here",
            match queue.held.len() {
                1 => "a run".to_owned(),
                n => format!("{n} runs"),
            }
        ));
    }
}

/// Lets other processes work for a while.
fn wait(setting: &Setting<'_>) -> Result<(), Error> {
    let until = Instant::now() + LOOK_AGAIN;
    while Instant::now() < until {
        if setting.work.stop.is_raised() {
            return Err(Error::Interrupted);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn lock(queue: &Mutex<Queue>) -> std::sync::MutexGuard<'_, Queue> {
    queue
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
