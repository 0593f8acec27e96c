//! The feature sets of one call.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use collapse_evaluate::{CompleteSplits, FeatureSplits, Split};
use collapse_features::read;

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
    let splits = FeatureSplits {
        train: optional("train", &args.train)?,
        validation: optional("validation", &args.validation)?,
        test,
        ood: args
            .ood
            .iter()
            .map(|set| open(&set.name, &set.path))
            .collect::<Result<_>>()?,
    };
    Ok(splits.complete(args.l2.then_some(true))?)
}
