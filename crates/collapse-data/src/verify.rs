//! Checking a set against the registry: counts, balance, statistics, hash, duplicates.

use serde::Serialize;

use crate::duplicates::exact_duplicates;
use crate::registry::{self, Fingerprint, Moments};
use crate::{ChannelStatistics, ImageSet, Part};

/// What is known of a loaded set.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Name of the set.
    pub name: String,
    /// Part of it.
    pub part: Part,
    /// Number of images.
    pub n_images: usize,
    /// Number published, where the registry knows it.
    pub n_published: Option<usize>,
    /// Images of each class.
    pub class_counts: Vec<usize>,
    /// Whether every class has as many images.
    pub balanced: bool,
    /// Mean and standard deviation of each channel, in 0..=1.
    pub statistics: ChannelStatistics,
    /// SHA-256 of shape, pixels, labels and classes.
    pub sha256: String,
    /// Groups of equal images within the set, by their indices.
    pub duplicates: Vec<Vec<usize>>,
    /// Deviations from what is published; empty when all is well.
    pub findings: Vec<String>,
}

/// Examines one set.
#[must_use]
pub fn summarise(set: &ImageSet) -> Summary {
    let info = registry::find(set.name()).ok();
    let n_published = info.map(|i| i.n_images(set.part())).filter(|&n| n > 0);
    let class_counts = set.class_counts();
    let balanced = class_counts.windows(2).all(|w| w[0] == w[1]);
    let statistics = set.channel_statistics();
    let mut findings = Vec::new();
    if let Some(published) = n_published.filter(|&n| n != set.len()) {
        findings.push(format!("{} of {published} published images", set.len()));
    }
    if let Some(info) = info {
        if set.n_classes() != info.n_classes {
            findings.push(format!(
                "{} classes, published are {}",
                set.n_classes(),
                info.n_classes
            ));
        }
        if set.shape() != info.shape {
            findings.push(format!(
                "images of {}, published are {}",
                set.shape(),
                info.shape
            ));
        }
        if matches!(info.fingerprint, Fingerprint::Balanced { .. }) && !balanced {
            findings.push("the classes are not balanced".to_string());
        }
        if let Some(Moments { mean, std }) = info.train_moments
            && set.part() == Part::Train
            && (far(&statistics.mean, mean) || far(&statistics.std, std))
        {
            findings.push("channel means or deviations differ from the published ones".to_string());
        }
    }
    let empty = class_counts.iter().filter(|&&c| c == 0).count();
    if empty > 0 {
        findings.push(format!("{empty} classes have no image"));
    }
    Summary {
        name: set.name().to_string(),
        part: set.part(),
        n_images: set.len(),
        n_published,
        class_counts,
        balanced,
        statistics,
        sha256: set.content_hash().to_hex(),
        duplicates: exact_duplicates(&[set])
            .into_iter()
            .map(|group| group.into_iter().map(|place| place.image).collect())
            .collect(),
        findings,
    }
}

/// Whether a value differs from its published four digits by more than their rounding.
fn far(found: &[f64], published: [f64; 3]) -> bool {
    let mut pairs = found.iter().zip(published);
    pairs.any(|(f, p)| (f - p).abs() > 6e-5)
}

/// An image of one set that equals an image of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shared {
    /// "name/part" and index of the first.
    pub first: (String, usize),
    /// "name/part" and index of the second.
    pub second: (String, usize),
}

/// Images that occur in two different sets; shapes must agree for pixels to.
#[must_use]
pub fn shared_images(sets: &[&ImageSet]) -> Vec<Shared> {
    let label = |set: usize| format!("{}/{}", sets[set].name(), sets[set].part().name());
    exact_duplicates(sets)
        .into_iter()
        .flat_map(|group| {
            let first = group[0];
            group
                .into_iter()
                .filter(move |p| p.set != first.set)
                .map(move |p| (first, p))
        })
        .map(|(a, b)| Shared {
            first: (label(a.set), a.image),
            second: (label(b.set), b.image),
        })
        .collect()
}
