//! One self-contained page.

use collapse_evaluate::{CompleteSplits, DetectionCurves, Split};
use collapse_ood::RiskCoverage;
use collapse_ood::metrics::{Points, ReliabilityBin};
use collapse_report::{Figure, LineAxes, LinePanel, Page, line_figure, page, score_histograms};
use collapse_results::ScoreId;

use crate::notes::notes_on_skipped;
use crate::{Report, Result};

/// Scores whose curves are drawn: the best so many.
const DRAWN: usize = 5;

/// What a page says of its making.
#[derive(Clone, Debug)]
pub struct Made<'a> {
    /// Name and value of what the detectors were fitted on.
    pub fitted: Vec<(&'a str, String)>,
    /// Version of the program or module.
    pub code_version: &'a str,
    /// The command or call that makes the page again.
    pub call: &'a str,
    /// Where the unrounded numbers are, in a sentence.
    pub numbers: &'a str,
}

/// The page as HTML.
pub(crate) fn html(report: &Report<'_>, made: &Made<'_>) -> Result<String> {
    let (splits, evaluation) = (report.splits, report.evaluation);
    let scores = drawn(report);
    let named: Vec<&ScoreId> = scores.iter().collect();
    let mut figures = detection_figures(&evaluation.curves(&named)?, &scores);
    figures.extend(score_histograms(&evaluation.histograms_of(&named)));
    figures.extend(reliability_figure(splits, report)?);
    figures.extend(risk_figure(
        &evaluation.risk_coverage_curves(&named)?,
        &scores,
    ));
    let (n_sets, own) = (splits.ood().len(), &evaluation.test.scores);
    let mut tables = Vec::new();
    match n_sets {
        0 => tables.extend(report.calibration()),
        _ => tables.push(report.scores()),
    }
    tables.extend(report.neural_collapse());
    let lead = match n_sets {
        0 => format!(
            "{} and no out-of-distribution set to measure them on: what the other splits say of the network. Larger scores \
             mean more in-distribution.",
            match own.len() {
                1 => "1 detector".to_owned(),
                n => format!("{n} detectors"),
            }
        ),
        n => format!(
            "{} detectors on {n} out-of-distribution sets. Larger scores mean more in-distribution; AUROC is the chance that an \
             in-distribution sample scores above an OoD one, 50 % for a guess.",
            report.standings.len()
        ),
    };
    let main = report.summary();
    let mut notes = report.notes.clone();
    notes.extend(notes_on_skipped(evaluation));
    Ok(page(&Page {
        title: "collapse: detectors on your features",
        heading: "Which inputs can the network be trusted with?",
        lead: &lead,
        main: &main,
        main_name: "Detectors",
        notes: &notes,
        figures: &figures,
        tables: &tables,
        provenance: &provenance(splits, made),
        command: made.call,
        files: made.numbers,
    })?)
}

/// What the numbers come from.
fn provenance<'a>(splits: &CompleteSplits, made: &Made<'a>) -> Vec<(&'a str, String)> {
    let test = splits.test();
    let mut provenance = made.fitted.clone();
    provenance.push(("Test split", described(test)));
    for set in splits.ood() {
        // Arrays come from nowhere but their name.
        let text = match set.origin == set.name {
            true => described(set),
            false => format!("{}: {}", set.name, described(set)),
        };
        provenance.push(("OoD set", text));
    }
    let seen = match test.features.l2() {
        true => "normalised before the head",
        false => "as the head saw them",
    };
    let n_features = test.features.n_features();
    provenance.push(("Features", format!("{n_features} dimensions, {seen}")));
    provenance.push(("Code version", made.code_version.to_owned()));
    provenance
}

/// Where a set comes from, and its size.
pub(crate) fn described(set: &Split) -> String {
    format!("{}, {} samples", set.origin, set.features.n_samples())
}

/// The best scores, and those that everyone compares with: by mean AUROC, or by the risk–coverage curves where no set has any.
fn drawn(report: &Report<'_>) -> Vec<ScoreId> {
    let mut areas: Vec<&RiskCoverage> = report.evaluation.risk_coverage.iter().collect();
    areas.sort_by(|a, b| a.aurc.total_cmp(&b.aurc));
    let ranked: Vec<&ScoreId> = match report.splits.ood().is_empty() {
        true => areas.into_iter().map(|found| &found.score).collect(),
        false => report.standings.iter().map(|one| &one.score).collect(),
    };
    let ranked = ranked.into_iter();
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
