//! The sets that candle-datasets loads, as [`ImageSet`]s (feature `candle`).
//!
//! candle-datasets gives tensors in 0..=1, [N, C, H, W] for colour and [N, H·W] for grey. Not all of them are upright:
//! `cifar::load()` of 0.11.1 permutes the decoder's [N, H, W, C] to [N, C, **W, H**], so its images are transposed, while
//! `cifar::load_dir()` and the MNIST loaders are upright. [`cifar10`] therefore compares the first images with our own
//! decoding of the same file and turns them if need be, whatever a later version does.
//!
//! ```no_run
//! let (train, test) = collapse_data::candle::cifar10()?; // fetched by candle-datasets through hf-hub
//! assert_eq!(train.len(), 50_000);
//! let dataset = candle_datasets::vision::mnist::load_dir("mnist")?;
//! let (train, _) = collapse_data::candle::image_sets(&dataset, "mnist", collapse_data::candle::Axes::Upright)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};
use candle_datasets::vision::{self, Dataset};

use crate::readers::{Limits, decode, numbered_classes, parquet};
use crate::{Error, ImageSet, ImageShape, Part, registry};

/// Which image axis comes first in a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axes {
    /// Rows, then columns.
    Upright,
    /// Columns, then rows, as `cifar::load()` of candle-datasets 0.11.1 gives them.
    Transposed,
}

/// CIFAR-10, fetched by candle-datasets through hf-hub into the hub's cache, upright: training and test part.
///
/// # Errors
/// [`Error::Candle`] when candle-datasets fails; [`Error::Inconsistent`] when its images are those of the file
/// neither upright nor transposed; those of the parquet reader.
pub fn cifar10() -> Result<(ImageSet, ImageSet), Error> {
    let dataset = vision::cifar::load().map_err(failed("cifar10"))?;
    let axes = axes_of(
        &dataset.test_images,
        &cached("cifar10", "plain_text/test/0000.parquet")?,
    )?;
    image_sets(&dataset, "cifar10", axes)
}

/// CIFAR-10 from a folder with the six files of the binary version.
///
/// # Errors
/// [`Error::Candle`] when candle-datasets fails.
pub fn cifar10_dir(folder: &Path) -> Result<(ImageSet, ImageSet), Error> {
    let dataset = vision::cifar::load_dir(folder).map_err(failed("cifar10"))?;
    image_sets(&dataset, "cifar10", Axes::Upright)
}

/// MNIST, fetched by candle-datasets through hf-hub into the hub's cache.
///
/// # Errors
/// [`Error::Candle`] when candle-datasets fails.
pub fn mnist() -> Result<(ImageSet, ImageSet), Error> {
    let dataset = vision::mnist::load().map_err(failed("mnist"))?;
    image_sets(&dataset, "mnist", Axes::Upright)
}

/// Fashion-MNIST, fetched by candle-datasets through hf-hub into the hub's cache.
///
/// # Errors
/// [`Error::Candle`] when candle-datasets fails.
pub fn fashion_mnist() -> Result<(ImageSet, ImageSet), Error> {
    let dataset = vision::fashion_mnist::load().map_err(failed("fashion-mnist"))?;
    image_sets(&dataset, "fashion-mnist", Axes::Upright)
}

/// Training and test part of a data set of candle-datasets; class names come from the registry if `name` is there.
///
/// # Errors
/// [`Error::Candle`] for tensors of another shape than [N, C, H, W] or [N, H·W] with square images;
/// [`Error::Inconsistent`] for values outside 0..=1 or labels without a class.
pub fn image_sets(
    dataset: &Dataset,
    name: &str,
    axes: Axes,
) -> Result<(ImageSet, ImageSet), Error> {
    let part = |images, labels, part| image_set(images, labels, name, part, axes);
    Ok((
        part(&dataset.train_images, &dataset.train_labels, Part::Train)?,
        part(&dataset.test_images, &dataset.test_labels, Part::Test)?,
    ))
}

fn failed(name: &str) -> impl Fn(candle_core::Error) -> Error + '_ {
    move |source| Error::Candle {
        name: name.to_string(),
        source: Box::new(source),
    }
}

fn image_set(
    images: &Tensor,
    labels: &Tensor,
    name: &str,
    part: Part,
    axes: Axes,
) -> Result<ImageSet, Error> {
    let (shape, pixels) = pixels(images, name, axes)?;
    let labels: Vec<usize> = labels
        .to_dtype(DType::U32)
        .and_then(|labels| labels.to_vec1::<u32>())
        .map_err(failed(name))?
        .into_iter()
        .map(|label| label as usize)
        .collect();
    let classes = numbered_classes(&labels);
    let set = ImageSet::new(name, part, shape, pixels, Some(labels), classes)?;
    Ok(registry::with_published_classes(set))
}

/// Pixels [N, H, W, C], upright, of a tensor in 0..=1.
fn pixels(images: &Tensor, name: &str, axes: Axes) -> Result<(ImageShape, Vec<u8>), Error> {
    let upright = || -> candle_core::Result<(ImageShape, Vec<f32>)> {
        let images = match images.dims() {
            &[n, length] => {
                let side = length.isqrt();
                images.reshape((n, 1, side, side))?
            }
            _ => images.clone(),
        };
        let images = match axes {
            Axes::Upright => images,
            Axes::Transposed => images.transpose(2, 3)?,
        };
        let (_, channels, height, width) = images.dims4()?;
        let values = images
            .permute((0, 2, 3, 1))?
            .to_dtype(DType::F32)?
            .flatten_all()?
            .to_vec1::<f32>()?;
        Ok((ImageShape::new(height, width, channels), values))
    };
    let (shape, values) = upright().map_err(failed(name))?;
    let levels = values.into_iter().map(|value| {
        let level = (value * 255.0).round();
        // k / 255 comes back as k to within a rounding of f32.
        let whole = (value * 255.0 - level).abs() < 1e-3 && (0.0..=255.0).contains(&level);
        whole.then_some(level as u8)
    });
    let pixels = levels.collect::<Option<_>>().ok_or_else(|| {
        Error::inconsistent(name, "a value is no whole grey level of 0..=255 over 255")
    })?;
    Ok((shape, pixels))
}

/// The file of candle-datasets' own fetching in the hub's cache.
fn cached(repository: &str, file: &str) -> Result<PathBuf, Error> {
    let missing = || Error::NotFound {
        name: repository.to_string(),
        part: Part::Test.name(),
        path: crate::hub_cache().unwrap_or_default(),
        remedy: "candle-datasets should have put it there; load its folder instead".to_string(),
    };
    let folder = crate::hub_cache()
        .ok_or_else(missing)?
        .join(format!("datasets--{repository}"));
    let commit = folder.join("refs/refs/convert/parquet");
    let commit = std::fs::read_to_string(&commit).map_err(Error::io("read", &commit))?;
    let file = folder.join("snapshots").join(commit.trim()).join(file);
    file.is_file().then_some(file).ok_or_else(missing)
}

/// Compares a tensor's first image with our own decoding of the file it came from.
fn axes_of(images: &Tensor, file: &Path) -> Result<Axes, Error> {
    let origin = file.display().to_string();
    let encoded = parquet::File::open(file)?
        .first_image()?
        .ok_or_else(|| Error::inconsistent(&origin, "it holds no image"))?;
    let expected = decode::decode(&encoded, &Limits::default())
        .map_err(|detail| Error::Image {
            origin: origin.clone(),
            image: "0".to_string(),
            detail,
        })?
        .pixels;
    let first = images.narrow(0, 0, 1).map_err(failed("cifar10"))?;
    for axes in [Axes::Upright, Axes::Transposed] {
        if pixels(&first, "cifar10", axes)?.1 == expected {
            return Ok(axes);
        }
    }
    Err(Error::inconsistent(
        &origin,
        "candle-datasets' first image is this file's neither upright nor transposed",
    ))
}
