//! Views of image sets under the in-distribution constants, and batches in the layouts networks want.

use std::sync::Arc;

use collapse_random::Stream;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Error, ImageSet, ImageShape};

/// Where the normalisation constants come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Constants {
    /// Mean and standard deviation of all training images.
    Measured,
    /// Mean .4914 .4822 .4465, standard deviation .2023 .1994 .2010. Source: `docs/method.md` section 2 (DDU); the
    /// deviations are smaller than CIFAR-10's true ones, .2470 .2435 .2616.
    Ddu,
}

/// Per-channel constants of the in-distribution set; only [`InDistribution`](crate::InDistribution) makes one.
///
/// ```compile_fail,E0451
/// let foreign = collapse_data::Normalization { mean: vec![0.5], std: vec![0.5] };
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Normalization {
    mean: Vec<f32>,
    std: Vec<f32>,
}

impl Normalization {
    pub(crate) fn new(mean: Vec<f32>, std: Vec<f32>) -> Self {
        Self { mean, std }
    }

    /// Means, pixels in 0..=1.
    #[must_use]
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// Standard deviations, pixels in 0..=1.
    #[must_use]
    pub fn std(&self) -> &[f32] {
        &self.std
    }

    fn table(&self) -> Vec<[f32; 256]> {
        self.mean
            .iter()
            .zip(&self.std)
            .map(|(&m, &s)| std::array::from_fn(|v| (v as f32 / 255.0 - m) / s))
            .collect()
    }
}

/// What a view is for. Only [`TrainingView`] can augment, and only a training split makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The part of the in-distribution training set that is fitted.
    Train,
    /// The part held out of it, for temperature and the like.
    Validation,
    /// The in-distribution test set.
    Test,
    /// An out-of-distribution set.
    Ood,
}

/// Images under the in-distribution set's constants, ready to become batches.
///
/// There is no public constructor: a view comes from an [`InDistribution`](crate::InDistribution),
/// so no set can be normalised with another set's constants by accident.
#[derive(Clone, Debug)]
pub struct View {
    set: ImageSet,
    indices: Arc<[usize]>,
    labels: Option<Arc<[usize]>>,
    normalization: Normalization,
    table: Arc<[[f32; 256]]>,
    role: Role,
}

impl View {
    pub(crate) fn new(
        set: ImageSet,
        indices: Vec<usize>,
        normalization: Normalization,
        role: Role,
    ) -> Self {
        let labels = set
            .labels()
            .map(|labels| indices.iter().map(|&i| labels[i]).collect());
        let table = normalization.table().into();
        Self {
            set,
            indices: indices.into(),
            labels,
            normalization,
            table,
            role,
        }
    }

    /// Name of the set.
    #[must_use]
    pub fn name(&self) -> &str {
        self.set.name()
    }

    /// What the view is for.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The whole set behind the view.
    #[must_use]
    pub fn set(&self) -> &ImageSet {
        &self.set
    }

    /// Positions in the set behind the view, by position in the view.
    #[must_use]
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }

    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether there is no image.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// Labels by position in the view; `None` for an unlabelled set.
    #[must_use]
    pub fn labels(&self) -> Option<&[usize]> {
        self.labels.as_deref()
    }

    /// Number of classes of the set.
    #[must_use]
    pub fn n_classes(&self) -> usize {
        self.set.n_classes()
    }

    /// Shape of every image.
    #[must_use]
    pub fn shape(&self) -> ImageShape {
        self.set.shape()
    }

    /// The constants images are normalised with.
    #[must_use]
    pub fn normalization(&self) -> &Normalization {
        &self.normalization
    }

    /// At most `limit` of the images, as many of each class as of any other where a class has them, drawn by `seed`'s
    /// stream and kept in the view's order; of an unlabelled view, any of the images.
    #[must_use]
    pub fn part(&self, limit: usize, seed: u64) -> Self {
        if limit >= self.len() {
            return self.clone();
        }
        let mut classes = vec![Vec::new(); self.n_classes().max(1)];
        for position in 0..self.len() {
            let class = self.labels().map_or(0, |labels| labels[position]);
            classes[class].push(position);
        }
        let drawn = classes.iter().enumerate().map(|(class, positions)| {
            let order =
                Stream::new(seed, "part of a view", class as u64).permutation(positions.len());
            order.into_iter().map(|i| positions[i]).collect()
        });
        let drawn: Vec<Vec<usize>> = drawn.collect();
        let longest = drawn.iter().map(Vec::len).max().unwrap_or(0);
        let in_turn = (0..longest).flat_map(|i| drawn.iter().filter_map(move |class| class.get(i)));
        let mut indices: Vec<usize> = in_turn.take(limit).map(|&p| self.indices[p]).collect();
        indices.sort_unstable();
        Self::new(
            self.set.clone(),
            indices,
            self.normalization.clone(),
            self.role,
        )
    }

    /// Fills `out` with the images at `positions` as [H, W, N, C], normalised.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`].
    pub fn fill_batch(&self, positions: &[usize], out: &mut Vec<f32>) -> Result<(), Error> {
        self.fill(positions, None, out)
    }

    /// Fills `out` with the images at `positions` as [N, C, H, W], normalised, for candle and PyTorch.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`].
    pub fn fill_batch_nchw(&self, positions: &[usize], out: &mut Vec<f32>) -> Result<(), Error> {
        let ImageShape {
            height,
            width,
            channels,
        } = self.shape();
        let image_len = height * width * channels;
        let images = self.images(positions)?;
        out.resize(image_len * images.len(), 0.0);
        out.par_chunks_mut(image_len.max(1))
            .zip(&images)
            .for_each(|(target, image)| {
                for (c, plane) in target.chunks_exact_mut(height * width).enumerate() {
                    let table = &self.table[c];
                    for (value, pixel) in plane.iter_mut().zip(image.chunks_exact(channels)) {
                        *value = table[usize::from(pixel[c])];
                    }
                }
            });
        Ok(())
    }

    fn images(&self, positions: &[usize]) -> Result<Vec<&[u8]>, Error> {
        positions
            .iter()
            .map(|&p| {
                self.indices
                    .get(p)
                    .and_then(|&i| self.set.image(i))
                    .ok_or_else(|| Error::IndexOutOfRange {
                        name: self.name().to_string(),
                        index: p,
                        len: self.len(),
                    })
            })
            .collect()
    }

    fn fill(
        &self,
        positions: &[usize],
        moves: Option<&[Move]>,
        out: &mut Vec<f32>,
    ) -> Result<(), Error> {
        let images = self.images(positions)?;
        let ImageShape {
            height,
            width,
            channels,
        } = self.shape();
        let n = images.len();
        let row_len = width * n * channels;
        // Every element is written below, so the old content need not be cleared.
        out.resize(height * row_len, 0.0);
        out.par_chunks_mut(row_len.max(1))
            .enumerate()
            .for_each(|(y, row)| {
                for (i, image) in images.iter().enumerate() {
                    let m = moves.map_or(Move::NONE, |moves| moves[i]);
                    if channels == 3 {
                        self.fill_row::<3>(image, m, y, i, n, row);
                    } else {
                        self.fill_row::<1>(image, m, y, i, n, row);
                    }
                }
            });
        Ok(())
    }

    /// One row of one image into its places of the batch row [W, N, C].
    fn fill_row<const C: usize>(
        &self,
        image: &[u8],
        m: Move,
        y: usize,
        i: usize,
        n: usize,
        row: &mut [f32],
    ) {
        let ImageShape { height, width, .. } = self.shape();
        let black: [f32; C] = std::array::from_fn(|c| self.table[c][0]);
        let tables: [&[f32; 256]; C] = std::array::from_fn(|c| &self.table[c]);
        let source_y = y as isize + m.dy;
        let source = (0..height as isize)
            .contains(&source_y)
            .then(|| &image[source_y as usize * width * C..(source_y as usize + 1) * width * C]);
        for (x, target) in row[i * C..].chunks_mut(n * C).enumerate() {
            let unflipped = if m.flip { width - 1 - x } else { x };
            let source_x = unflipped as isize + m.dx;
            let pixel = match source {
                Some(source) if (0..width as isize).contains(&source_x) => {
                    let at = source_x as usize * C;
                    std::array::from_fn(|c| tables[c][usize::from(source[at + c])])
                }
                _ => black,
            };
            target[..C].copy_from_slice(&pixel);
        }
    }
}

/// A crop window's offset from the image and whether it is mirrored afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Move {
    dy: isize,
    dx: isize,
    flip: bool,
}

impl Move {
    const NONE: Self = Self {
        dy: 0,
        dx: 0,
        flip: false,
    };
}

/// How training images are varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Augmentation {
    /// Black pixels around the image before a crop of the original size; 0 = no crop.
    pub padding: usize,
    /// Mirror left and right with probability one half.
    pub flip: bool,
}

impl Default for Augmentation {
    /// Padding 4 and flip. Source: `docs/method.md` section 4 (DDU's CIFAR transforms).
    fn default() -> Self {
        Self {
            padding: 4,
            flip: true,
        }
    }
}

impl Augmentation {
    fn draw(self, mut stream: Stream) -> Move {
        let mut offset = || stream.below(2 * self.padding + 1) as isize - self.padding as isize;
        let (dy, dx) = (offset(), offset());
        Move {
            dy,
            dx,
            flip: self.flip && stream.below(2) == 1,
        }
    }
}

/// The training part of an in-distribution set: the only view that can be augmented.
#[derive(Clone, Debug)]
pub struct TrainingView {
    view: View,
    augmentation: Augmentation,
}

impl TrainingView {
    pub(crate) fn new(view: View, augmentation: Augmentation) -> Self {
        Self { view, augmentation }
    }

    /// The same images as a plain view, for features in eval mode.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The same images, varied in another way.
    #[must_use]
    pub fn with_augmentation(mut self, augmentation: Augmentation) -> Self {
        self.augmentation = augmentation;
        self
    }

    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.view.len()
    }

    /// Whether there is no image.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.view.is_empty()
    }

    /// Labels by position; a training view always has them.
    #[must_use]
    pub fn labels(&self) -> &[usize] {
        self.view.labels().unwrap_or_default()
    }

    /// Number of classes.
    #[must_use]
    pub fn n_classes(&self) -> usize {
        self.view.n_classes()
    }

    /// Fills `out` with the images at `positions` as [H, W, N, C], normalised; with `augment`,
    /// cropped and flipped by a stream that depends on (`seed`, `epoch`, image) alone, so neither the
    /// order of the batch nor the number of threads changes an image.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`].
    pub fn fill_batch(
        &self,
        positions: &[usize],
        epoch: u64,
        seed: u64,
        augment: bool,
        out: &mut Vec<f32>,
    ) -> Result<(), Error> {
        if !augment {
            return self.view.fill_batch(positions, out);
        }
        let moves: Vec<Move> = positions
            .iter()
            .map(|&position| {
                let image = self.view.indices.get(position).copied().unwrap_or_default();
                self.augmentation
                    .draw(Stream::part(seed, "augmentation", epoch, image as u64))
            })
            .collect();
        self.view.fill(positions, Some(&moves), out)
    }
}
