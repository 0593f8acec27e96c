//! Curves behind the figures of one number, thinned to what a picture can show.

use super::ranking::{Positive, Ranking};

/// Points (x, y), from left to right or in the order of the thresholds.
pub type Points = Vec<(f64, f64)>;

impl Ranking {
    /// The ROC curve: (share of OoD accepted, share of ID accepted) from (0, 0) to (1, 1) as the threshold falls; at most
    /// about 2 · `resolution` points, none nearer than 1 / `resolution` to the one before but the ends.
    #[must_use]
    pub fn roc_curve(&self, resolution: usize) -> Points {
        let (n_id, n_ood) = self.counts();
        let (mut id, mut ood) = (0, 0);
        let points = self.descending().map(|ties| {
            id += ties.id;
            ood += ties.ood;
            (ood as f64 / n_ood as f64, id as f64 / n_id as f64)
        });
        thinned(std::iter::once((0.0, 0.0)).chain(points), resolution)
    }

    /// The precision–recall curve: (recall, precision) with `positive`, from the strictest threshold on; thinned as
    /// [`roc_curve`](Self::roc_curve).
    #[must_use]
    pub fn precision_recall_curve(&self, positive: Positive, resolution: usize) -> Points {
        let (n_id, n_ood) = self.counts();
        let n_positive = match positive {
            Positive::Id => n_id,
            Positive::Ood => n_ood,
        };
        let (mut hits, mut all) = (0, 0);
        let points = self.towards(positive).map(|ties| {
            hits += match positive {
                Positive::Id => ties.id,
                Positive::Ood => ties.ood,
            };
            all += ties.id + ties.ood;
            (hits as f64 / n_positive as f64, hits as f64 / all as f64)
        });
        thinned(points, resolution)
    }
}

/// The first and the last point, and those between that lie apart.
pub(super) fn thinned(points: impl Iterator<Item = (f64, f64)>, resolution: usize) -> Points {
    let least = 1.0 / resolution.max(1) as f64;
    let mut kept: Points = Vec::new();
    let mut skipped = None;
    for (x, y) in points {
        match kept.last() {
            Some(&(a, b)) if (x - a).abs() < least && (y - b).abs() < least => {
                skipped = Some((x, y))
            }
            _ => {
                kept.push((x, y));
                skipped = None;
            }
        }
    }
    kept.extend(skipped);
    kept
}
