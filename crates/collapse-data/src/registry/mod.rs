//! The one table of sets: names, sources, sizes, and how each is recognised on disk.

mod classes;
mod info;
mod sets;

use crate::{Error, ImageSet, ImageShape, Part};
pub(crate) use info::{Fingerprint, Layout, Moments};
pub use info::{RemoteFile, SetInfo, Source};
use sets::SETS;

/// All sets, in the order of the table.
#[must_use]
pub fn list() -> &'static [SetInfo] {
    &SETS
}

/// The set of this name.
///
/// # Errors
/// [`Error::UnknownSet`] naming the known ones.
pub fn find(name: &str) -> Result<&'static SetInfo, Error> {
    SETS.iter()
        .find(|set| set.name == name)
        .ok_or_else(|| Error::UnknownSet {
            name: name.to_string(),
            known: SETS.iter().map(|s| s.name).collect::<Vec<_>>().join(", "),
        })
}

/// Content of the first 10,000 images of SVHN's test set, a part that is passed around.
const SVHN_FIRST_10000: &str = "82d2a29ea133e2603210c832e76b4a136b30bc42dabde9c1d3f7634f55e0fc87";

/// What must be said of an incomplete set wherever its numbers stand, such as "the first 10000 of 26032 images".
///
/// `left_out` images are missing on purpose and count as present.
#[must_use]
pub fn partial_note(set: &ImageSet, left_out: usize) -> Option<String> {
    let published = find(set.name()).ok()?.n_images(set.part());
    let found = set.len() + left_out;
    (found < published).then(|| {
        let first = set.content_hash().to_hex() == SVHN_FIRST_10000;
        let which = if first { "the first " } else { "" };
        format!("{which}{found} of {published} images")
    })
}

/// Recognises a set by the number of images of each class and the first image's shape.
pub(crate) fn identify(counts: &[usize], shape: ImageShape) -> Option<(&'static SetInfo, Part)> {
    SETS.iter().find_map(|info| {
        let alike = (info.shape.height, info.shape.width, info.n_classes)
            == (shape.height, shape.width, counts.len());
        Some((info, info.part_with(counts).filter(|_| alike)?))
    })
}

/// The set with the published class names of its name, if its classes are mere numbers.
pub(crate) fn with_published_classes(set: ImageSet) -> ImageSet {
    let mut classes = set.classes().iter().enumerate();
    let numbered = classes.all(|(i, name)| *name == i.to_string());
    match find(set.name()) {
        Ok(info) if numbered && set.labels().is_some() && set.n_classes() <= info.n_classes => {
            set.with_class_names(info.class_names())
        }
        _ => set,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_complete() {
        for set in list() {
            assert!(
                !set.licence.is_empty() && !set.citation.is_empty(),
                "{}",
                set.name
            );
            assert!(set.classes.is_empty() || set.classes.len() == set.n_classes);
            for file in set.files.iter().chain(set.originals) {
                let pinned = file.sha256.is_none_or(|hash| {
                    hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit())
                });
                assert!(pinned && !file.parts.is_empty(), "{}", file.path);
            }
            // What the authors publish never changes, so all of it is pinned.
            assert!(
                set.originals
                    .iter()
                    .all(|f| f.sha256.is_some() && f.bytes.is_some())
            );
            for part in [Part::Train, Part::Test] {
                let there = set.files_of(part, Source::Hub).next().is_some();
                assert_eq!(there, set.n_images(part) > 0, "{}", set.name);
            }
        }
    }

    #[test]
    fn sets_are_told_apart_by_shape_and_class_counts() {
        let told =
            |counts: &[usize], shape| identify(counts, shape).map(|(info, part)| (info.name, part));
        let rgb = ImageShape::new(32, 32, 3);
        assert_eq!(told(&[5000; 10], rgb), Some(("cifar10", Part::Train)));
        assert_eq!(told(&[100; 100], rgb), Some(("cifar100", Part::Test)));
        let svhn_test = [1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595];
        assert_eq!(told(&svhn_test, rgb), Some(("svhn", Part::Test)));
        let svhn_train = [4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659];
        assert_eq!(told(&svhn_train, rgb), Some(("svhn", Part::Train)));
        let grey = ImageShape::new(28, 28, 1);
        let mnist = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009];
        assert_eq!(told(&mnist, grey), Some(("mnist", Part::Test)));
        assert_eq!(
            told(&[6000; 10], grey),
            Some(("fashion-mnist", Part::Train))
        );
        let tiny = ImageShape::new(64, 64, 3);
        assert_eq!(told(&[50; 200], tiny), Some(("tiny-imagenet", Part::Test)));
        assert_eq!(told(&[120; 10], rgb), None);
        assert_eq!(told(&[0; 10], grey), None);
    }
}
