//! The images that a run is measured on, and what its network says about them.

use collapse_data::{Benchmark, Parts, View};
use collapse_evaluate::{FeatureSplits, Split};
use collapse_models::Model;
use collapse_train::{HeldOutImages, extract};

use crate::error::Error;
use crate::plan::RunPlan;
use crate::work::Work;

/// Images of one forward pass when features are extracted.
pub(crate) const EXTRACTION_BATCH: usize = 256;
/// The part that is measured on the way is the same in every run.
const PART_SEED: u64 = 0;

/// The images of every split.
pub(crate) struct SplitImages {
    pub(crate) train: View,
    validation: View,
    test: View,
    ood: Vec<View>,
}

impl SplitImages {
    pub(crate) fn new(benchmark: &Benchmark, parts: &Parts) -> Self {
        Self {
            train: parts.train.view().clone(),
            validation: parts.validation.clone(),
            test: benchmark.id().test(),
            ood: benchmark.ood().to_vec(),
        }
    }

    /// At most `limit` images of each, as many of each class.
    fn part(&self, limit: usize) -> Self {
        let part = |view: &View| view.part(limit, PART_SEED);
        Self {
            train: part(&self.train),
            validation: part(&self.validation),
            test: part(&self.test),
            ood: self.ood.iter().map(part).collect(),
        }
    }

    fn views(&self) -> impl Iterator<Item = &View> {
        let held_out = [&self.train, &self.validation, &self.test];
        held_out.into_iter().chain(&self.ood)
    }

    /// Images of each split: training, validation, test, then every OoD set.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.views().map(View::len).collect()
    }

    fn total(&self) -> usize {
        self.views().map(View::len).sum()
    }

    /// The features of every split of the network after `epoch`.
    pub(crate) fn extract(
        &self,
        model: &mut dyn Model,
        plan: &RunPlan,
        epoch: usize,
        work: &Work<'_>,
    ) -> Result<FeatureSplits, Error> {
        let mut after_batch = |images: usize| {
            work.observer.measured(images as u64);
            work.stop.go_on()
        };
        let mut of = |name: &str, view: &View, split: &str| -> Result<Split, Error> {
            let metadata = [
                ("dataset", view.name().to_owned()),
                ("split", split.to_owned()),
                ("epoch", epoch.to_string()),
                ("seed", plan.seed.to_string()),
                ("group", plan.group.clone()),
            ];
            let images = HeldOutImages(view);
            match extract(
                model,
                &images,
                EXTRACTION_BATCH,
                &metadata,
                &mut after_batch,
            ) {
                Err(collapse_train::Error::Stopped) => Err(Error::Interrupted),
                features => Ok(Split::new(name, features?)),
            }
        };
        Ok(FeatureSplits {
            train: Some(of("train", &self.train, "train")?),
            validation: Some(of("validation", &self.validation, "validation")?),
            test: of("test", &self.test, "test")?,
            ood: self
                .ood
                .iter()
                .map(|view| of(view.name(), view, "ood"))
                .collect::<Result<_, Error>>()?,
        })
    }
}

/// What is measured of a run: everything in its whole evaluations, a part at the other epochs where the plan says so.
pub(crate) struct Measured {
    pub(crate) all: SplitImages,
    part: Option<SplitImages>,
}

impl Measured {
    pub(crate) fn new(benchmark: &Benchmark, parts: &Parts, plan: &RunPlan) -> Self {
        let all = SplitImages::new(benchmark, parts);
        let part = plan.measure_images.map(|limit| all.part(limit));
        Self { all, part }
    }

    /// The images that are measured after `epoch`.
    pub(crate) fn at(&self, plan: &RunPlan, epoch: usize) -> &SplitImages {
        match &self.part {
            Some(part) if !plan.evaluate_at.contains(&epoch) => part,
            _ => &self.all,
        }
    }

    /// Images measured after these epochs.
    pub(crate) fn images_after(&self, plan: &RunPlan, epochs: &[usize]) -> u64 {
        let images = epochs
            .iter()
            .map(|&epoch| self.at(plan, epoch).total() as u64);
        images.sum()
    }

    /// Images measured in the whole run.
    pub(crate) fn images(&self, plan: &RunPlan) -> u64 {
        self.images_after(plan, &plan.measured_before_last()) + self.all.total() as u64
    }
}
