//! What can go wrong between a manifest and its results.

use std::io;
use std::path::PathBuf;

/// An error of planning, running or evaluating, with its remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The manifest is not TOML of the expected form.
    #[error("manifest {origin} cannot be read: {message}")]
    ManifestSyntax {
        /// File or built-in name.
        origin: String,
        /// The parser's message with line and column.
        message: String,
    },
    /// The manifest asks for something impossible.
    #[error("manifest {origin}: {field}; {remedy}")]
    Manifest {
        /// File or built-in name.
        origin: String,
        /// The field with its value.
        field: String,
        /// What to write instead.
        remedy: String,
    },
    /// A group that the scale does not have.
    #[error("scale {scale} has no group {group:?}; it has {known}")]
    UnknownGroup {
        /// The name asked for.
        group: String,
        /// The scale.
        scale: String,
        /// Its groups.
        known: String,
    },
    /// A scale that does not exist.
    #[error("unknown scale {scale:?}; choose {known}, or name a manifest file ending in .toml")]
    UnknownScale {
        /// The name asked for.
        scale: String,
        /// The built-in scales.
        known: String,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file or folder cannot be written.
    #[error("cannot write {path}: {source}; name a writable folder with --out")]
    Unwritable {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file of the run store is not what it should be.
    #[error("{path} is damaged: {message}; delete its folder and the run is made again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}
