//! `data verify`: what a folder's sets hold, compared with what is published.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use collapse_data::registry::{self, SetInfo, Source};
use collapse_data::verify::{Shared, Summary, shared_images, summarise};
use collapse_data::{Cache, ImageSet, LoadOptions, Part, file_sha256, load, locate_files, quick};
use serde::Serialize;

use crate::output::print;

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

pub(super) fn verify(data: Option<&Path>, names: &[String], json: bool) -> Result<ExitCode> {
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
