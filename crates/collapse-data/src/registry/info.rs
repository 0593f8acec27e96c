//! One line of the table: what is known of a set.

use serde::Serialize;

use crate::readers::cifar;
use crate::{Constants, ImageShape, Part};

/// Who serves a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The Hugging Face hub, as parquet.
    #[default]
    Hub,
    /// The set's authors (or their mirror), in their own format.
    Authors,
}

/// A file of a set at its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RemoteFile {
    /// The parts it holds; an archive may hold both.
    pub parts: &'static [Part],
    /// Path in the repository of the Hugging Face hub, or the address at the authors'.
    pub path: &'static str,
    /// Length in bytes, where known.
    pub bytes: Option<u64>,
    /// Pinned SHA-256, lower-case hex; without one, the hash the hub announces is checked.
    pub sha256: Option<&'static str>,
}

impl RemoteFile {
    /// Name of the file on disk.
    #[must_use]
    pub fn file_name(&self) -> &'static str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }
}

/// One line of the table.
///
/// Sources of the hashes: the hub's own (LFS) hashes at the pinned revisions; for the authors' files
/// TensorFlow Datasets' checksums where it has them, else those that several public projects agree on.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SetInfo {
    /// The name users write.
    pub name: &'static str,
    /// The name papers write.
    pub title: &'static str,
    /// Data-set repository on the Hugging Face hub.
    pub repository: &'static str,
    /// Commit of the repository that the hashes belong to; a branch where nothing is pinned.
    pub revision: &'static str,
    /// Files there.
    pub files: &'static [RemoteFile],
    /// The same set as its authors publish it.
    pub originals: &'static [RemoteFile],
    /// Label column in the parquet files.
    pub label_column: &'static str,
    /// Training images, 0 where the benchmark does not use them.
    pub n_train: usize,
    /// Test (or validation) images.
    pub n_test: usize,
    /// Shape of the published images; where they differ in size, the shape they are brought to unless asked otherwise.
    pub shape: ImageShape,
    /// Whether the published images differ in size.
    pub mixed_sizes: bool,
    /// Class names by label; empty where numbers serve.
    pub classes: &'static [&'static str],
    /// Number of classes.
    pub n_classes: usize,
    /// The constants it is normalised with when it is in-distribution.
    pub constants: Constants,
    /// How it is told from other sets.
    #[serde(skip)]
    pub(crate) fingerprint: Fingerprint,
    /// How its authors, and people who unpacked it, store it.
    #[serde(skip)]
    pub(crate) layout: Layout,
    /// What is published of its training images' channels, to four digits.
    #[serde(skip)]
    pub(crate) train_moments: Option<Moments>,
    /// Licence or terms of use, as far as its authors state them.
    pub licence: &'static str,
    /// Where the set is described.
    pub citation: &'static str,
}

/// How a set is told from others of the same shape and number of classes, by its labels or its path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fingerprint {
    /// Every class has as many images: so many in each part.
    Balanced { train: usize, test: usize },
    /// One class has a known share; the part is the smallest that can hold the images.
    Common {
        class: usize,
        /// Least and greatest share.
        per_mille: (usize, usize),
        /// Fewer images tell nothing.
        at_least: usize,
    },
    /// Colour images with one of these words in the path, which are the test part.
    Path(&'static [&'static str]),
}

/// How a set is stored other than as parquet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layout {
    /// Records of CIFAR's binary version.
    Cifar(cifar::Variant),
    /// MATLAB 5.
    Mat,
    /// Two IDX files a part.
    Idx,
    /// Images in folders: below the folder that has the file `marker`, or in an archive that begins with `root` or
    /// has the file.
    Images {
        marker: &'static str,
        root: &'static str,
    },
}

/// Mean and standard deviation of three channels, in 0..=1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moments {
    pub(crate) mean: [f64; 3],
    pub(crate) std: [f64; 3],
}

impl SetInfo {
    /// The files that hold a part at a source.
    pub fn files_of(
        &self,
        part: Part,
        source: Source,
    ) -> impl Iterator<Item = &'static RemoteFile> {
        let files = match source {
            Source::Hub => self.files,
            Source::Authors => self.originals,
        };
        files.iter().filter(move |file| file.parts.contains(&part))
    }

    /// The published file with this SHA-256.
    #[must_use]
    pub fn published_file(&self, sha256: &str) -> Option<(Source, &'static RemoteFile)> {
        let of = |source, files: &'static [RemoteFile]| {
            files
                .iter()
                .find(|file| file.sha256 == Some(sha256))
                .map(|file| (source, file))
        };
        of(Source::Hub, self.files).or_else(|| of(Source::Authors, self.originals))
    }

    /// Images of a part.
    #[must_use]
    pub fn n_images(&self, part: Part) -> usize {
        match part {
            Part::Train => self.n_train,
            Part::Test => self.n_test,
        }
    }

    /// Names by label, numbers where none are published.
    pub(crate) fn class_names(&self) -> Vec<String> {
        if self.classes.is_empty() {
            (0..self.n_classes).map(|class| class.to_string()).collect()
        } else {
            self.classes.iter().map(ToString::to_string).collect()
        }
    }

    /// The smallest part that has at least `n` images.
    pub(crate) fn part_holding(&self, n: usize) -> Option<Part> {
        let mut parts = [Part::Train, Part::Test];
        parts.sort_by_key(|&part| self.n_images(part));
        parts.into_iter().find(|&part| n <= self.n_images(part))
    }

    pub(super) fn part_with(&self, counts: &[usize]) -> Option<Part> {
        match self.fingerprint {
            Fingerprint::Balanced { train, test } => {
                let all = |n| counts.iter().all(|&count| count == n);
                if all(train) {
                    Some(Part::Train)
                } else {
                    all(test).then_some(Part::Test)
                }
            }
            Fingerprint::Common {
                class,
                per_mille: (least, greatest),
                at_least,
            } => {
                let total: usize = counts.iter().sum();
                let share = counts.get(class)? * 1000 / total.max(1);
                let fits = total >= at_least && (least..=greatest).contains(&share);
                fits.then(|| self.part_holding(total))?
            }
            Fingerprint::Path(_) => None,
        }
    }
}
