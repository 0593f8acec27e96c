//! What can go wrong between a manifest and its results.

use std::path::PathBuf;
use std::{fmt, io};

/// One mistake in a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Line in the text, from 1; `None` when it is about the manifest as a whole.
    pub line: Option<usize>,
    /// The field with its value.
    pub field: String,
    /// What to write instead.
    pub remedy: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        write!(f, "{}; {}", self.field, self.remedy)
    }
}

fn counted(mistakes: usize) -> String {
    match mistakes {
        1 => "a mistake".to_owned(),
        n => format!("{n} mistakes"),
    }
}

fn listed(mistakes: &[Mistake]) -> String {
    match mistakes {
        [only] => format!(" {only}"),
        several => several
            .iter()
            .map(|mistake| format!("\n  {mistake}"))
            .collect(),
    }
}

/// An error of planning, running or evaluating, with its remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The manifest has mistakes: all of them.
    #[error("manifest {origin} has {}:{}", counted(.mistakes.len()), listed(.mistakes))]
    Manifest {
        /// File or built-in name.
        origin: String,
        /// The mistakes in the order of the text, at least one.
        mistakes: Vec<Mistake>,
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
    /// A seed that the scale does not have.
    #[error("scale {scale} has no seed {seed}; it has {known}")]
    UnknownSeed {
        /// The seed asked for.
        seed: u64,
        /// The scale.
        scale: String,
        /// Its seeds.
        known: String,
    },
    /// An argument that cannot be meant.
    #[error("{argument} = {value}: {remedy}")]
    Argument {
        /// Its name as on the command line.
        argument: &'static str,
        /// Its value.
        value: String,
        /// What to give instead.
        remedy: String,
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
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The folder of a run or of the store cannot be made.
    #[error("cannot make the folder {}; name a writable one with --out", path.display())]
    Unwritable {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file of the run store is not what was written.
    #[error("{} is damaged: {message}; move its folder away and the run is made again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The folder of a run was removed, moved, replaced or claimed by another while the run was computed.
    #[error(
        "the folder {} was removed, moved, replaced or claimed by another process while its run was computed; nothing more is written there, \
         run the same command again to make it anew", folder.display()
    )]
    ClaimLost {
        /// The folder as it was called.
        folder: PathBuf,
    },
    /// Runs of one experiment were computed on different kernel paths although that was forbidden.
    #[error(
        "{run} was computed on {found}, this machine computes on {here}, and --one-path asks for one path throughout; \
         set COLLAPSE_KERNEL_PATH={found} where that path exists, or leave --one-path out"
    )]
    MixedPaths {
        /// The run.
        run: String,
        /// Its kernel path.
        found: String,
        /// This machine's.
        here: String,
    },
    /// Results that cannot be joined.
    #[error(
        "{origin} is of another experiment: {difference}; join only results of one manifest and the same images"
    )]
    OtherExperiment {
        /// The file.
        origin: String,
        /// In what it differs.
        difference: String,
    },
    /// The run is being made by another process.
    #[error(
        "{run} is held by another process ({}); run the same command again when it is done", folder.display()
    )]
    HeldElsewhere {
        /// The run.
        run: String,
        /// Its folder.
        folder: PathBuf,
    },
    /// A scheduler refuses a job.
    #[error("the scheduler takes no job: {message}")]
    Scheduler {
        /// What it says.
        message: String,
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
    /// A file that cannot be written, locked or set aside.
    #[error(transparent)]
    File(#[from] collapse_files::Error),
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
