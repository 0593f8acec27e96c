//! The one error type of the crate.

use std::path::PathBuf;

/// The result of reading a folder of reference numbers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can be wrong with a folder of reference numbers; each message names the place and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("{}: {reason}; give a folder with files of the reference schema", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// An entry is missing or of another kind than the schema says.
    #[error("{file}: no {kind} at `{key}`; the file does not follow the reference schema")]
    Entry {
        /// The file.
        file: String,
        /// What was expected.
        kind: &'static str,
        /// Where.
        key: String,
    },
    /// The implementation refused inputs of a case that the references could compute.
    #[error("{file} {case}: {reason}")]
    Refused {
        /// The file.
        file: String,
        /// The case.
        case: String,
        /// What the implementation said.
        reason: String,
    },
}
