//! `cargo xtask reproduce`: every table and figure of one scale.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use collapse_data::View;
use collapse_experiment::{Manifest, RunStore, Setting, Shard, Work};
use collapse_models::Device;
use collapse_report::{
    References, TerminalStyle, check_tables, render, verdict_label, with_tables,
};
use collapse_results::{Maker, Results};

use crate::data::{OodSet, check_names, open_benchmark};
use crate::launch::{Job, LaunchArgs, absolute, launch};
use crate::output::{note, out, print};
use crate::plan;
use crate::progress::Board;
use crate::{CODE_VERSION, command_line, stop};

/// The published numbers, as TOML files that a reader may complete.
pub const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/reference");

/// The scale and which of its runs; the same for `reproduce`, `report` and `status`.
#[derive(clap::Args)]
pub struct ScaleArgs {
    /// quick, precision, small, full, paper, or a manifest file (experiments/*.toml show how one looks).
    #[arg(long, default_value = "quick")]
    scale: String,
    /// Where runs, tables and the report go [default: target/reproduce/SCALE].
    #[arg(long)]
    out: Option<PathBuf>,
    /// Only these groups (repeatable).
    #[arg(long = "group", value_name = "ID")]
    groups: Vec<String>,
    /// Only these seeds (repeatable).
    #[arg(long = "seed", value_name = "SEED", conflicts_with = "seeds")]
    seed: Vec<u64>,
    /// Only the first so many seeds.
    #[arg(long)]
    seeds: Option<usize>,
    /// Cut every schedule to so many epochs; for a quick check of the whole way.
    #[arg(long)]
    epochs_at_most: Option<usize>,
}

impl ScaleArgs {
    /// The manifest, cut to what was asked for.
    pub fn manifest(&self) -> Result<Manifest> {
        let mut manifest = Manifest::scale_named(&self.scale)?;
        manifest.select_groups(&self.groups)?;
        manifest.select_seeds(&self.seed)?;
        manifest.shorten(self.seeds, self.epochs_at_most)?;
        Ok(manifest)
    }

    /// These arguments without the choice of groups and seeds, for a job that starts in another folder.
    fn for_jobs(&self, manifest: &Manifest) -> Result<Vec<String>> {
        let scale = match self.scale.ends_with(".toml") {
            true => absolute(Path::new(&self.scale))?,
            false => self.scale.clone(),
        };
        let out = absolute(&self.out(manifest))?;
        let mut arguments = vec!["--scale".to_owned(), scale, "--out".to_owned(), out];
        if let Some(epochs) = self.epochs_at_most {
            arguments.extend(["--epochs-at-most".to_owned(), epochs.to_string()]);
        }
        Ok(arguments)
    }

    /// The choice of groups and seeds.
    fn choice(&self) -> Vec<String> {
        let groups = self
            .groups
            .iter()
            .map(|group| ["--group".to_owned(), group.clone()]);
        let seeds = self
            .seed
            .iter()
            .map(|seed| ["--seed".to_owned(), seed.to_string()]);
        let first = self.seeds.map(|n| ["--seeds".to_owned(), n.to_string()]);
        groups.chain(seeds).chain(first).flatten().collect()
    }

    /// The folder of tables and report.
    pub fn out(&self, manifest: &Manifest) -> PathBuf {
        let default = || Path::new("target/reproduce").join(manifest.scale());
        self.out.clone().unwrap_or_else(default)
    }

    /// The folder of the runs.
    pub fn runs(&self, manifest: &Manifest) -> PathBuf {
        self.out(manifest).join("runs").join(manifest.scale())
    }
}

/// Make every table and figure of the paper at one scale.
///
/// Finished runs are kept: the same command goes on where it was interrupted. Several processes, on one machine or
/// on many with one file system, may run it at the same time: each run is made by one of them, and one that dies is
/// replaced by another.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    scale: ScaleArgs,
    /// Folder with the image sets [default: the hub's cache]; not needed by the quick scale.
    #[arg(long)]
    data: Option<PathBuf>,
    /// A further OoD set, shown in every table: a folder of images or any readable file, or the name of a
    /// registered set or generated control.
    #[arg(long = "ood", value_name = "NAME[=PATH]")]
    ood: Vec<OodSet>,
    /// Where to train: cpu, candle, cuda, cuda:N, metal or metal:N.
    #[arg(long, default_value = "cpu")]
    device: Device,
    /// Make only part I of N of the runs, I from 1 (every part has short and long ones).
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Runs at a time [default: as the scale says].
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
    /// Fail when a run was computed on another kernel path than this machine's.
    #[arg(long)]
    one_path: bool,
    /// Leave out OoD images whose pixels occur in the in-distribution set.
    #[arg(long)]
    drop_duplicates: bool,
    /// Draw these tables alone, e.g. main,nc-end [default: all].
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    tables: Vec<String>,
    /// Make runs only; `report` draws the tables later.
    #[arg(long)]
    no_report: bool,
    /// Say what it will take, from parts of a run timed now, and make nothing.
    #[arg(long)]
    plan: bool,
    /// With --plan: as JSON.
    #[arg(long, requires = "plan")]
    json: bool,
    #[command(flatten)]
    launch: LaunchArgs,
}

impl Args {
    /// The arguments of a job that makes one run.
    fn for_jobs(&self, manifest: &Manifest) -> Result<Vec<String>> {
        let mut arguments = self.scale.for_jobs(manifest)?;
        if let Some(data) = &self.data {
            arguments.extend(["--data".to_owned(), absolute(data)?]);
        }
        for set in &self.ood {
            let set = match set {
                OodSet::Registered(name) => name.clone(),
                OodSet::At(set) => format!("{}={}", set.name, absolute(&set.path)?),
            };
            arguments.extend(["--ood".to_owned(), set]);
        }
        if self.device != Device::Cpu {
            arguments.extend(["--device".to_owned(), self.device.to_string()]);
        }
        let switches = [
            ("--one-path", self.one_path),
            ("--drop-duplicates", self.drop_duplicates),
        ];
        arguments.extend(
            switches
                .iter()
                .filter(|(_, on)| *on)
                .map(|(flag, _)| (*flag).to_owned()),
        );
        Ok(arguments)
    }
}

pub fn run(args: Args) -> Result<ExitCode> {
    let began = Instant::now();
    if !args.launch.is_asked() {
        args.device.open()?;
    }
    let mut manifest = args.scale.manifest()?;
    if args.drop_duplicates {
        manifest.drop_duplicates();
    }
    check_names(manifest.data(), &args.ood)?;
    let out = args.scale.out(&manifest);
    let references = References::load(Path::new(REFERENCE))?;
    let runs = args.scale.runs(&manifest);
    let store = match args.plan {
        true => RunStore::at(runs),
        false => RunStore::open(runs)?,
    };
    let benchmark = open_benchmark(manifest.data(), args.data.as_deref(), &args.ood)?;
    check_tables(&args.tables, benchmark.ood().iter().map(View::name))?;

    let command = command_line::typed();
    let board = Board::new();
    let setting = Setting {
        work: Work {
            benchmark: &benchmark,
            observer: &board,
            device: args.device,
            stop: stop::requested(),
            code_version: CODE_VERSION,
            one_path: args.one_path,
        },
        store: &store,
        command: &command,
        jobs: args.jobs.map(NonZeroUsize::get),
        shard: args.shard,
    };
    if args.plan {
        let plan = collapse_experiment::estimate(&manifest, &setting)?;
        drop(board);
        match args.json {
            true => out!("{}", serde_json::to_string_pretty(&plan)?)?,
            false => print(plan::describe(&plan))?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    if args.launch.is_asked() {
        let jobs = Job {
            manifest: &manifest,
            store: &store,
            out: &out,
            run: args.for_jobs(&manifest)?,
            report: [args.scale.for_jobs(&manifest)?, args.scale.choice()].concat(),
        };
        let alone = Setting {
            jobs: Some(1),
            ..setting
        };
        let estimate = || Ok(collapse_experiment::estimate(&manifest, &alone)?);
        launch(&args.launch, jobs, estimate)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut results = collapse_experiment::reproduce(&manifest, &setting)?;
    drop(board);
    if args.no_report {
        return Ok(ExitCode::SUCCESS);
    }
    results
        .times
        .insert("total".to_owned(), began.elapsed().as_secs_f64());
    publish(&results, &references, &args.tables, &out)
}

/// Writes the report into `out`, with `tables` alone where some are named, and tells what it says.
pub fn publish(
    results: &Results,
    references: &References,
    tables: &[String],
    out: &Path,
) -> Result<ExitCode> {
    let whole = with_tables(collapse_report::complete(results, references), tables)?;
    let report = collapse_report::write_completed(&whole, out)
        .with_context(|| format!("writing the report to {}", out.display()))?;
    let wanted: usize = results.groups.iter().map(|group| group.seeds.len()).sum();
    if results.runs.len() < wanted {
        let n = results.runs.len();
        note!("note: {n} of {wanted} runs are finished; the tables show those");
    }
    for line in mixtures(results) {
        note!("warning: {line}");
    }
    print_summary(&whole)?;
    out!("\nReport: {}", report.display())?;
    out!("Numbers: {}", out.join("results.json").display())?;
    Ok(ExitCode::SUCCESS)
}

/// What differs between the runs although nobody asked for it: code versions and kernel paths.
fn mixtures(results: &Results) -> Vec<String> {
    let count = |what: &str, of: fn(&Maker) -> &str| {
        let mut runs: BTreeMap<&str, usize> = BTreeMap::new();
        for run in &results.runs {
            let makers: BTreeSet<&str> = run.made_by.iter().map(|span| of(&span.maker)).collect();
            for maker in makers {
                *runs.entry(maker).or_default() += 1;
            }
        }
        let listed: Vec<String> = runs
            .iter()
            .map(|(name, n)| format!("{name} ({n})"))
            .collect();
        (listed.len() > 1).then(|| {
            format!(
                "the runs were made by several {what}: {}",
                listed.join(", ")
            )
        })
    };
    let versions = count("versions of the code", |maker| &maker.code_version);
    let paths = count("kernel paths", |maker| &maker.kernel_path);
    versions.into_iter().chain(paths).collect()
}

fn print_summary(results: &Results) -> Result<()> {
    let style = TerminalStyle::detect();
    for table in &results.tables {
        out!("{}\n", render::terminal(table, style))?;
    }
    out!("The paper's claims at this scale ({}):", results.scale)?;
    for claim in &results.claims {
        out!(
            "  {} {}: {}",
            claim.id,
            verdict_label(claim.verdict),
            claim.statement
        )?;
        out!("     {}", claim.evidence)?;
    }
    Ok(())
}
