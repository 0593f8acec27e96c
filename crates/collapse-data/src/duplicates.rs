//! Exact duplicates: images with the same shape and the same pixels.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::ImageSet;

/// Position of an image: set (index into the sets given) and image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Place {
    /// Index of the set.
    pub set: usize,
    /// Index of the image.
    pub image: usize,
}

fn hashes(set: &ImageSet) -> Vec<[u8; 32]> {
    let shape = [
        set.shape().height as u64,
        set.shape().width as u64,
        set.shape().channels as u64,
    ];
    set.pixels()
        .par_chunks(set.image_bytes())
        .map(|image| {
            let mut hasher = Sha256::new();
            for n in shape {
                hasher.update(n.to_le_bytes());
            }
            hasher.update(image);
            hasher.finalize().into()
        })
        .collect()
}

pub(crate) fn pixel_hashes(sets: &[&ImageSet]) -> BTreeSet<[u8; 32]> {
    sets.iter().flat_map(|set| hashes(set)).collect()
}

/// Indices of the images of `set` whose hash is not in `known`.
pub(crate) fn not_among(set: &ImageSet, known: &BTreeSet<[u8; 32]>) -> Vec<usize> {
    hashes(set)
        .iter()
        .enumerate()
        .filter(|(_, hash)| !known.contains(*hash))
        .map(|(i, _)| i)
        .collect()
}

/// Groups of two or more images that are equal pixel by pixel, within and across `sets`, each group
/// in order and the groups by their first member.
#[must_use]
pub fn exact_duplicates(sets: &[&ImageSet]) -> Vec<Vec<Place>> {
    let mut groups: BTreeMap<[u8; 32], Vec<Place>> = BTreeMap::new();
    for (set_index, set) in sets.iter().enumerate() {
        for (image, hash) in hashes(set).into_iter().enumerate() {
            groups.entry(hash).or_default().push(Place {
                set: set_index,
                image,
            });
        }
    }
    let mut groups: Vec<Vec<Place>> = groups.into_values().filter(|g| g.len() > 1).collect();
    groups.sort();
    groups
}
