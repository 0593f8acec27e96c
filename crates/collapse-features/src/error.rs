//! The one error type of the crate.

use std::path::{Path, PathBuf};

/// The result of reading, writing or checking a feature file.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can be wrong with a feature file; each message names the value and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused a file.
    #[error("{} cannot be {verb}; check that the path exists and that its permissions allow it", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried: "read" or "written".
        verb: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file cannot be put in its place.
    #[error(transparent)]
    Unwritable(#[from] collapse_files::Error),
    /// A pipe, a device or a socket.
    #[error("{} is not a regular file; save what comes from a pipe or a device to a file first", path.display())]
    NotRegular {
        /// What was to be read.
        path: PathBuf,
    },
    /// A file of this project is not what was written.
    #[error(
        "{} was damaged or edited since it was written: its seal does not fit its content; copy or export it again (a program \
         that edits it on purpose leaves out the metadata collapse.format and collapse.seal)",
        path.display()
    )]
    Seal {
        /// The file.
        path: PathBuf,
    },
    /// A sound file of another version of this project.
    #[error("{} is of format {found}, this version reads {expected}; read it with the version that wrote it", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The format that it names.
        found: String,
        /// The format that is known here.
        expected: &'static str,
    },
    /// A set needs more memory than the limits allow.
    #[error(
        "{file}: with tensor `{tensor}` the set has {bytes} bytes in memory, more than the limit of {limit}; split it"
    )]
    TooLarge {
        /// The file.
        file: String,
        /// The tensor that passes the limit.
        tensor: String,
        /// Bytes of all tensors so far.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A compressed array would become so much larger that it looks made to fill memory.
    #[error(
        "{file}: array `{tensor}` would grow from {compressed} to {bytes} bytes; if that is meant, save it uncompressed"
    )]
    Expansion {
        /// The file.
        file: String,
        /// The array.
        tensor: String,
        /// Bytes in the archive.
        compressed: u64,
        /// Bytes after decompression.
        bytes: u64,
    },
    /// Two tensors play one role.
    #[error("{file} holds `{tensor}` twice, under both of its names; leave one out")]
    Twice {
        /// The file.
        file: String,
        /// The role.
        tensor: &'static str,
    },
    /// The ending of the file name says nothing that can be read.
    #[error("{}: unknown kind of feature file; it must end in .safetensors, .npz, .npy, .csv or .jsonl, or be a folder of .npy files", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// The container itself is damaged.
    #[error("{}: not a valid {format} file: {reason}; export it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// "safetensors", "npz" or "npy".
        format: &'static str,
        /// What the parser met.
        reason: String,
    },
    /// The file ends before its own header says.
    #[error("{}: truncated: the header promises {expected} bytes and the file has {found}; copy or export it again", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes that the header promises.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// A tensor that cannot be done without is missing.
    #[error("{file}: no tensor `{tensor}`; the file holds {present}. {remedy}")]
    MissingTensor {
        /// The file or set.
        file: String,
        /// The tensor that is missing.
        tensor: &'static str,
        /// The tensors that are there.
        present: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A tensor has a type that its role does not allow.
    #[error("{file}: tensor `{tensor}` has type {found}; it must be {expected}")]
    WrongType {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// The type found.
        found: String,
        /// The types allowed.
        expected: &'static str,
    },
    /// A tensor has a shape that does not fit the others.
    #[error("{file}: tensor `{tensor}` has shape {found:?}; expected {expected}")]
    WrongShape {
        /// The file or set.
        file: String,
        /// The tensor.
        tensor: String,
        /// The shape found.
        found: Vec<usize>,
        /// The shape wanted and why.
        expected: String,
    },
    /// A number is NaN or infinite.
    #[error(
        "{file}: `{tensor}` is {value} at row {row}, column {column}; find out why the network produced it, then export again or leave that row out"
    )]
    NotFinite {
        /// The file or set.
        file: String,
        /// The tensor.
        tensor: String,
        /// Row, from zero.
        row: usize,
        /// Column, from zero.
        column: usize,
        /// The value.
        value: f64,
    },
    /// A row of a stream is not what it should be.
    #[error("{origin}: row {row}: {reason}")]
    Row {
        /// The file or the stream.
        origin: String,
        /// Row, from zero.
        row: usize,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A label is not a class.
    #[error(
        "{file}: label {label} at row {row} is not one of the classes 0..{n_classes}; labels count from 0: check that file and network are of the same data set"
    )]
    LabelOutOfRange {
        /// The file or set.
        file: String,
        /// Row, from zero.
        row: usize,
        /// The label.
        label: usize,
        /// Number of classes.
        n_classes: usize,
    },
    /// A label is negative, or larger than any address.
    #[error(
        "{file}: label {label} at row {row} cannot be a class, which count from 0; a set without classes leaves `labels` out"
    )]
    NotAClass {
        /// The file.
        file: String,
        /// Row, from zero.
        row: usize,
        /// The label.
        label: i128,
    },
    /// A metadata entry has no meaning here.
    #[error("{file}: metadata `{key}` is \"{value}\"; it must be {expected}")]
    Metadata {
        /// The file or set.
        file: String,
        /// The key.
        key: String,
        /// The value found.
        value: String,
        /// What is understood.
        expected: &'static str,
    },
    /// Two sets that must agree do not.
    #[error(
        "{first} and {second} disagree: {what} is {left} and {right}; both must come from the same network"
    )]
    Disagree {
        /// Name of the first set.
        first: String,
        /// Name of the second set.
        second: String,
        /// The quantity.
        what: &'static str,
        /// Its value in the first set.
        left: usize,
        /// Its value in the second set.
        right: usize,
    },
    /// A finite number would become infinite in the precision asked for.
    #[error(
        "{file}: `{tensor}` holds {value} at row {row}, column {column}, which {precision} cannot store; write with a wider precision"
    )]
    NotRepresentable {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// Row, from zero.
        row: usize,
        /// Column, from zero.
        column: usize,
        /// The value.
        value: f64,
        /// The precision asked for.
        precision: &'static str,
    },
}

impl Error {
    pub(crate) fn unread(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            verb: "read",
            source,
        }
    }

    pub(crate) fn unwritten(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            verb: "written",
            source,
        }
    }
}
