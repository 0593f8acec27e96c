//! Detection and calibration metrics against scikit-learn, OpenOOD, pytorch-ood and DDU.

use collapse_ood::metrics::{
    Positive, Ranking, calibration, expected_calibration_error, nll, temperature_grid,
    temperature_optimum,
};
use ndarray::ArrayView2;
use serde_json::Value;

use crate::error::Result;
use crate::folder::{File, at};
use crate::report::Report;

pub(crate) fn check(file: &File, report: &mut Report) -> Result<()> {
    for case in file.cases("ood") {
        check_detection(file, case, report)?;
    }
    for (index, case) in file.cases("calibration").iter().enumerate() {
        check_calibration(file, index, case, report)?;
    }
    if let Some(boundary) = file.json.get("ece_boundary") {
        let confidences = file.numbers(boundary, &["confs"])?;
        let correct: Vec<bool> = file
            .numbers(boundary, &["correct"])?
            .into_iter()
            .map(|hit| hit != 0.0)
            .collect();
        let ece = expected_calibration_error(&confidences, &correct, 15);
        let ece = ece.map_err(|error| file.refused("ece_boundary")(&error))?;
        let reference = file.number(boundary, &["ece15_ddu"])?;
        report.compare(
            (file.name, "ece_boundary"),
            "ECE on bin edges",
            &[ece],
            &[reference],
            1e-12,
        );
    }
    Ok(())
}

fn check_detection(file: &File, case: &Value, report: &mut Report) -> Result<()> {
    let name = file.text(case, "case")?;
    let (id, ood) = (
        file.vector(&format!("{name}.id"))?,
        file.vector(&format!("{name}.ood"))?,
    );
    let ranking = Ranking::new(&id, &ood).map_err(|error| file.refused(name)(&error))?;
    for (quantity, path, found) in figures(&ranking) {
        // pytorch-ood computes in f32.
        let tolerance = match path[0] {
            "pytorch_ood" => 2e-5,
            _ => 1e-12,
        };
        if at(case, &path).is_some() {
            let error = (found - file.number(case, &path)?).abs();
            report.record(file.name, name, quantity, error, tolerance);
        }
    }
    Ok(())
}

/// Name of a figure, path of its reference, value.
type Figure = (&'static str, [&'static str; 2], f64);

fn figures(ranking: &Ranking) -> [Figure; 17] {
    let figures = ranking.detection();
    let trapezoid = |positive| ranking.trapezoidal_aupr(positive);
    [
        (
            "AUROC, scikit-learn",
            ["sklearn", "auroc_id_pos"],
            figures.auroc,
        ),
        (
            "AUROC with OoD positive, scikit-learn",
            ["sklearn", "auroc_ood_pos_negated"],
            figures.auroc,
        ),
        (
            "AP with ID positive, scikit-learn",
            ["sklearn", "average_precision_id_pos"],
            figures.aupr_in,
        ),
        (
            "AP with OoD positive, scikit-learn",
            ["sklearn", "average_precision_ood_pos_negated"],
            figures.aupr_out,
        ),
        (
            "FPR95 with OoD positive, scikit-learn",
            ["sklearn", "fpr95_ood_pos"],
            figures.fpr95_ood_positive,
        ),
        (
            "FPR95 with ID positive, scikit-learn",
            ["sklearn", "fpr95_id_pos"],
            figures.fpr95_id_positive,
        ),
        ("AUROC, DDU", ["ddu", "auroc"], figures.auroc),
        ("AP, DDU", ["ddu", "auprc"], figures.aupr_in),
        ("AUROC, OpenOOD", ["openood", "auroc"], figures.auroc),
        (
            "AUPR-in by trapezoids, OpenOOD",
            ["openood", "aupr_in_trapezoid"],
            trapezoid(Positive::Id),
        ),
        (
            "AUPR-out by trapezoids, OpenOOD",
            ["openood", "aupr_out_trapezoid"],
            trapezoid(Positive::Ood),
        ),
        (
            "FPR95 with OoD positive, OpenOOD",
            ["openood", "fpr95_ood_pos"],
            figures.fpr95_ood_positive,
        ),
        (
            "FPR95 with ID positive, OpenOOD",
            ["openood", "fpr95_id_pos"],
            figures.fpr95_id_positive,
        ),
        (
            "AUROC, pytorch-ood",
            ["pytorch_ood", "AUROC"],
            figures.auroc,
        ),
        (
            "AUPR-in, pytorch-ood",
            ["pytorch_ood", "AUPR-IN"],
            trapezoid(Positive::Id),
        ),
        (
            "AUPR-out, pytorch-ood",
            ["pytorch_ood", "AUPR-OUT"],
            trapezoid(Positive::Ood),
        ),
        (
            "FPR95, pytorch-ood",
            ["pytorch_ood", "FPR95TPR"],
            figures.fpr95_ood_positive,
        ),
    ]
}

fn check_calibration(file: &File, index: usize, case: &Value, report: &mut Report) -> Result<()> {
    let name = format!("cal{index}");
    let refused = file.refused(&name);
    let logits = file.matrix(&format!("{name}.logits"))?;
    let labels = file.labels(&format!("{name}.labels"))?;
    let measure = |temperature| {
        calibration(logits.view(), &labels, temperature).map_err(|error| refused(&error))
    };
    let now = measure(1.0)?;
    let grid = temperature_grid(logits.view(), &labels).map_err(|error| refused(&error))?;
    let scaled = measure(grid.by_nll)?;
    let rows = [
        ("NLL", "nll", now.nll, 1e-12),
        ("accuracy", "accuracy", now.accuracy, 1e-12),
        ("mean confidence", "mean_conf", now.mean_confidence, 1e-12),
        ("ECE, DDU", "ece15_ddu", now.ece, 1e-12),
        // ECELoss averages hits and shares in f32.
        ("ECE, ECELoss", "ece15_eceloss", now.ece, 1e-6),
        ("grid temperature by NLL", "ddu_T_nll", grid.by_nll, 1e-12),
        ("grid temperature by ECE", "ddu_T_ece", grid.by_ece, 1e-12),
        ("NLL at grid temperature", "nll_at_ddu_T", scaled.nll, 1e-12),
        (
            "ECE at grid temperature",
            "ece15_eceloss_at_ddu_T",
            scaled.ece,
            1e-6,
        ),
    ];
    for (quantity, key, found, tolerance) in rows {
        let reference = file.number(case, &["f64", key])?;
        report.compare(
            (file.name, &name),
            quantity,
            &[found],
            &[reference],
            tolerance,
        );
    }
    check_optimum(file, &name, case, (logits.view(), &labels), report)?;
    check_nll_grid(file, &name, case, (logits.view(), &labels), report)
}

/// The continuous optimum of the temperature.
fn check_optimum(
    file: &File,
    name: &str,
    case: &Value,
    (logits, labels): (ArrayView2<f64>, &[usize]),
    report: &mut Report,
) -> Result<()> {
    let Some(optimum) = case.get("own_continuous_optimum") else {
        return Ok(());
    };
    let refused = file.refused(name);
    let temperature = temperature_optimum(logits, labels).map_err(|error| refused(&error))?;
    let least = calibration(logits, labels, temperature).map_err(|error| refused(&error))?;
    let reference = |key| Ok::<_, crate::Error>([file.number(optimum, &[key])?]);
    let at = (file.name, name);
    report.compare(
        at,
        "temperature of least NLL",
        &[temperature],
        &reference("T")?,
        1e-6,
    );
    report.compare(at, "least NLL", &[least.nll], &reference("nll")?, 1e-12);
    Ok(())
}

/// The NLL over a grid of temperatures.
fn check_nll_grid(
    file: &File,
    name: &str,
    case: &Value,
    (logits, labels): (ArrayView2<f64>, &[usize]),
    report: &mut Report,
) -> Result<()> {
    let grid = case
        .get("nll_grid")
        .or_else(|| at(case, &["own_continuous_optimum", "nll_grid"]));
    let Some(points) = grid.and_then(Value::as_array) else {
        return Ok(());
    };
    let (mut found, mut reference) = (Vec::new(), Vec::new());
    for point in points.iter().filter_map(crate::folder::numbers) {
        if let [temperature, expected] = point[..] {
            let nll = nll((&logits / temperature).view(), labels);
            found.push(nll.map_err(|error| file.refused(name)(&error))?);
            reference.push(expected);
        }
    }
    report.compare(
        (file.name, name),
        "NLL over temperatures",
        &found,
        &reference,
        1e-12,
    );
    Ok(())
}
