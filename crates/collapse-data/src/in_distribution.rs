//! [`InDistribution`]: the set that is fitted, its constants and its split.

use collapse_random::Stream;

use crate::batch::{Augmentation, Constants, Normalization, Role, TrainingView, View};
use crate::{Error, ImageSet, ImageShape};

/// An in-distribution set with its constants: the one source of [`View`]s.
#[derive(Clone, Debug)]
pub struct InDistribution {
    pub(crate) train: ImageSet,
    pub(crate) test: ImageSet,
    pub(crate) normalization: Normalization,
}

/// The training set, split.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Fitted.
    pub train: TrainingView,
    /// Held out.
    pub validation: View,
}

impl InDistribution {
    /// Takes a training and a test set of the same shape and classes.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when one is empty or unlabelled, or they differ in classes;
    /// [`Error::ShapeMismatch`].
    pub fn new(train: ImageSet, test: ImageSet, constants: Constants) -> Result<Self, Error> {
        for set in [&train, &test] {
            if set.is_empty() || set.labels().is_none() {
                return Err(Error::inconsistent(
                    set.name(),
                    "an in-distribution set needs images and labels",
                ));
            }
        }
        if train.classes() != test.classes() {
            return Err(Error::inconsistent(
                test.name(),
                "its classes differ from those of the training set",
            ));
        }
        check_shape(&test, train.shape())?;
        let normalization = match constants {
            Constants::Measured => {
                let measured = train.channel_statistics();
                if measured.std.iter().any(|&s| s <= 0.0) {
                    return Err(Error::inconsistent(
                        train.name(),
                        "a channel is constant; it cannot be normalised",
                    ));
                }
                Normalization::new(
                    measured.mean.iter().map(|&m| m as f32).collect(),
                    measured.std.iter().map(|&s| s as f32).collect(),
                )
            }
            Constants::Ddu if train.shape().channels == 3 => {
                Normalization::new(vec![0.4914, 0.4822, 0.4465], vec![0.2023, 0.1994, 0.2010])
            }
            Constants::Ddu => {
                return Err(Error::inconsistent(
                    train.name(),
                    "the DDU constants are for three channels",
                ));
            }
        };
        Ok(Self {
            train,
            test,
            normalization,
        })
    }

    /// The whole training set, decoded.
    #[must_use]
    pub fn train_set(&self) -> &ImageSet {
        &self.train
    }

    /// The test set, decoded.
    #[must_use]
    pub fn test_set(&self) -> &ImageSet {
        &self.test
    }

    /// The constants.
    #[must_use]
    pub fn normalization(&self) -> &Normalization {
        &self.normalization
    }

    /// Draws a tenth of the training images as validation part (rounded down, at least one when there are
    /// two images) by the seed's "split" stream; both parts keep the file's order.
    #[must_use]
    pub fn split(&self, seed: u64) -> Parts {
        let n = self.train.len();
        let order = Stream::new(seed, "split", 0).permutation(n);
        let n_validation = (n / 10).max(usize::from(n > 1));
        let mut validation = order[..n_validation].to_vec();
        let mut train = order[n_validation..].to_vec();
        validation.sort_unstable();
        train.sort_unstable();
        let view = |indices, role| {
            View::new(
                self.train.clone(),
                indices,
                self.normalization.clone(),
                role,
            )
        };
        Parts {
            train: TrainingView::new(view(train, Role::Train), Augmentation::default()),
            validation: view(validation, Role::Validation),
        }
    }

    /// The test set under the constants.
    #[must_use]
    pub fn test(&self) -> View {
        View::new(
            self.test.clone(),
            (0..self.test.len()).collect(),
            self.normalization.clone(),
            Role::Test,
        )
    }

    /// An out-of-distribution set under these constants.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`]; [`Error::Inconsistent`] when the set is empty.
    pub fn ood(&self, set: ImageSet) -> Result<View, Error> {
        check_shape(&set, self.train.shape())?;
        if set.is_empty() {
            return Err(Error::inconsistent(
                set.name(),
                "an out-of-distribution set needs at least one image",
            ));
        }
        let indices = (0..set.len()).collect();
        Ok(View::new(
            set,
            indices,
            self.normalization.clone(),
            Role::Ood,
        ))
    }
}

fn check_shape(set: &ImageSet, expected: ImageShape) -> Result<(), Error> {
    if set.shape() == expected {
        return Ok(());
    }
    Err(Error::ShapeMismatch {
        name: set.name().to_string(),
        found: set.shape().to_string(),
        expected: expected.to_string(),
    })
}
