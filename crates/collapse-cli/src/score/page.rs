//! `report.html` of `score`: one self-contained page.

use anyhow::Result;
use collapse_evaluate::{CompleteSplits, DetectionCurves};
use collapse_ood::metrics::{Points, ReliabilityBin};
use collapse_report::{Figure, LineAxes, LinePanel, Page, line_figure, page, score_histograms};
use collapse_results::{Align, Cell, ScoreId, Table};

use super::Args;
use super::report::Report;
use super::summary::{column, text};
use crate::CODE_VERSION;
use crate::command_line::typed;

/// Scores whose curves are drawn: the best so many.
const DRAWN: usize = 5;

/// The page as HTML.
pub fn html(args: &Args, splits: &CompleteSplits, report: &Report<'_>) -> Result<String> {
    let scores = drawn(report);
    let named: Vec<&ScoreId> = scores.iter().collect();
    let evaluation = report.evaluation;
    let mut figures = detection_figures(&evaluation.curves(&named)?, &scores);
    figures.extend(score_histograms(&evaluation.histograms_of(&named)));
    figures.extend(reliability_figure(splits, report)?);
    figures.extend(risk_figure(
        &evaluation.risk_coverage_curves(&named)?,
        &scores,
    ));
    let mut tables = vec![report.long_table()];
    tables.extend(geometry_table(report));
    let test = splits.test();
    let path = |path: Option<&std::path::PathBuf>| path.map(|path| path.display().to_string());
    let mut provenance: Vec<(&str, String)> = Vec::new();
    provenance.extend(path(args.train.as_ref()).map(|path| ("Training split", path)));
    provenance.extend(path(args.load.as_ref()).map(|path| ("Detectors", path)));
    provenance.push((
        "Test split",
        format!("{}, {} samples", test.origin, test.features.n_samples()),
    ));
    for set in splits.ood() {
        provenance.push((
            "OoD set",
            format!(
                "{}: {}, {} samples",
                set.name,
                set.origin,
                set.features.n_samples()
            ),
        ));
    }
    provenance.push((
        "Features",
        format!(
            "{} dimensions, {}",
            test.features.n_features(),
            if test.features.l2() {
                "normalised before the head"
            } else {
                "as the head saw them"
            }
        ),
    ));
    provenance.push(("Code version", CODE_VERSION.to_owned()));
    let main = report.summary_table();
    let command = typed();
    Ok(page(&Page {
        title: "collapse: detectors on your features",
        heading: "Which inputs can the network be trusted with?",
        lead: &format!(
            "{} detectors on {} out-of-distribution sets. Larger scores mean more in-distribution; AUROC is the chance that an \
             in-distribution sample scores above an OoD one, 50 % for a guess.",
            report.standings.len(),
            splits.ood().len()
        ),
        main: &main,
        main_name: "Detectors",
        notes: &report.notes,
        figures: &figures,
        tables: &tables,
        provenance: &provenance,
        command: &command,
        files: "Every number of this page, unrounded, stands in scores.json; every score of every sample in samples.csv.",
    })?)
}

/// The best scores, and those that everyone compares with.
fn drawn(report: &Report<'_>) -> Vec<ScoreId> {
    let ranked = report.standings.iter().map(|one| &one.score);
    let mut scores: Vec<ScoreId> = ranked.clone().take(DRAWN).cloned().collect();
    for named in [ScoreId::GMM_FEATURES, ScoreId::MAX_SOFTMAX] {
        if !scores.contains(&named) && ranked.clone().any(|score| *score == named) {
            scores.push(named);
        }
    }
    scores
}

fn legend(scores: &[ScoreId]) -> Vec<String> {
    scores.iter().map(ScoreId::to_string).collect()
}

fn detection_figures(curves: &[DetectionCurves], scores: &[ScoreId]) -> Vec<Figure> {
    let series = |score: &ScoreId| scores.iter().position(|one| one == score);
    let panels = |pick: fn(&DetectionCurves) -> &Points, diagonal| -> Vec<LinePanel> {
        let sets = curves.chunk_by(|a, b| a.set == b.set);
        sets.map(|found| LinePanel {
            title: found[0].set.clone(),
            lines: found
                .iter()
                .filter_map(|one| Some((series(&one.score)?, pick(one).clone())))
                .collect(),
            diagonal,
        })
        .collect()
    };
    let chosen =
        "the best detectors by mean AUROC on these sets, with gmm_features and max_softmax";
    let roc = LineAxes {
        id: "roc",
        title: "ROC curves",
        caption: &format!(
            "Share of samples accepted as the threshold falls; {chosen}. The thin line is a guess."
        ),
        x: "OoD samples accepted",
        y: "ID samples accepted",
        top: 1.0,
    };
    let recall = LineAxes {
        id: "precision-recall",
        title: "Precision and recall",
        caption: &format!(
            "OoD samples are the positive class; {chosen}. A guess has the share of OoD samples as its precision throughout."
        ),
        x: "recall of OoD samples",
        y: "precision",
        top: 1.0,
    };
    let figures = [
        line_figure(&roc, &legend(scores), &panels(|one| &one.roc, true)),
        line_figure(
            &recall,
            &legend(scores),
            &panels(|one| &one.precision_recall, false),
        ),
    ];
    figures.into_iter().flatten().collect()
}

fn reliability_figure(splits: &CompleteSplits, report: &Report<'_>) -> Result<Option<Figure>> {
    let Some(calibrated) = &report.evaluation.calibrated else {
        return Ok(None);
    };
    let line = |bins: Vec<ReliabilityBin>| -> Points {
        let bins = bins.into_iter().filter(|bin| bin.count > 0);
        bins.map(|bin| (bin.confidence, bin.accuracy)).collect()
    };
    let mut lines = Vec::new();
    let mut names = vec![format!(
        "as it is, ECE {:.2} %",
        100.0 * calibrated.plain.ece
    )];
    lines.extend(splits.reliability(1.0)?.map(|bins| (0, line(bins))));
    if let (Some(temperature), Some(scaled)) = (calibrated.temperature, &calibrated.scaled) {
        names.push(format!(
            "at temperature {temperature:.3}, ECE {:.2} %",
            100.0 * scaled.ece
        ));
        lines.extend(splits.reliability(temperature)?.map(|bins| (1, line(bins))));
    }
    let axes = LineAxes {
        id: "reliability",
        title: "Reliability of the softmax probability",
        caption: "Test samples in 15 bins of their largest softmax probability: how often the network is right against how \
                  sure it is on average. On the thin line both agree; below it the network is too sure.",
        x: "mean probability of the bin",
        y: "accuracy",
        top: 1.0,
    };
    let panel = LinePanel {
        title: splits.test().name.clone(),
        lines,
        diagonal: true,
    };
    Ok(line_figure(&axes, &names, &[panel]))
}

fn risk_figure(curves: &[(ScoreId, Points)], scores: &[ScoreId]) -> Option<Figure> {
    let series = |score: &ScoreId| scores.iter().position(|one| one == score);
    let lines: Vec<(usize, Points)> = curves
        .iter()
        .filter_map(|(score, points)| Some((series(score)?, points.clone())))
        .collect();
    let risks = lines
        .iter()
        .flat_map(|(_, points)| points.iter().map(|point| point.1));
    let axes = LineAxes {
        id: "risk-coverage",
        title: "Risk and coverage",
        caption: "Error rate among the test samples that a score is surest of, against their share: how well it finds the \
                  network's own mistakes. The right end is the error rate of all.",
        x: "share of test samples kept",
        y: "error rate",
        top: (1.1 * risks.fold(0.0, f64::max)).clamp(0.01, 1.0),
    };
    let panel = LinePanel {
        title: "test".to_owned(),
        lines,
        diagonal: false,
    };
    line_figure(&axes, &legend(scores), &[panel])
}

fn geometry_table(report: &Report<'_>) -> Option<Table> {
    let measured = report.evaluation.measurement();
    let (seen, other) = (measured.geometry?, measured.geometry_counterpart);
    type Pick = fn(&collapse_results::Geometry) -> f64;
    let measures: [(&str, Pick); 8] = [
        ("NC1: tr(Σ_W Σ_B⁺), within-class scatter", |found| {
            found.nc1
        }),
        ("NC1 / C", |found| found.nc1_over_classes),
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
    let number = |value: f64| Cell::Number { value, decimals: 4 };
    let mut columns = vec![
        column("measure", "Measure", Align::Left),
        column("seen", "what the head sees", Align::Right),
    ];
    if other.is_some() {
        columns.push(column("other", "the other form", Align::Right));
    }
    let row = |(name, pick): &(&str, Pick)| {
        let other = other.as_ref().map(|other| number(pick(other)));
        [text(name), number(pick(&seen))]
            .into_iter()
            .chain(other)
            .collect()
    };
    Some(Table {
        id: "neural-collapse".to_owned(),
        title: "Neural collapse of the training split".to_owned(),
        caption: "All tend to 0 under collapse. The other form of the features is the normalised one where the head sees raw \
                  features, and the raw one where it sees normalised ones."
            .to_owned(),
        columns,
        row_keys: measures.iter().map(|(name, _)| (*name).to_owned()).collect(),
        rows: measures.iter().map(row).collect(),
    })
}
