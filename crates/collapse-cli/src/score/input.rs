//! The feature sets of one call.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use collapse_evaluate::{CompleteSplits, FeatureSplits, Split};
use collapse_features::{
    FeatureSet, Head, read, read_logits, read_unlabelled, read_unlabelled_logits,
};
use collapse_ood::detectors;
use ndarray::Array2;

use super::Args;

/// Reads every set that was named and makes them agree; `head` is that of the detectors, for sets without logits and head.
pub fn read_splits(args: &Args, head: Option<Head>) -> Result<CompleteSplits> {
    let mut splits = match needs_logits_alone(args) {
        true => match read_sets(
            args,
            |path| read_logits(path),
            |path| read_unlabelled_logits(path),
        )? {
            splits if all_have_logits(&splits) => splits,
            // The logits of a set without may follow from another set's head.
            _ => read_sets(args, |path| read(path), |path| read_unlabelled(path))?,
        },
        false => read_sets(args, |path| read(path), |path| read_unlabelled(path))?,
    };
    let has_head = splits.sets().any(|set| set.features.head.is_some());
    if !has_head && !all_have_logits(&splits) {
        splits.test.features.head = head;
    }
    if !args.ensemble.is_empty() {
        check_file_names(args)?;
    }
    for folder in &args.ensemble {
        if let Some(path) = &args.test {
            splits.test.members.push(member_logits(folder, path)?);
        }
        for (split, set) in splits.ood.iter_mut().zip(args.ood_sets()) {
            split.members.push(member_logits(folder, &set.path)?);
        }
    }
    Ok(splits.complete(args.l2.then_some(true))?)
}

fn all_have_logits(splits: &FeatureSplits) -> bool {
    splits.sets().all(|set| set.features.logits.is_some())
}

fn read_sets(
    args: &Args,
    read: impl Fn(&Path) -> collapse_features::Result<FeatureSet>,
    read_ood: impl Fn(&Path) -> collapse_features::Result<FeatureSet>,
) -> Result<FeatureSplits> {
    let split = |name: &str, path: &Path, set: FeatureSet| {
        Split::new(name, set).from_origin(path.display())
    };
    let optional = |name: &str, path: &Option<PathBuf>| -> Result<Option<Split>> {
        let open = |path: &PathBuf| Ok(split(name, path, read(path)?));
        path.as_ref().map(open).transpose()
    };
    let Some(test) = optional("test", &args.test)? else {
        bail!("no in-distribution test features; give --test");
    };
    Ok(FeatureSplits {
        train: optional("train", &args.train)?,
        validation: optional("validation", &args.validation)?,
        test,
        ood: args
            .ood_sets()
            .map(|set| Ok(split(&set.name, &set.path, read_ood(&set.path)?)))
            .collect::<Result<_>>()?,
    })
}

/// Whether all detectors that were asked for read logits alone, so that features, most of a file, may stay there.
///
/// What is kept for other sets names the features' dimensions, so they are read for it.
fn needs_logits_alone(args: &Args) -> bool {
    let alone = |name: &String| {
        let entry = detectors().iter().find(|entry| entry.id().as_str() == name);
        entry.is_some_and(|entry| !entry.needs_features())
    };
    let kept = args.save.is_some() || args.load.is_some();
    !kept && !args.detectors.is_empty() && args.detectors.iter().all(alone)
}

/// The files of an ensemble are found by name, so no two sets may share one.
fn check_file_names(args: &Args) -> Result<()> {
    let sets = args.test.iter().chain(args.ood_sets().map(|set| &set.path));
    let mut seen: Vec<&PathBuf> = Vec::new();
    for path in sets {
        if let Some(other) = seen
            .iter()
            .find(|other| *other != &path && other.file_name() == path.file_name())
        {
            bail!(
                "{} and {} have one file name, by which --ensemble finds the same samples of other networks; give each set a \
                 name of its own",
                other.display(),
                path.display()
            );
        }
        seen.push(path);
    }
    Ok(())
}

/// The logits `[N, C]` of another network, from the file of the same name as `path` in its folder.
fn member_logits(folder: &Path, path: &Path) -> Result<Array2<f64>> {
    let name = path.file_name().unwrap_or(path.as_os_str());
    let own = folder.join(name);
    let set = read_unlabelled_logits(&own)?;
    let logits = set.logits();
    let logits =
        logits.with_context(|| format!("no logits of the ensemble in {}", own.display()))?;
    Ok(logits.into_owned())
}
