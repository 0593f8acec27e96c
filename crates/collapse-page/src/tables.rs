//! What is said of an evaluation, as tables.

use collapse_evaluate::{Geometry, Standing};
use collapse_geometry::Variability;
use collapse_ood::metrics::{Calibration, Threshold};
use collapse_ood::{Comparison, RiskCoverage};
use collapse_report::SCORES_NOTE;
use collapse_results::{Align, Cell, Column, ScoreId, Table};
use ndarray::Array1;

use crate::Report;

/// Share of in-distribution samples that the thresholds shown accept, and the level of their intervals.
const ACCEPT: f64 = 0.95;
const LEVEL: f64 = 0.95;
const NC1: &str = "NC1: tr(Σ_W Σ_B⁺), within-class scatter";
const NC1_OVER_CLASSES: &str = "NC1 / C";

impl Report<'_> {
    /// One line a detector: by its mean AUROC, the best first, or what the test split alone says of it where there is no
    /// out-of-distribution set.
    #[must_use]
    pub fn summary(&self) -> Table {
        match self.splits.ood().is_empty() {
            true => self.on_test(),
            false => self.on_ood(),
        }
    }

    fn on_ood(&self) -> Table {
        let standings = &self.standings;
        let has =
            |pick: fn(&Standing) -> Option<f64>| standings.iter().any(|one| pick(one).is_some());
        let (near, far) = (has(|one| one.near), has(|one| one.far));
        let columns = [
            Some(column("score", "Score", Align::Left)),
            optional(true, "auroc", "mean AUROC %"),
            optional(near, "near", "near %"),
            optional(far, "far", "far %"),
            optional(true, "fpr95_id_positive", "mean FPR95 %"),
            optional(true, "worst_auroc", "worst AUROC %"),
            Some(column("worst_set", "on", Align::Left)),
        ];
        let row = |one: &Standing| {
            let cells = [
                Some(text(one.score.as_str())),
                Some(percent(one.auroc)),
                near.then(|| one.near.map_or_else(|| text("–"), percent)),
                far.then(|| one.far.map_or_else(|| text("–"), percent)),
                Some(percent(one.fpr95_id_positive)),
                Some(percent(one.worst_auroc)),
                Some(text(&one.worst_set)),
            ];
            cells.into_iter().flatten().collect()
        };
        Table {
            id: "summary".to_owned(),
            title: "Detectors by mean AUROC over the OoD sets".to_owned(),
            caption: self.caption(),
            columns: columns.into_iter().flatten().collect(),
            row_keys: standings.iter().map(|one| one.score.to_string()).collect(),
            rows: standings.iter().map(row).collect(),
        }
    }

    /// Thresholds from held-out samples, and how well each score finds the network's own mistakes; columns that would be empty
    /// are left out.
    fn on_test(&self) -> Table {
        let scores = &self.evaluation.test.scores;
        let mut found: Vec<OnTest<'_>> = Vec::new();
        for (score, confidences) in scores {
            let held_out = self.held_out.iter().find(|held| held.score == *score);
            let threshold = held_out.and_then(|held| held.threshold(ACCEPT, LEVEL).ok());
            let mut areas = self.evaluation.risk_coverage.iter();
            let area = areas.find(|found| found.score == *score);
            found.push((score, confidences, threshold, area));
        }
        let held_out = found.iter().any(|(_, _, threshold, _)| threshold.is_some());
        let judged = found.iter().any(|(.., area)| area.is_some());
        let columns = [
            Some(column("score", "Score", Align::Left)),
            optional(held_out, "threshold", "threshold"),
            optional(held_out, "held_out", "held-out samples"),
            optional(held_out, "test_accepted", "test accepted %"),
            optional(judged, "aurc", "AURC %"),
            optional(judged, "augrc", "AUGRC %"),
        ];
        let row = |(score, confidences, threshold, area): &OnTest<'_>| {
            let of_threshold = |pick: &dyn Fn(&Threshold) -> Cell| {
                held_out.then(|| threshold.as_ref().map_or_else(|| text("–"), pick))
            };
            let of_area = |pick: fn(&RiskCoverage) -> f64| {
                judged.then(|| area.map_or_else(|| text("–"), |area| percent(pick(area))))
            };
            let accepted = |threshold: &Threshold| {
                let accepted = confidences.iter().filter(|one| threshold.accepts(**one));
                percent(accepted.count() as f64 / confidences.len() as f64)
            };
            let cells = [
                Some(text(score.as_str())),
                of_threshold(&|threshold| text(&significant(threshold.value))),
                of_threshold(&|threshold| text(&threshold.n.to_string())),
                of_threshold(&accepted),
                of_area(|area| area.aurc),
                of_area(|area| area.augrc),
            ];
            cells.into_iter().flatten().collect()
        };
        let mut caption = vec![self.caption()];
        if held_out {
            caption.push(format!(
                "A threshold accepts at least {:.0} % of in-distribution samples in expectation, by the validation split.",
                100.0 * ACCEPT
            ));
        }
        if judged {
            caption.push(
                "AURC and AUGRC: areas under the risk–coverage curves of the test split."
                    .to_owned(),
            );
        }
        Table {
            id: "summary".to_owned(),
            title: "Detectors by the test split alone".to_owned(),
            caption: caption.join(" ").trim().to_owned(),
            columns: columns.into_iter().flatten().collect(),
            row_keys: scores.iter().map(|(score, _)| score.to_string()).collect(),
            rows: found.iter().map(row).collect(),
        }
    }

    /// Accuracy and calibration of the test split; `None` without its logits or labels.
    #[must_use]
    pub fn calibration(&self) -> Option<Table> {
        let found = self.evaluation.calibrated.as_ref()?;
        let mut columns = vec![
            column("measure", "Measure", Align::Left),
            column("plain", "as it is", Align::Right),
        ];
        if let (Some(temperature), Some(_)) = (found.temperature, &found.scaled) {
            let heading = format!("at temperature {temperature:.3}");
            columns.push(column("scaled", &heading, Align::Right));
        }
        type Pick = fn(&Calibration) -> Cell;
        let measures: [(&str, Pick); 4] = [
            ("Accuracy %", |found| percent(found.accuracy)),
            ("Mean probability of the prediction %", |found| {
                percent(found.mean_confidence)
            }),
            ("ECE %", |found| percent(found.ece)),
            ("NLL, nats", |found| number(found.nll)),
        ];
        let row = |(name, pick): &(&str, Pick)| {
            let scaled = found.scaled.as_ref().map(pick);
            [text(name), pick(&found.plain)]
                .into_iter()
                .chain(scaled)
                .collect()
        };
        Some(Table {
            id: "calibration".to_owned(),
            title: "Accuracy and calibration of the test split".to_owned(),
            caption:
                "ECE in 15 bins. The temperature is that of least NLL on the validation split."
                    .to_owned(),
            columns,
            row_keys: measures
                .iter()
                .map(|(name, _)| (*name).to_owned())
                .collect(),
            rows: measures.iter().map(row).collect(),
        })
    }

    /// Every score against every set, in percent.
    #[must_use]
    pub fn scores(&self) -> Table {
        let mut columns = vec![
            column("score", "Score", Align::Left),
            column("set", "OoD set", Align::Left),
        ];
        columns.extend(
            [
                ("auroc", "AUROC %"),
                ("auroc_interval", "interval"),
                ("aupr_in", "AUPR in %"),
                ("aupr_out", "AUPR out %"),
                ("fpr95_id_positive", "FPR95 (ID positive) %"),
                ("fpr95_ood_positive", "FPR95 (OoD positive) %"),
                ("detection_error", "Error %"),
            ]
            .map(|(key, heading)| column(key, heading, Align::Right)),
        );
        let row = |found: &Comparison| {
            let figures = &found.detection;
            let interval = found.auroc_interval.map_or_else(
                || "undefined".to_owned(),
                |found| format!("{:.2}–{:.2}", 100.0 * found.low, 100.0 * found.high),
            );
            vec![
                text(found.score.as_str()),
                text(&found.set),
                percent(figures.auroc),
                text(&interval),
                percent(figures.aupr_in),
                percent(figures.aupr_out),
                percent(figures.fpr95_id_positive),
                percent(figures.fpr95_ood_positive),
                percent(figures.detection_error),
            ]
        };
        let keys = self.evaluation.comparisons.iter();
        Table {
            id: "scores".to_owned(),
            title: "Detection by every score".to_owned(),
            caption: SCORES_NOTE.to_owned(),
            columns,
            row_keys: keys
                .map(|found| format!("{}:{}", found.score, found.set))
                .collect(),
            rows: self.evaluation.comparisons.iter().map(row).collect(),
        }
    }

    /// What there is to say of the network beside detection.
    #[must_use]
    pub fn caption(&self) -> String {
        let mut parts = Vec::new();
        if let Some(found) = &self.evaluation.calibrated {
            let mut part = format!(
                "Test accuracy {:.2} %, ECE {:.2} %, NLL {:.4}",
                100.0 * found.plain.accuracy,
                100.0 * found.plain.ece,
                found.plain.nll
            );
            if let (Some(temperature), Some(scaled)) = (found.temperature, &found.scaled) {
                part.push_str(&format!(
                    " (ECE {:.2} %, NLL {:.4} at temperature {temperature:.3})",
                    100.0 * scaled.ece,
                    scaled.nll
                ));
            }
            parts.push(part);
        }
        match &self.evaluation.geometry {
            Some(Geometry::Whole(found)) => parts.push(format!(
                "NC1 {:.4}, NC3 {:.4}, NC4 {:.4} on the training split",
                found.variability.nc1, found.structure.nc3, found.nc4
            )),
            Some(Geometry::Variability(found)) => {
                parts.push(format!("NC1 {:.4} on the training split", found.nc1));
            }
            Some(Geometry::Undefined { undefined }) => {
                parts.push(format!("no NC measures: {undefined}"));
            }
            None => {}
        }
        // One score named beforehand: the least of all would be chosen on the test set.
        let named = ScoreId::MAX_SOFTMAX;
        let areas = &self.evaluation.risk_coverage;
        if let Some(found) = areas.iter().find(|found| found.score == named) {
            parts.push(format!(
                "Area under the risk–coverage curve {:.3} % (AURC), {:.3} % generalised (AUGRC), by {named}",
                100.0 * found.aurc,
                100.0 * found.augrc
            ));
        }
        if let Some(found) = &self.evaluation.agreement {
            parts.push(format!("Densities with and without labels: {found}"));
        }
        if !parts.is_empty() {
            // The last one ends like the others.
            parts.push(String::new());
        }
        parts.join(". ").trim_end().to_owned()
    }

    /// NC measures of the training split, those of its classes alone where there is no head; `None` where they are undefined.
    #[must_use]
    pub fn neural_collapse(&self) -> Option<Table> {
        let evaluation = self.evaluation;
        let other = evaluation.geometry_counterpart.as_ref();
        let (measures, without) = match evaluation.geometry.as_ref()? {
            Geometry::Whole(_) => {
                let measured = evaluation.measurement();
                let other = measured.geometry_counterpart;
                (whole(&measured.geometry?, other.as_ref()), "")
            }
            Geometry::Variability(found) => {
                let other = other.and_then(|other| match other {
                    Geometry::Variability(found) => Some(found),
                    _ => None,
                });
                let without = " NC2 to NC4 compare with the head, which the sets lack.";
                (variability(found, other), without)
            }
            Geometry::Undefined { .. } => return None,
        };
        let mut columns = vec![
            column("measure", "Measure", Align::Left),
            column("seen", "what the head sees", Align::Right),
        ];
        if measures.iter().any(|one| one.other.is_some()) {
            columns.push(column("other", "the other form", Align::Right));
        }
        let row = |one: &Measure| {
            let numbers = [Some(one.seen), one.other].into_iter().flatten();
            [text(one.name)]
                .into_iter()
                .chain(numbers.map(number))
                .collect()
        };
        Some(Table {
            id: "neural-collapse".to_owned(),
            title: "Neural collapse of the training split".to_owned(),
            caption: format!(
                "All tend to 0 under collapse.{without} The other form of the features is the normalised one where the head sees raw \
                 features, and the raw one where it sees normalised ones."
            ),
            columns,
            row_keys: measures.iter().map(|one| one.name.to_owned()).collect(),
            rows: measures.iter().map(row).collect(),
        })
    }
}

/// A score, the confidences of the test split, the threshold from held-out samples, and the areas under the risk–coverage curve.
type OnTest<'a> = (
    &'a ScoreId,
    &'a Array1<f64>,
    Option<Threshold>,
    Option<&'a RiskCoverage>,
);

/// One NC measure of the form of the features that the head sees, and of the other form.
struct Measure {
    name: &'static str,
    seen: f64,
    other: Option<f64>,
}

/// The name of a measure, and where it stands among the others.
type Named<T> = (&'static str, fn(&T) -> f64);

/// Measures by name, of both forms.
fn measures<T, const N: usize>(named: [Named<T>; N], seen: &T, other: Option<&T>) -> Vec<Measure> {
    let measure = |(name, pick): Named<T>| Measure {
        name,
        seen: pick(seen),
        other: other.map(pick),
    };
    named.into_iter().map(measure).collect()
}

fn whole(
    seen: &collapse_results::Geometry,
    other: Option<&collapse_results::Geometry>,
) -> Vec<Measure> {
    let named: [Named<collapse_results::Geometry>; 8] = [
        (NC1, |found| found.nc1),
        (NC1_OVER_CLASSES, |found| found.nc1_over_classes),
        ("NC2: norms of class means", |found| {
            found.nc2_equinorm_means
        }),
        ("NC2: norms of classifier rows", |found| {
            found.nc2_equinorm_classifier
        }),
        ("NC2: angles of class means", |found| {
            found.nc2_equiangular_means
        }),
        ("NC2: angles of classifier rows", |found| {
            found.nc2_equiangular_classifier
        }),
        ("NC3: self-duality", |found| found.nc3),
        ("NC4: nearest mean disagrees", |found| found.nc4),
    ];
    measures(named, seen, other)
}

fn variability(seen: &Variability, other: Option<&Variability>) -> Vec<Measure> {
    let named: [Named<Variability>; 4] = [
        (NC1, |found| found.nc1),
        (NC1_OVER_CLASSES, |found| found.nc1_over_classes),
        ("tr Σ_W / tr Σ_B", |found| found.trace_ratio),
        ("CDNV: class-distance normalised variance", |found| {
            found.cdnv
        }),
    ];
    measures(named, seen, other)
}

fn column(key: &str, heading: &str, align: Align) -> Column {
    Column {
        key: key.to_owned(),
        heading: heading.to_owned(),
        align,
    }
}

/// A column of numbers, where it is shown.
fn optional(shown: bool, key: &str, heading: &str) -> Option<Column> {
    shown.then(|| column(key, heading, Align::Right))
}

fn text(text: &str) -> Cell {
    Cell::Text {
        text: text.to_owned(),
    }
}

/// A measure without a unit.
fn number(value: f64) -> Cell {
    Cell::Number { value, decimals: 4 }
}

/// A confidence, which may be a log-density of thousands or a share near 1, to five digits.
fn significant(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "accepts all".to_owned();
    }
    match size {
        0.0 => "0".to_owned(),
        1e-3..1e6 => {
            let decimals = 4 - size.log10().floor() as i32;
            format!("{value:.*}", decimals.max(0) as usize)
        }
        _ => format!("{value:.4e}"),
    }
}

/// A share as percent.
fn percent(value: f64) -> Cell {
    Cell::Number {
        value: 100.0 * value,
        decimals: 2,
    }
}
