//! Detectors kept in a file by one call and used by another.

use std::path::Path;

use anyhow::{Context, Result, bail};
use collapse_evaluate::Split;
use collapse_files::{replace_json, replace_with};
use collapse_ood::Fitted;
use serde::{Deserialize, Serialize};

use crate::CODE_VERSION;

/// Schema of files of detectors.
const SCHEMA: &str = "collapse.detectors/1";

/// Detectors in a file, with what they were fitted on.
#[derive(Serialize, Deserialize)]
struct Kept<F> {
    schema: String,
    code_version: String,
    n_features: usize,
    l2: bool,
    fitted: F,
}

/// Keeps detectors fitted on features like those of `test`.
pub fn save(path: &Path, test: &Split, fitted: &Fitted) -> Result<()> {
    let kept = Kept {
        schema: SCHEMA.to_owned(),
        code_version: CODE_VERSION.to_owned(),
        n_features: test.features.n_features(),
        l2: test.features.l2(),
        fitted,
    };
    if is_json(path) {
        return Ok(replace_json(path, &kept)?);
    }
    Ok(replace_with(path, |file| {
        rmp_serde::encode::write_named(file, &kept).map_err(std::io::Error::other)
    })?)
}

/// Detectors kept by [`save`], which must have been fitted on features like those of `test`.
pub fn load(path: &Path, test: &Split) -> Result<Fitted> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let broken = || format!("{} holds no detectors; make it with --save", path.display());
    let kept: Kept<Fitted> = match is_json(path) {
        true => serde_json::from_slice(&bytes).with_context(broken)?,
        false => rmp_serde::from_slice(&bytes).with_context(broken)?,
    };
    if kept.schema != SCHEMA {
        bail!(
            "{} is of schema {}, expected {SCHEMA}; make it again with --save",
            path.display(),
            kept.schema
        );
    }
    let features = &test.features;
    if kept.n_features != features.n_features() {
        bail!(
            "{} was fitted on {} features, {} has {}; both must come from the same network",
            path.display(),
            kept.n_features,
            test.origin,
            features.n_features()
        );
    }
    if kept.l2 != features.l2() {
        bail!(
            "{} was fitted with l2 = {}, {} says {}; both must come from the same network",
            path.display(),
            kept.l2,
            test.origin,
            features.l2()
        );
    }
    Ok(kept.fitted)
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "json")
}
