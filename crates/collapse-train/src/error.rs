//! What can stop a training run.

use std::path::{Path, PathBuf};

/// Why training could not start, go on or be stored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of the configuration has no meaning.
    #[error("the training's `{field}` is {value}; {remedy}")]
    Config {
        /// Field of [`TrainConfig`](crate::TrainConfig).
        field: &'static str,
        /// The value found.
        value: String,
        /// What would be valid.
        remedy: &'static str,
    },
    /// The data do not fit the network.
    #[error("the training set has {found}, the network {expected}; bring one to the other")]
    Data {
        /// What the network needs.
        expected: String,
        /// What the set has.
        found: String,
    },
    /// The data set failed to give a batch.
    #[error("cannot read a batch: {0}")]
    Batch(Box<dyn std::error::Error + Send + Sync>),
    /// A label is not a class of the network.
    #[error("image {index} has label {label}, the network has {n_classes} classes")]
    Label {
        /// Image.
        index: usize,
        /// Its label.
        label: usize,
        /// Classes.
        n_classes: usize,
    },
    /// The loss is not a number or beyond the limit.
    #[error(
        "the loss is {loss} at step {step} of epoch {epoch}; {}; \
         lower the learning rate or clip the gradient, and start a new run",
        last_good(.checkpoint.as_deref())
    )]
    Diverged {
        /// Epoch, from 1.
        epoch: usize,
        /// Step since the beginning of training, from 1.
        step: u64,
        /// The loss.
        loss: f64,
        /// The last checkpoint before it.
        checkpoint: Option<PathBuf>,
    },
    /// A weight or statistic, or what the network gives with them, is not a number although the loss is.
    #[error(
        "the training diverged: `{tensor}` is no longer finite at step {step} of epoch {epoch} (loss {loss}); {}; \
         lower the learning rate or clip the gradient, and start a new run",
        last_good(.checkpoint.as_deref())
    )]
    NotFinite {
        /// Name of the tensor, or of the output.
        tensor: String,
        /// Epoch, from 1.
        epoch: usize,
        /// Step since the beginning of training, from 1.
        step: u64,
        /// The last loss.
        loss: f64,
        /// The last checkpoint before it.
        checkpoint: Option<PathBuf>,
    },
    /// The stop flag was raised.
    #[error(
        "stopped at step {step} of epoch {epoch}; {}; the same command continues",
        last_good(.checkpoint.as_deref())
    )]
    Interrupted {
        /// Epoch that was under way.
        epoch: usize,
        /// Step since the beginning of training.
        step: u64,
        /// Where the run will continue.
        checkpoint: Option<PathBuf>,
    },
    /// The checkpoint belongs to another run.
    #[error(
        "{path} belongs to another run: {difference}; \
         restore the setting or train in another folder",
        path = .path.display()
    )]
    OtherRun {
        /// The checkpoint.
        path: PathBuf,
        /// What differs: name, the checkpoint's value, ours.
        difference: String,
    },
    /// The event log lacks what the checkpoint says has happened.
    #[error(
        "{path} lacks {lost}, although the checkpoint stands behind epoch {epoch}; restore the file, or remove the \
         run's folder to train anew",
        path = .path.display()
    )]
    EventsLost {
        /// The log.
        path: PathBuf,
        /// The first event that is missing.
        lost: String,
        /// Epochs finished.
        epoch: usize,
    },
    /// The caller asked to stop before all images had passed.
    #[error("stopped; the same command starts this part again")]
    Stopped,
    /// A file cannot be put in place.
    #[error(transparent)]
    Storage(#[from] collapse_files::Error),
    /// A file cannot be read or written.
    #[error("{path}: {message}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        message: String,
    },
    /// The observer forbade to write.
    #[error(transparent)]
    Forbidden(Box<dyn std::error::Error + Send + Sync>),
    /// The evaluation hook failed.
    #[error("evaluation after epoch {epoch}")]
    Evaluation {
        /// Epoch.
        epoch: usize,
        /// Its error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The network failed.
    #[error(transparent)]
    Model(#[from] collapse_models::Error),
    /// The feature file failed.
    #[error(transparent)]
    Features(#[from] collapse_features::Error),
    /// The kernels cannot run here.
    #[error(transparent)]
    Kernel(#[from] collapse_kernels::Error),
}

fn last_good(checkpoint: Option<&Path>) -> String {
    match checkpoint {
        Some(path) => format!("the last good checkpoint is {}", path.display()),
        None => "there is no checkpoint yet".to_owned(),
    }
}

impl Error {
    pub(crate) fn file(path: &Path, message: impl ToString) -> Self {
        Self::File {
            path: path.to_owned(),
            message: message.to_string(),
        }
    }
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;
