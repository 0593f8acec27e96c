//! What training needs of a data set, the order of images and the batches prepared ahead.

use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread::Scope;

use collapse_models::{Batch, Plan};
use collapse_random::Stream;

use crate::{Error, Result};

/// Labelled images that can be drawn in any order.
pub trait TrainSet: Sync {
    /// Number of images.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of classes.
    fn n_classes(&self) -> usize;

    /// Class of each image; empty when the set has no labels (feature extraction only).
    fn labels(&self) -> &[usize];

    /// Side of the square images in pixels.
    fn side(&self) -> usize;

    /// Channels of the images.
    fn channels(&self) -> usize;

    /// Replaces `out` by the normalised images at `indices` in [H, W, N, C] order; the random
    /// part of an augmentation depends on `seed`, `epoch` and the image's index alone.
    ///
    /// # Errors
    /// Whatever keeps the set from giving its images.
    fn batch(
        &self,
        indices: &[usize],
        epoch: u64,
        seed: u64,
        augment: bool,
        out: &mut Vec<f32>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// Images in memory, [N, H, W, C] normalised: the simplest [`TrainSet`], without augmentation.
#[derive(Clone, Debug, PartialEq)]
pub struct InMemory {
    /// Values, image by image.
    pub images: Vec<f32>,
    /// Class of each image.
    pub labels: Vec<usize>,
    /// Number of classes.
    pub n_classes: usize,
    /// Side in pixels.
    pub side: usize,
    /// Channels.
    pub channels: usize,
}

impl TrainSet for InMemory {
    fn len(&self) -> usize {
        self.images.len() / (self.side * self.side * self.channels).max(1)
    }

    fn n_classes(&self) -> usize {
        self.n_classes
    }

    fn labels(&self) -> &[usize] {
        &self.labels
    }

    fn side(&self) -> usize {
        self.side
    }

    fn channels(&self) -> usize {
        self.channels
    }

    fn batch(
        &self,
        indices: &[usize],
        _epoch: u64,
        _seed: u64,
        _augment: bool,
        out: &mut Vec<f32>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let (pixels, c) = (self.side * self.side, self.channels);
        out.clear();
        for pixel in 0..pixels {
            for &i in indices {
                let start = (i * pixels + pixel) * c;
                out.extend_from_slice(&self.images[start..start + c]);
            }
        }
        Ok(())
    }
}

/// Fails unless the set's images and labels fit the network.
pub(crate) fn check_set(set: &dyn TrainSet, plan: &Plan, training: bool) -> Result<()> {
    let config = plan.config();
    let images = |side, channels| format!("images of {side}x{side} with {channels} channels");
    if (set.side(), set.channels()) != (config.input_size, config.in_channels) {
        return Err(Error::Data {
            expected: images(config.input_size, config.in_channels),
            found: images(set.side(), set.channels()),
        });
    }
    if set.is_empty() {
        return Err(Error::Data {
            expected: "at least one image".to_owned(),
            found: "none".to_owned(),
        });
    }
    if training {
        let n_classes = plan.n_classes();
        if set.labels().len() != set.len() {
            return Err(Error::Data {
                expected: format!("one label for each of {} images", set.len()),
                found: format!("{} labels", set.labels().len()),
            });
        }
        if let Some(index) = set.labels().iter().position(|&label| label >= n_classes) {
            return Err(Error::Label {
                index,
                label: set.labels()[index],
                n_classes,
            });
        }
    }
    Ok(())
}

/// Order of the images in `epoch`, from the stream (seed, "shuffle", epoch).
#[must_use]
pub fn epoch_order(seed: u64, epoch: u64, n: usize) -> Vec<usize> {
    Stream::new(seed, "shuffle", epoch).permutation(n)
}

/// The index ranges of an epoch's batches.
///
/// The last partial batch is kept; a rest of a single image joins the batch before it, since
/// batch norm needs two values.
pub(crate) fn batch_bounds(n: usize, batch_size: usize) -> Vec<(usize, usize)> {
    let mut bounds: Vec<(usize, usize)> = (0..n)
        .step_by(batch_size)
        .map(|start| (start, (start + batch_size).min(n)))
        .collect();
    if let [.., before, last] = bounds.as_mut_slice()
        && last.1 - last.0 == 1
    {
        before.1 = last.1;
        bounds.pop();
    }
    bounds
}

/// How the batches of one pass are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Draw<'a> {
    /// Images in the order of the pass.
    pub order: &'a [usize],
    /// Images a batch; the last one may be smaller.
    pub batch_size: usize,
    /// Batches at the beginning to be left out.
    pub skip: usize,
    /// Epoch, for the augmentation's stream.
    pub epoch: u64,
    /// Seed, for the augmentation's stream.
    pub seed: u64,
    /// Whether images are varied.
    pub augment: bool,
}

/// The batches of one pass, while a second thread prepares the next one.
pub struct Batches<'a> {
    draw: Draw<'a>,
    bounds: std::vec::IntoIter<(usize, usize)>,
    side: usize,
    channels: usize,
    ready: Receiver<Result<Vec<f32>>>,
    spent: Sender<Vec<f32>>,
}

/// Images that were read; their memory serves a later batch.
pub struct LoadedBatch<'a> {
    /// Their places in the set, `[N]`.
    pub indices: &'a [usize],
    /// Values, [H, W, N, C].
    values: Vec<f32>,
    side: usize,
    channels: usize,
    spent: Sender<Vec<f32>>,
}

impl<'a> Batches<'a> {
    /// Starts to read in a thread of `scope`, which ends with the last batch or when `Self` is dropped.
    pub fn read_ahead<'scope>(
        scope: &'scope Scope<'scope, 'a>,
        set: &'a dyn TrainSet,
        draw: Draw<'a>,
    ) -> Self {
        let mut bounds = batch_bounds(draw.order.len(), draw.batch_size);
        bounds.drain(..draw.skip.min(bounds.len()));
        let (ready, batches) = sync_channel(1);
        let (spent, buffers) = channel::<Vec<f32>>();
        let ahead = bounds.clone();
        scope.spawn(move || {
            for (start, end) in ahead {
                let mut out = buffers.try_recv().unwrap_or_default();
                let indices = &draw.order[start..end];
                let result = set
                    .batch(indices, draw.epoch, draw.seed, draw.augment, &mut out)
                    .map(|()| out)
                    .map_err(Error::Batch);
                // The receiver is gone when a step failed: nothing more is wanted.
                if ready.send(result).is_err() {
                    break;
                }
            }
        });
        Self {
            draw,
            bounds: bounds.into_iter(),
            side: set.side(),
            channels: set.channels(),
            ready: batches,
            spent,
        }
    }
}

/// # Errors
/// [`Error::Batch`] when the set cannot give a batch.
impl<'a> Iterator for Batches<'a> {
    type Item = Result<LoadedBatch<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let (start, end) = self.bounds.next()?;
        let values = self.ready.recv().ok()?;
        Some(values.map(|values| LoadedBatch {
            indices: &self.draw.order[start..end],
            values,
            side: self.side,
            channels: self.channels,
            spent: self.spent.clone(),
        }))
    }
}

impl LoadedBatch<'_> {
    /// The images as a network takes them.
    #[must_use]
    pub fn images(&self) -> Batch<'_, f32> {
        Batch::hwnc(self.indices.len(), self.side, self.channels, &self.values)
    }
}

impl Drop for LoadedBatch<'_> {
    fn drop(&mut self) {
        // The reader may have finished; then the buffer is simply dropped.
        let _ = self.spent.send(std::mem::take(&mut self.values));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_is_in_one_batch() {
        for (n, size) in [(10, 4), (9, 4), (8, 4), (3, 128), (129, 128), (1, 2)] {
            let bounds = batch_bounds(n, size);
            let covered: usize = bounds.iter().map(|(a, b)| b - a).sum();
            assert_eq!(covered, n);
            assert!(bounds.windows(2).all(|w| w[0].1 == w[1].0));
            assert!(n == 1 || bounds.iter().all(|(a, b)| b - a >= 2));
        }
    }

    #[test]
    fn order_depends_on_seed_and_epoch() {
        assert_eq!(epoch_order(1, 2, 50), epoch_order(1, 2, 50));
        assert_ne!(epoch_order(1, 2, 50), epoch_order(1, 3, 50));
        assert_ne!(epoch_order(1, 2, 50), epoch_order(2, 2, 50));
    }
}
