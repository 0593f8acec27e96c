//! The schema of result files: runs, evaluations, tables and claims.
//!
//! ```
//! use collapse_results::{Results, SCHEMA};
//!
//! let results = Results::new("quick");
//! let text = results.to_json()?;
//! assert_eq!(Results::from_json(&text)?.schema, SCHEMA);
//! # Ok::<(), collapse_results::Error>(())
//! ```
//!
//! `results.json` is one [`Results`]: every number of every table with what it was made from.
//! A run's own `result.json` is one [`Run`]. Wall-clock figures stand only in fields named
//! `times`, so two files from the same seeds, code and kernel path are equal once those fields
//! are dropped ([`Results::without_times`]).
//!
//! The crate holds types and their validation, nothing else: it neither computes a score nor
//! draws a table, so that the side that makes runs and the side that draws them share it.
//!
//! Units: AUROC, AUPR, FPR, accuracy and ECE are fractions in 0..=1 (tables show percent);
//! times are seconds; epochs count from 1, with epoch 0 the untrained network.

mod check;
mod defined;
mod evaluation;
mod group;
mod ids;
mod run;
mod table;
mod words;

use std::collections::BTreeMap;

use collapse_files::SealedJsonError;
use serde::{Deserialize, Serialize};

pub use defined::Defined;
pub use evaluation::{
    Detection, Ensemble, Evaluation, Geometry, Histogram, OodResult, RiskCoverage, Skipped,
    SymmetricLog, TemperatureScaling,
};
pub use group::{DataSet, Group, Loss, ScheduleLength};
pub use ids::{Role, ScoreId, SetId};
pub use run::{EpochRecord, Maker, Run, RunTimes, Span};
pub use table::{Align, Cell, Claim, Column, Stratum, Table, Verdict};
pub use words::quoted;

/// Name and version of the schema that this crate reads and writes.
pub const SCHEMA: &str = "collapse.results/1";

/// What a result file can be refused for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is not JSON of this schema.
    #[error("not a result file of schema {SCHEMA}; write it again with `cargo xtask reproduce`")]
    Json(#[from] serde_json::Error),
    /// The file says another schema.
    #[error(
        "the result file has schema `{found}`, this version reads `{SCHEMA}`; \
         write it again with `cargo xtask reproduce`"
    )]
    Schema {
        /// The schema named by the file.
        found: String,
    },
    /// The file is not what was written.
    #[error("the result file's seal does not fit its content; draw it again with `report`")]
    Damaged,
    /// It cannot be sealed.
    #[error("the results cannot be sealed")]
    Seal(#[source] collapse_files::Error),
    /// A field holds what it cannot hold.
    #[error("`{field}` is {value}, expected {expected}; the file is damaged or was edited")]
    Value {
        /// Where it stands, e.g. `runs[3].evaluations[0].accuracy`.
        field: String,
        /// What stands there.
        value: String,
        /// What could stand there.
        expected: String,
    },
}

/// How and where the runs were made; part of every table's caption.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of the code: crate version and, where known, the commit.
    pub code_version: String,
    /// Kernel path the training used, e.g. `amx-bf16`.
    pub kernel_path: String,
    /// Precision of training, `f32`, `bf16`, or both where groups differ. Statistics are always f64.
    pub precision: String,
    /// Operating system and architecture, e.g. `linux x86_64`.
    pub platform: String,
    /// The command that made the file.
    pub command: String,
    /// SHA-256 of the manifest that defines groups and seeds.
    pub manifest_sha256: String,
}

/// Everything one reproduction found: the content of `results.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// Name of the scale: `quick`, `small`, `paper` or a user's own.
    pub scale: String,
    /// How the runs were made.
    pub provenance: Provenance,
    /// The image sets used.
    pub data: Vec<DataSet>,
    /// The groups in manifest order.
    pub groups: Vec<Group>,
    /// All finished runs, ordered by group, then seed.
    pub runs: Vec<Run>,
    /// Ensembles of runs of one group, disjoint within it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ensembles: Vec<Ensemble>,
    /// Every table, with the numbers it shows.
    pub tables: Vec<Table>,
    /// The claims C1 to C5 as they look at this scale.
    pub claims: Vec<Claim>,
    /// Wall-clock seconds by stage; differs from run to run.
    pub times: BTreeMap<String, f64>,
}

impl Results {
    /// An empty result of `scale`.
    pub fn new(scale: impl Into<String>) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            scale: scale.into(),
            provenance: Provenance::default(),
            data: Vec::new(),
            groups: Vec::new(),
            runs: Vec::new(),
            ensembles: Vec::new(),
            tables: Vec::new(),
            claims: Vec::new(),
            times: BTreeMap::new(),
        }
    }

    /// Reads a `results.json` and checks its seal, where it has one, and every figure.
    ///
    /// # Errors
    /// When the text is not of [`SCHEMA`], is not what was sealed ([`Error::Damaged`]), or a field holds what it cannot
    /// hold ([`Error::Value`]).
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let results: Self = match collapse_files::from_json_sealed_or_not(text.as_bytes()) {
            Ok(results) => results,
            Err(SealedJsonError::Json(error)) => return Err(Error::Json(error)),
            Err(SealedJsonError::Damaged | SealedJsonError::Unsealed) => {
                return Err(Error::Damaged);
            }
        };
        if results.schema != SCHEMA {
            return Err(Error::Schema {
                found: results.schema,
            });
        }
        results.check()?;
        Ok(results)
    }

    /// The file's text: pretty JSON, keys in a fixed order, sealed, ending in a newline.
    ///
    /// # Errors
    /// [`Error::Value`] for a field that [`Results::from_json`] would refuse, [`Error::Seal`] for a text that holds a seal.
    pub fn to_json(&self) -> Result<String, Error> {
        self.check()?;
        let text = collapse_files::to_sealed_json(self).map_err(Error::Seal)?;
        Ok(String::from_utf8(text).expect("JSON is UTF-8"))
    }

    /// The same results with all wall-clock figures dropped, for comparison.
    pub fn without_times(&self) -> Self {
        let mut copy = self.clone();
        copy.times.clear();
        for run in &mut copy.runs {
            run.times = RunTimes::default();
        }
        copy
    }

    /// The runs of one group, ordered by seed.
    pub fn runs_of<'a>(&'a self, group_id: &'a str) -> impl Iterator<Item = &'a Run> {
        self.runs.iter().filter(move |run| run.group == group_id)
    }
}
