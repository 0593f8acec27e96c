//! The feature sets of one call, made to agree, and detectors kept by an earlier one.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use collapse_density::{Agreement, agreement as compare_densities};
use collapse_features::{FeatureSet, check_agreement, read};
use collapse_geometry::{ClassScatter, Collapse, Head, Variability, measure};
use collapse_ood::{AnyDetector, Fitted, Inputs, TrainInputs};
use serde::{Deserialize, Serialize};

use super::Args;

/// One feature set and where it came from.
pub struct Split {
    pub name: String,
    pub path: PathBuf,
    pub features: FeatureSet,
}

/// The sets of one call.
pub struct Sets {
    pub train: Option<Split>,
    pub validation: Option<Split>,
    pub test: Split,
    pub ood: Vec<Split>,
}

impl Split {
    fn open(name: &str, path: &Path) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            path: path.to_owned(),
            features: read(path)?,
        })
    }

    /// What detectors score.
    pub fn inputs(&self) -> Result<Inputs<'_>> {
        let set = &self.features;
        let inputs = match &set.logits {
            Some(logits) => Inputs::new(set.features.view(), logits.view(), set.l2()),
            None => Inputs::of_features(set.features.view(), set.l2()),
        };
        inputs.with_context(|| format!("in {}", self.path.display()))
    }

    /// What detectors are fitted on.
    pub fn train_inputs(&self) -> Result<TrainInputs<'_>> {
        let context = || format!("in {}", self.path.display());
        let set = &self.features;
        let labels = set.labels_below(set.n_classes().unwrap_or(usize::MAX));
        let train = TrainInputs::new(self.inputs()?, labels.with_context(context)?);
        let train = train.with_context(context)?;
        match &set.head {
            Some(head) => train
                .with_head(head.weight.view(), head.bias.view())
                .with_context(context),
            None => Ok(train),
        }
    }

    fn l2_stated(&self) -> Option<bool> {
        self.features
            .metadata
            .contains_key("l2")
            .then(|| self.features.l2())
    }
}

pub fn read_sets(args: &Args) -> Result<Sets> {
    let mut train = match &args.train {
        Some(path) => Some(Split::open("train", path)?),
        None => None,
    };
    let mut test = Split::open("test", &args.test)?;
    let mut validation = match &args.validation {
        Some(path) => Some(Split::open("validation", path)?),
        None => None,
    };
    let mut ood: Vec<Split> = Vec::new();
    for set in &args.ood {
        if set.name == "test" || ood.iter().any(|known| known.name == set.name) {
            bail!(
                "two sets are named {}; give each --ood a name of its own",
                set.name
            );
        }
        ood.push(Split::open(&set.name, &set.path)?);
    }
    let all: Vec<&mut Split> = train
        .iter_mut()
        .chain(validation.iter_mut())
        .chain([&mut test])
        .chain(ood.iter_mut())
        .collect();
    complete(args, all)?;
    Ok(Sets {
        train,
        validation,
        test,
        ood,
    })
}

/// Gives every set the normalisation, the head and the logits that follow from the others.
fn complete(args: &Args, mut sets: Vec<&mut Split>) -> Result<()> {
    let named: Vec<(&str, &FeatureSet)> = sets
        .iter()
        .map(|set| (set.name.as_str(), &set.features))
        .collect();
    check_agreement(&named)?;
    let l2 = match args.l2 {
        true => true,
        false => {
            let mut stated = sets.iter().filter_map(|set| Some((set, set.l2_stated()?)));
            let first = stated.next();
            if let Some((one, l2)) = &first
                && let Some((other, _)) = stated.find(|(_, other)| other != l2)
            {
                bail!(
                    "{} and {} disagree on whether the head saw normalised features (metadata l2); export both from \
                     one network, or say --l2",
                    one.path.display(),
                    other.path.display()
                );
            }
            first.is_some_and(|(_, l2)| l2)
        }
    };
    let head = sets.iter().find_map(|set| set.features.head.clone());
    for set in &mut sets {
        let features = &mut set.features;
        features.metadata.insert("l2".into(), l2.to_string());
        if features.head.is_none() {
            features.head.clone_from(&head);
        }
        if features.logits.is_none() && features.head.is_some() {
            features.logits = Some(features.logits()?.into_owned());
        }
    }
    Ok(())
}

/// NC measures of the training split: all of them with a head, the variability without.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Geometry {
    Whole(Box<Collapse>),
    Variability(Variability),
    Undefined { undefined: String },
}

/// `None` for features without labels.
pub fn geometry(train: &Split) -> Option<Geometry> {
    let set = &train.features;
    let labels = set.labels.as_deref()?;
    let features = set.head_features();
    let found = match &set.head {
        Some(head) => {
            let (weight, bias) = (head.weight.view(), head.bias.view());
            measure(
                features.view(),
                labels,
                weight.nrows(),
                Head { weight, bias },
            )
            .map(|found| Geometry::Whole(Box::new(found)))
        }
        None => {
            let n_classes = labels.iter().max().map_or(0, |label| label + 1);
            ClassScatter::new(n_classes, features.ncols())
                .and_then(|mut scatter| {
                    scatter.update(features.view(), labels)?;
                    scatter.variability()
                })
                .map(Geometry::Variability)
        }
    };
    Some(found.unwrap_or_else(|error| Geometry::Undefined {
        undefined: error.to_string(),
    }))
}

/// How far the labelled and the unlabelled density say the same of the test set, where both were fitted.
pub fn agreement(fitted: &Fitted, test: &Split) -> Option<Agreement> {
    let (Some(AnyDetector::Gmm(labelled)), Some(AnyDetector::Em(em))) =
        (fitted.get("gmm_features"), fitted.get("gmm_em"))
    else {
        return None;
    };
    let features = test.features.head_features();
    compare_densities(labelled.mixture(), em.mixture(), features.view()).ok()
}

/// Detectors in a file, with what they were fitted on.
#[derive(Serialize, Deserialize)]
pub struct Kept<F> {
    pub schema: String,
    pub code_version: String,
    pub n_features: usize,
    pub l2: bool,
    pub fitted: F,
}

/// Schema of files of detectors.
pub const KEPT: &str = "collapse.detectors/1";

pub fn load(path: &Path, sets: &Sets) -> Result<Fitted> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let broken = || format!("{} holds no detectors; make it with --save", path.display());
    let kept: Kept<Fitted> = match path.extension().is_some_and(|ending| ending == "json") {
        true => serde_json::from_slice(&bytes).with_context(broken)?,
        false => rmp_serde::from_slice(&bytes).with_context(broken)?,
    };
    if kept.schema != KEPT {
        bail!(
            "{} is of schema {}, expected {KEPT}; make it again with --save",
            path.display(),
            kept.schema
        );
    }
    let test = &sets.test;
    if kept.n_features != test.features.n_features() {
        bail!(
            "{} was fitted on {} features, {} has {}; both must come from the same network",
            path.display(),
            kept.n_features,
            test.path.display(),
            test.features.n_features()
        );
    }
    if kept.l2 != test.features.l2() {
        bail!(
            "{} was fitted with l2 = {}, {} says {}; both must come from the same network",
            path.display(),
            kept.l2,
            test.path.display(),
            test.features.l2()
        );
    }
    Ok(kept.fitted)
}
