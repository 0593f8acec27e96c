//! The feature sets of one call.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use collapse_evaluate::{CompleteSplits, FeatureSplits, Split};
use collapse_features::{FeatureSet, read, read_logits};
use collapse_ood::detectors;
use ndarray::Array2;

use super::Args;

/// Reads every set that was named and makes them agree.
pub fn read_splits(args: &Args) -> Result<CompleteSplits> {
    let mut splits = match needs_logits_alone(args) {
        true => match read_sets(args, |path| read_logits(path))? {
            splits if all_have_logits(&splits) => splits,
            // The logits of a set without may follow from another set's head.
            _ => read_sets(args, |path| read(path))?,
        },
        false => read_sets(args, |path| read(path))?,
    };
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
    let beside = splits.train.iter().chain(&splits.validation);
    let mut all = beside.chain([&splits.test]).chain(&splits.ood);
    all.all(|set| set.features.logits.is_some())
}

fn read_sets(
    args: &Args,
    read: impl Fn(&Path) -> collapse_features::Result<FeatureSet>,
) -> Result<FeatureSplits> {
    let open = |name: &str, path: &Path| -> Result<Split> {
        Ok(Split::new(name, read(path)?).from_origin(path.display()))
    };
    let optional = |name: &str, path: &Option<PathBuf>| -> Result<Option<Split>> {
        path.as_ref().map(|path| open(name, path)).transpose()
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
            .map(|set| open(&set.name, &set.path))
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

/// The logits `[N, C]` of another network, from the file of the same name as `path` in its folder.
fn member_logits(folder: &Path, path: &Path) -> Result<Array2<f64>> {
    let name = path.file_name().unwrap_or(path.as_os_str());
    let own = folder.join(name);
    let set = read_logits(&own)?;
    let logits = set.logits();
    let logits =
        logits.with_context(|| format!("no logits of the ensemble in {}", own.display()))?;
    Ok(logits.into_owned())
}
