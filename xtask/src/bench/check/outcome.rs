//! What the guard says of one hot path.

use serde::{Deserialize, Serialize};

/// In the order of how much they matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// At or above its floor.
    Held,
    /// Nothing to hold it against.
    NoFloor,
    /// Below its floor, but the machine may have done it.
    Inconclusive,
    /// Below its floor in every process that measured it.
    Slower,
}

impl Verdict {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::NoFloor => "no floor",
            Self::Inconclusive => "inconclusive",
            Self::Slower => "slower",
        }
    }
}

/// One hot path of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Outcome {
    pub(super) id: String,
    pub(super) yardstick: &'static str,
    /// Yardstick over work: larger is faster.
    pub(super) ratio: f64,
    /// Relative standard error of the ratio.
    pub(super) error: f64,
    pub(super) work_s: f64,
    pub(super) yardstick_s: f64,
    /// The ratio when the floors were set.
    pub(super) blessed: Option<f64>,
    pub(super) floor: Option<f64>,
    /// Measurements behind the verdict, of `processes` processes.
    pub(super) measurements: usize,
    pub(super) verdict: Verdict,
    /// Why nothing can be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
}

impl Outcome {
    /// Additional time of the work against when it was blessed, relative; negative where it is faster.
    pub(super) fn slower(&self) -> Option<f64> {
        self.blessed.map(|blessed| blessed / self.ratio - 1.0)
    }
}
