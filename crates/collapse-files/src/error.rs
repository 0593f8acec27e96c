//! What can go wrong with a file.

use std::path::{Path, PathBuf};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a file could not be written, locked or moved.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused.
    #[error("cannot {action} {}; check that the folder exists, is writable and has space left", path.display())]
    System {
        /// What was tried, e.g. `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A value has no form in JSON.
    #[error("cannot write {} as JSON", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: serde_json::Error,
    },
    /// A value has no form as a JSON object.
    #[error("the value cannot be written as a JSON object")]
    Value(#[source] serde_json::Error),
    /// The content to be sealed does not hold exactly one blank seal.
    #[error("the content holds {found} blank seals instead of one; it cannot be sealed")]
    Blank {
        /// Blank seals found.
        found: usize,
    },
}

impl Error {
    pub(crate) fn system(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::System {
            action,
            path,
            source,
        }
    }
}
