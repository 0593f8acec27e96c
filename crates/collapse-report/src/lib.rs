//! Tables, figures, statistics over seeds, claim verdicts and the HTML report.
//!
//! ```
//! use collapse_report::{References, TerminalStyle, render, tables};
//! use collapse_results::Results;
//!
//! let results = Results::new("quick");
//! let style = TerminalStyle { width: Some(100), plain: true };
//! for table in tables(&results, &References::default()) {
//!     println!("{}", render::terminal(&table, style));
//! }
//! ```
//!
//! - [`tables`]: every table, with the paper's values beside ours where
//!   `reference/paper.toml` holds them ([`References`])
//! - [`claims`]: the claims C1 to C5 with effect, interval and evidence
//! - [`figures`]: SVG figures that follow the reader's light or dark theme
//! - [`render`]: a table as terminal text, Markdown, CSV, LaTeX or HTML
//! - [`statistics`]: summaries, intervals and tests over seeds
//! - [`write_report`]: all of it as files; [`page_table`] and [`page_figure`]: one part for a page of documentation
//! - [`peer_table`]: training held against the same experiment in another implementation
//! - [`page`](page()): one self-contained [`Page`] of any tables and figures; [`line_figure`] and [`score_histograms`] draw plain
//!   numbers
//! - [`Scaling`]: how the time of a training step grows, as a table and a figure
//!
//! Everything is a pure function of the [`Results`](collapse_results::Results); only
//! [`write_report`] and [`References::load`] touch files. The crate knows nothing of how a run is
//! made. Intervals over a handful of seeds are wide and rough; the evidence sentences say how
//! many seeds there are.

mod claims;
mod figures;
mod lineup;
mod numbers;
mod page;
mod reference;
pub mod render;
mod report;
mod scaling;
pub mod simulation;
pub mod statistics;
mod tables;

use std::path::PathBuf;

pub use claims::{
    COMPARABLE_MARGIN, CONFIDENT, LEANING, LIKE_TRAINED_MARGIN, SEEDS_FOR_RHO, claims,
    verdict_label,
};
pub use figures::{Figure, LineAxes, LinePanel, figures, line_figure, score_histograms};
pub use lineup::group_label;
pub use page::{Page, page};
pub use reference::{Neighbour, PaperValue, References};
pub use render::TerminalStyle;
pub use report::{
    complete, page_algorithms, page_figure, page_peers, page_table, page_tables, with_tables,
    write_completed, write_report,
};
pub use scaling::{SCALING_SCHEMA, Scaling, StepTime};
pub use tables::{PeerRun, SCORES_NOTE, check_tables, evaluation_table, peer_table, tables};

/// What writing a report can fail for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read.
    #[error("cannot read {}; check that it exists and is readable", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file or folder could not be written.
    #[error("cannot write the report; choose a writable folder with --out")]
    Write(#[from] collapse_files::Error),
    /// A table that these results do not make.
    #[error("there is no table {table:?} here; choose among {known}")]
    UnknownTable {
        /// The name asked for.
        table: String,
        /// Those there are.
        known: String,
    },
    /// A reference file is not of the described form.
    #[error("{} is not a reference file; compare it with reference/paper.toml", path.display())]
    Reference {
        /// The file.
        path: PathBuf,
        /// Where it fails.
        source: Box<toml::de::Error>,
    },
    /// A table could not be written as CSV.
    #[error("cannot write a table as CSV; report this with the results.json")]
    Csv(#[from] csv::Error),
    /// The report's template failed.
    #[error("cannot fill the report's template; report this with the results.json")]
    Template(#[from] minijinja::Error),
    /// The results could not be written as JSON.
    #[error(transparent)]
    Results(#[from] collapse_results::Error),
}
