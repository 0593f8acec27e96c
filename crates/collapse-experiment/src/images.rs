//! Image views as the sets that training draws from.

use collapse_data::{TrainingView, View};
use collapse_train::TrainSet;

use crate::error::Error;
use crate::stop::Stop;

type BatchError = Box<dyn std::error::Error + Send + Sync>;

/// The fitted part of the training images, in training and for features of it.
pub struct FittedImages<'a>(pub &'a TrainingView);

/// Images that are only looked at: validation, test and OoD, and training images for their features.
pub struct HeldOutImages<'a> {
    view: &'a View,
    watch: Option<(&'a Stop, &'a (dyn Fn(usize) + Sync))>,
}

impl<'a> HeldOutImages<'a> {
    /// The images of `view`.
    #[must_use]
    pub fn new(view: &'a View) -> Self {
        Self { view, watch: None }
    }

    /// The same images, given out only until `stop` is raised; `given` hears how many each batch holds.
    #[must_use]
    pub fn until(self, stop: &'a Stop, given: &'a (dyn Fn(usize) + Sync)) -> Self {
        Self {
            watch: Some((stop, given)),
            ..self
        }
    }
}

impl TrainSet for FittedImages<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn n_classes(&self) -> usize {
        self.0.n_classes()
    }

    fn labels(&self) -> &[usize] {
        self.0.labels()
    }

    fn side(&self) -> usize {
        self.0.view().shape().height
    }

    fn channels(&self) -> usize {
        self.0.view().shape().channels
    }

    fn batch(
        &self,
        indices: &[usize],
        epoch: u64,
        seed: u64,
        augment: bool,
        out: &mut Vec<f32>,
    ) -> Result<(), BatchError> {
        self.0.fill_batch(indices, epoch, seed, augment, out)?;
        Ok(())
    }
}

impl TrainSet for HeldOutImages<'_> {
    fn len(&self) -> usize {
        self.view.len()
    }

    fn n_classes(&self) -> usize {
        self.view.n_classes()
    }

    fn labels(&self) -> &[usize] {
        self.view.labels().unwrap_or_default()
    }

    fn side(&self) -> usize {
        self.view.shape().height
    }

    fn channels(&self) -> usize {
        self.view.shape().channels
    }

    fn batch(
        &self,
        indices: &[usize],
        _epoch: u64,
        _seed: u64,
        augment: bool,
        out: &mut Vec<f32>,
    ) -> Result<(), BatchError> {
        if augment {
            return Err(
                format!("{} is held out and cannot be trained on", self.view.name()).into(),
            );
        }
        if let Some((stop, given)) = self.watch {
            if stop.is_raised() {
                return Err(Error::Interrupted.into());
            }
            given(indices.len());
        }
        self.view.fill_batch(indices, out)?;
        Ok(())
    }
}
