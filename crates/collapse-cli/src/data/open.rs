//! How commands open the image sets of one network.

use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use collapse_data::controls::Control;
use collapse_data::{Benchmark, BenchmarkOptions, Cache, registry};
use collapse_experiment::DataSpec;

use crate::named_path::NamedPath;
use crate::output::note;

/// The images of one network.
#[derive(clap::Args)]
pub struct ImageArgs {
    /// embedded, or a folder that holds the image sets.
    #[arg(long, default_value = "embedded")]
    data: String,
    /// In-distribution set within --data.
    #[arg(long, default_value = "cifar10")]
    id: String,
    /// A further OoD set, beside those that come with --data: pictures of your own as NAME=PATH, or a set of `cargo xtask data list` (repeatable).
    #[arg(long = "ood", value_name = "NAME=PATH|NAME")]
    ood: Vec<OodSet>,
}

impl ImageArgs {
    /// The embedded benchmark, or the set `--id` against SVHN, CIFAR-100 and Tiny ImageNet.
    pub fn open(&self) -> Result<Benchmark> {
        if self.data == "embedded" {
            let spec = DataSpec {
                id: self.data.clone(),
                ..DataSpec::default()
            };
            check_names(&spec, &self.ood)?;
            return open_benchmark(&spec, None, &self.ood);
        }
        let ood = ["svhn", "cifar100", "tiny-imagenet"];
        let spec = DataSpec {
            id: self.id.clone(),
            ood: ood
                .into_iter()
                .filter(|name| *name != self.id)
                .map(str::to_owned)
                .collect(),
            drop_duplicates: false,
        };
        check_names(&spec, &self.ood)?;
        open_benchmark(&spec, Some(Path::new(&self.data)), &self.ood)
    }
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
        let set = text.parse().map(Self::At);
        set.map_err(|error: String| format!("{error}, nor a set of `cargo xtask data list`"))
    }
}

/// Fails when two OoD sets share a name, before any of them is opened.
pub fn check_names(spec: &DataSpec, further: &[OodSet]) -> Result<()> {
    let mut names: Vec<&str> = spec.ood.iter().map(String::as_str).collect();
    if spec.id == "embedded" {
        names.extend(EMBEDDED_OOD);
    }
    for set in further {
        let name = match set {
            // Naming a set that is there anyway is no mistake.
            OodSet::Registered(name) if spec.ood.contains(name) => continue,
            OodSet::Registered(name) => name,
            OodSet::At(set) => &set.name,
        };
        // Not even in another case: the names become those of files.
        if names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            bail!(
                "two OoD sets are called {name:?}; give one of them another name with --ood NAME=PATH"
            );
        }
        names.push(name);
    }
    Ok(())
}

/// The OoD sets that come with the embedded images.
const EMBEDDED_OOD: [&str; 2] = ["fashion-heldout", "mnist"];

/// Opens the benchmark a manifest asks for.
pub fn open_benchmark(
    spec: &DataSpec,
    folder: Option<&Path>,
    further: &[OodSet],
) -> Result<Benchmark> {
    let mut ood = spec.ood.clone();
    let mut extra = Vec::new();
    for set in further {
        match set {
            // Naming a set that is there anyway is no mistake.
            OodSet::Registered(name) if ood.contains(name) => {}
            OodSet::Registered(name) => ood.push(name.clone()),
            OodSet::At(set) => extra.push((set.name.clone(), set.path.clone())),
        }
    }
    let cache = Cache::default_location();
    let benchmark = if spec.id == "embedded" {
        Benchmark::embedded()?
            .with_named(&ood, folder, cache.as_ref())?
            .with_extra(&extra, cache.as_ref())?
    } else {
        let options = BenchmarkOptions {
            id: spec.id.clone(),
            ood,
            extra,
            cache,
        };
        Benchmark::open(folder, &options).with_context(|| match folder {
            Some(folder) => format!("looking for {} in {}", spec.id, folder.display()),
            None => format!(
                "no --data DIR is given, and the hub's cache was searched for {}",
                spec.id
            ),
        })?
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
