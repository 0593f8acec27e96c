//! Tables of neural collapse: at the end of training and over epochs.

use collapse_results::{Geometry, Results};

use super::draft::{Draft, count, magnitude, spread, text};
use crate::cast::{Cast, casts, group_label, last_views};

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

pub(super) fn at_the_end(results: &Results) -> Draft {
    let mut draft = Draft::new(
        results,
        "nc-end",
        "Neural collapse of the trained networks (sections 4.2 and A.5)",
        "Training split, evaluation mode; every measure tends to 0 under collapse.",
    );
    draft.text_column("group", "Group");
    draft.number_column("epoch", "Epoch");
    for (key, heading, _) in MEASURES {
        draft.number_column(key, heading);
    }
    for view in casts(results).iter().flat_map(Cast::all_rows) {
        let mut cells = vec![text(view.label()), count(view.epoch)];
        cells.extend(MEASURES.iter().map(|(_, _, pick)| {
            let values: Vec<f64> = view
                .evaluations()
                .filter_map(|e| Some(pick(e.geometry.value()?)))
                .collect();
            spread(&values, magnitude(&values))
        }));
        draft.row(view.key(), cells);
    }
    draft
}

pub(super) fn over_epochs(results: &Results) -> Draft {
    let mut draft = Draft::new(
        results,
        "nc-epochs",
        "Neural collapse over epochs (section A.6)",
        "Training split, evaluation mode; epoch 0 is the untrained network.",
    );
    draft.text_column("group", "Group");
    draft.number_column("epoch", "Epoch");
    for (key, heading, _) in MEASURES {
        draft.number_column(key, heading);
    }
    for view in last_views(results)
        .iter()
        .filter(|view| !view.group.ablation)
    {
        let mut epochs: Vec<usize> = results
            .runs_of(&view.group.id)
            .flat_map(|run| &run.history)
            .filter(|record| record.geometry.is_some())
            .map(|record| record.epoch)
            .collect();
        epochs.sort_unstable();
        epochs.dedup();
        for epoch in epochs {
            let found: Vec<Geometry> = results
                .runs_of(&view.group.id)
                .flat_map(|run| &run.history)
                .filter(|record| record.epoch == epoch)
                .filter_map(|record| record.geometry)
                .collect();
            let mut cells = vec![text(group_label(view.group)), count(epoch)];
            cells.extend(MEASURES.iter().map(|(_, _, pick)| {
                let values: Vec<f64> = found.iter().map(pick).collect();
                spread(&values, magnitude(&values))
            }));
            draft.row(format!("{}@{epoch}", view.group.id), cells);
        }
    }
    draft
}
