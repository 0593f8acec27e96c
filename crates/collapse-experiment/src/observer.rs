//! What a run tells while it works; the command line draws it.

use std::fmt;

use collapse_results::Run;

/// Group and seed of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunId {
    /// Group.
    pub group: String,
    /// Seed.
    pub seed: u64,
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} seed {}", self.group, self.seed)
    }
}

/// One epoch as shown while training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpochProgress {
    /// Epoch just trained, from 1.
    pub epoch: usize,
    /// Epochs of the run.
    pub epochs: usize,
    /// Mean training loss.
    pub loss: f64,
    /// Training accuracy, 0..=1.
    pub accuracy: f64,
}

/// Receives progress; called from the threads that train.
pub trait Observer: Sync {
    /// Work begins: in all runs still to be made, `trained` images to train on and `measured` to be measured.
    fn planned(&self, runs: usize, kept: usize, trained: u64, measured: u64);
    /// A run begins, or goes on after `trained` training images and `measured` measured ones were done before.
    fn started(&self, run: &RunId, trained: u64, measured: u64);
    /// So many more images were trained on.
    fn trained(&self, images: u64);
    /// So many images of held-out sets and of the training split were run through the network to be measured.
    fn measured(&self, images: u64);
    /// An epoch ended.
    fn epoch(&self, run: &RunId, progress: EpochProgress);
    /// Features of every split are extracted after `epoch`, and measured.
    fn measuring(&self, run: &RunId, epoch: usize);
    /// Something that the user should know, in one line: a folder set aside, a run that another process holds.
    fn note(&self, message: &str);
    /// A run ended.
    fn finished(&self, run: &RunId, result: &Run);
    /// A run of those planned was finished by another process: these images need not be gone through here.
    fn finished_elsewhere(&self, run: &RunId, trained: u64, measured: u64);
}

/// An observer that ignores everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn planned(&self, _runs: usize, _kept: usize, _trained: u64, _measured: u64) {}
    fn started(&self, _run: &RunId, _trained: u64, _measured: u64) {}
    fn trained(&self, _images: u64) {}
    fn measured(&self, _images: u64) {}
    fn note(&self, _message: &str) {}
    fn epoch(&self, _run: &RunId, _progress: EpochProgress) {}
    fn measuring(&self, _run: &RunId, _epoch: usize) {}
    fn finished(&self, _run: &RunId, _result: &Run) {}
    fn finished_elsewhere(&self, _run: &RunId, _trained: u64, _measured: u64) {}
}
