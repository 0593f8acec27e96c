//! Checks the implementation against folders of independent reference numbers.
//!
//! ```
//! use std::path::Path;
//! use collapse_verify::{Options, PUBLIC, verify_dir};
//!
//! let options = Options { only: vec!["metrics".into()], ..Options::default() };
//! let report = verify_dir(Path::new(PUBLIC), &options)?;
//! assert_eq!(report.failed().count(), 0, "{report}");
//! # Ok::<(), collapse_verify::Error>(())
//! ```
//!
//! # The map
//! * [`verify_dir`] runs every checker whose file the folder has; [`Report`] holds one [`Row`] a quantity.
//! * [`PUBLIC`] is the folder of references that comes with the crate.
//! * Checkers: `gmm` (densities), `metrics`, `nc` (geometry), `ood` and `ood_head` (detectors), `misc` (generator).
//! * `models` checks the networks (`model_resnet18`, `model_resnet50`), which takes minutes; [`Extent`] says how much of them.
//! * [`generator`]: how the inputs of the references are made from seeds.
//!
//! # Caveats
//! * Tolerances are those of the references' README; they belong to the quantity, not to the folder.
//! * A folder of the same schema with other seeds, sizes and cases is checked alike.

mod error;
mod folder;
pub mod generator;
mod gmm;
mod metrics;
mod misc;
mod models;
mod nc;
mod ood;
mod report;

use std::path::{Path, PathBuf};

pub use error::{Error, Result};
pub use models::Extent;
pub use report::{Report, Row, relative_error};

use folder::File;

/// The folder of reference numbers that comes with the crate.
pub const PUBLIC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/public");

/// What to check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Names of files without ending (`gmm`, `metrics`, …); empty = all that the folder has.
    pub only: Vec<String>,
    /// How much of the model files.
    pub extent: Extent,
}

/// The files that can be checked, by name without ending, in the order in which they are.
pub const NAMES: [&str; 8] = [
    "gmm",
    "metrics",
    "misc",
    "nc",
    "ood",
    "ood_head",
    "model_resnet18",
    "model_resnet50",
];

/// Names (without ending) of the files in `folder` that can be checked.
#[must_use]
pub fn known_files(folder: &Path) -> Vec<&'static str> {
    NAMES
        .into_iter()
        .filter(|name| folder.join(format!("{name}.json")).is_file())
        .collect()
}

/// Checks every known file of a folder; networks in f64 on the portable path and in f32 on every path of this machine.
///
/// # Errors
/// [`Error::File`] when the folder or a file has nothing to check, [`Error::Entry`] when a file does not follow the schema,
/// [`Error::Refused`] when the implementation rejects inputs. Disagreement is no error but a row of the report.
pub fn verify_dir(folder: &Path, options: &Options) -> Result<Report> {
    let nothing = |path: PathBuf, reason: String| Err(Error::File { path, reason });
    if !folder.is_dir() {
        return nothing(folder.to_owned(), "there is no such folder".to_owned());
    }
    let mut report = Report::default();
    let asked =
        |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    for name in NAMES.into_iter().filter(|name| asked(name)) {
        let Some(file) = File::load(folder, name)? else {
            continue;
        };
        let before = report.rows.len();
        match name {
            "gmm" => gmm::check(&file, &mut report)?,
            "metrics" => metrics::check(&file, &mut report)?,
            "misc" => misc::check(&file, &mut report)?,
            "nc" => nc::check(&file, &mut report)?,
            "ood" | "ood_head" => ood::check(&file, &mut report)?,
            _ => models::check(&file, options.extent, &mut report)?,
        }
        if report.rows.len() == before {
            let path = folder.join(format!("{name}.json"));
            return nothing(path, "it holds no case to check".to_owned());
        }
    }
    if report.rows.is_empty() {
        let wanted = match options.only.is_empty() {
            true => NAMES.join(".json, "),
            false => options.only.join(".json, "),
        };
        return nothing(
            folder.to_owned(),
            format!("it holds nothing to check, no {wanted}.json"),
        );
    }
    Ok(report)
}
