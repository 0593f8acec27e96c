use std::path::PathBuf;

/// The result of reading, writing or checking a feature file.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can be wrong with a feature file; each message names the value and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused a file.
    #[error("{}: {source}; check that the path exists and that it may be {verb}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried: "read" or "written".
        verb: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The ending of the file name says nothing that can be read.
    #[error("{}: unknown kind of feature file; it must end in .safetensors, .npz or .npy, or be a folder of .npy files", path.display())]
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
