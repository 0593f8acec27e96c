//! Checks the implementation against folders of independent reference numbers.
//!
//! ```
//! use std::path::Path;
//! use collapse_verify::{Options, verify_dir};
//!
//! let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/public");
//! let options = Options { only: vec!["metrics".into()] };
//! let report = verify_dir(&folder, &options)?;
//! assert_eq!(report.failed().count(), 0, "{report}");
//! # Ok::<(), collapse_verify::Error>(())
//! ```
//!
//! # The map
//! * [`verify_dir`] runs every checker whose file the folder has; [`Report`] holds one [`Row`] a quantity.
//! * Checkers: `gmm` (densities), `metrics`, `nc` (geometry), `ood` (detectors), `misc` (generator).
//! * [`verify_models`] checks the networks (`model_resnet18`, `model_resnet50`), which takes minutes, by [`Extent`].
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

use std::path::Path;

pub use error::{Error, Result};
pub use models::Extent;
pub use report::{Report, Row, relative_error};

use folder::File;

/// What to check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Names of files without ending (`gmm`, `metrics`, …); empty = all that the folder has.
    pub only: Vec<String>,
}

type Checker = fn(&File, &mut Report) -> Result<()>;

const CHECKERS: &[(&str, Checker)] = &[
    ("gmm", gmm::check),
    ("metrics", metrics::check),
    ("misc", misc::check),
    ("nc", nc::check),
    ("ood", ood::check),
];

/// Checks every known file of a folder.
///
/// # Errors
/// [`Error::File`] when there is nothing to check, [`Error::Entry`] when a file does not follow the schema,
/// [`Error::Refused`] when the implementation rejects inputs. Disagreement is no error but a row of the report.
pub fn verify_dir(folder: &Path, options: &Options) -> Result<Report> {
    let mut report = Report::default();
    let mut checked = 0;
    for (name, check) in CHECKERS {
        if !options.only.is_empty() && !options.only.iter().any(|only| only == name) {
            continue;
        }
        if let Some(file) = File::load(folder, name)? {
            check(&file, &mut report)?;
            checked += 1;
        }
    }
    if checked == 0 {
        let names: Vec<&str> = CHECKERS.iter().map(|(name, _)| *name).collect();
        let reason = format!("none of {}.json to check", names.join(".json, "));
        return Err(Error::File {
            path: folder.to_owned(),
            reason,
        });
    }
    Ok(report)
}

/// Checks the networks of a folder, in f64 on the portable path and in f32 on every path of this machine.
///
/// The report has no rows when the folder has no `model_*.json`.
///
/// # Errors
/// As [`verify_dir`].
pub fn verify_models(folder: &Path, extent: Extent) -> Result<Report> {
    let mut report = Report::default();
    for name in ["model_resnet18", "model_resnet50"] {
        if let Some(file) = File::load(folder, name)? {
            models::check(&file, extent, &mut report)?;
        }
    }
    Ok(report)
}
