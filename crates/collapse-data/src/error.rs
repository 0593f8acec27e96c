//! The error of this crate.

use std::path::PathBuf;

/// What can go wrong with image data; every message names the culprit and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was attempted, as a verb ("read", "create").
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A file breaks its own format.
    #[error("{origin} is not a valid {format} file: {detail}; fetch it again or check its SHA-256")]
    Format {
        /// The file, or the part of it.
        origin: String,
        /// The format it was read as.
        format: &'static str,
        /// Which rule it breaks.
        detail: String,
    },
    /// A file is sound but of a kind that is not read.
    #[error("cannot read {origin}: {detail}")]
    Unsupported {
        /// The file, or the part of it.
        origin: String,
        /// What it is, and the remedy.
        detail: String,
    },
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] collapse_files::Error),
    /// An image could not be decoded.
    #[error("image {image} of {origin} cannot be decoded: {detail}; remove or replace it")]
    Image {
        /// The file, folder or set.
        origin: String,
        /// Its path within the folder or archive, or its position in the file, counted from 0.
        image: String,
        /// The decoder's answer.
        detail: String,
    },
    /// A declared size exceeds what this crate is willing to allocate.
    #[error(
        "{origin} declares {what} of {size}, more than the limit of {limit}; raise it in `Limits` if the data is genuine"
    )]
    TooLarge {
        /// The file or set.
        origin: String,
        /// The quantity.
        what: &'static str,
        /// The declared size.
        size: u64,
        /// The limit it breaks.
        limit: u64,
    },
    /// An archive member would be written or read outside its folder.
    #[error(
        "{origin} contains the path {member:?}, which leaves the archive; do not trust this file"
    )]
    PathEscape {
        /// The archive.
        origin: String,
        /// The member's name.
        member: String,
    },
    /// No set of this name is known.
    #[error("unknown data set {name:?}; known are {known}, or give the path of a folder or file")]
    UnknownSet {
        /// The name asked for.
        name: String,
        /// The names in the registry.
        known: String,
    },
    /// A set cannot be called so.
    #[error("set name {name:?}: {detail}; give it another name")]
    SetName {
        /// The name.
        name: String,
        /// Why not.
        detail: String,
    },
    /// A set is not in the folder it was looked for in.
    #[error("{name} ({part}) was not found in {}; {remedy}", path.display())]
    NotFound {
        /// The set.
        name: String,
        /// Its part ("train", "test").
        part: &'static str,
        /// The folder searched.
        path: PathBuf,
        /// How to obtain it.
        remedy: String,
    },
    /// Images, labels and classes do not fit together.
    #[error("set {name}: {detail}")]
    Inconsistent {
        /// The set.
        name: String,
        /// What does not fit.
        detail: String,
    },
    /// A set has another image shape than the in-distribution set.
    #[error(
        "set {name} has images of {found} where the in-distribution set has {expected}; convert it with `ImageSet::converted`"
    )]
    ShapeMismatch {
        /// The set.
        name: String,
        /// Its shape.
        found: String,
        /// The shape asked for.
        expected: String,
    },
    /// An index points past the end of a set.
    #[error("index {index} is out of range for {name}, which has {len} images")]
    IndexOutOfRange {
        /// The set.
        name: String,
        /// The index.
        index: usize,
        /// Number of images.
        len: usize,
    },
    /// A file's content is not the pinned one.
    #[error("{origin} has SHA-256 {found}, expected {expected}; delete it and fetch it again")]
    Checksum {
        /// The file or URL.
        origin: String,
        /// The hash found, lower-case hex.
        found: String,
        /// The hash expected, lower-case hex.
        expected: String,
    },
    /// A download failed.
    #[error(
        "cannot fetch {url}: {detail}; what has arrived is kept, run the same command to resume"
    )]
    Fetch {
        /// The address.
        url: String,
        /// Status or transport error.
        detail: String,
    },
    /// candle-datasets could not load a set.
    #[cfg(feature = "candle")]
    #[error("candle-datasets cannot load {name}; fetch it with `fetch`, or pass a folder")]
    Candle {
        /// The set.
        name: String,
        /// candle's answer.
        source: Box<candle_core::Error>,
    },
    /// A parameter is outside its range.
    #[error("{name} = {value} is out of range: {remedy}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: String,
        /// The values allowed.
        remedy: &'static str,
    },
}

impl Error {
    pub(crate) fn format(
        origin: impl Into<String>,
        format: &'static str,
        detail: impl ToString,
    ) -> Self {
        Self::Format {
            origin: origin.into(),
            format,
            detail: detail.to_string(),
        }
    }

    pub(crate) fn unsupported(origin: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Unsupported {
            origin: origin.into(),
            detail: detail.into(),
        }
    }

    pub(crate) fn inconsistent(name: &str, detail: impl ToString) -> Self {
        Self::Inconsistent {
            name: name.to_string(),
            detail: detail.to_string(),
        }
    }

    pub(crate) fn io<'a>(
        action: &'static str,
        path: &'a std::path::Path,
    ) -> impl FnOnce(std::io::Error) -> Self + use<'a> {
        move |source| Self::Io {
            action,
            path: path.to_path_buf(),
            source,
        }
    }
}
