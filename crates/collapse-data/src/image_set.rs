//! [`ImageSet`]: decoded images of one shape, with labels and a content hash.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};

use crate::shared::SharedBytes;
use crate::{ContentHash, Error, ImageShape, Part};

/// Decoded images of one shape, `u8` in [N, H, W, C] order, with optional labels.
///
/// Cheap to clone: pixels and labels are shared. Labels lie in `0..n_classes()`.
#[derive(Clone)]
pub struct ImageSet {
    name: String,
    part: Part,
    shape: ImageShape,
    len: usize,
    pixels: SharedBytes,
    labels: Option<Arc<[usize]>>,
    classes: Arc<[String]>,
    hash: Arc<OnceLock<ContentHash>>,
}

impl fmt::Debug for ImageSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageSet")
            .field("name", &self.name)
            .field("part", &self.part)
            .field("shape", &self.shape)
            .field("len", &self.len)
            .field("n_classes", &self.classes.len())
            .field("labelled", &self.labels.is_some())
            .finish_non_exhaustive()
    }
}

impl ImageSet {
    /// Takes `pixels` [N, H, W, C], one label an image (or none at all) and the class names.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when the lengths do not fit, the shape is empty or has other than
    /// 1 or 3 channels, or a label names no class.
    pub fn new(
        name: impl Into<String>,
        part: Part,
        shape: ImageShape,
        pixels: Vec<u8>,
        labels: Option<Vec<usize>>,
        classes: Vec<String>,
    ) -> Result<Self, Error> {
        Self::from_parts(
            name.into(),
            part,
            shape,
            pixels.into(),
            labels,
            classes.into(),
        )
    }

    pub(crate) fn from_parts(
        name: String,
        part: Part,
        shape: ImageShape,
        pixels: SharedBytes,
        labels: Option<Vec<usize>>,
        classes: Arc<[String]>,
    ) -> Result<Self, Error> {
        let image_bytes = shape
            .bytes()
            .filter(|&b| b > 0 && matches!(shape.channels, 1 | 3))
            .ok_or_else(|| {
                Error::inconsistent(
                    &name,
                    format!("image shape {shape} must have at least one pixel and 1 or 3 channels"),
                )
            })?;
        let total = pixels.len();
        if !total.is_multiple_of(image_bytes) {
            return Err(Error::inconsistent(
                &name,
                format!("{total} bytes of pixels are no whole number of {shape} images"),
            ));
        }
        let len = total / image_bytes;
        if let Some(labels) = &labels {
            if labels.len() != len {
                return Err(Error::inconsistent(
                    &name,
                    format!("{} labels for {len} images", labels.len()),
                ));
            }
            if let Some(label) = labels.iter().find(|&&l| l >= classes.len()) {
                return Err(Error::inconsistent(
                    &name,
                    format!("label {label} names no class: there are {}", classes.len()),
                ));
            }
        }
        Ok(Self {
            name,
            part,
            shape,
            len,
            pixels,
            labels: labels.map(Into::into),
            classes,
            hash: Arc::new(OnceLock::new()),
        })
    }

    /// Name, as in the registry or as the user gave it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same images under another name.
    #[must_use]
    pub fn renamed(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The same images as another part.
    pub(crate) fn into_part(mut self, part: Part) -> Self {
        self.part = part;
        self
    }

    /// Which part of the published set.
    #[must_use]
    pub fn part(&self) -> Part {
        self.part
    }

    /// Shape of every image.
    #[must_use]
    pub fn shape(&self) -> ImageShape {
        self.shape
    }

    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no image.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All pixels, [N, H, W, C].
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Pixels [H, W, C] of image `index`, or `None` past the end.
    #[must_use]
    pub fn image(&self, index: usize) -> Option<&[u8]> {
        let bytes = self.image_bytes();
        self.pixels()
            .get(index.checked_mul(bytes)?..index.checked_add(1)?.checked_mul(bytes)?)
    }

    pub(crate) fn image_bytes(&self) -> usize {
        self.shape.height * self.shape.width * self.shape.channels
    }

    /// One label an image in `0..n_classes()`, or `None` for an unlabelled set.
    #[must_use]
    pub fn labels(&self) -> Option<&[usize]> {
        self.labels.as_deref()
    }

    /// Class names, by label.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Number of classes; 0 for an unlabelled set without class names.
    #[must_use]
    pub fn n_classes(&self) -> usize {
        self.classes.len()
    }

    /// Images of each class, by label; empty for an unlabelled set.
    #[must_use]
    pub fn class_counts(&self) -> Vec<usize> {
        let Some(labels) = self.labels() else {
            return Vec::new();
        };
        let mut counts = vec![0; self.n_classes()];
        for &label in labels {
            counts[label] += 1;
        }
        counts
    }

    /// SHA-256 of the content, computed on first use and remembered by all clones.
    #[must_use]
    pub fn content_hash(&self) -> ContentHash {
        *self
            .hash
            .get_or_init(|| content_hash(self.shape, self.pixels(), self.labels(), &self.classes))
    }

    /// The same images with other names for the classes, at least as many as there are.
    pub(crate) fn with_class_names(&self, names: Vec<String>) -> Self {
        Self {
            classes: names.into(),
            hash: Arc::default(),
            ..self.clone()
        }
    }

    pub(crate) fn shared_classes(&self) -> Arc<[String]> {
        Arc::clone(&self.classes)
    }

    /// The images of all `sets` one after the other, under the first one's name; shards of one set.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] for no set at all, or sets that differ in shape, labels or classes.
    pub fn concatenated(mut sets: Vec<Self>) -> Result<Self, Error> {
        if sets.len() == 1 {
            return Ok(sets.remove(0));
        }
        let first = sets
            .first()
            .ok_or_else(|| Error::inconsistent("shards", "there is none"))?
            .clone();
        let mut labels = Vec::new();
        let mut pixels = Vec::new();
        let mut classes = first.shared_classes();
        for set in &sets {
            if set.shape != first.shape || set.labels.is_some() != first.labels.is_some() {
                return Err(Error::inconsistent(
                    &set.name,
                    "its shards differ in shape or in having labels",
                ));
            }
            // Numbered classes grow with the labels a shard happens to hold.
            if set.classes.len() > classes.len() {
                classes = set.shared_classes();
            }
            pixels.extend_from_slice(set.pixels());
            labels.extend_from_slice(set.labels().unwrap_or_default());
        }
        let labels = first.labels.is_some().then_some(labels);
        Self::from_parts(
            first.name.clone(),
            first.part,
            first.shape,
            pixels.into(),
            labels,
            classes,
        )
    }

    /// The images at `indices`, in that order.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`].
    pub fn select(&self, indices: &[usize]) -> Result<Self, Error> {
        let mut pixels = Vec::with_capacity(indices.len() * self.image_bytes());
        for &index in indices {
            let image = self.image(index).ok_or_else(|| Error::IndexOutOfRange {
                name: self.name.clone(),
                index,
                len: self.len,
            })?;
            pixels.extend_from_slice(image);
        }
        let labels = self
            .labels()
            .map(|labels| indices.iter().map(|&i| labels[i]).collect());
        Self::from_parts(
            self.name.clone(),
            self.part,
            self.shape,
            pixels.into(),
            labels,
            self.shared_classes(),
        )
    }

    /// The first `n` images of every class, in file order; the first `n` images of an unlabelled set.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when a class has fewer than `n` images.
    pub fn first_per_class(&self, n: usize) -> Result<Self, Error> {
        let Some(labels) = self.labels() else {
            return self.select(&(0..n.min(self.len)).collect::<Vec<_>>());
        };
        let mut taken = vec![0; self.n_classes()];
        let mut indices = Vec::new();
        for (i, &label) in labels.iter().enumerate() {
            if taken[label] < n {
                taken[label] += 1;
                indices.push(i);
            }
        }
        if let Some(class) = taken.iter().position(|&t| t < n) {
            return Err(Error::inconsistent(
                &self.name,
                format!(
                    "class {:?} has {} images, fewer than the {n} asked for",
                    self.classes[class], taken[class]
                ),
            ));
        }
        self.select(&indices)
    }

    /// The classes `keep` alone, relabelled 0, 1, … in the order of `keep`.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] for an unlabelled set or a class number without a class.
    pub fn with_classes(&self, keep: &[usize]) -> Result<Self, Error> {
        let labels = self.labels().ok_or_else(|| {
            Error::inconsistent(
                &self.name,
                "classes cannot be chosen from an unlabelled set",
            )
        })?;
        let mut new_label = BTreeMap::new();
        let mut classes = Vec::with_capacity(keep.len());
        for (new, &old) in keep.iter().enumerate() {
            let class = self.classes.get(old).ok_or_else(|| {
                Error::inconsistent(&self.name, format!("class {old} does not exist"))
            })?;
            classes.push(class.clone());
            new_label.insert(old, new);
        }
        let indices: Vec<usize> = (0..self.len)
            .filter(|&i| new_label.contains_key(&labels[i]))
            .collect();
        let relabelled = indices.iter().map(|&i| new_label[&labels[i]]).collect();
        let chosen = self.select(&indices)?;
        Self::from_parts(
            self.name.clone(),
            self.part,
            self.shape,
            chosen.pixels,
            Some(relabelled),
            classes.into(),
        )
    }
}

fn content_hash(
    shape: ImageShape,
    pixels: &[u8],
    labels: Option<&[usize]>,
    classes: &[String],
) -> ContentHash {
    let mut hasher = Sha256::new();
    for n in [
        shape.height,
        shape.width,
        shape.channels,
        pixels.len(),
        labels.map_or(0, <[usize]>::len),
        classes.len(),
    ] {
        hasher.update((n as u64).to_le_bytes());
    }
    hasher.update(pixels);
    for &label in labels.unwrap_or_default() {
        hasher.update((label as u32).to_le_bytes());
    }
    for class in classes {
        hasher.update((class.len() as u64).to_le_bytes());
        hasher.update(class);
    }
    ContentHash(hasher.finalize().into())
}
