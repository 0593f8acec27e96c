//! Image views as the sets that training draws from.

use collapse_data::{TrainingView, View};

use crate::data::TrainSet;

type BatchError = Box<dyn std::error::Error + Send + Sync>;

/// The fitted part of the training images, in training and for features of it.
pub struct FittedImages<'a>(pub &'a TrainingView);

/// Images that are only looked at: validation, test and OoD, and training images for their features.
pub struct HeldOutImages<'a>(pub &'a View);

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
        self.0.len()
    }

    fn n_classes(&self) -> usize {
        self.0.n_classes()
    }

    fn labels(&self) -> &[usize] {
        self.0.labels().unwrap_or_default()
    }

    fn side(&self) -> usize {
        self.0.shape().height
    }

    fn channels(&self) -> usize {
        self.0.shape().channels
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
            return Err(format!("{} is held out and cannot be trained on", self.0.name()).into());
        }
        self.0.fill_batch(indices, out)?;
        Ok(())
    }
}
