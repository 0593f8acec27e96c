//! Finished runs as one result file, for `reproduce` and for reports drawn from a store alone.

use std::collections::BTreeSet;
use std::path::Path;

use collapse_results::{DataSet, Results, Role, Run};
use collapse_train::Precision;

use crate::ensembles::ensembles;
use crate::error::Error;
use crate::manifest::{GroupSpec, Manifest};
use crate::plan::{describe_group, ood_role, plan_run, precisions};
use crate::store::{RunManifest, RunStore};

/// The results of `runs`, ordered by group, then seed, without tables.
pub(crate) fn gather(
    manifest: &Manifest,
    auto: Precision,
    data: Vec<DataSet>,
    runs: Vec<Run>,
) -> Results {
    let mut results = Results::new(manifest.scale());
    results.data = data;
    results.groups = manifest
        .groups()
        .iter()
        .map(|group| describe_group(manifest, group, auto))
        .collect();
    results.provenance.kernel_path = kernel_paths(&runs);
    results.provenance.precision = precisions(manifest, auto);
    results.provenance.platform = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    results.provenance.manifest_sha256 = manifest.sha256();
    results.runs = runs;
    results
}

/// Every kernel path that had a part in `runs`.
pub(crate) fn kernel_paths(runs: &[Run]) -> String {
    let spans = runs.iter().flat_map(|run| &run.made_by);
    let paths: BTreeSet<&str> = spans.map(|span| span.maker.kernel_path.as_str()).collect();
    paths.into_iter().collect::<Vec<_>>().join(" and ")
}

/// What a store holds of a manifest's runs.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// The finished runs, without tables.
    pub results: Results,
    /// What is there but was not taken, in words for the user.
    pub left_out: Vec<String>,
}

/// The finished runs of `manifest` in `store`, from the store alone.
///
/// A run counts when it was made with the manifest's settings from the same images as the others.
///
/// # Errors
/// [`Error::Read`] when a file cannot be read.
pub fn gather_store(manifest: &Manifest, store: &RunStore) -> Result<Gathered, Error> {
    let auto = settled_auto(store)?;
    let mut left_out = Vec::new();
    let mut runs = Vec::new();
    let mut first: Option<RunManifest> = None;
    for group in manifest.groups() {
        for &seed in manifest.seeds() {
            let folder = store.folder(&group.id, seed);
            match read_finished(manifest, group, seed, auto, &folder, first.as_ref()) {
                Ok(Some((found, run))) => {
                    first.get_or_insert(found);
                    runs.push(run);
                }
                Ok(None) => {}
                Err(Error::Damaged { path, message }) => {
                    left_out.push(format!("{} is left out: {message}", path.display()));
                }
                Err(error) => return Err(error),
            }
        }
    }
    let mut data = first.map_or_else(Vec::new, |manifest| manifest.data);
    // Stores of before controls had a role of their own.
    for set in data.iter_mut().filter(|set| set.role == Role::Ood) {
        set.role = ood_role(set.name.as_str());
    }
    let mut results = gather(manifest, auto, data, runs);
    let (found, unread) = ensembles(&results, store);
    results.ensembles = found;
    left_out.extend(unread);
    Ok(Gathered { results, left_out })
}

/// What the precision `auto` means in a store that is only looked at.
pub(crate) fn settled_auto(store: &RunStore) -> Result<Precision, Error> {
    match store.settled_precision() {
        Ok(settled) => Ok(settled.unwrap_or(Precision::F32)),
        Err(Error::Damaged { .. }) => Ok(Precision::F32),
        Err(error) => Err(error),
    }
}

/// Why the run of `found` is none that `manifest` asks for; `None` where it is one.
pub(crate) fn other_settings(
    manifest: &Manifest,
    group: &GroupSpec,
    seed: u64,
    auto: Precision,
    found: &RunManifest,
) -> Result<Option<&'static str>, Error> {
    let Some(images) = found.image_form() else {
        return Ok(Some("its manifest names no network"));
    };
    // The manifest's network may not even take the images that the run was made of.
    let plan = plan_run(manifest, group, seed, images, auto).ok();
    let plan = plan.and_then(|plan| serde_json::to_value(&plan).ok());
    let same = plan.is_some() && plan.as_ref() == found.identity.get("run");
    Ok((!same).then_some("it was made with other settings than the manifest's"))
}

/// The run in `folder`; [`Error::Damaged`] when it cannot be believed or is another than the manifest's.
fn read_finished(
    manifest: &Manifest,
    group: &GroupSpec,
    seed: u64,
    auto: Precision,
    folder: &Path,
    first: Option<&RunManifest>,
) -> Result<Option<(RunManifest, Run)>, Error> {
    let Some(found) = RunManifest::read(folder)? else {
        return Ok(None);
    };
    let refuse = |message: &str| {
        Err(Error::Damaged {
            path: folder.to_owned(),
            message: message.to_owned(),
        })
    };
    if let Some(reason) = other_settings(manifest, group, seed, auto, &found)? {
        return refuse(reason);
    }
    if first.is_some_and(|first| first.identity.get("data") != found.identity.get("data")) {
        return refuse("it was made from other images than the first run");
    }
    let run = crate::store::read_result(folder, &found)?;
    Ok(run.map(|run| (found, run)))
}
