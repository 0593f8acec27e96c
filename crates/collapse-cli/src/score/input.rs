//! The feature sets of one call.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use collapse_evaluate::{CompleteSplits, FeatureSplits, Split};
use collapse_features::read;
use ndarray::Array2;

use super::Args;

/// Reads every set that was named and makes them agree.
pub fn read_splits(args: &Args) -> Result<CompleteSplits> {
    let open = |name: &str, path: &Path| -> Result<Split> {
        Ok(Split::new(name, read(path)?).from_origin(path.display()))
    };
    let optional = |name: &str, path: &Option<PathBuf>| -> Result<Option<Split>> {
        path.as_ref().map(|path| open(name, path)).transpose()
    };
    let Some(test) = optional("test", &args.test)? else {
        bail!("no in-distribution test features; give --test");
    };
    let mut splits = FeatureSplits {
        train: optional("train", &args.train)?,
        validation: optional("validation", &args.validation)?,
        test,
        ood: args
            .ood_sets()
            .map(|set| open(&set.name, &set.path))
            .collect::<Result<_>>()?,
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

/// The logits `[N, C]` of another network, from the file of the same name as `path` in its folder.
fn member_logits(folder: &Path, path: &Path) -> Result<Array2<f64>> {
    let name = path.file_name().unwrap_or(path.as_os_str());
    let own = folder.join(name);
    let set = read(&own)?;
    let logits = set.logits();
    let logits =
        logits.with_context(|| format!("no logits of the ensemble in {}", own.display()))?;
    Ok(logits.into_owned())
}
