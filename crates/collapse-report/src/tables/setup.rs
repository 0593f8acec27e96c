//! Tables about the runs themselves: training details, ablation, calibration, neighbours.

use collapse_results::{Cell, EpochRecord, Evaluation, Loss, Results, ScheduleLength};

use super::draft::{Draft, count, magnitude, missing, number, spread, text};
use crate::cast::{Cast, MAIN_SCORE, View, casts, group_label, last_views, ood_sets};
use crate::reference::References;

fn switch(on: bool) -> Cell {
    text(if on { "on" } else { "off" })
}

pub(super) fn ablation(results: &Results) -> Draft {
    let mut draft = Draft::new(
        results,
        "ablation",
        "Ablation of the architecture (section A.1)",
        "Spectral normalisation (SN) and LeakyReLU with average-pool shortcuts (mod); Gaussians \
         on the features after the last epoch.",
    );
    draft.text_column("group", "Group");
    draft.number_column("epoch", "Epoch");
    draft.text_column("l2", "L2");
    draft.text_column("sn", "SN");
    draft.text_column("mod", "mod");
    draft.number_column("accuracy", "Accuracy (%)");
    for set in ood_sets(results) {
        draft.number_column(&format!("auroc:{set}"), &format!("AUROC {set} (%)"));
    }
    draft.number_column("nc1", "NC1");
    let views = last_views(results);
    let (variants, whole): (Vec<View<'_>>, Vec<View<'_>>) =
        views.into_iter().partition(|view| view.group.ablation);
    let counterpart = |view: &View<'_>| {
        variants.iter().any(|v| {
            v.group.net == view.group.net
                && v.group.l2 == view.group.l2
                && v.group.schedule == view.group.schedule
                && v.group.loss == view.group.loss
        })
    };
    let whole: Vec<View<'_>> = whole.into_iter().filter(counterpart).collect();
    for view in whole.iter().chain(&variants) {
        let nc1: Vec<f64> = view
            .evaluations()
            .filter_map(|e| Some(e.geometry.value()?.nc1))
            .collect();
        let mut cells = vec![
            text(group_label(view.group)),
            count(view.epoch),
            switch(view.group.l2),
            switch(view.group.spectral_norm.is_some()),
            switch(view.group.modified),
            spread(&view.percent(|e| Some(e.accuracy)), 2),
        ];
        cells.extend(ood_sets(results).iter().map(|set| {
            spread(
                &view.percent(|e| e.detection(&MAIN_SCORE, set).map(|d| d.auroc)),
                2,
            )
        }));
        cells.push(spread(&nc1, magnitude(&nc1)));
        draft.row(view.key(), cells);
    }
    draft
}

pub(super) fn training(results: &Results) -> Draft {
    let mut draft = Draft::new(
        results,
        "training",
        "Training details (section A.1)",
        "Loss and training accuracy are those of the last epoch, on augmented images.",
    );
    draft.text_column("group", "Group");
    draft.text_column("id", "Id");
    for (key, heading) in [
        ("width", "Width"),
        ("parameters", "Parameters"),
        ("epochs", "Epochs"),
        ("seeds", "Seeds"),
    ] {
        draft.number_column(key, heading);
    }
    for (key, heading) in [
        ("loss", "Loss"),
        ("schedule", "Schedule"),
        ("sn", "SN"),
        ("mod", "mod"),
    ] {
        draft.text_column(key, heading);
    }
    draft.number_column("train_loss", "Train loss");
    draft.number_column("train_accuracy", "Train accuracy (%)");
    draft.number_column("validation_accuracy", "Validation accuracy (%)");
    for view in last_views(results) {
        let group = view.group;
        let runs: Vec<_> = view.runs().map(|(run, _)| run).collect();
        let last = |pick: fn(&collapse_results::EpochRecord) -> Option<f64>| -> Vec<f64> {
            runs.iter()
                .filter_map(|run| run.history.iter().rev().find_map(pick))
                .collect()
        };
        let percent = |values: Vec<f64>| -> Vec<f64> { values.iter().map(|v| 100.0 * v).collect() };
        let loss = last(|record| record.train_loss);
        draft.row(
            group.id.clone(),
            vec![
                text(group_label(group)),
                text(group.id.clone()),
                count(group.width),
                runs.first()
                    .map_or_else(|| missing("no run"), |run| count(run.parameters)),
                count(group.epochs),
                count(runs.len()),
                text(match group.loss {
                    Loss::CrossEntropy => "cross-entropy",
                    Loss::NeuralCollapse => "NC loss (ours)",
                }),
                text(match group.schedule {
                    ScheduleLength::Short => "short",
                    ScheduleLength::Long => "long",
                }),
                group
                    .spectral_norm
                    .map_or_else(|| text("off"), |c| number(c, 1)),
                switch(group.modified),
                spread(&loss, magnitude(&loss)),
                spread(&percent(last(|record| record.train_accuracy)), 2),
                spread(&percent(last(|record| record.validation_accuracy)), 2),
            ],
        );
    }
    draft
}

pub(super) fn history(results: &Results) -> Draft {
    let mut draft = Draft::new(
        results,
        "history",
        "Loss and accuracy over epochs",
        "Mean over an epoch's augmented images as the weights moved; AUROC by Gaussians on the \
         features, where measured.",
    );
    draft.text_column("group", "Group");
    draft.number_column("epoch", "Epoch");
    draft.number_column("rate", "Learning rate");
    draft.number_column("train_loss", "Train loss");
    draft.number_column("train_accuracy", "Train accuracy (%)");
    draft.number_column("validation_accuracy", "Validation accuracy (%)");
    let sets = ood_sets(results);
    for set in &sets {
        draft.number_column(&format!("auroc:{set}"), &format!("AUROC {set} (%)"));
    }
    for view in last_views(results)
        .iter()
        .filter(|view| !view.group.ablation)
    {
        for epoch in 1..=view.group.epochs {
            let records: Vec<&EpochRecord> = results
                .runs_of(&view.group.id)
                .flat_map(|run| &run.history)
                .filter(|record| record.epoch == epoch)
                .collect();
            let Some(first) = records.first() else {
                continue;
            };
            let all = |pick: &dyn Fn(&EpochRecord) -> Option<f64>, scale: f64| -> Vec<f64> {
                let found = records.iter().filter_map(|record| pick(record));
                found.map(|value| scale * value).collect()
            };
            let mut cells = vec![
                text(group_label(view.group)),
                count(epoch),
                // Tenfold steps leave 0.010000000000000002.
                text(format!("{}", (1e9 * first.learning_rate).round() / 1e9)),
                spread(&all(&|r| r.train_loss, 1.0), 3),
                spread(&all(&|r| r.train_accuracy, 100.0), 2),
                spread(&all(&|r| r.validation_accuracy, 100.0), 2),
            ];
            cells.extend(sets.iter().map(|set| {
                let auroc = |r: &EpochRecord| {
                    let found = r.auroc.iter().find(|(name, _)| name == set);
                    found.map(|(_, value)| *value)
                };
                spread(&all(&auroc, 100.0), 2)
            }));
            draft.row(format!("{}@{epoch}", view.group.id), cells);
        }
    }
    draft
}

type Figure = (
    &'static str,
    &'static str,
    fn(&Evaluation) -> Option<f64>,
    usize,
);

const CALIBRATION: [Figure; 4] = [
    ("ece", "ECE (%)", |e| Some(100.0 * e.ece), 2),
    (
        "ece_scaled",
        "ECE, temperature-scaled (%)",
        |e| Some(100.0 * e.scaling.value()?.ece),
        2,
    ),
    (
        "temperature",
        "Temperature",
        |e| Some(e.scaling.value()?.temperature),
        2,
    ),
    ("nll", "NLL (nats)", |e| Some(e.nll), 3),
];

pub(super) fn calibration(results: &Results) -> Draft {
    let mut draft = Draft::new(
        results,
        "calibration",
        "Calibration and the jitter of the Gaussians",
        "Expected calibration error with 15 bins; the temperature is chosen on the validation split.",
    );
    draft.text_column("group", "Group");
    draft.number_column("epoch", "Epoch");
    for (key, heading, _, _) in CALIBRATION {
        draft.number_column(key, heading);
    }
    draft.number_column("jitter_features", "Jitter, features");
    draft.number_column("jitter_logits", "Jitter, logits");
    for view in casts(results).iter().flat_map(Cast::all_rows) {
        let mut cells = vec![text(view.label()), count(view.epoch)];
        cells.extend(CALIBRATION.iter().map(|(_, _, pick, decimals)| {
            let values: Vec<f64> = view.evaluations().filter_map(pick).collect();
            spread(&values, *decimals)
        }));
        cells.push(jitters(view.evaluations().map(|e| e.jitter_features)));
        cells.push(jitters(view.evaluations().map(|e| e.jitter_logits)));
        draft.row(view.key(), cells);
    }
    draft
}

/// The jitters chosen, smallest to largest; they span hundreds of decades, so no mean.
fn jitters(found: impl Iterator<Item = Option<f64>>) -> Cell {
    let values: Vec<f64> = found.flatten().collect();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if values.is_empty() {
        missing("the Gaussians could not be fitted")
    } else if low == high {
        text(format!("{low:e}"))
    } else {
        text(format!("{low:e} to {high:e}"))
    }
}

pub(super) fn neighbours(references: &References) -> Draft {
    let mut draft = Draft::new(&Results::new(""), "neighbours", "Published neighbours", "");
    draft.caption(
        "Numbers of other publications, read from reference/*.toml; settings differ \
                   from ours, so they are landmarks and no comparison.",
    );
    for (key, heading) in [
        ("source", "Source"),
        ("setting", "Setting"),
        ("method", "Method"),
        ("quantity", "Quantity"),
        ("set", "Set"),
    ] {
        draft.text_column(key, heading);
    }
    draft.number_column("mean", "Value (%)");
    draft.number_column("std", "±");
    for (index, value) in references.neighbours.iter().enumerate() {
        draft.row(
            format!("{index}"),
            vec![
                text(value.source.clone()),
                text(value.setting.clone()),
                text(value.method.clone()),
                text(value.quantity.clone()),
                text(value.set.clone()),
                number(value.mean, 2),
                value
                    .std
                    .map_or_else(|| missing("not published"), |std| number(std, 2)),
            ],
        );
    }
    draft
}
