//! Densities against DDU's and against their evaluation in 60 digits.

use collapse_density::{Covariance, Jitter, LabelledGaussianMixture};
use collapse_ood::detectors::GmmWithPriors;
use collapse_ood::{Detector, Inputs, TrainInputs};
use ndarray::{Array2, ArrayView2};
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

/// One case: features, labels and what the references are called.
struct Case<'a> {
    file: &'a File,
    name: &'a str,
    n_classes: usize,
    features: Array2<f64>,
    test: Array2<f64>,
    labels: Vec<usize>,
}

impl Case<'_> {
    fn fit(&self, covariance: Covariance, jitter: Jitter) -> Result<LabelledGaussianMixture> {
        let params = LabelledGaussianMixture::params(self.n_classes)
            .covariance(covariance)
            .jitter(jitter)
            .check();
        params
            .and_then(|params| params.fit_view(self.features.view(), &self.labels))
            .map_err(|error| self.file.refused(self.name)(&error))
    }

    /// Log-densities of the test rows in 60 digits, where the file has them for this jitter.
    fn exact_densities(&self, jitter: f64) -> Result<Option<Vec<f64>>> {
        let of_jitter = |tensor: &String| {
            let text = tensor
                .strip_prefix(self.name)
                .and_then(|rest| rest.strip_prefix(".j"));
            text.and_then(|rest| rest.strip_suffix(".logdensity_mp60"))
                .and_then(|text| text.parse().ok())
                == Some(jitter)
        };
        let tensor = self.file.tensor_names().into_iter().find(of_jitter);
        tensor.map(|tensor| self.file.vector(&tensor)).transpose()
    }
}

fn check_case(file: &File, value: &Value, report: &mut Report) -> Result<()> {
    let name = file.text(value, "case")?;
    let features = file.matrix(&format!("{name}.features"))?;
    let n_classes = file.number(value, &["classes"])? as usize;
    let case = Case {
        file,
        name,
        n_classes,
        labels: (0..features.nrows()).map(|row| row % n_classes).collect(),
        features,
        test: file.matrix(&format!("{name}.test"))?,
    };
    check_ladder(&case, value, report)?;
    let deficient = file.number(value, &["chosen_jitter"])? > 0.0;
    for entry in file.cases_of(value, "per_jitter")? {
        check_jitter(&case, entry, deficient, report)?;
        if deficient {
            check_low_rank(&case, entry, report)?;
        }
    }
    check_priors(&case, value, report)
}

/// The jitter that the ladder chooses, and the moments.
fn check_ladder(case: &Case, value: &Value, report: &mut Report) -> Result<()> {
    let at = (case.file.name, case.name);
    let chosen = case.fit(Covariance::Full, Jitter::Ladder)?;
    let expected = case.file.number(value, &["chosen_jitter"])?;
    match expected == 0.0 {
        true => report.record(at.0, at.1, "chosen jitter", chosen.jitter(), 0.0),
        false => {
            let decades = (chosen.jitter() / expected).log10().abs();
            report.record(at.0, at.1, "chosen jitter, decades", decades, 2.0 + 1e-9);
        }
    }
    let means = case.file.vector(&format!("{}.means", case.name))?;
    report.compare(
        at,
        "class means",
        &entries(chosen.class_means()),
        &means,
        1e-12,
    );
    if let Ok(covariance) = case.file.vector(&format!("{}.cov_class0", case.name))
        && let Some(found) = chosen.covariance(0)
    {
        let found = entries(found.view());
        report.compare(at, "covariance of class 0", &found, &covariance, 1e-12);
    }
    let covariances = (0..case.n_classes).filter_map(|class| chosen.covariance(class));
    let traces: Vec<f64> = covariances.map(|sigma| sigma.diag().sum()).collect();
    let reference = case.file.numbers(value, &["cov_trace"])?;
    report.compare(at, "covariance traces", &traces, &reference, 1e-11);
    Ok(())
}

/// Densities and scores at one jitter.
fn check_jitter(case: &Case, entry: &Value, deficient: bool, report: &mut Report) -> Result<()> {
    let jitter = case.file.number(entry, &["jitter"])?;
    let Some(tolerance) = tolerance(deficient, jitter) else {
        return Ok(());
    };
    let model = case.fit(Covariance::Full, Jitter::Fixed(jitter))?;
    compare_densities(case, entry, &model, "", tolerance, report)?;
    // DDU stores log-densities in f32; the same rounding must give its score.
    let score = model
        .score_of_f32_densities(case.test.view())
        .map_err(|error| case.file.refused(case.name)(&error))?;
    report.compare(
        (case.file.name, case.name),
        &format!("score of f32 densities at jitter {jitter:e}"),
        &score.to_vec(),
        &case.file.numbers(entry, &["score_ddu_f32_storage"])?,
        f64::max(2e-7, tolerance),
    );
    Ok(())
}

/// With fewer samples than dimensions the low-rank form is right where a Cholesky factor of the same matrix has lost
/// every digit: down to the jitter of 1e-21 that DDU's ladder stops at, where PyTorch is seven per cent off.
fn check_low_rank(case: &Case, entry: &Value, report: &mut Report) -> Result<()> {
    let ridge = case.file.number(entry, &["jitter"])?;
    if case.exact_densities(ridge)?.is_none() {
        return Ok(());
    }
    let form = Covariance::LowRank { rank: None, ridge };
    let model = case.fit(form, Jitter::Ladder)?;
    compare_densities(case, entry, &model, "low-rank ", 1e-10, report)
}

fn compare_densities(
    case: &Case,
    entry: &Value,
    model: &LabelledGaussianMixture,
    form: &str,
    tolerance: f64,
    report: &mut Report,
) -> Result<()> {
    let at = (case.file.name, case.name);
    let jitter = case.file.number(entry, &["jitter"])?;
    let quantity = |what: &str| format!("{form}{what} at jitter {jitter:e}");
    let refused = case.file.refused(case.name);
    let test = case.test.view();
    if let Some(exact) = case.exact_densities(jitter)? {
        let density = model.log_density(test).map_err(|error| refused(&error))?;
        report.compare(
            at,
            &quantity("log-density"),
            &entries(density.view()),
            &exact,
            tolerance,
        );
    }
    let score = model.score(test).map_err(|error| refused(&error))?;
    let exact = case.file.numbers(entry, &["score_mp60"])?;
    report.compare(at, &quantity("score"), &score.to_vec(), &exact, tolerance);
    let determinants = model.log_determinants().to_vec();
    let exact = case.file.numbers(entry, &["logdet_mp60"])?;
    report.compare(
        at,
        &quantity("log-determinant"),
        &determinants,
        &exact,
        tolerance,
    );
    Ok(())
}

/// The score with class priors of pytorch-ood.
fn check_priors(case: &Case, value: &Value, report: &mut Report) -> Result<()> {
    let scores = crate::folder::at(value, &["pytorch_ood_gmm", "score"]);
    let Some(scores) = scores.and_then(Value::as_array) else {
        return Ok(());
    };
    let scores = scores.iter().filter_map(number);
    let reference: Vec<f64> = scores.map(|score| -score).collect();
    let score = Inputs::of_features(case.features.view(), false)
        .and_then(|inputs| TrainInputs::new(inputs, &case.labels))
        .and_then(|train| GmmWithPriors::fit(&train, 1e-6))
        .and_then(|gmm| gmm.score(&Inputs::of_features(case.test.view(), false)?))
        .map_err(|error| case.file.refused(case.name)(&error))?;
    let what = "score with priors (pytorch-ood)";
    report.compare(
        (case.file.name, case.name),
        what,
        &score.to_vec(),
        &reference,
        2e-5,
    );
    Ok(())
}

fn entries(matrix: ArrayView2<f64>) -> Vec<f64> {
    matrix.iter().copied().collect()
}
