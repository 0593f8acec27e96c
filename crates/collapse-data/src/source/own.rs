//! A user's own images as in-distribution set.

use std::path::Path;

use collapse_random::Stream;

use super::found::is_in_parts;
use super::load::load_path;
use super::options::LoadOptions;
use crate::{Error, ImageSet, ImageShape, Part};

/// Shape of the images unless another is asked for: that of the networks' usual input.
const SHAPE: ImageShape = ImageShape::new(32, 32, 3);
/// The split is a part of the set: the same in every run, whatever its seed.
const SPLIT_SEED: u64 = 0;
/// One image in so many is held out as test part.
const TEST_SHARE: usize = 5;

/// Training and test part of a user's own labelled set: a folder or archive of images with a folder a class, parquet
/// files, CIFAR records.
///
/// A set in parts (folders or files named `train` and `test` or `validation`) gives these. Of any other, a fifth of the
/// images of each class (rounded down, at least one) is drawn as the test part, always the same. Images become 32×32 in
/// colour unless `options` name another shape.
///
/// # Errors
/// [`Error::Inconsistent`] when there are no labels or a class has only one image to split; those of [`load_path`].
pub fn load_own(
    path: &Path,
    name: &str,
    options: &LoadOptions,
) -> Result<(ImageSet, ImageSet), Error> {
    let options = LoadOptions {
        shape: options.shape.or(Some(SHAPE)),
        ..options.clone()
    };
    let train = load_path(path, name, Part::Train, &options)?;
    if is_in_parts(path, &options.limits)? {
        let test = load_path(path, name, Part::Test, &options)?;
        return Ok((train, test));
    }
    split(&train)
}

fn split(set: &ImageSet) -> Result<(ImageSet, ImageSet), Error> {
    let labels = set.labels().ok_or_else(|| {
        Error::inconsistent(
            set.name(),
            "an in-distribution set needs labels; put the images of each class into a folder of its own",
        )
    })?;
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for (class, name) in set.classes().iter().enumerate() {
        let of_class: Vec<usize> = (0..set.len()).filter(|&i| labels[i] == class).collect();
        if of_class.len() < 2 {
            let detail = format!(
                "class {name:?} has {} images; at least two are needed, one of them for testing",
                of_class.len()
            );
            return Err(Error::inconsistent(set.name(), detail));
        }
        let order =
            Stream::new(SPLIT_SEED, "own test part", class as u64).permutation(of_class.len());
        let n_test = (of_class.len() / TEST_SHARE).max(1);
        test.extend(order[..n_test].iter().map(|&i| of_class[i]));
        train.extend(order[n_test..].iter().map(|&i| of_class[i]));
    }
    train.sort_unstable();
    test.sort_unstable();
    Ok((
        set.select(&train)?,
        set.select(&test)?.into_part(Part::Test),
    ))
}
