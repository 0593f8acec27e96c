//! The experiment at full width, run by run, finished or not: what was measured on the way and at the end.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use collapse_evaluate::Measurement;
use collapse_experiment::{GroupSpec, Manifest, RunStore, gather_store, spans_in};
use collapse_report::statistics::t_interval;
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

/// What must stand under each table.
fn made_from(runs: &[Begun]) -> String {
    let spans = runs.iter().flat_map(|run| &run.made_by);
    let kernels: BTreeSet<&str> = spans.map(|span| span.maker.kernel_path.as_str()).collect();
    let kernels: Vec<&str> = kernels.into_iter().collect();
    let epochs: BTreeSet<String> = runs.iter().map(|run| run.epochs.to_string()).collect();
    let epochs: Vec<String> = epochs.into_iter().collect();
    format!(
        "Of svhn the first 10000 test images. Scale {SCALE}, {} epochs, kernels {}.",
        epochs.join(" and "),
        kernels.join(" and "),
    )
}

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
    /// Seconds of training and of measuring, by the clock; runs kept before they were noted have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seconds: Option<[f64; 2]>,
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

impl End {
    fn auroc_by(&self, score: &str, set: &SetId) -> Option<f64> {
        let mut all = self.auroc.iter();
        let (.., auroc) = all.find(|(found, of, _)| found.as_str() == score && of == set)?;
        Some(*auroc)
    }

    /// The OoD sets, in order.
    fn sets(&self) -> Vec<&SetId> {
        let mut sets = Vec::new();
        for (_, set, _) in &self.auroc {
            if !sets.contains(&set) {
                sets.push(set);
            }
        }
        sets
    }
}

/// The tables, by name of their part, and the file that they are made of.
pub(super) struct Full {
    pub(super) tables: [(&'static str, String); 3],
    pub(super) kept: (PathBuf, String),
}

impl Full {
    /// Of the committed numbers, and of the folder that `reproduce --out` was given: its runs join the committed ones, and
    /// take the place of those of the same group and seed that got no further.
    pub(super) fn read(root: &Path, out: Option<&PathBuf>) -> Result<Self> {
        let kept = root.join(KEPT);
        let mut runs: Vec<Begun> = serde_json::from_str(&read(&kept)?)
            .with_context(|| format!("reading {}", kept.display()))?;
        if let Some(out) = out {
            let manifest = Manifest::scale_named(SCALE)?;
            let found = begun(&manifest, &out.join("runs").join(SCALE))?;
            runs = joined(&manifest, runs, found);
        }
        let mut text = serde_json::to_string_pretty(&runs)?;
        text.push('\n');
        Ok(Self {
            tables: [
                ("full", on_the_way(&runs)),
                ("full scores", at_the_end(&runs)),
                ("full gain", gain(&runs)),
            ],
            kept: (kept, text),
        })
    }
}

/// All runs of a store that have measured something.
fn begun(manifest: &Manifest, store: &Path) -> Result<Vec<Begun>> {
    let store = RunStore::at(store);
    let finished = gather_store(manifest, &store)?.results;
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

/// Both, each run once and as far as either has it, in the order of the manifest's groups and then of seeds.
fn joined(manifest: &Manifest, committed: Vec<Begun>, found: Vec<Begun>) -> Vec<Begun> {
    let mut runs = committed;
    for run in found {
        let same = |kept: &Begun| (&kept.group, kept.seed) == (&run.group, run.seed);
        match runs.iter_mut().find(|kept| same(kept)) {
            Some(kept) if kept.trained <= run.trained => *kept = run,
            Some(_) => {}
            None => runs.push(run),
        }
    }
    let place = |run: &Begun| {
        manifest
            .groups()
            .iter()
            .position(|group| group.id == run.group)
    };
    runs.sort_by_key(|run| (place(run), run.seed));
    runs
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
    let mut seconds = [0.0; 2];
    for event in events {
        match event {
            Event::Epoch(record) => {
                trained = record.epoch;
                seconds[0] += record.time;
            }
            Event::Evaluation {
                epoch,
                values,
                time,
                ..
            } => {
                seconds[1] += time;
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
        seconds: Some(match run {
            Some(run) => [run.times.train_seconds, run.times.evaluate_seconds],
            None => seconds,
        }),
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
        let took = run.seconds.map_or(String::new(), |[training, measuring]| {
            format!(" in {training:.0} s and {measuring:.0} s of measuring")
        });
        table.push_str(&format!(
            "`{}`, seed {}: {} of {} epochs{took}; {}. ",
            run.group,
            run.seed,
            run.trained,
            run.epochs,
            parts.collect::<Vec<_>>().join(", "),
        ));
    }
    table.push_str("An epoch begun on one machine and finished on another counts for the first. AUROC by Gaussians on the features, NC1 on the training split, both as the head sees the features. ");
    table.push_str(&made_from(runs));
    table.push('\n');
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
    let sets = first.sets();
    let mut table = String::from("| Run | Test accuracy (%) | Score |");
    for set in &sets {
        table.push_str(&format!(" AUROC {set} (%) |"));
    }
    table.push_str("\n| :--- | ---: | :--- |");
    table.push_str(&" ---: |".repeat(sets.len()));
    table.push('\n');
    for (run, end) in ended {
        for (score, name) in SCORES {
            let found: Vec<Option<f64>> = sets.iter().map(|set| end.auroc_by(score, set)).collect();
            // Of raw and normalised features a network has the one that its head does not see.
            if found.iter().all(Option::is_none) {
                continue;
            }
            let cells: Vec<String> = found.into_iter().map(percent).collect();
            table.push_str(&format!(
                "| `{}`, seed {} | {:.2} | {name} | {} |\n",
                run.group,
                run.seed,
                100.0 * end.accuracy,
                cells.join(" | ")
            ));
        }
    }
    table.push_str(&format!("\n{}\n", made_from(runs)));
    table
}

/// Differences of a network with L2 and one without: the score of either, by id, and what they are called together.
const PAIRS: [(&str, &str, &str); 5] = [
    (
        "gmm_features",
        "gmm_features",
        "Gaussians, features as the head sees them",
    ),
    (
        "gmm_features",
        "gmm_unit",
        "Gaussians, both on normalised features",
    ),
    ("knn", "knn", "50th neighbour"),
    ("max_softmax", "max_softmax", "maximum softmax"),
    ("energy", "energy", "energy"),
];
/// Groups of the same schedule with L2 and without it.
const WITH_L2: &str = "r18-l2";
const WITHOUT: &str = "r18-base-short";

fn gain(runs: &[Begun]) -> String {
    let end_of = |group: &str, seed: u64| {
        let found = runs
            .iter()
            .find(|run| run.group == group && run.seed == seed);
        found.and_then(|run| run.end.as_ref())
    };
    let with_l2 = runs.iter().filter(|run| run.group == WITH_L2);
    let pairs: Vec<(u64, &End, &End)> = with_l2
        .filter_map(|run| Some((run.seed, run.end.as_ref()?, end_of(WITHOUT, run.seed)?)))
        .collect();
    let Some((_, first, _)) = pairs.first() else {
        return "*No finished pair of runs has it yet.*\n".to_owned();
    };
    let sets = first.sets();
    let cell = |values: &[f64]| -> String {
        let points = |value: f64| format!("{:+.2}", 100.0 * value);
        let by_seed: Vec<String> = values.iter().copied().map(points).collect();
        let interval = t_interval(values, 0.95).map_or(String::new(), |(low, high)| {
            format!("<br><sub>{} to {}</sub>", points(low), points(high))
        });
        format!("{}{interval}", by_seed.join(", ")).replace('-', "−")
    };
    let accuracy: Vec<f64> = pairs
        .iter()
        .map(|(_, a, b)| a.accuracy - b.accuracy)
        .collect();
    let mut table = String::from("| With L2 minus without | Accuracy |");
    for set in &sets {
        table.push_str(&format!(" AUROC {set} |"));
    }
    table.push_str("\n| :--- | :--- |");
    table.push_str(&" :--- |".repeat(sets.len()));
    table.push('\n');
    for (row, (with, without, name)) in PAIRS.into_iter().enumerate() {
        let of_set = |set: &SetId| {
            let differences = pairs
                .iter()
                .filter_map(|(_, a, b)| Some(a.auroc_by(with, set)? - b.auroc_by(without, set)?));
            cell(&differences.collect::<Vec<_>>())
        };
        let cells: Vec<String> = sets.iter().map(|set| of_set(set)).collect();
        let accuracy = if row == 0 {
            cell(&accuracy)
        } else {
            String::new()
        };
        table.push_str(&format!(
            "| {name} | {accuracy} | {} |\n",
            cells.join(" | ")
        ));
    }
    let seeds: Vec<String> = pairs.iter().map(|(seed, ..)| seed.to_string()).collect();
    table.push_str(&format!(
        "\nPercentage points at the end of equal training, one difference a seed, seeds {}; below Student's 95 % interval of their mean. {}\n",
        seeds.join(", "),
        made_from(runs),
    ));
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(group: &str, seed: u64, trained: usize) -> Begun {
        Begun {
            group: group.to_owned(),
            seed,
            epochs: 60,
            trained,
            made_by: Vec::new(),
            seconds: None,
            measured: Vec::new(),
            end: None,
        }
    }

    #[test]
    fn runs_join_the_committed_ones_in_order_and_the_furthest_of_each_stays() {
        let manifest = Manifest::scale_named(SCALE).unwrap();
        let committed = vec![run(WITH_L2, 1, 60), run(WITHOUT, 1, 20)];
        let found = vec![run(WITHOUT, 1, 60), run(WITH_L2, 2, 60), run(WITH_L2, 1, 5)];
        let runs = joined(&manifest, committed, found);
        let found: Vec<_> = runs
            .iter()
            .map(|run| (run.group.as_str(), run.seed, run.trained))
            .collect();
        assert_eq!(
            found,
            [(WITH_L2, 1, 60), (WITH_L2, 2, 60), (WITHOUT, 1, 60)]
        );
    }
}
