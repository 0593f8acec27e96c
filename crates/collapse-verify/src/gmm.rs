//! Densities against DDU's and against their evaluation in 60 digits.

use collapse_density::{Jitter, LabelledGaussianMixture};
use collapse_ood::detectors::GmmWithPriors;
use collapse_ood::{Detector, Inputs, TrainInputs};
use ndarray::Array2;
use serde_json::Value;

use crate::error::Result;
use crate::folder::{File, number};
use crate::report::Report;

pub(crate) fn check(file: &File, report: &mut Report) -> Result<()> {
    file.cases("cases")
        .iter()
        .try_for_each(|case| check_case(file, case, report))
}

/// Where the classes are rank deficient the densities are only as good as the jitter allows.
fn tolerance(rank_deficient: bool, jitter: f64) -> Option<f64> {
    match jitter {
        _ if !rank_deficient => Some(1e-12),
        1e-10.. => Some(1e-10),
        1e-12.. => Some(1e-8),
        1e-14.. => Some(1e-6),
        1e-16.. => Some(1e-4),
        _ => None,
    }
}

fn check_case(file: &File, case: &Value, report: &mut Report) -> Result<()> {
    let name = file.text(case, "case")?;
    let at = (file.name, name);
    let refused = file.refused(name);
    let n_classes = file.number(case, &["classes"])? as usize;
    let features = file.matrix(&format!("{name}.features"))?;
    let test = file.matrix(&format!("{name}.test"))?;
    let labels: Vec<usize> = (0..features.nrows()).map(|row| row % n_classes).collect();
    let fit = |jitter| {
        let params = LabelledGaussianMixture::params(n_classes)
            .jitter(jitter)
            .check();
        params
            .and_then(|params| params.fit_view(features.view(), &labels))
            .map_err(|error| refused(&error))
    };
    let numbers = |matrix: ndarray::ArrayView2<f64>| matrix.iter().copied().collect::<Vec<f64>>();

    let chosen = fit(Jitter::Ladder)?;
    let expected = file.number(case, &["chosen_jitter"])?;
    match expected == 0.0 {
        true => report.record(at.0, at.1, "chosen jitter", chosen.jitter(), 0.0),
        false => {
            let decades = (chosen.jitter() / expected).log10().abs();
            report.record(at.0, at.1, "chosen jitter, decades", decades, 2.0 + 1e-9);
        }
    }
    let means = file.vector(&format!("{name}.means"))?;
    report.compare(
        at,
        "class means",
        &numbers(chosen.class_means()),
        &means,
        1e-12,
    );
    if let Ok(covariance) = file.vector(&format!("{name}.cov_class0"))
        && let Some(found) = chosen.covariance(0)
    {
        report.compare(
            at,
            "covariance of class 0",
            &numbers(found.view()),
            &covariance,
            1e-12,
        );
    }
    let covariances: Vec<Array2<f64>> = (0..n_classes)
        .filter_map(|class| chosen.covariance(class))
        .collect();
    let traces: Vec<f64> = covariances.iter().map(|sigma| sigma.diag().sum()).collect();
    report.compare(
        at,
        "covariance traces",
        &traces,
        &file.numbers(case, &["cov_trace"])?,
        1e-11,
    );

    let names = file.tensor_names();
    for entry in file.cases_of(case, "per_jitter")? {
        let jitter = file.number(entry, &["jitter"])?;
        let Some(tolerance) = tolerance(expected > 0.0, jitter) else {
            continue;
        };
        let model = fit(Jitter::Fixed(jitter))?;
        let quantity = |what: &str| format!("{what} at jitter {jitter:e}");
        let density = model
            .log_density(test.view())
            .map_err(|error| refused(&error))?;
        let score = model.score(test.view()).map_err(|error| refused(&error))?;

        let of_jitter = |tensor: &&String| {
            let text = tensor
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix(".j"));
            text.and_then(|rest| rest.strip_suffix(".logdensity_mp60"))
                .and_then(|text| text.parse().ok())
                == Some(jitter)
        };
        if let Some(tensor) = names.iter().find(of_jitter) {
            let exact = file.vector(tensor)?;
            report.compare(
                at,
                &quantity("log-density"),
                &numbers(density.view()),
                &exact,
                tolerance,
            );
        }
        let exact = file.numbers(entry, &["score_mp60"])?;
        report.compare(at, &quantity("score"), &score.to_vec(), &exact, tolerance);
        let exact = file.numbers(entry, &["logdet_mp60"])?;
        report.compare(
            at,
            &quantity("log-determinant"),
            &model.log_determinants().to_vec(),
            &exact,
            tolerance,
        );

        // DDU stores log-densities in f32; the same rounding must give its score.
        let score = model
            .score_of_f32_densities(test.view())
            .map_err(|error| refused(&error))?;
        let reference = file.numbers(entry, &["score_ddu_f32_storage"])?;
        report.compare(
            at,
            &quantity("score of f32 densities"),
            &score.to_vec(),
            &reference,
            f64::max(2e-7, tolerance),
        );
    }

    if let Some(reference) = case
        .get("pytorch_ood_gmm")
        .and_then(|entry| entry.get("score"))
    {
        let reference: Vec<f64> = reference
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(number)
            .map(|score| -score)
            .collect();
        // The detector reads features alone; the logits only tell the number of classes.
        let train_logits = Array2::zeros((features.nrows(), n_classes));
        let test_logits = Array2::zeros((test.nrows(), n_classes));
        let score = Inputs::new(features.view(), train_logits.view(), false)
            .and_then(|inputs| TrainInputs::new(inputs, &labels))
            .and_then(|train| GmmWithPriors::fit(&train, 1e-6))
            .and_then(|gmm| gmm.score(&Inputs::new(test.view(), test_logits.view(), false)?))
            .map_err(|error| refused(&error))?;
        report.compare(
            at,
            "score with priors (pytorch-ood)",
            &score.to_vec(),
            &reference,
            2e-5,
        );
    }
    Ok(())
}
