//! Detectors against f64 formulas and against OpenOOD, pytorch-ood and maha-norm.

use std::collections::BTreeMap;

use collapse_density::{Covariance, Jitter};
use collapse_ood::detectors::{
    Ash, AshVariant, Dice, Energy, Ensemble, EnsembleMeasure, Fdbd, FdbdScale, FeatureNorm, Gen,
    Gmm, GmmSpace, GmmWithPriors, GradNorm, KlMatching, Knn, Lts, Mahalanobis, MahalanobisOptions,
    MaxLogit, MaxSoftmax, Nci, Neco, NecoComponents, NnGuide, OpenMax, PooledCovariance, React,
    Residual, She, SoftmaxEntropy, Vim, Vra, VraVariant,
};
use collapse_ood::{Detector, Error as OodError, Inputs, TrainInputs};
use ndarray::{Array1, Array2, ArrayView2, s};
use serde_json::Value;

use crate::error::Result;
use crate::folder::{File, at, number, numbers};
use crate::report::Report;

pub(crate) fn check(file: &File, report: &mut Report) -> Result<()> {
    let weight = file.matrix("W")?;
    let bias = Array1::from_vec(file.vector("b")?);
    let train_features = file.matrix("train_features")?;
    let test_features = file.matrix("test_features")?;
    let labels = file.labels("train_labels")?;
    let logits = |features: &Array2<f64>| features.dot(&weight.t()) + &bias;
    let (train_logits, test_logits) = (logits(&train_features), logits(&test_features));
    let case = file
        .json
        .get("meta")
        .and_then(|meta| meta.get("set"))
        .and_then(Value::as_str)
        .unwrap_or("all");
    if let Ok(reference) = file.vector("test_logits_f64") {
        let found: Vec<f64> = test_logits.iter().copied().collect();
        report.compare((file.name, case), "logits", &found, &reference, 1e-12);
    }
    let train = Inputs::new(train_features.view(), train_logits.view(), false)
        .and_then(|inputs| TrainInputs::new(inputs, &labels))
        .and_then(|train| train.with_head(weight.view(), bias.view()))
        .map_err(|error| file.refused(case)(&error))?;
    let setting =
        |library: &str, name: &str| at(&file.json, &["params", library, name]).and_then(number);
    let bench = Bench {
        train,
        features: test_features.view(),
        logits: test_logits.view(),
        neighbours: setting("oo.knn", "k")
            .or_else(|| setting("po.knn", "k"))
            .map_or(5, |k| k as usize),
        vim: setting("oo.vim", "dim")
            .or_else(|| setting("po.vim", "dim"))
            .map(|dim| dim as usize),
        neco: setting("mm.neco", "dim").map_or(NecoComponents::Variance(0.9), |dim| {
            NecoComponents::Fixed(dim as usize)
        }),
        openmax: ["tail", "revised"].map(|name| setting("openmax", name).unwrap_or(0.0) as usize),
        members: file
            .tensor_names()
            .iter()
            .filter(|name| name.starts_with("member_"))
            .map(|name| file.matrix(name))
            .collect::<Result<_>>()?,
    };

    let ours = check_formulas(file, case, &bench, report)?;
    check_libraries(file, case, &ours, report)
}

/// The entries of an object of the file, none where it is absent.
fn section<'f>(file: &'f File, key: &str) -> impl Iterator<Item = (&'f String, &'f Value)> {
    file.json
        .get(key)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

/// Every score against its formula in f64; our scores by key.
fn check_formulas<'f>(
    file: &'f File,
    case: &str,
    bench: &Bench,
    report: &mut Report,
) -> Result<BTreeMap<&'f str, Vec<f64>>> {
    let mut ours = BTreeMap::new();
    for (key, reference) in section(file, "own_f64") {
        let reference = numbers(reference).ok_or_else(|| file.missing("list of numbers", key))?;
        let quantity = format!("{key}, f64 formula");
        match bench.score(key) {
            Ok(found) => {
                report.compare((file.name, case), &quantity, &found, &reference, 1e-9);
                ours.insert(key.as_str(), found);
            }
            Err(error) => report.record(
                file.name,
                case,
                &format!("{quantity}: {error}"),
                f64::NAN,
                1e-9,
            ),
        }
    }
    Ok(ours)
}

/// Our scores, in the sign of each library, against the library's.
fn check_libraries(
    file: &File,
    case: &str,
    ours: &BTreeMap<&str, Vec<f64>>,
    report: &mut Report,
) -> Result<()> {
    for (library, entry) in section(file, "library_to_own") {
        let key = entry
            .get(0)
            .and_then(Value::as_str)
            .ok_or_else(|| file.missing("key", library))?;
        let sign = entry
            .get(1)
            .and_then(number)
            .ok_or_else(|| file.missing("sign", library))?;
        let Some(found) = ours.get(key) else { continue };
        let found: Vec<f64> = found.iter().map(|score| sign * score).collect();
        let reference = file.numbers(&file.json, &["scores", library])?;
        report.compare(
            (file.name, case),
            &format!("{library}, library in f32"),
            &found,
            &reference,
            2e-5,
        );
    }
    Ok(())
}

struct Bench<'a> {
    train: TrainInputs<'a>,
    features: ArrayView2<'a, f64>,
    logits: ArrayView2<'a, f64>,
    neighbours: usize,
    vim: Option<usize>,
    neco: NecoComponents,
    /// Tail and revised classes.
    openmax: [usize; 2],
    /// Logits of other networks.
    members: Vec<Array2<f64>>,
}

impl Bench<'_> {
    /// The scores that the reference calls `key`, in its own sign.
    fn score(&self, key: &str) -> collapse_ood::Result<Vec<f64>> {
        let train = &self.train;
        let mahalanobis = |relative, normalize, covariance| {
            let options = MahalanobisOptions {
                relative,
                normalize,
                covariance,
            };
            Mahalanobis::fit(train, options).and_then(|detector| self.run(&detector))
        };
        let divided = PooledCovariance::MaximumLikelihood;
        let scatter = PooledCovariance::Scatter { ridge: 1e-6 };
        match key {
            "msp" => self.run(&MaxSoftmax).map(probabilities),
            "entropy" => self.run(&SoftmaxEntropy).map(negated),
            "energy" => self.run(&Energy),
            "maxlogit" => self.run(&MaxLogit),
            "feature_norm" => self.run(&FeatureNorm),
            "mahalanobis" => mahalanobis(false, false, divided),
            "rmahalanobis" => mahalanobis(true, false, divided),
            "mahalanobis_pp" => mahalanobis(false, true, divided),
            "rmahalanobis_pp" => mahalanobis(true, true, divided),
            "mahalanobis_scatter_half" => mahalanobis(false, false, scatter),
            "rmahalanobis_scatter" => mahalanobis(true, false, scatter),
            "knn" => self.run(&Knn::fit(train, self.neighbours)?),
            "knn_sq" => self.run(&Knn::fit(train, self.neighbours)?.squared()),
            "vim" => self.run(&Vim::fit(train, self.vim)?),
            "vim_alpha" => Ok(vec![Vim::fit(train, self.vim)?.alpha()]),
            "residual" => self.run(&Residual::fit(train, self.vim)?),
            "fdbd_dist" => self.run(&Fdbd::fit(train, FdbdScale::DistanceToMean)?),
            "fdbd_norm" => self.run(&Fdbd::fit(train, FdbdScale::FeatureNorm)?),
            "fdbd_dist_mean" => self.run(&Fdbd::fit(train, FdbdScale::MeanDistanceToMean)?),
            "she" => self.run(&She::fit(train)?),
            "neco" => self.run(&Neco::fit(train, self.neco)?),
            "neco_times_maxlogit" => self.run(&Neco::fit(train, self.neco)?.times_max_logit()),
            "neco_raw_times_maxlogit" => self.run(
                &Neco::fit(train, self.neco)?
                    .on_raw_features()
                    .times_max_logit(),
            ),
            "gmm_priors" => self.run(&GmmWithPriors::fit(train, 1e-6)?),
            "gmm_ddu" => self.run(&Gmm::fit(
                train,
                GmmSpace::Features,
                Covariance::Full,
                Jitter::Fixed(0.0),
            )?),
            "kl_matching" => self.run(&KlMatching::fit(train)?),
            "grad_norm" => self.run(&GradNorm),
            "openmax" => self.openmax(),
            "openmax_unknown" => Ok(self.openmax()?.into_iter().map(OpenMax::unknown).collect()),
            "ensemble_entropy" => self.run(&Ensemble(EnsembleMeasure::Entropy)),
            "ensemble_mutual_information" => {
                self.run(&Ensemble(EnsembleMeasure::MutualInformation))
            }
            _ => self.score_with_setting(key),
        }
    }

    fn openmax(&self) -> collapse_ood::Result<Vec<f64>> {
        let [tail, revised] = self.openmax;
        self.run(&OpenMax::fit(&self.train, tail, revised)?)
    }

    /// Scores whose key carries a setting.
    fn score_with_setting(&self, key: &str) -> collapse_ood::Result<Vec<f64>> {
        let train = &self.train;
        let between = |start: &str, end: &str| -> Option<f64> {
            key.strip_prefix(start)
                .and_then(|rest| rest.strip_suffix(end))
                .and_then(|text| text.parse().ok())
        };
        if let Some(alpha) = between("nci_a", "") {
            return self.run(&Nci::fit(train, alpha)?);
        }
        if let Some(k) = between("nnguide_k", "") {
            return self.run(&NnGuide::fit(train, k as usize)?);
        }
        if let Some(percentile) = between("react_threshold", "") {
            return Ok(vec![React::fit(train, percentile)?.threshold()]);
        }
        if let Some(percentile) = between("react", "_energy") {
            return self.run(&React::fit(train, percentile)?);
        }
        if let Some(percentile) = between("dice", "_energy") {
            return self.run(&Dice::fit(train, percentile)?);
        }
        if let Some(share) = between("lts", "") {
            return self.run(&Lts::new(share / 100.0)?);
        }
        let rectified = [
            ("vra_clip", VraVariant::ClipFeatures),
            ("vra", VraVariant::Suppress),
        ];
        for (prefix, variant) in rectified {
            if let Some(rest) = key.strip_prefix(prefix)
                && let Some((Ok(lower), Ok(upper))) = rest
                    .split_once('_')
                    .map(|(lower, upper)| (lower.parse(), upper.parse()))
            {
                return self.run(&Vra::fit(train, variant, lower, upper)?);
            }
        }
        let shapes = [
            ("ash_b", AshVariant::Binarize),
            ("ash_p", AshVariant::Prune),
            ("ash_s", AshVariant::Scale),
            ("scale", AshVariant::ScaleAll),
        ];
        for (prefix, variant) in shapes {
            if let Some(percentile) = between(prefix, "_energy") {
                return self.run(&Ash::fit(train, variant, percentile)?);
            }
        }
        let n_classes = self.logits.ncols();
        if let Some(gamma) = between("gen_clamped_mean_g", "") {
            let sums = self.run(&Gen::new(gamma, n_classes)?.with_clamp(1e-7))?;
            return Ok(sums.into_iter().map(|sum| sum / n_classes as f64).collect());
        }
        if let Some((Ok(gamma), Ok(largest))) = key
            .strip_prefix("gen_g")
            .and_then(|rest| rest.split_once("_M"))
            .map(|(gamma, largest)| (gamma.parse(), largest.parse()))
        {
            return self.run(&Gen::new(gamma, largest)?);
        }
        Err(OodError::UnknownDetector {
            name: key.to_owned(),
            known: "the keys of the reference schema".into(),
        })
    }

    /// All rows; where a score is undefined for some, row by row with NaN for those, as the references have it.
    fn run(&self, detector: &dyn Detector) -> collapse_ood::Result<Vec<f64>> {
        let members = self.members.iter().map(|member| member.view()).collect();
        let whole = Inputs::new(self.features.view(), self.logits.view(), false)?;
        let whole = whole.with_members(members)?;
        if let Ok(scores) = detector.score(&whole) {
            return Ok(scores.to_vec());
        }
        (0..self.features.nrows())
            .map(|row| {
                let features = self.features.slice(s![row..=row, ..]);
                let inputs = Inputs::new(features, self.logits.slice(s![row..=row, ..]), false)?;
                match detector.score(&inputs) {
                    Ok(score) => Ok(score[0]),
                    Err(OodError::Undefined { .. }) => Ok(f64::NAN),
                    Err(error) => Err(error),
                }
            })
            .collect()
    }
}

/// The references give the probability itself.
fn probabilities(scores: Vec<f64>) -> Vec<f64> {
    scores.into_iter().map(MaxSoftmax::probability).collect()
}

fn negated(scores: Vec<f64>) -> Vec<f64> {
    scores.into_iter().map(|score| -score).collect()
}
