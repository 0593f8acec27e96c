//! `reproduce --launcher`: the runs as jobs of a cluster.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use collapse_experiment::launch::{Launch, Task, kubernetes, slurm, unfinished};
use collapse_experiment::{Estimate, Manifest, Resources, RunStore};

use crate::output::{note, out};

/// Where the runs are made instead of here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Launcher {
    /// An array of jobs, one a run, and a job that draws the report after them.
    Slurm,
    /// An Indexed Job, written as YAML (checked against the schema, never run on a cluster).
    Kubernetes,
}

/// What the jobs of a cluster get.
#[derive(Clone, Debug, clap::Args)]
pub struct LaunchArgs {
    /// Give the runs to a cluster's scheduler instead of making them here.
    #[arg(long, value_enum)]
    launcher: Option<Launcher>,
    /// Minutes of a job; a longer run goes on in the next [default: the manifest's, else estimated].
    #[arg(long, value_name = "N", requires = "launcher", value_parser = clap::value_parser!(u64).range(1..))]
    minutes: Option<u64>,
    /// Memory of a job in MiB [default: the manifest's, else estimated].
    #[arg(long, value_name = "MIB", requires = "launcher", value_parser = clap::value_parser!(u64).range(1..))]
    memory: Option<u64>,
    /// Cores of a job [default: the manifest's, else as many as here].
    #[arg(long, value_name = "N", requires = "launcher")]
    cores: Option<std::num::NonZeroUsize>,
    /// Slurm's partition.
    #[arg(long, requires = "launcher")]
    partition: Option<String>,
    /// The account that Slurm charges.
    #[arg(long, requires = "launcher")]
    account: Option<String>,
    /// Write the scripts and submit nothing.
    #[arg(long, requires = "launcher")]
    dry_run: bool,
    /// Kubernetes: the container image that holds `collapse`.
    #[arg(long, requires = "launcher", required_if_eq("launcher", "kubernetes"))]
    image: Option<String>,
    /// Kubernetes: the claim of the volume that holds --out and --data.
    #[arg(
        long,
        value_name = "NAME",
        requires = "launcher",
        required_if_eq("launcher", "kubernetes")
    )]
    volume_claim: Option<String>,
    /// Kubernetes: where the volume is mounted.
    #[arg(
        long,
        value_name = "DIR",
        requires = "launcher",
        required_if_eq("launcher", "kubernetes")
    )]
    mount: Option<String>,
}

impl LaunchArgs {
    /// Whether there is a launcher.
    pub fn is_asked(&self) -> bool {
        self.launcher.is_some()
    }

    /// What a job gets as far as it is said, on the command line or in the manifest.
    fn resources(&self, manifest: &Manifest) -> Resources {
        let asked = Resources {
            minutes: self.minutes,
            memory_mib: self.memory,
            cores: self.cores.map(std::num::NonZeroUsize::get),
            partition: self.partition.clone(),
            account: self.account.clone(),
        };
        asked.or(manifest.resources())
    }
}

/// What is launched: the arguments that the jobs share, and where the runs go.
pub struct Job<'a> {
    pub manifest: &'a Manifest,
    pub store: &'a RunStore,
    pub out: &'a Path,
    /// Scale, store and image sets as arguments of `reproduce`; paths are absolute.
    pub run: Vec<String>,
    /// Scale and store as arguments of `report`.
    pub report: Vec<String>,
}

/// Submits the unfinished runs; `estimate` times them, and is asked only for what nobody has said.
pub fn launch(
    args: &LaunchArgs,
    job: Job<'_>,
    estimate: impl FnOnce() -> Result<Estimate>,
) -> Result<()> {
    let slurm_folder = job.out.join("slurm");
    let mut tasks = unfinished(job.manifest, job.store);
    let unfinished = tasks.len();
    if args.launcher == Some(Launcher::Slurm) {
        let queued = slurm::jobs(&slurm_folder)?;
        tasks.retain(|task| !queued.contains_key(&(task.group.clone(), task.seed)));
    }
    if tasks.is_empty() {
        note!(
            "nothing to submit: {} in the queue, all others are finished",
            runs(unfinished)
        );
        return Ok(());
    }
    let mut resources = args.resources(job.manifest);
    if resources.minutes.is_none() || resources.memory_mib.is_none() {
        let found = estimate()?;
        resources = resources.or(&estimated(&found, &tasks));
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    resources.cores = resources.cores.or(Some(cores));
    let program = std::env::current_exe().context("looking for this program")?;
    let program = program.display().to_string();
    let words = |command: &str, arguments: Vec<String>| -> Vec<String> {
        let program = [program.clone(), command.to_owned()];
        program.into_iter().chain(arguments).collect()
    };
    let mut launch = Launch {
        scale: job.manifest.scale().to_owned(),
        folder: slurm_folder,
        run: words("reproduce", job.run),
        report: words("report", job.report),
        tasks,
        resources,
    };
    match args.launcher {
        Some(Launcher::Slurm) => submit(&launch, args.dry_run),
        _ => {
            "collapse".clone_into(&mut launch.run[0]);
            write_job(&launch, args, job.out)
        }
    }
}

fn submit(launch: &Launch, dry_run: bool) -> Result<()> {
    let scripts = slurm::write(launch)?;
    let folder = scripts.folder().to_owned();
    if dry_run {
        out!("Scripts: {} (nothing is submitted)", folder.display())?;
        return Ok(());
    }
    let submitted = scripts.submit()?;
    let n = runs(launch.tasks.len());
    out!(
        "{n} submitted as array {}, the report as job {}",
        submitted.array,
        submitted.report
    )?;
    out!("Scripts and logs: {}", folder.display())?;
    Ok(())
}

fn write_job(launch: &Launch, args: &LaunchArgs, out: &Path) -> Result<()> {
    let (Some(image), Some(claim), Some(mount)) = (&args.image, &args.volume_claim, &args.mount)
    else {
        bail!("--launcher kubernetes needs --image, --volume-claim and --mount");
    };
    let pod = kubernetes::Pod {
        image: image.clone(),
        claim: claim.clone(),
        mount: mount.clone(),
    };
    let path = out.join("kubernetes").join("job.yaml");
    collapse_files::replace(&path, kubernetes::job(launch, &pod).as_bytes())?;
    let n = runs(launch.tasks.len());
    out!("{n} as an Indexed Job: kubectl apply -f {}", path.display())?;
    out!("Then: collapse {}", launch.report[1..].join(" "))?;
    Ok(())
}

/// Time and memory of the longest and the largest run, with what the estimate may be wrong by.
fn estimated(found: &Estimate, tasks: &[Task]) -> Resources {
    let groups = found.groups.iter();
    let asked = groups.filter(|group| tasks.iter().any(|task| task.group == group.group));
    let longest = asked.map(|group| group.run_seconds).fold(0.0, f64::max);
    let minutes = (longest * (1.2 + 2.0 * found.error) / 60.0).ceil().max(5.0);
    let memory = (1.25 * found.memory_bytes as f64 / f64::from(1 << 20)).ceil();
    Resources {
        minutes: Some(minutes as u64),
        memory_mib: Some(memory as u64),
        ..Resources::default()
    }
}

/// The path from the root, for a job that starts in another folder.
pub fn absolute(path: &Path) -> Result<String> {
    let path: PathBuf =
        std::path::absolute(path).with_context(|| format!("looking for {}", path.display()))?;
    Ok(path.display().to_string())
}

fn runs(n: usize) -> String {
    match n {
        1 => "1 run".to_owned(),
        n => format!("{n} runs"),
    }
}
