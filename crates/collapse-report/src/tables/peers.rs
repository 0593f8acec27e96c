//! The same experiment in another implementation, with random streams of its own: two samples of one distribution?

use std::collections::BTreeMap;

use collapse_results::{Cell, Group, Results, ScheduleLength, Table};
use serde::{Deserialize, Serialize};

use super::draft::{Draft, SPREAD, missing, number, spread, text};
use super::precision::{ACCURACY_MARGIN, AUROC_MARGIN, precision};
use crate::lineup::{Lineup, MAIN_SCORE, Member};
use crate::reference::References;
use crate::statistics::{holm, kolmogorov_smirnov, unpaired_difference};

/// One run of a peer, a line of `benches/peers/train_embedded.py`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerRun {
    /// Arithmetic of training, `f32` or `bf16`.
    pub precision: String,
    /// Whether the head sees normalised features.
    pub l2: bool,
    /// Seed of the peer's own streams.
    pub seed: u64,
    /// Mean training loss of every epoch.
    pub loss: Vec<f64>,
    /// Training accuracy of every epoch, 0..=1.
    pub train_accuracy: Vec<f64>,
    /// Test accuracy after the last epoch, 0..=1.
    pub test_accuracy: f64,
    /// AUROC of class-wise Gaussians by out-of-distribution set, 0..=1.
    pub auroc: BTreeMap<String, f64>,
}

/// One figure of every run by seed, and how it is shown.
#[derive(Clone)]
struct Figure {
    name: String,
    decimals: usize,
    margin: Option<f64>,
    peers: BTreeMap<u64, f64>,
    ours: BTreeMap<u64, f64>,
}

/// Ours against a peer's runs, group by group and over the groups of one precision; `None` where no group is in both.
#[must_use]
pub fn peer_table(results: &Results, peer: &str, runs: &[PeerRun]) -> Option<Table> {
    let lineup = Lineup::of(results);
    let note = format!(
        "The same experiment by this project and by {peer}, each with random streams of its own, so two \
         independent samples. {SPREAD} Difference: {peer} \
         minus ours with its 95 % interval and p by Welch's t test; Holm: that p corrected over all rows of its \
         precision; KS: p of the Kolmogorov–Smirnov distance by permuted labels. Equivalence: the larger p of two \
         one-sided t tests of a difference within ±{ACCURACY_MARGIN} points of accuracy or ±{AUROC_MARGIN} point of \
         AUROC; equivalent where it is at most 0.05. Both groups: each seed's values averaged over the groups first."
    );
    let title = format!("Training against {peer}");
    let mut draft = Draft::of_sets(&lineup, "peers", &title, &note);
    for (key, heading) in [("group", "Group"), ("figure", "Figure")] {
        draft.text_column(key, heading);
    }
    for (key, heading) in [
        ("peer", peer),
        ("ours", "Ours"),
        ("difference", "Difference"),
        ("low", "95 % from"),
        ("high", "to"),
        ("p", "p"),
        ("holm", "Holm"),
        ("ks", "KS"),
        ("equivalence", "Equivalence"),
    ] {
        draft.number_column(key, heading);
    }
    for arithmetic in ["f32", "bf16"] {
        let mut rows: Vec<(String, Figure)> = Vec::new();
        let groups: Vec<Vec<Figure>> = [true, false]
            .into_iter()
            .filter_map(|l2| {
                let ours = lineup
                    .all()
                    .find(|m| is_twin(&lineup, m.group, l2, arithmetic))?;
                let theirs = runs
                    .iter()
                    .filter(|r| r.l2 == l2 && r.precision == arithmetic);
                figures(&lineup, ours, &theirs.collect::<Vec<_>>())
            })
            .collect();
        for (figures, name) in groups.iter().zip(["L2", "no L2"]) {
            let label = |figure: &Figure| (format!("{arithmetic} · {name}"), figure.clone());
            rows.extend(figures.iter().map(label));
        }
        if let [first, second] = groups.as_slice() {
            let both = first.iter().zip(second).map(|(a, b)| a.averaged(b));
            rows.extend(both.map(|figure| (format!("{arithmetic} · both groups"), figure)));
        }
        push_rows(&mut draft, rows);
    }
    draft.finish(&References::default())
}

/// Whether a group is the peer's: the reference network on the short schedule.
fn is_twin(lineup: &Lineup<'_>, group: &Group, l2: bool, arithmetic: &str) -> bool {
    group.l2 == l2
        && group.schedule == ScheduleLength::Short
        && group.loss == collapse_results::Loss::CrossEntropy
        && group.modified
        && group.spectral_norm.is_some()
        && precision(lineup, group) == arithmetic
}

/// Every figure of a group; `None` where either side has no run.
fn figures(lineup: &Lineup<'_>, ours: &Member<'_>, peers: &[&PeerRun]) -> Option<Vec<Figure>> {
    if peers.is_empty() {
        return None;
    }
    let epochs = ours.group.epochs;
    let of_ours =
        |pick: &dyn Fn(&collapse_results::Run, &collapse_results::Evaluation) -> Option<f64>| {
            let runs = ours.runs.iter();
            runs.filter_map(|(run, e)| Some((run.seed, pick(run, e)?)))
                .collect()
        };
    let of_peers = |pick: &dyn Fn(&PeerRun) -> Option<f64>| {
        let runs = peers.iter();
        runs.filter_map(|run| Some((run.seed, pick(run)?)))
            .collect()
    };
    let record = |run: &collapse_results::Run, epoch: usize| {
        run.history
            .iter()
            .find(|record| record.epoch == epoch)
            .cloned()
    };
    let mean = |values: Vec<Option<f64>>| -> Option<f64> {
        let values: Option<Vec<f64>> = values.into_iter().collect();
        let values = values.filter(|values| !values.is_empty())?;
        Some(values.iter().sum::<f64>() / values.len() as f64)
    };
    let mut found = Vec::new();
    let spans = (1..=epochs).map(|epoch| (epoch..=epoch, format!("epoch {epoch}")));
    for (span, words) in spans.chain([(1..=epochs, "mean of epochs".to_owned())]) {
        found.push(Figure {
            name: format!("training loss, {words}"),
            decimals: 3,
            margin: None,
            ours: of_ours(&|run, _| {
                mean(span.clone().map(|e| record(run, e)?.train_loss).collect())
            }),
            peers: of_peers(&|run| {
                mean(span.clone().map(|e| run.loss.get(e - 1).copied()).collect())
            }),
        });
        found.push(Figure {
            name: format!("training accuracy (%), {words}"),
            decimals: 2,
            margin: Some(ACCURACY_MARGIN),
            ours: of_ours(&|run, _| {
                let each = span
                    .clone()
                    .map(|e| Some(100.0 * record(run, e)?.train_accuracy?));
                mean(each.collect())
            }),
            peers: of_peers(&|run| {
                let each = span
                    .clone()
                    .map(|e| Some(100.0 * run.train_accuracy.get(e - 1)?));
                mean(each.collect())
            }),
        });
    }
    // Losses first, then accuracies.
    found.sort_by_key(|figure| figure.margin.is_some());
    found.push(Figure {
        name: "test accuracy (%)".to_owned(),
        decimals: 2,
        margin: Some(ACCURACY_MARGIN),
        ours: of_ours(&|_, e| Some(100.0 * e.accuracy)),
        peers: of_peers(&|run| Some(100.0 * run.test_accuracy)),
    });
    for set in &lineup.sets {
        found.push(Figure {
            name: format!("AUROC {set} (%)"),
            decimals: 2,
            margin: Some(AUROC_MARGIN),
            ours: of_ours(&|_, e| Some(100.0 * e.detection(&MAIN_SCORE, set)?.auroc)),
            peers: of_peers(&|run| Some(100.0 * run.auroc.get(set.as_str())?)),
        });
    }
    Some(found)
}

impl Figure {
    /// The mean of the same figure of two groups, of the seeds that both have.
    fn averaged(&self, other: &Self) -> Self {
        let mean = |a: &BTreeMap<u64, f64>, b: &BTreeMap<u64, f64>| {
            let both = a
                .iter()
                .filter_map(|(seed, a)| Some((*seed, 0.5 * (a + b.get(seed)?))));
            both.collect()
        };
        Self {
            peers: mean(&self.peers, &other.peers),
            ours: mean(&self.ours, &other.ours),
            ..self.clone()
        }
    }

    fn values(&self) -> (Vec<f64>, Vec<f64>) {
        let of = |side: &BTreeMap<u64, f64>| side.values().copied().collect();
        (of(&self.peers), of(&self.ours))
    }
}

fn push_rows(draft: &mut Draft, rows: Vec<(String, Figure)>) {
    let found: Vec<_> = rows
        .into_iter()
        .filter_map(|(group, figure)| {
            let (peers, ours) = figure.values();
            let difference = unpaired_difference(&peers, &ours)?;
            let (_, distance) = kolmogorov_smirnov(&peers, &ours)?;
            Some((group, figure, difference, distance.p_value))
        })
        .collect();
    let raw: Vec<Option<f64>> = found.iter().map(|(_, _, d, _)| d.p_value(0.0)).collect();
    let mut corrected = holm(&raw.iter().flatten().copied().collect::<Vec<_>>()).into_iter();
    for ((group, figure, difference, distance), p) in found.into_iter().zip(raw) {
        let (peers, ours) = figure.values();
        let shown = |value: Option<f64>, decimals, why: &str| -> Cell {
            value.map_or_else(|| missing(why), |value| number(value, decimals))
        };
        let interval = difference.interval(0.95);
        let seeds = "needs two seeds on either side";
        let equivalence = figure
            .margin
            .and_then(|margin| difference.equivalence(margin));
        let key = format!("{group}:{}", figure.name);
        let cells = vec![
            text(group),
            text(figure.name.clone()),
            spread(&peers, figure.decimals),
            spread(&ours, figure.decimals),
            number(difference.mean, figure.decimals),
            shown(interval.map(|i| i.0), figure.decimals, seeds),
            shown(interval.map(|i| i.1), figure.decimals, seeds),
            shown(p, 3, seeds),
            shown(p.and_then(|_| corrected.next()), 3, seeds),
            number(distance, 3),
            shown(equivalence, 3, "no margin was declared for a loss"),
        ];
        draft.row(key, cells);
    }
}
