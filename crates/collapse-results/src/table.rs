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

/// What a claim looks like at this scale, by one rule for both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The effect lies on the claim's side, at 95 % confidence.
    Supported,
    /// The effect lies on the claim's side, at 80 % but not at 95 %.
    Leaning,
    /// No effect can be told from noise.
    Undecided,
    /// The effect lies on the other side, at 80 % but not at 95 %.
    LeaningAgainst,
    /// The effect lies on the other side, at 95 % confidence.
    Contradicted,
    /// The runs needed are not there.
    NotMeasured,
}

/// A claim in one network, or in one of several conditions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stratum {
    /// The network, e.g. `ResNet18`, with the condition where there are several.
    pub name: String,
    /// How the claim looks in it.
    pub verdict: Verdict,
    /// The measured effect, in the unit of the claim's evidence.
    pub effect: f64,
    /// 95 % interval of the effect; `None` where there is no interval that holds.
    pub interval: Option<(f64, f64)>,
    /// Two-sided p-value of the test that gives the verdict.
    pub p_value: Option<f64>,
    /// The smallest p-value that so many seeds can give; `None` where there is no such bound.
    pub smallest_p: Option<f64>,
    /// Number of pairs or runs.
    pub n: usize,
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
    /// 95 % interval of the effect; `None` where there is no interval that holds.
    pub interval: Option<(f64, f64)>,
    /// Two-sided p-value of the test that gives the verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
    /// The same after Holm's correction over all measured claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_holm: Option<f64>,
    /// The smallest p-value that so many seeds can give; `None` where there is no such bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smallest_p: Option<f64>,
    /// Number of pairs or runs behind the effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<usize>,
    /// The claim in each network; empty where there is only one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strata: Vec<Stratum>,
    /// What was compared, with numbers and their uncertainty.
    pub evidence: String,
}

impl Claim {
    /// A claim that nothing is known of.
    pub fn not_measured(id: impl Into<String>, statement: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            statement: statement.into(),
            verdict: Verdict::NotMeasured,
            effect: None,
            interval: None,
            p_value: None,
            p_holm: None,
            smallest_p: None,
            n: None,
            strata: Vec::new(),
            evidence: String::new(),
        }
    }

    /// The claim over all networks, as it stands in each; `None` where it is not measured.
    #[must_use]
    pub fn whole(&self) -> Option<Stratum> {
        Some(Stratum {
            name: "all".to_owned(),
            verdict: self.verdict,
            effect: self.effect?,
            interval: self.interval,
            p_value: self.p_value,
            smallest_p: self.smallest_p,
            n: self.n?,
        })
    }
}
