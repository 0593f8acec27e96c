//! All runs of a manifest: those finished before are kept, the others are made.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use collapse_data::Benchmark;
use collapse_kernels::KernelPath;
use collapse_results::{DataSet, Provenance, Results, Role, Run, SetId};

use crate::error::Error;
use crate::execute::execute;
use crate::manifest::{Manifest, Parallel};
use crate::observer::Observer;
use crate::plan::{RunPlan, describe_group, plan};
use crate::store::{ClaimedRun, RunManifest, RunStore, finished_in};

/// Where and how the runs are made.
pub struct Setting<'a> {
    /// The images.
    pub benchmark: &'a Benchmark,
    /// Where runs are stored.
    pub store: &'a RunStore,
    /// Receives progress.
    pub observer: &'a dyn Observer,
    /// Raised by Ctrl-C.
    pub stop: &'a Arc<AtomicBool>,
    /// Version of the code, recorded in every run.
    pub code_version: &'a str,
    /// The command line, recorded in the results.
    pub command: &'a str,
    /// Runs at a time; `None` = as the manifest says.
    pub jobs: Option<usize>,
}

/// Makes all runs of `manifest` and collects them, tables not yet made.
///
/// A run held by another process is left to it: then the result says [`Error::HeldElsewhere`], and the
/// same call succeeds once the other has finished.
pub fn reproduce(manifest: &Manifest, setting: &Setting<'_>) -> Result<Results, Error> {
    let began = Instant::now();
    let path = collapse_kernels::kernel_path()?;
    let plans = plan(manifest, setting.benchmark, path)?;
    let mut finished: BTreeMap<usize, Run> = BTreeMap::new();
    let mut pending = VecDeque::new();
    for (index, plan) in plans.iter().enumerate() {
        let identity = plan.manifest(setting.benchmark, path, setting.code_version)?;
        match setting.store.finished(&plan.group, plan.seed, &identity)? {
            Some(run) => {
                finished.insert(index, run);
            }
            None => pending.push_back((index, identity)),
        }
    }
    announce(&plans, &pending, finished.len(), setting);
    finished.extend(make_all(&plans, pending, manifest.parallel, setting)?);

    let mut results = Results::new(manifest.scale.clone());
    results.provenance = provenance(manifest, &plans, path, setting)?;
    results.data = describe_data(setting.benchmark);
    results.groups = manifest
        .groups
        .iter()
        .map(|group| describe_group(manifest, group, path))
        .collect();
    results.runs = finished.into_values().collect();
    results
        .times
        .insert("runs".to_owned(), began.elapsed().as_secs_f64());
    Ok(results)
}

fn announce(
    plans: &[RunPlan],
    pending: &VecDeque<(usize, RunManifest)>,
    kept: usize,
    setting: &Setting<'_>,
) {
    let images: u64 = pending
        .iter()
        .map(|(index, _)| {
            let plan = &plans[*index];
            let n = setting.benchmark.id().split(plan.seed).train.len();
            (n * plan.train.epochs) as u64
        })
        .sum();
    setting.observer.planned(pending.len(), kept, images);
}

/// Works the queue off on as many workers as jobs, each with its share of the cores.
fn make_all(
    plans: &[RunPlan],
    pending: VecDeque<(usize, RunManifest)>,
    parallel: Parallel,
    setting: &Setting<'_>,
) -> Result<BTreeMap<usize, Run>, Error> {
    let cores = rayon::current_num_threads();
    let jobs = setting
        .jobs
        .unwrap_or(match parallel {
            Parallel::Threads => 1,
            Parallel::Runs => cores,
        })
        .clamp(1, pending.len().max(1));
    let threads = (cores / jobs).max(1);
    let queue = Mutex::new(pending);
    let outcome = Mutex::new((BTreeMap::new(), None::<Error>));
    let work = || -> Result<(), Error> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .map_err(|error| Error::Threads {
                message: error.to_string(),
            })?;
        while let Some((index, identity)) = take(&queue) {
            let run = pool.install(|| make(&plans[index], &identity, setting))?;
            if let Ok(mut outcome) = outcome.lock() {
                outcome.0.insert(index, run);
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                if let Err(error) = work()
                    && let Ok(mut outcome) = outcome.lock()
                {
                    // The others finish the run they are at; nothing new is begun.
                    if let Ok(mut queue) = queue.lock() {
                        queue.clear();
                    }
                    outcome.1.get_or_insert(error);
                }
            });
        }
    });
    let (runs, error) = outcome
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    match error {
        Some(error) => Err(error),
        None => Ok(runs),
    }
}

fn take(queue: &Mutex<VecDeque<(usize, RunManifest)>>) -> Option<(usize, RunManifest)> {
    queue.lock().ok()?.pop_front()
}

fn make(plan: &RunPlan, identity: &RunManifest, setting: &Setting<'_>) -> Result<Run, Error> {
    let folder = setting.store.folder(&plan.group, plan.seed);
    make_run(
        plan,
        identity,
        &folder,
        setting.benchmark,
        setting.observer,
        setting.stop,
    )
}

/// Makes one run in `folder`, or reads its result where it is finished.
pub fn make_run(
    plan: &RunPlan,
    identity: &RunManifest,
    folder: &Path,
    benchmark: &Benchmark,
    observer: &dyn Observer,
    stop: &Arc<AtomicBool>,
) -> Result<Run, Error> {
    if stop.load(Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    let Some(claimed) = ClaimedRun::take(folder, identity)? else {
        return Err(Error::HeldElsewhere {
            run: plan.id().to_string(),
            folder: folder.to_owned(),
        });
    };
    if let Some(run) = finished_in(folder, identity)? {
        return Ok(run);
    }
    let run = execute(plan, benchmark, folder, observer, stop)?;
    observer.finished(&plan.id(), &run);
    claimed.finish(&run)?;
    Ok(run)
}

fn provenance(
    manifest: &Manifest,
    plans: &[RunPlan],
    path: KernelPath,
    setting: &Setting<'_>,
) -> Result<Provenance, Error> {
    let mut precisions: Vec<&str> = plans.iter().map(|p| p.train.precision.name()).collect();
    precisions.sort_unstable_by_key(|name| std::cmp::Reverse(*name));
    precisions.dedup();
    let manifest = serde_json::to_value(manifest).map_err(|source| Error::Manifest {
        origin: manifest.scale.clone(),
        field: source.to_string(),
        remedy: "report this as a defect".to_owned(),
    })?;
    Ok(Provenance {
        code_version: setting.code_version.to_owned(),
        kernel_path: path.name().to_owned(),
        precision: precisions.join(" and "),
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        command: setting.command.to_owned(),
        manifest_sha256: RunManifest::new(manifest, setting.code_version).identity_sha256,
    })
}

fn describe_data(benchmark: &Benchmark) -> Vec<DataSet> {
    let describe = |set: &collapse_data::ImageSet, role: Role| DataSet {
        name: SetId::from(set.name()),
        role,
        images: set.len(),
        description: format!(
            "{} of {}, {}{}",
            set.part().name(),
            benchmark.name(),
            set.shape(),
            benchmark
                .note(set)
                .map_or_else(String::new, |note| format!("; {note}"))
        ),
        sha256: set.content_hash().to_hex(),
    };
    let mut sets = vec![
        describe(benchmark.id().train_set(), Role::Train),
        describe(benchmark.id().test_set(), Role::Test),
    ];
    sets.extend(
        benchmark
            .ood()
            .iter()
            .map(|view| describe(view.set(), Role::Ood)),
    );
    sets
}
