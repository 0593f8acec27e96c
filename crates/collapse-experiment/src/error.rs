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
    /// The run is being made by another process.
    #[error(
        "{run} is held by another process ({folder}); run the same command again when it is done"
    )]
    HeldElsewhere {
        /// The run.
        run: String,
        /// Its folder.
        folder: PathBuf,
    },
    /// Ctrl-C.
    #[error("interrupted; finished steps are kept, the same command goes on from there")]
    Interrupted,
    /// The thread pool cannot be built.
    #[error("cannot start threads: {message}; lower RAYON_NUM_THREADS or --jobs")]
    Threads {
        /// The system's reason.
        message: String,
    },
    /// Images.
    #[error(transparent)]
    Data(#[from] collapse_data::Error),
    /// The evaluation of the features.
    #[error(transparent)]
    Evaluate(#[from] collapse_evaluate::Error),
    /// A feature file.
    #[error(transparent)]
    Features(#[from] collapse_features::Error),
    /// Kernels.
    #[error(transparent)]
    Kernels(#[from] collapse_kernels::Error),
    /// A network.
    #[error(transparent)]
    Models(#[from] collapse_models::Error),
    /// Training.
    #[error(transparent)]
    Train(#[from] collapse_train::Error),
}
