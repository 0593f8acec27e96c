//! The feature sets of one network, made to agree.

use std::collections::BTreeSet;

use collapse_features::{FeatureSet, Head, check_agreement};
use collapse_numeric::argmax;
use collapse_ood::{Fitted, Inputs, Settings, Skipped, TrainInputs, detectors, fit_all, fit_named};
use ndarray::{Array1, Array2, s};

use crate::error::{Error, Result};

/// Rows whose logits are held against the head.
const CHECKED_ROWS: usize = 64;
/// How far two exports of one head may lie apart, as a share of its largest number: f16 and bf16 round.
const SAME_HEAD: f64 = 0.01;

/// Weight [C, D] and bias `[C]`.
type HeadRef<'a> = (&'a Array2<f64>, &'a Array1<f64>);

/// Whether two heads are one, but for rounding. Those of other shapes are told apart elsewhere.
pub(crate) fn same_head((weight, bias): HeadRef<'_>, (weight_b, bias_b): HeadRef<'_>) -> bool {
    let numbers = || weight.iter().chain(bias);
    let largest = numbers().fold(0.0, |largest: f64, x| largest.max(x.abs()));
    let mut pairs = numbers().zip(weight_b.iter().chain(bias_b));
    pairs.all(|(a, b)| (a - b).abs() <= SAME_HEAD * largest)
}

/// One feature set with its name in tables and what messages call it.
#[derive(Clone, Debug)]
pub struct Split {
    /// The name in tables: `train`, `validation`, `test`, or that of an out-of-distribution set.
    pub name: String,
    /// Where it came from, for messages: a path, or the name.
    pub origin: String,
    /// Features `[N, D]` and what belongs to them.
    pub features: FeatureSet,
    /// What other networks of an ensemble say of the same samples: logits `[N, C]` each.
    pub members: Vec<Array2<f64>>,
}

impl Split {
    /// A set that messages call by its name.
    #[must_use]
    pub fn new(name: &str, features: FeatureSet) -> Self {
        Self {
            name: name.to_owned(),
            origin: name.to_owned(),
            features,
            members: Vec::new(),
        }
    }

    /// The same set, called by where it came from.
    #[must_use]
    pub fn from_origin(mut self, origin: impl ToString) -> Self {
        self.origin = origin.to_string();
        self
    }

    /// How far the logits are from those of head and features: the largest gap among the first rows, as a share of the
    /// largest logit there; `None` where one is missing. Rounding leaves a thousandth; a head of another network, or features
    /// that are not what the head saw, some tenths and more.
    #[must_use]
    pub fn logits_gap(&self) -> Option<f64> {
        let (logits, head) = (self.features.logits.as_ref()?, self.features.head.as_ref()?);
        let some = 0..self.features.n_samples().min(CHECKED_ROWS);
        let own = head.logits(self.features.head_features().slice(some.clone()));
        let logits = logits.slice(s![some, ..]);
        let largest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
        let gap = largest(&mut own.iter().zip(&logits).map(|(a, b)| (a - b).abs()));
        let scale = largest(&mut logits.iter().map(|logit| logit.abs()));
        Some(gap / scale.max(f64::MIN_POSITIVE))
    }

    fn l2_stated(&self) -> Option<bool> {
        let features = &self.features;
        let stated = features.metadata.contains_key("l2");
        stated.then(|| features.l2())
    }

    /// What detectors score.
    pub(crate) fn inputs(&self) -> Result<Inputs<'_>> {
        let set = &self.features;
        let logits = set.logits.as_ref().map(|logits| logits.view());
        let inputs = Inputs::of_checked(set.features.view(), logits, set.l2());
        let inputs = inputs.owned_by(&set.features);
        let members: Vec<_> = self.members.iter().map(|member| member.view()).collect();
        match members.is_empty() {
            true => Ok(inputs),
            false => inputs
                .with_members(members)
                .map_err(Error::within(&self.origin)),
        }
    }

    /// The class of each row's largest logit, `[N]`, where there are logits.
    pub(crate) fn predicted(&self) -> Option<Vec<usize>> {
        let logits = self.features.logits.as_ref()?;
        Some(logits.rows().into_iter().map(argmax).collect())
    }

    /// The labels must be classes of the network, where it is known how many there are.
    fn check_labels(&self) -> Result<()> {
        let (Some(labels), Some(n_classes)) = (&self.features.labels, self.features.n_classes())
        else {
            return Ok(());
        };
        let Some(row) = labels.iter().position(|&label| label >= n_classes) else {
            return Ok(());
        };
        let from_one = labels.iter().all(|&label| (1..=n_classes).contains(&label));
        Err(Error::Labels {
            origin: self.origin.clone(),
            row,
            label: labels[row],
            n_classes,
            remedy: if from_one {
                "the labels count from 1: subtract 1 from each"
            } else {
                "labels count from 0: check that file and network are of one data set"
            },
        })
    }
}

/// The feature sets of one network as they were read or extracted.
#[derive(Clone, Debug)]
pub struct FeatureSplits {
    /// The training split; densities, geometry and detectors are fitted here. Not needed with detectors fitted before.
    pub train: Option<Split>,
    /// The validation split; only the temperature is chosen here.
    pub validation: Option<Split>,
    /// The in-distribution test split.
    pub test: Split,
    /// Out-of-distribution sets.
    pub ood: Vec<Split>,
}

impl FeatureSplits {
    /// All sets.
    pub fn sets(&self) -> impl Iterator<Item = &Split> {
        let train = self.train.iter().chain(&self.validation);
        train.chain([&self.test]).chain(&self.ood)
    }

    fn sets_mut(&mut self) -> impl Iterator<Item = &mut Split> {
        let train = self.train.iter_mut().chain(&mut self.validation);
        train.chain([&mut self.test]).chain(&mut self.ood)
    }

    /// Gives every set the normalisation, the head and the logits that follow from the others, and checks that all
    /// belong together. `l2` overrides the files' own word on whether the head saw normalised features.
    ///
    /// Where neither logits nor a head tell the number of classes, the classes are those that the training labels name,
    /// in their order: labels that start at 1 or have gaps are counted from 0.
    ///
    /// # Errors
    /// [`Error::SameName`]; [`Error::Heads`]; [`Error::Features`] for feature dimensions or numbers of classes that differ, and for numbers that are
    /// not finite; [`Error::L2`];
    /// [`Error::Labels`] for training, validation or test labels outside the network's classes.
    pub fn complete(mut self, l2: Option<bool>) -> Result<CompleteSplits> {
        let mut names = BTreeSet::from([self.test.name.as_str()]);
        if let Some(set) = self.ood.iter().find(|set| !names.insert(&set.name)) {
            return Err(Error::SameName {
                name: set.name.clone(),
            });
        }
        let named: Vec<(&str, &FeatureSet)> = self
            .sets()
            .map(|set| (set.origin.as_str(), &set.features))
            .collect();
        check_agreement(&named)?;
        let l2 = match l2 {
            Some(l2) => l2,
            None => self.l2()?,
        };
        let head = self.sets().find_map(|set| set.features.head.clone());
        for Split { features, .. } in self.sets_mut() {
            features.metadata.insert("l2".into(), l2.to_string());
            if features.head.is_none() {
                features.head.clone_from(&head);
            }
            if features.logits.is_none() && features.head.is_some() {
                features.logits = Some(features.logits()?.into_owned());
            }
        }
        for set in self.sets() {
            set.features.check(&set.origin)?;
        }
        self.check_heads()?;
        let judged = self.train.iter().chain(&self.validation);
        judged
            .chain([&self.test])
            .try_for_each(Split::check_labels)?;
        let classes = self.train.as_mut().and_then(count_from_zero);
        Ok(CompleteSplits {
            splits: self,
            classes,
        })
    }

    fn check_heads(&self) -> Result<()> {
        let heads = self
            .sets()
            .filter_map(|set| Some((set, set.features.head.as_ref()?)));
        let mut heads = heads.map(|(set, head)| (set, (&head.weight, &head.bias)));
        let Some((first, head)) = heads.next() else {
            return Ok(());
        };
        match heads.find(|(_, other)| !same_head(head, *other)) {
            None => Ok(()),
            Some((second, _)) => Err(Error::Heads {
                first: first.origin.clone(),
                second: second.origin.clone(),
            }),
        }
    }

    fn l2(&self) -> Result<bool> {
        let mut stated = self.sets().filter_map(|set| Some((set, set.l2_stated()?)));
        let Some((first, l2)) = stated.next() else {
            return Ok(false);
        };
        match stated.find(|(_, other)| *other != l2) {
            None => Ok(l2),
            Some((second, _)) => Err(Error::L2 {
                first: first.origin.clone(),
                second: second.origin.clone(),
            }),
        }
    }
}

/// Numbers the classes that occur from 0, where nothing else tells the classes; the labels in that order, if any moved.
fn count_from_zero(train: &mut Split) -> Option<Vec<usize>> {
    if train.features.n_classes().is_some() {
        return None;
    }
    let labels = train.features.labels.as_mut()?;
    let present: BTreeSet<usize> = labels.iter().copied().collect();
    let present: Vec<usize> = present.into_iter().collect();
    if present.last().is_none_or(|last| *last < present.len()) {
        return None;
    }
    for label in labels {
        *label = present.partition_point(|class| class < label);
    }
    Some(present)
}

/// Feature sets that belong together: what [`FeatureSplits::complete`] makes.
#[derive(Clone, Debug)]
pub struct CompleteSplits {
    splits: FeatureSplits,
    classes: Option<Vec<usize>>,
}

impl CompleteSplits {
    /// The training split, where there is one.
    #[must_use]
    pub fn train(&self) -> Option<&Split> {
        self.splits.train.as_ref()
    }

    /// The validation split, where there is one.
    #[must_use]
    pub fn validation(&self) -> Option<&Split> {
        self.splits.validation.as_ref()
    }

    /// The in-distribution test split.
    #[must_use]
    pub fn test(&self) -> &Split {
        &self.splits.test
    }

    /// The out-of-distribution sets.
    #[must_use]
    pub fn ood(&self) -> &[Split] {
        &self.splits.ood
    }

    /// Classes C of the network, where logits or a head tell.
    #[must_use]
    pub fn n_classes(&self) -> Option<usize> {
        let mut sets = self.splits.sets();
        sets.find_map(|set| set.features.n_classes())
    }

    /// The head of the sets, where one has it.
    #[must_use]
    pub fn head(&self) -> Option<&Head> {
        let mut sets = self.splits.sets();
        sets.find_map(|set| set.features.head.as_ref())
    }

    /// All sets.
    pub fn sets(&self) -> impl Iterator<Item = &Split> {
        self.splits.sets()
    }

    /// The labels of classes 0, 1, … of the training split where they were not these numbers.
    #[must_use]
    pub fn classes(&self) -> Option<&[usize]> {
        self.classes.as_deref()
    }

    /// Fits every detector on the training split; those that it does not allow are listed with the reason. The scores of
    /// an ensemble are among them where the test split has [members](Split::members).
    ///
    /// # Errors
    /// [`Error::NoTraining`]; [`Error::NoLabels`].
    pub fn fit_all(&self, settings: &Settings) -> Result<Fitted> {
        let train = self.train_inputs()?;
        let mut fitted = fit_all(&train, settings);
        if !self.test().members.is_empty() {
            for entry in detectors().iter().filter(|entry| entry.needs_members()) {
                match entry.fit(&train, settings) {
                    Ok(detector) => fitted.detectors.push(detector),
                    Err(error) => fitted.skipped.push(Skipped {
                        name: entry.id(),
                        reason: error.to_string(),
                    }),
                }
            }
        }
        Ok(fitted)
    }

    /// Fits the named detectors on the training split, in the order of the names.
    ///
    /// # Errors
    /// [`Error::NoTraining`]; [`Error::NoLabels`]; [`Error::In`] for an unknown name or the first detector that fails.
    pub fn fit_named<'n>(
        &self,
        settings: &Settings,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<Fitted> {
        let train = self.train_inputs()?;
        let origin = self.train().map_or("train", |train| &train.origin);
        fit_named(&train, settings, names).map_err(Error::within(origin))
    }

    fn train_inputs(&self) -> Result<TrainInputs<'_>> {
        let train = self.train().ok_or(Error::NoTraining)?;
        let Some(labels) = &train.features.labels else {
            return Err(Error::NoLabels {
                origin: train.origin.clone(),
                purpose: "fit detectors",
            });
        };
        let within = || Error::within(&train.origin);
        let inputs = TrainInputs::new(train.inputs()?, labels).map_err(within())?;
        match &train.features.head {
            Some(head) => inputs
                .with_head(head.weight.view(), head.bias.view())
                .map_err(within()),
            None => Ok(inputs),
        }
    }
}
