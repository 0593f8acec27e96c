//! Published numbers: the paper's values and those of its neighbours, read from TOML files.

use std::path::{Path, PathBuf};

use collapse_results::{Results, Role};
use serde::Deserialize;

use crate::Error;

/// All published numbers of a `reference/` folder.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct References {
    /// Where the paper's values come from.
    pub paper_source: String,
    /// Seeds behind each of the paper's values.
    pub paper_seeds: usize,
    /// The scale that the paper's values are of: at another, nothing is held against them.
    pub paper_scale: String,
    /// The in-distribution set that they are of.
    pub paper_data: String,
    /// The paper's values, found by table, row and column.
    pub paper: Vec<PaperValue>,
    /// Values of other publications, shown in a table of their own.
    pub neighbours: Vec<Neighbour>,
}

/// One value of the paper, in the unit of the column that it stands beside.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaperValue {
    /// Key of the table, e.g. `main`.
    pub table: String,
    /// Key of the row, e.g. `r18-l2`.
    pub row: String,
    /// Key of the column, e.g. `auroc:svhn`.
    pub column: String,
    /// Mean over seeds.
    pub mean: f64,
    /// Standard deviation over seeds.
    pub std: Option<f64>,
    /// Smallest value over seeds.
    pub min: Option<f64>,
    /// Largest value over seeds.
    pub max: Option<f64>,
    /// Table or section of the PDF.
    #[serde(rename = "where")]
    pub place: Option<String>,
}

/// One value of another publication.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbour {
    /// Where it was read.
    pub source: String,
    /// Network and in-distribution set.
    pub setting: String,
    /// The in-distribution set by its name here: shown only beside results on the same.
    pub data: String,
    /// Method.
    pub method: String,
    /// Quantity, e.g. `AUROC`.
    pub quantity: String,
    /// Image set.
    pub set: String,
    /// Value in percent.
    pub mean: f64,
    /// Its published uncertainty, in percent.
    pub std: Option<f64>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum File {
    Paper {
        source: String,
        seeds: usize,
        scale: String,
        data: String,
        #[serde(default, rename = "value")]
        values: Vec<PaperValue>,
    },
    Neighbours {
        source: String,
        setting: String,
        data: String,
        #[serde(default, rename = "value")]
        values: Vec<NeighbourValue>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NeighbourValue {
    method: String,
    quantity: String,
    set: String,
    mean: f64,
    std: Option<f64>,
}

impl References {
    /// Reads every `*.toml` of `folder` in order of name.
    ///
    /// # Errors
    /// When the folder cannot be read or a file is not of the described form.
    pub fn load(folder: &Path) -> Result<Self, Error> {
        let unreadable = |path: &Path, source| Error::Read {
            path: path.to_owned(),
            source,
        };
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
            .and_then(|entries| entries.map(|e| e.map(|e| e.path())).collect())
            .map_err(|source| unreadable(folder, source))?;
        files.retain(|path| path.extension().is_some_and(|ext| ext == "toml"));
        files.sort();
        let mut references = Self::default();
        for path in files {
            let text = std::fs::read_to_string(&path).map_err(|e| unreadable(&path, e))?;
            references
                .add(&text)
                .map_err(|source| Error::Reference { path, source })?;
        }
        Ok(references)
    }

    /// Adds the values of one file's text.
    pub(crate) fn add(&mut self, text: &str) -> Result<(), Box<toml::de::Error>> {
        match toml::from_str(text).map_err(Box::new)? {
            File::Paper {
                source,
                seeds,
                scale,
                data,
                values,
            } => {
                self.paper_source = source;
                self.paper_seeds = seeds;
                self.paper_scale = scale;
                self.paper_data = data;
                self.paper.extend(values);
            }
            File::Neighbours {
                source,
                setting,
                data,
                values,
            } => {
                self.neighbours
                    .extend(values.into_iter().map(|value| Neighbour {
                        source: source.clone(),
                        setting: setting.clone(),
                        data: data.clone(),
                        method: value.method,
                        quantity: value.quantity,
                        set: value.set,
                        mean: value.mean,
                        std: value.std,
                    }));
            }
        }
        Ok(())
    }

    /// Those that may stand beside `results`: the paper's at the same scale on the same set, others on the same set.
    #[must_use]
    pub fn beside(&self, results: &Results) -> Self {
        let trained = results.data.iter().find(|set| set.role == Role::Train);
        let on = |data: &str| trained.is_some_and(|set| set.name.as_str() == data);
        let mut those = self.clone();
        if results.scale != self.paper_scale || !on(&self.paper_data) {
            those.paper.clear();
        }
        those.neighbours.retain(|value| on(&value.data));
        those
    }

    /// The paper's value for one cell.
    pub fn paper_value(&self, table: &str, row: &str, column: &str) -> Option<&PaperValue> {
        self.paper
            .iter()
            .find(|value| value.table == table && value.row == row && value.column == column)
    }
}
