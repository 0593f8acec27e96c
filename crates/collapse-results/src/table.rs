//! Tables and claims: numbers first, their rendering is the report's business.

use serde::{Deserialize, Serialize};

/// Horizontal alignment of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Stable key by which `reference/paper.toml` names the column, e.g. `auroc:svhn`.
    #[serde(default)]
    pub key: String,
    /// Heading, with the unit where there is one.
    pub heading: String,
    /// Alignment.
    pub align: Align,
}

/// One cell: the numbers and how many digits of them are meaningful.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Cell {
    /// Words.
    Text {
        /// The words.
        text: String,
    },
    /// One number.
    Number {
        /// Its value, unrounded.
        value: f64,
        /// Decimals shown.
        decimals: usize,
    },
    /// A figure over seeds.
    Spread {
        /// Mean over seeds.
        mean: f64,
        /// Standard deviation (divisor n−1); `None` for a single seed.
        std: Option<f64>,
        /// Smallest value.
        min: f64,
        /// Largest value.
        max: f64,
        /// Number of seeds.
        n: usize,
        /// Decimals shown.
        decimals: usize,
    },
    /// Not measured, with the reason.
    Missing {
        /// Why.
        reason: String,
    },
}

/// A table of the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Identifier, also its file name, e.g. `main`.
    pub id: String,
    /// Title, with the paper's section it mirrors.
    pub title: String,
    /// Caption: scale, seeds, epochs, kernel path and how it was made.
    pub caption: String,
    /// Columns.
    pub columns: Vec<Column>,
    /// Stable key of each row, e.g. `r18-l2`, by which `reference/paper.toml` names it; as long
    /// as `rows`.
    #[serde(default)]
    pub row_keys: Vec<String>,
    /// Rows, each as long as `columns`.
    pub rows: Vec<Vec<Cell>>,
}

/// What a claim looks like at this scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The interval of the effect lies wholly on the claim's side.
    Supported,
    /// The effect points the claim's way but its interval includes none.
    Leaning,
    /// No effect can be told from noise.
    Undecided,
    /// The interval lies wholly on the other side.
    Contradicted,
    /// The runs needed are not there.
    NotMeasured,
}

/// One of the claims C1 to C5 with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// `C1` to `C5`.
    pub id: String,
    /// The claim in a sentence.
    pub statement: String,
    /// How it looks here.
    pub verdict: Verdict,
    /// The measured effect; its meaning and unit stand in `evidence`.
    pub effect: Option<f64>,
    /// 95 % interval of the effect.
    pub interval: Option<(f64, f64)>,
    /// What was compared, with numbers and their uncertainty.
    pub evidence: String,
}
