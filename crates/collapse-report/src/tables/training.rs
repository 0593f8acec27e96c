//! Tables about training itself: details at the end, loss and accuracy over epochs.

use collapse_results::{Cell, EpochRecord, Loss};

use super::draft::{Draft, SPREAD, count, magnitude, missing, number, spread, switch, text};
use crate::lineup::{Lineup, Member, schedule_label};

pub(super) fn details(lineup: &Lineup<'_>) -> Draft {
    let mut draft = Draft::new(
        lineup,
        "training",
        "Training details (section A.1)",
        &format!(
            "Loss and training accuracy are those of the last epoch, on augmented images. {SPREAD}"
        ),
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
    for member in lineup.all() {
        draft.row(member.group.id.clone(), details_of(member));
    }
    draft
}

fn details_of(member: &Member<'_>) -> Vec<Cell> {
    let group = member.group;
    let last = |pick: fn(&EpochRecord) -> Option<f64>, scale: f64| -> Vec<f64> {
        let runs = member.runs.iter();
        let found = runs.filter_map(|(run, _)| run.history.iter().rev().find_map(pick));
        found.map(|value| scale * value).collect()
    };
    let loss = last(|record| record.train_loss, 1.0);
    vec![
        text(member.label.clone()),
        text(group.id.clone()),
        count(group.width),
        member
            .runs
            .first()
            .map_or_else(|| missing("no run"), |(run, _)| count(run.parameters)),
        count(group.epochs),
        count(member.runs.len()),
        text(match group.loss {
            Loss::CrossEntropy => "cross-entropy",
            Loss::NeuralCollapse => "NC loss (ours)",
        }),
        text(schedule_label(group.schedule)),
        group
            .spectral_norm
            .map_or_else(|| text("off"), |c| number(c, 1)),
        switch(group.modified),
        spread(&loss, magnitude(&loss)),
        spread(&last(|record| record.train_accuracy, 100.0), 2),
        spread(&last(|record| record.validation_accuracy, 100.0), 2),
    ]
}

pub(super) fn history(lineup: &Lineup<'_>) -> Draft {
    let mut draft = Draft::of_sets(
        lineup,
        "history",
        "Loss and accuracy over epochs",
        &format!(
            "Mean over an epoch's augmented images as the weights moved; AUROC by Gaussians on the \
             features, where measured. {SPREAD}"
        ),
    );
    draft.text_column("group", "Group");
    draft.number_column("epoch", "Epoch");
    draft.number_column("rate", "Learning rate");
    draft.number_column("train_loss", "Train loss");
    draft.number_column("train_accuracy", "Train accuracy (%)");
    draft.number_column("validation_accuracy", "Validation accuracy (%)");
    for set in &lineup.sets {
        draft.number_column(&format!("auroc:{set}"), &format!("AUROC {set} (%)"));
    }
    for member in lineup.finished() {
        for epoch in 1..=member.group.epochs {
            let histories = member.runs.iter().map(|(run, _)| &run.history);
            let records: Vec<&EpochRecord> = histories
                .filter_map(|history| history.iter().find(|record| record.epoch == epoch))
                .collect();
            if let Some(cells) = epoch_row(lineup, member, epoch, &records) {
                draft.row(format!("{}@{epoch}", member.key), cells);
            }
        }
    }
    draft
}

/// `None` where no run has the epoch.
fn epoch_row(
    lineup: &Lineup<'_>,
    member: &Member<'_>,
    epoch: usize,
    records: &[&EpochRecord],
) -> Option<Vec<Cell>> {
    let all = |pick: &dyn Fn(&EpochRecord) -> Option<f64>, scale: f64| -> Vec<f64> {
        let found = records.iter().filter_map(|record| pick(record));
        found.map(|value| scale * value).collect()
    };
    let rate = records.first()?.learning_rate;
    let mut cells = vec![
        text(member.label.clone()),
        count(epoch),
        // Tenfold steps leave 0.010000000000000002.
        text(format!("{}", (1e9 * rate).round() / 1e9)),
        spread(&all(&|r| r.train_loss, 1.0), 3),
        spread(&all(&|r| r.train_accuracy, 100.0), 2),
        spread(&all(&|r| r.validation_accuracy, 100.0), 2),
    ];
    cells.extend(lineup.sets.iter().map(|set| {
        let auroc = |record: &EpochRecord| {
            let found = record.auroc.iter().find(|(name, _)| name == set);
            found.map(|(_, value)| *value)
        };
        spread(&all(&auroc, 100.0), 2)
    }));
    Some(cells)
}
