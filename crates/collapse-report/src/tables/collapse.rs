//! Tables of neural collapse: at the end of training and over epochs.

use std::collections::BTreeMap;

use collapse_results::{Cell, Geometry};

use super::draft::{Draft, SPREAD, count, magnitude, spread, text};
use crate::lineup::{Lineup, Member, OF_THE_HEAD};

type Measure = (&'static str, &'static str, fn(&Geometry) -> f64);

/// All measures, with key and heading; each tends to 0 under collapse.
pub(crate) const MEASURES: [Measure; 8] = [
    ("nc1", "NC1", |g| g.nc1),
    ("nc1_over_classes", "NC1 / C", |g| g.nc1_over_classes),
    ("nc2_equinorm_means", "NC2 norms, means", |g| {
        g.nc2_equinorm_means
    }),
    ("nc2_equinorm_classifier", "NC2 norms, classifier", |g| {
        g.nc2_equinorm_classifier
    }),
    ("nc2_equiangular_means", "NC2 angles, means", |g| {
        g.nc2_equiangular_means
    }),
    (
        "nc2_equiangular_classifier",
        "NC2 angles, classifier",
        |g| g.nc2_equiangular_classifier,
    ),
    ("nc3", "NC3", |g| g.nc3),
    ("nc4", "NC4", |g| g.nc4),
];

pub(super) fn at_the_end(lineup: &Lineup<'_>) -> Draft {
    let mut draft = Draft::new(
        lineup,
        "nc-end",
        "Neural collapse of the trained networks (sections 4.2 and A.5)",
        &format!(
            "Training split, evaluation mode, on normalised features ẑ and on raw ones z of every \
             network; of the two its head sees ẑ with L2 and z without. Like is to be held against \
             like. Every measure tends to 0 under collapse. {SPREAD}"
        ),
    );
    draft.text_column("group", "Group");
    draft.number_column("epoch", "Epoch");
    draft.text_column("features", "Features");
    for (key, heading, _) in MEASURES {
        draft.number_column(key, heading);
    }
    for member in lineup.main_and_nc() {
        let seen: Vec<&Geometry> = member
            .evaluations()
            .filter_map(|e| e.geometry.value())
            .collect();
        let counterpart: Vec<&Geometry> = member
            .evaluations()
            .filter_map(|e| e.geometry_counterpart.as_ref())
            .collect();
        let key = &member.key;
        for (key, found, normalised) in [
            (key.clone(), seen, member.group.l2),
            (format!("{key}:counterpart"), counterpart, !member.group.l2),
        ] {
            if found.is_empty() {
                continue;
            }
            let features = if normalised { "ẑ" } else { "z" };
            let mut cells = vec![
                text(member.label.clone()),
                count(member.epoch),
                text(features),
            ];
            cells.extend(measured(&found));
            draft.row(key, cells);
        }
    }
    draft
}

pub(super) fn over_epochs(lineup: &Lineup<'_>) -> Draft {
    let mut draft = Draft::new(
        lineup,
        "nc-epochs",
        "Neural collapse over epochs (section A.6)",
        &format!(
            "Training split, evaluation mode, {OF_THE_HEAD}; epoch 0 is the untrained network. \
             {SPREAD}"
        ),
    );
    draft.text_column("group", "Group");
    draft.number_column("epoch", "Epoch");
    for (key, heading, _) in MEASURES {
        draft.number_column(key, heading);
    }
    for member in lineup.finished() {
        for (epoch, found) in by_epoch(member) {
            let mut cells = vec![text(member.label.clone()), count(epoch)];
            cells.extend(measured(&found));
            draft.row(format!("{}@{epoch}", member.key), cells);
        }
    }
    draft
}

/// Every measure over seeds.
fn measured(found: &[&Geometry]) -> impl Iterator<Item = Cell> {
    MEASURES.iter().map(|(_, _, pick)| {
        let values: Vec<f64> = found.iter().map(|geometry| pick(geometry)).collect();
        spread(&values, magnitude(&values))
    })
}

/// The measures of every seed at each epoch that has any, in order.
fn by_epoch<'a>(member: &Member<'a>) -> BTreeMap<usize, Vec<&'a Geometry>> {
    let mut found: BTreeMap<usize, Vec<&Geometry>> = BTreeMap::new();
    for record in member.runs.iter().flat_map(|(run, _)| &run.history) {
        if let Some(geometry) = &record.geometry {
            found.entry(record.epoch).or_default().push(geometry);
        }
    }
    found
}
