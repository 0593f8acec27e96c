//! What the terminal, the page and the files are made of.

use collapse_evaluate::{Evaluation, Standing};

/// Everything that is shown.
pub struct Report<'a> {
    pub evaluation: &'a Evaluation,
    /// The detectors, the best first.
    pub standings: Vec<Standing>,
    pub notes: Vec<String>,
}
