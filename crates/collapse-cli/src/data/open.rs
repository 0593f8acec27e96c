//! How commands open the image sets of one network.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use collapse_data::controls::Control;
use collapse_data::{Benchmark, BenchmarkOptions, Cache, IdSet, registry};
use collapse_experiment::DataSpec;

use crate::named_path::NamedPath;
use crate::output::note;

/// The value of --data for the embedded images.
const EMBEDDED: &str = "embedded";

/// The images of one network.
#[derive(clap::Args)]
pub struct ImageArgs {
    /// embedded, or a folder that holds the image sets.
    #[arg(long, default_value = EMBEDDED)]
    data: String,
    /// In-distribution set: one within --data [default: cifar10], or pictures of your own as NAME=PATH, a folder a class, brought to 32×32 in
    /// colour; folders train and test are its parts, else a fifth of each class is held out for testing.
    #[arg(long, value_name = "NAME|NAME=PATH", value_parser = parse_id)]
    id: Option<IdSet>,
    /// A further OoD set, beside those that come with --data: pictures of your own as NAME=PATH, or a set of `cargo xtask data list` (repeatable).
    #[arg(long = "ood", value_name = "NAME=PATH|NAME")]
    ood: Vec<OodSet>,
}

impl ImageArgs {
    /// The embedded benchmark, or the set `--id` against SVHN, CIFAR-100 and Tiny ImageNet of `--data` and those of
    /// `--ood`.
    ///
    /// # Errors
    /// When a set is unknown, not there or damaged, two share a name, or there is nothing to tell from `--id`.
    pub fn open(&self) -> Result<Benchmark> {
        let folder = (self.data != EMBEDDED).then(|| Path::new(&self.data));
        let id = match (&self.id, folder) {
            (None, None) => return further(Benchmark::embedded()?, Vec::new(), None, &self.ood),
            (Some(IdSet::Published(name)), None) => {
                bail!("--id {name} needs --data DIR, the folder that holds it")
            }
            (Some(id), _) => id.clone(),
            (None, Some(_)) => BenchmarkOptions::default().id,
        };
        let mut ood = BenchmarkOptions::default().ood;
        ood.retain(|name| folder.is_some() && name != id.name());
        if ood.is_empty() && self.ood.is_empty() {
            bail!(
                "there is no set to tell {} from: give --ood NAME=PATH, --ood uniform-noise (or another control), or --data DIR",
                id.name()
            );
        }
        open(id, ood, folder, &self.ood)
    }
}

/// The in-distribution set that `--id` names.
fn parse_id(text: &str) -> Result<IdSet, String> {
    if registry::find(text).is_ok() {
        return Ok(IdSet::Published(text.to_owned()));
    }
    let NamedPath { name, path } = parse_own(text)?;
    Ok(IdSet::Own { name, path })
}

/// A user's own set.
fn parse_own(text: &str) -> Result<NamedPath, String> {
    let set: Result<NamedPath, String> = text.parse();
    set.map_err(|error| format!("{error}, nor a set of `cargo xtask data list`"))
}

/// An OoD set on the command line: `NAME=PATH`, or a registered set or generated control by its name.
#[derive(Clone, Debug)]
pub enum OodSet {
    Registered(String),
    At(NamedPath),
}

impl FromStr for OodSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if Control::find(text).is_some() || registry::find(text).is_ok() {
            return Ok(Self::Registered(text.to_owned()));
        }
        parse_own(text).map(Self::At)
    }
}

/// Fails for OoD sets that are unknown, share a name or cannot be called so, before any of them is opened.
///
/// # Errors
/// Naming the set.
pub fn check_names(spec: &DataSpec, further: &[OodSet]) -> Result<()> {
    let (ood, extra) = with_further(spec.ood.clone(), further);
    if spec.id == EMBEDDED {
        Benchmark::embedded()?.check_further(&ood, &extra)?;
    } else {
        options(id_set(spec), ood, extra).check()?;
    }
    Ok(())
}

/// The in-distribution set of a manifest that is not the embedded one.
fn id_set(spec: &DataSpec) -> IdSet {
    let name = spec.id.clone();
    match &spec.path {
        Some(path) => IdSet::Own {
            name,
            path: path.clone(),
        },
        None => IdSet::Published(name),
    }
}

/// Opens the benchmark a manifest asks for, with further OoD sets of the command line.
///
/// # Errors
/// When a set is unknown, not there or damaged, or two share a name.
pub fn open_benchmark(spec: &DataSpec, folder: Option<&Path>, ood: &[OodSet]) -> Result<Benchmark> {
    let benchmark = if spec.id == EMBEDDED {
        further(Benchmark::embedded()?, spec.ood.clone(), folder, ood)?
    } else {
        open(id_set(spec), spec.ood.clone(), folder, ood)?
    };
    if !spec.drop_duplicates {
        return Ok(benchmark);
    }
    let reduced = benchmark.without_duplicates()?;
    for (set, n) in reduced.left_out() {
        note!("{set}: {n} images left out that equal in-distribution images");
    }
    Ok(reduced)
}

/// Opens a benchmark of sets that are in files.
fn open(
    id: IdSet,
    named: Vec<String>,
    folder: Option<&Path>,
    further: &[OodSet],
) -> Result<Benchmark> {
    let (ood, extra) = with_further(named, further);
    let options = options(id, ood, extra);
    options.check()?;
    Benchmark::open(folder, &options).with_context(|| {
        let name = options.id.name();
        match (&options.id, folder) {
            (IdSet::Own { path, .. }, _) => format!("cannot open {name} in {}", path.display()),
            (_, Some(folder)) => format!("looking for {name} in {}", folder.display()),
            (_, None) => {
                format!("no --data DIR is given, and the hub's cache was searched for {name}")
            }
        }
    })
}

fn options(id: IdSet, ood: Vec<String>, extra: Vec<(String, PathBuf)>) -> BenchmarkOptions {
    BenchmarkOptions {
        id,
        ood,
        extra,
        cache: Cache::default_location(),
    }
}

/// The benchmark with further OoD sets.
fn further(
    benchmark: Benchmark,
    named: Vec<String>,
    folder: Option<&Path>,
    further: &[OodSet],
) -> Result<Benchmark> {
    let (ood, extra) = with_further(named, further);
    benchmark.check_further(&ood, &extra)?;
    let cache = Cache::default_location();
    Ok(benchmark
        .with_named(&ood, folder, cache.as_ref())?
        .with_extra(&extra, cache.as_ref())?)
}

/// OoD sets by name, and those at paths.
fn with_further(
    mut named: Vec<String>,
    further: &[OodSet],
) -> (Vec<String>, Vec<(String, PathBuf)>) {
    let mut extra = Vec::new();
    for set in further {
        match set {
            // Naming a set that is there anyway is no mistake.
            OodSet::Registered(name) if named.contains(name) => {}
            OodSet::Registered(name) => named.push(name.clone()),
            OodSet::At(set) => extra.push((set.name.clone(), set.path.clone())),
        }
    }
    (named, extra)
}
