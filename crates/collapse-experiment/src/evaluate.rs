//! The figures of one network from what it says about its splits; no training, no images.

use collapse_features::FeatureSet;
use collapse_ood::metrics::{calibration, detection, temperature_optimum};
use collapse_ood::{AnyDetector, Fitted, Inputs, Settings, TrainInputs, fit_all, fit_named};
use collapse_results::{
    Defined, Detection, Evaluation, Geometry, Histogram, OodResult, ScoreId, SetId, Skipped,
    TemperatureScaling,
};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The density that the claims are about.
const MAIN_SCORE: ScoreId = ScoreId::GMM_FEATURES;
/// Scores whose histograms are kept.
const DRAWN_SCORES: [ScoreId; 2] = [MAIN_SCORE, ScoreId::MAX_SOFTMAX];
/// Bins of a histogram.
const BINS: usize = 48;
/// How far below the test scores a histogram begins, in ranges of the test scores.
const FAR: f64 = 2.0;
/// Share of samples that may fall outside a histogram's range at either end; they are counted in
/// its outermost bins.
const TAIL: f64 = 0.005;

/// Feature sets of one network.
#[derive(Clone, Debug)]
pub struct Splits {
    /// The fitted part of the training images; densities, geometry and detectors are fitted here.
    pub train: FeatureSet,
    /// The validation part; only the temperature is chosen here.
    pub validation: Option<FeatureSet>,
    /// The in-distribution test set.
    pub test: FeatureSet,
    /// OoD sets by name.
    pub ood: Vec<(String, FeatureSet)>,
}

/// What is measured along the way of training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// NC measures on the training split; `None` where they are undefined.
    pub geometry: Option<Geometry>,
    /// Why they are undefined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub geometry_undefined: Option<String>,
    /// Accuracy on the validation split.
    pub validation_accuracy: Option<f64>,
    /// AUROC of the feature density per OoD set.
    pub auroc: Vec<(SetId, f64)>,
}

/// Every score and metric, with detectors fitted on the training split.
///
/// Detectors that cannot be fitted or applied are listed with the reason, never left out silently.
pub fn evaluate(splits: &Splits, epoch: usize) -> Result<Evaluation, Error> {
    let prepared = Prepared::new(splits)?;
    let train = prepared.train(splits)?;
    let fitted = fit_all(&train, &Settings::default());
    evaluate_fitted(splits, &prepared, &fitted, epoch)
}

/// Geometry, validation accuracy and the feature density's AUROC: cheap enough for many epochs.
pub fn measure(splits: &Splits) -> Result<Measurement, Error> {
    let prepared = Prepared::new(splits)?;
    let train = prepared.train(splits)?;
    let fitted = fit_named(&train, &Settings::default(), [MAIN_SCORE.as_str()])?;
    let scores = score_sets(&prepared, &fitted)?;
    let (geometry, geometry_undefined) = geometry_where_defined(splits)?.into_fields();
    let validation_accuracy = match &splits.validation {
        Some(validation) => Some(accuracy_of(validation)?),
        None => None,
    };
    let mut auroc = Vec::new();
    for set in &scores.ood {
        if let (Some(id), Some(ood)) = (
            find(&scores.test, MAIN_SCORE.as_str()),
            find(&set.scores, MAIN_SCORE.as_str()),
        ) {
            auroc.push((
                SetId::from(set.name.clone()),
                collapse_ood::metrics::auroc(id, ood)?,
            ));
        }
    }
    Ok(Measurement {
        geometry,
        geometry_undefined,
        validation_accuracy,
        auroc,
    })
}

/// Logits of every split, computed once.
struct Prepared<'a> {
    train: std::borrow::Cow<'a, ndarray::Array2<f64>>,
    test: Inputs<'a>,
    ood: Vec<(&'a str, Inputs<'a>)>,
}

impl<'a> Prepared<'a> {
    fn new(splits: &'a Splits) -> Result<Self, Error> {
        let inputs = |set: &'a FeatureSet| -> Result<Inputs<'a>, Error> {
            let Some(logits) = &set.logits else {
                return Err(Error::LogitsNotFilled);
            };
            Ok(Inputs::new(set.features.view(), logits.view(), set.l2())?)
        };
        Ok(Self {
            train: splits.train.logits()?,
            test: inputs(&splits.test)?,
            ood: splits
                .ood
                .iter()
                .map(|(name, set)| Ok((name.as_str(), inputs(set)?)))
                .collect::<Result<_, Error>>()?,
        })
    }

    fn train<'b>(&'b self, splits: &'b Splits) -> Result<TrainInputs<'b>, Error> {
        let set = &splits.train;
        let labels = set.labels_below(self.train.ncols())?;
        let inputs = Inputs::new(set.features.view(), self.train.view(), set.l2())?;
        let train = TrainInputs::new(inputs, labels)?;
        Ok(match &set.head {
            Some(head) => train.with_head(head.weight.view(), head.bias.view())?,
            None => train,
        })
    }
}

/// Scores of one set by detector name.
type Scores = Vec<(&'static str, Vec<f64>)>;

struct OodScores {
    name: String,
    scores: Scores,
}

/// Scores of the test and OoD sets by every detector that could score all of them.
struct SetScores {
    test: Scores,
    ood: Vec<OodScores>,
    failed: Vec<Skipped>,
}

impl SetScores {
    /// (set, score name, one confidence a sample) for `test` and every OoD set.
    fn iter(&self) -> impl Iterator<Item = (&str, &'static str, &[f64])> {
        let test = self
            .test
            .iter()
            .map(|(score, values)| ("test", *score, values.as_slice()));
        let ood = self.ood.iter().flat_map(|set| {
            set.scores
                .iter()
                .map(|(score, values)| (set.name.as_str(), *score, values.as_slice()))
        });
        test.chain(ood)
    }
}

fn score_sets(prepared: &Prepared<'_>, fitted: &Fitted) -> Result<SetScores, Error> {
    let mut failed: Vec<Skipped> = Vec::new();
    let mut scores_of = |inputs: &Inputs<'_>| -> Scores {
        let mut scores = Vec::new();
        for (name, outcome) in fitted.score_all(inputs) {
            match outcome {
                Ok(values) => scores.push((name, values.to_vec())),
                Err(error) => failed.push(Skipped {
                    score: ScoreId::from(name),
                    reason: error.to_string(),
                }),
            }
        }
        scores
    };
    let test = scores_of(&prepared.test);
    let ood = prepared
        .ood
        .iter()
        .map(|(name, inputs)| OodScores {
            name: (*name).to_owned(),
            scores: scores_of(inputs),
        })
        .collect();
    Ok(SetScores { test, ood, failed })
}

fn find<'s>(scores: &'s Scores, name: &str) -> Option<&'s [f64]> {
    scores
        .iter()
        .find(|(score, _)| *score == name)
        .map(|(_, values)| values.as_slice())
}

fn evaluate_fitted(
    splits: &Splits,
    prepared: &Prepared<'_>,
    fitted: &Fitted,
    epoch: usize,
) -> Result<Evaluation, Error> {
    let scores = score_sets(prepared, fitted)?;
    let Some(logits) = prepared.test.logits() else {
        return Err(Error::LogitsNotFilled);
    };
    let labels = splits.test.labels_below(logits.ncols())?;
    let plain = calibration(logits, labels, 1.0)?;
    let scaling = match best_temperature(splits)? {
        Defined::Value(temperature) => Defined::Value(TemperatureScaling {
            temperature,
            ece: calibration(logits, labels, temperature)?.ece,
        }),
        Defined::Undefined(reason) => Defined::Undefined(reason),
    };

    let mut ood = Vec::new();
    for set in &scores.ood {
        for (name, values) in &set.scores {
            if let Some(id) = find(&scores.test, name) {
                ood.push(OodResult {
                    set: SetId::from(set.name.clone()),
                    score: ScoreId::from(*name),
                    detection: detect(id, values)?,
                });
            }
        }
    }
    let unfitted = fitted.skipped.iter().map(|skipped| Skipped {
        score: ScoreId::from(skipped.name.clone()),
        reason: skipped.reason.clone(),
    });
    let mut skipped: Vec<Skipped> = unfitted.collect();
    skipped.extend(scores.failed.iter().cloned());
    skipped.dedup();
    Ok(Evaluation {
        epoch,
        accuracy: plain.accuracy,
        ece: plain.ece,
        scaling,
        nll: plain.nll,
        jitter_features: jitter(fitted, &MAIN_SCORE),
        jitter_logits: jitter(fitted, &ScoreId::GMM_LOGITS),
        geometry: geometry_where_defined(splits)?,
        geometry_counterpart: None,
        histograms: DRAWN_SCORES
            .iter()
            .flat_map(|score| histograms(&scores, score))
            .collect(),
        ood,
        skipped,
    })
}

fn best_temperature(splits: &Splits) -> Result<Defined<f64>, Error> {
    let Some(validation) = &splits.validation else {
        return Ok(Defined::Undefined(
            "there is no validation split".to_owned(),
        ));
    };
    let logits = validation.logits()?;
    let labels = validation.labels_below(logits.ncols())?;
    match temperature_optimum(logits.view(), labels) {
        Ok(temperature) => Ok(Defined::Value(temperature)),
        Err(undefined @ collapse_ood::Error::Undefined { .. }) => {
            Ok(Defined::Undefined(undefined.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

fn geometry_where_defined(splits: &Splits) -> Result<Defined<Geometry>, Error> {
    match geometry(splits) {
        Ok(geometry) => Ok(Defined::Value(geometry)),
        Err(undefined @ (Error::Geometry(_) | Error::HeadMissing)) => {
            Ok(Defined::Undefined(undefined.to_string()))
        }
        Err(error) => Err(error),
    }
}

fn detect(id: &[f64], ood: &[f64]) -> Result<Detection, Error> {
    let found = detection(id, ood)?;
    Ok(Detection {
        auroc: found.auroc,
        aupr_in: found.aupr_in,
        aupr_out: found.aupr_out,
        fpr95_id_positive: found.fpr95_id_positive,
        fpr95_ood_positive: found.fpr95_ood_positive,
        detection_error: found.detection_error,
    })
}

fn jitter(fitted: &Fitted, score: &ScoreId) -> Option<f64> {
    match fitted.get(score.as_str()) {
        Some(AnyDetector::Gmm(gmm)) => Some(gmm.mixture().jitter()),
        _ => None,
    }
}

fn accuracy_of(set: &FeatureSet) -> Result<f64, Error> {
    let logits = set.logits()?;
    Ok(collapse_ood::metrics::accuracy(
        logits.view(),
        set.labels_below(logits.ncols())?,
    )?)
}

/// NC1 to NC4 of the training split, on what the head sees.
pub fn geometry(splits: &Splits) -> Result<Geometry, Error> {
    let set = &splits.train;
    let Some(head) = &set.head else {
        return Err(Error::HeadMissing);
    };
    let n_classes = head.weight.nrows();
    let features = set.head_features();
    let head = collapse_geometry::Head {
        weight: head.weight.view(),
        bias: head.bias.view(),
    };
    let found = collapse_geometry::measure(
        features.view(),
        set.labels_below(n_classes)?,
        n_classes,
        head,
    )?;
    Ok(Geometry {
        nc1: found.variability.nc1,
        nc1_over_classes: found.variability.nc1_over_classes,
        nc2_equinorm_means: found.structure.nc2_norms_means,
        nc2_equinorm_classifier: found.structure.nc2_norms_classifier,
        nc2_equiangular_means: found.structure.nc2_angles_means,
        nc2_equiangular_classifier: found.structure.nc2_angles_classifier,
        nc3: found.structure.nc3,
        nc4: found.nc4,
    })
}

/// Histograms of one score over a range common to all sets.
fn histograms(scores: &SetScores, score: &ScoreId) -> Vec<Histogram> {
    let sets: Vec<(&str, &[f64])> = scores
        .iter()
        .filter(|(_, name, _)| *name == score.as_str())
        .map(|(set, _, values)| (set, values))
        .collect();
    let mut low = f64::INFINITY;
    let mut high = f64::NEG_INFINITY;
    let mut floor = f64::NEG_INFINITY;
    for (set, values) in &sets {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let cut = (TAIL * sorted.len() as f64) as usize;
        let (first, last) = (sorted[cut], sorted[sorted.len() - 1 - cut]);
        low = low.min(first);
        high = high.max(last);
        if *set == SetId::TEST.as_str() {
            // Far samples of a density may lie arbitrarily low and would squeeze all else into one bin.
            floor = first - FAR * (last - first);
        }
    }
    low = low.max(floor);
    if low.partial_cmp(&high) != Some(std::cmp::Ordering::Less) {
        return Vec::new();
    }
    let bin = |value: f64| {
        let position = (value - low) / (high - low) * BINS as f64;
        (position.max(0.0) as usize).min(BINS - 1)
    };
    sets.iter()
        .map(|(set, values)| {
            let mut counts = vec![0; BINS];
            for &value in *values {
                counts[bin(value)] += 1;
            }
            Histogram {
                score: score.clone(),
                set: SetId::from(*set),
                low,
                high,
                axis: None,
                counts,
            }
        })
        .collect()
}
