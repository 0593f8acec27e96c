//! The experiment at full width, run by run, finished or not: what was measured on the way and at the end.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use collapse_evaluate::Measurement;
use collapse_experiment::{GroupSpec, Manifest, RunStore, gather_store, spans_in};
use collapse_results::{Maker, Run, ScoreId, SetId, Span};
use collapse_train::{Event, read_events};
use serde::{Deserialize, Serialize};

use super::page::read;

/// The numbers, as committed.
const KEPT: &str = "docs/results/full.json";
/// The scale, by name.
const SCALE: &str = "full";

/// The scores of a finished network that its table shows.
const SCORES: [(&str, &str); 6] = [
    ("gmm_features", "Gaussians, features as the head sees them"),
    ("gmm_raw", "Gaussians, raw features"),
    ("gmm_unit", "Gaussians, normalised features"),
    ("knn", "50th neighbour"),
    ("max_softmax", "maximum softmax"),
    ("energy", "energy"),
];

/// One run as far as it got.
#[derive(Serialize, Deserialize)]
struct Begun {
    group: String,
    seed: u64,
    /// Epochs of its schedule.
    epochs: usize,
    /// Epochs trained.
    trained: usize,
    made_by: Vec<Span>,
    measured: Vec<Point>,
    end: Option<End>,
}

/// The network after an epoch.
#[derive(Serialize, Deserialize)]
struct Point {
    epoch: usize,
    validation_accuracy: Option<f64>,
    nc1: Option<f64>,
    auroc: Vec<(SetId, f64)>,
}

/// The network at its end.
#[derive(Serialize, Deserialize)]
struct End {
    accuracy: f64,
    auroc: Vec<(ScoreId, SetId, f64)>,
}

/// The tables, by name of their part, and the file that they are made of.
pub(super) struct Full {
    pub(super) tables: [(&'static str, String); 2],
    pub(super) kept: (PathBuf, String),
}

impl Full {
    /// Of the folder that `reproduce --out` was given, or of the committed numbers.
    pub(super) fn read(root: &Path, out: Option<&PathBuf>) -> Result<Self> {
        let kept = root.join(KEPT);
        let runs: Vec<Begun> = match out {
            Some(out) => begun(&out.join("runs").join(SCALE))?,
            None => serde_json::from_str(&read(&kept)?)
                .with_context(|| format!("reading {}", kept.display()))?,
        };
        let mut text = serde_json::to_string_pretty(&runs)?;
        text.push('\n');
        Ok(Self {
            tables: [
                ("full", on_the_way(&runs)),
                ("full scores", at_the_end(&runs)),
            ],
            kept: (kept, text),
        })
    }
}

/// All runs of a store that have measured something.
fn begun(store: &Path) -> Result<Vec<Begun>> {
    let manifest = Manifest::scale_named(SCALE)?;
    let store = RunStore::at(store);
    let finished = gather_store(&manifest, &store)?.results;
    let mut runs = Vec::new();
    for group in manifest.groups() {
        for &seed in manifest.seeds() {
            let folder = store.folder(&group.id, seed);
            let run = finished.runs_of(&group.id).find(|run| run.seed == seed);
            let events = read_events(&folder.join("events.jsonl"))?;
            if events.is_empty() {
                continue;
            }
            runs.push(progress(group, seed, &folder, &events, run)?);
        }
    }
    Ok(runs)
}

fn progress(
    group: &GroupSpec,
    seed: u64,
    folder: &Path,
    events: &[Event],
    run: Option<&Run>,
) -> Result<Begun> {
    let mut measured = Vec::new();
    let mut trained = 0;
    for event in events {
        match event {
            Event::Epoch(record) => trained = record.epoch,
            Event::Evaluation { epoch, values, .. } => {
                if let Some(found) = values.get("measurement") {
                    let found: Measurement = serde_json::from_value(found.clone())?;
                    measured.push(Point {
                        epoch: *epoch,
                        validation_accuracy: found.validation_accuracy,
                        nc1: found.geometry.map(|geometry| geometry.nc1),
                        auroc: found.auroc,
                    });
                }
            }
        }
    }
    let end = run.and_then(Run::last_evaluation).map(|end| End {
        accuracy: end.accuracy,
        auroc: end
            .ood
            .iter()
            .map(|found| {
                (
                    found.score.clone(),
                    found.set.clone(),
                    found.detection.auroc,
                )
            })
            .collect(),
    });
    Ok(Begun {
        group: group.id.clone(),
        seed,
        epochs: group.epochs,
        trained,
        made_by: spans_in(folder, trained)?,
        measured,
        end,
    })
}

fn percent(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |value| format!("{:.2}", 100.0 * value))
}

fn on_the_way(runs: &[Begun]) -> String {
    let Some(first) = runs.iter().find_map(|run| run.measured.first()) else {
        return String::new();
    };
    let sets: Vec<&SetId> = first.auroc.iter().map(|(set, _)| set).collect();
    let mut table = String::from("| Run | Epoch | Validation accuracy (%) |");
    for set in &sets {
        table.push_str(&format!(" AUROC {set} (%) |"));
    }
    table.push_str(" NC1 |\n| :--- | ---: | ---: |");
    table.push_str(&" ---: |".repeat(sets.len() + 1));
    table.push('\n');
    for run in runs {
        for point in &run.measured {
            let auroc = |set: &SetId| {
                let found = point.auroc.iter().find(|(name, _)| name == set);
                percent(found.map(|(_, auroc)| *auroc))
            };
            let cells: Vec<String> = sets.iter().map(|set| auroc(set)).collect();
            let nc1 = point.nc1.map_or("–".to_owned(), |nc1| format!("{nc1:.3}"));
            table.push_str(&format!(
                "| `{}`, seed {} | {} | {} | {} | {nc1} |\n",
                run.group,
                run.seed,
                point.epoch,
                percent(point.validation_accuracy),
                cells.join(" | "),
            ));
        }
    }
    table.push('\n');
    for run in runs {
        let parts = run.made_by.iter().map(|span| {
            let Maker {
                kernel_path,
                processor,
                ..
            } = &span.maker;
            format!(
                "{} to {} on {processor} ({kernel_path})",
                span.first_epoch, span.last_epoch
            )
        });
        table.push_str(&format!(
            "`{}`, seed {}: {} of {} epochs; {}. ",
            run.group,
            run.seed,
            run.trained,
            run.epochs,
            parts.collect::<Vec<_>>().join(", "),
        ));
    }
    table.push_str("An epoch begun on one machine and finished on another counts for the first. AUROC by Gaussians on the features, NC1 on the training split, both as the head sees the features.\n");
    table
}

fn at_the_end(runs: &[Begun]) -> String {
    let ended: Vec<(&Begun, &End)> = runs
        .iter()
        .filter_map(|run| Some((run, run.end.as_ref()?)))
        .collect();
    let Some((_, first)) = ended.first() else {
        return "*No finished run has it yet.*\n".to_owned();
    };
    let mut sets: Vec<&SetId> = Vec::new();
    for (_, set, _) in &first.auroc {
        if !sets.contains(&set) {
            sets.push(set);
        }
    }
    let mut table = String::from("| Run | Test accuracy (%) | Score |");
    for set in &sets {
        table.push_str(&format!(" AUROC {set} (%) |"));
    }
    table.push_str("\n| :--- | ---: | :--- |");
    table.push_str(&" ---: |".repeat(sets.len()));
    table.push('\n');
    for (run, end) in ended {
        for (score, name) in SCORES {
            let found = end
                .auroc
                .iter()
                .filter(|(found, ..)| found.as_str() == score);
            let found: Vec<_> = found.collect();
            // Of raw and normalised features a network has the one that its head does not see.
            if found.is_empty() {
                continue;
            }
            let auroc = |set: &SetId| {
                let of_set = found.iter().find(|(_, of, _)| of == set);
                percent(of_set.map(|(.., auroc)| *auroc))
            };
            let cells: Vec<String> = sets.iter().map(|set| auroc(set)).collect();
            table.push_str(&format!(
                "| `{}`, seed {} | {:.2} | {name} | {} |\n",
                run.group,
                run.seed,
                100.0 * end.accuracy,
                cells.join(" | ")
            ));
        }
    }
    table
}
