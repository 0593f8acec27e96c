//! [`InDistribution`] and [`Benchmark`]: which set is in-distribution, which are not, and their splits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::batch::{Augmentation, Normalization, Role, TrainingView, View};
use crate::controls::Control;
use crate::{
    Cache, Error, Fit, ImageSet, ImageShape, LoadOptions, Part, load, load_path, registry,
};

/// Where the normalisation constants come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Constants {
    /// Mean and standard deviation of all training images.
    Measured,
    /// Mean .4914 .4822 .4465, standard deviation .2023 .1994 .2010. Source: METHOD section 2 (DDU); the
    /// deviations are smaller than CIFAR-10's true ones, .2470 .2435 .2616.
    Ddu,
}

/// An in-distribution set with its constants: the one source of [`View`]s.
#[derive(Clone, Debug)]
pub struct InDistribution {
    train: ImageSet,
    test: ImageSet,
    normalization: Normalization,
}

/// The training set, split.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Fitted.
    pub train: TrainingView,
    /// Held out.
    pub validation: View,
}

impl InDistribution {
    /// Takes a training and a test set of the same shape and classes.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when one is empty or unlabelled, or they differ in classes;
    /// [`Error::ShapeMismatch`].
    pub fn new(train: ImageSet, test: ImageSet, constants: Constants) -> Result<Self, Error> {
        for set in [&train, &test] {
            if set.is_empty() || set.labels().is_none() {
                return Err(Error::inconsistent(
                    set.name(),
                    "an in-distribution set needs images and labels",
                ));
            }
        }
        if train.classes() != test.classes() {
            return Err(Error::inconsistent(
                test.name(),
                "its classes differ from those of the training set",
            ));
        }
        check_shape(&test, train.shape())?;
        let normalization = match constants {
            Constants::Measured => {
                let measured = train.channel_statistics();
                if measured.std.iter().any(|&s| s <= 0.0) {
                    return Err(Error::inconsistent(
                        train.name(),
                        "a channel is constant; it cannot be normalised",
                    ));
                }
                Normalization::new(
                    measured.mean.iter().map(|&m| m as f32).collect(),
                    measured.std.iter().map(|&s| s as f32).collect(),
                )
            }
            Constants::Ddu if train.shape().channels == 3 => {
                Normalization::new(vec![0.4914, 0.4822, 0.4465], vec![0.2023, 0.1994, 0.2010])
            }
            Constants::Ddu => {
                return Err(Error::inconsistent(
                    train.name(),
                    "the DDU constants are for three channels",
                ));
            }
        };
        Ok(Self {
            train,
            test,
            normalization,
        })
    }

    /// The whole training set, decoded.
    #[must_use]
    pub fn train_set(&self) -> &ImageSet {
        &self.train
    }

    /// The test set, decoded.
    #[must_use]
    pub fn test_set(&self) -> &ImageSet {
        &self.test
    }

    /// The constants.
    #[must_use]
    pub fn normalization(&self) -> &Normalization {
        &self.normalization
    }

    /// Draws a tenth of the training images as validation part (rounded down, at least one when there are
    /// two images) by the seed's "split" stream; both parts keep the file's order.
    #[must_use]
    pub fn split(&self, seed: u64) -> Parts {
        let n = self.train.len();
        let mut order: Vec<usize> = (0..n).collect();
        crate::rng::shuffle(&mut crate::rng::stream(seed, "split", 0), &mut order);
        let n_validation = (n / 10).max(usize::from(n > 1));
        let mut validation = order[..n_validation].to_vec();
        let mut train = order[n_validation..].to_vec();
        validation.sort_unstable();
        train.sort_unstable();
        let view = |indices, role| {
            View::new(
                self.train.clone(),
                indices,
                self.normalization.clone(),
                role,
            )
        };
        Parts {
            train: TrainingView::new(view(train, Role::Train), Augmentation::default()),
            validation: view(validation, Role::Validation),
        }
    }

    /// The test set under the constants.
    #[must_use]
    pub fn test(&self) -> View {
        View::new(
            self.test.clone(),
            (0..self.test.len()).collect(),
            self.normalization.clone(),
            Role::Test,
        )
    }

    /// An out-of-distribution set under these constants.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`]; [`Error::Inconsistent`] when the set is empty.
    pub fn ood(&self, set: ImageSet) -> Result<View, Error> {
        check_shape(&set, self.train.shape())?;
        if set.is_empty() {
            return Err(Error::inconsistent(
                set.name(),
                "an out-of-distribution set needs at least one image",
            ));
        }
        let indices = (0..set.len()).collect();
        Ok(View::new(
            set,
            indices,
            self.normalization.clone(),
            Role::Ood,
        ))
    }
}

fn check_shape(set: &ImageSet, expected: ImageShape) -> Result<(), Error> {
    if set.shape() == expected {
        return Ok(());
    }
    Err(Error::ShapeMismatch {
        name: set.name().to_string(),
        found: set.shape().to_string(),
        expected: expected.to_string(),
    })
}

/// What [`Benchmark::open`] looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BenchmarkOptions {
    /// In-distribution set, a name of the registry.
    pub id: String,
    /// Out-of-distribution sets: names of the registry, whose test parts are taken, and of [`Control`]s.
    pub ood: Vec<String>,
    /// Further out-of-distribution sets by name and path: folders or archives of images, parquet files.
    pub extra: Vec<(String, PathBuf)>,
    /// Where decoded sets are kept.
    pub cache: Option<Cache>,
}

impl Default for BenchmarkOptions {
    /// CIFAR-10 against SVHN, CIFAR-100 and Tiny ImageNet. Source: METHOD section 2.
    fn default() -> Self {
        Self {
            id: "cifar10".to_string(),
            ood: ["svhn", "cifar100", "tiny-imagenet"]
                .map(String::from)
                .to_vec(),
            extra: Vec::new(),
            cache: Cache::default_location(),
        }
    }
}

/// An in-distribution set and the out-of-distribution sets it is tested against.
#[derive(Clone, Debug)]
pub struct Benchmark {
    name: String,
    id: InDistribution,
    ood: Vec<View>,
    /// Images left out as duplicates, by set.
    left_out: BTreeMap<String, usize>,
}

/// Seed of the controls that are asked for by name: the same images in every run.
const CONTROL_SEED: u64 = 0;

impl Benchmark {
    /// Puts a benchmark together; sets of another shape are brought to the in-distribution shape by
    /// resizing (bilinear with antialias) and recolouring.
    ///
    /// # Errors
    /// Those of [`ImageSet::converted`] and [`InDistribution::ood`]; [`Error::Inconsistent`] when two
    /// out-of-distribution sets share a name.
    pub fn new(
        name: impl Into<String>,
        id: InDistribution,
        ood: Vec<ImageSet>,
    ) -> Result<Self, Error> {
        let mut benchmark = Self {
            name: name.into(),
            id,
            ood: Vec::with_capacity(ood.len()),
            left_out: BTreeMap::new(),
        };
        for set in ood {
            let shape = benchmark.id.train.shape();
            benchmark.push(set.converted(shape, Fit::Resize)?)?;
        }
        Ok(benchmark)
    }

    /// The sample compiled into the crate: eight classes of Fashion-MNIST against its two held-out
    /// classes (`fashion-heldout`, near) and digits (`mnist`, far), 28×28 grey.
    ///
    /// # Errors
    /// Only if the compiled-in file were damaged.
    #[cfg(feature = "embedded")]
    pub fn embedded() -> Result<Self, Error> {
        let crate::Quick {
            id_train,
            id_test,
            near,
            far,
        } = crate::quick()?;
        Self::new(
            "embedded",
            InDistribution::new(id_train, id_test, Constants::Measured)?,
            vec![near, far],
        )
    }

    /// A benchmark from files below `data_dir`, found by what they hold (see [`load`](crate::load)); without a
    /// folder, from the cache of the Hugging Face hub.
    ///
    /// # Errors
    /// [`Error::NotFound`] naming a missing set and how to fetch it; those of the readers.
    pub fn open(data_dir: Option<&Path>, options: &BenchmarkOptions) -> Result<Self, Error> {
        let info = registry::find(&options.id)?;
        let load_options = LoadOptions {
            cache: options.cache.clone(),
            ..LoadOptions::default()
        };
        let train = load(info.name, Part::Train, data_dir, &load_options)?;
        let test = load(info.name, Part::Test, data_dir, &load_options)?;
        let id = InDistribution::new(train, test, info.constants())?;
        Self::new(info.name, id, Vec::new())?
            .with_named(&options.ood, data_dir, options.cache.as_ref())?
            .with_extra(&options.extra, options.cache.as_ref())
    }

    /// The same benchmark with further out-of-distribution sets by name: of the registry (their test parts, found
    /// as [`load`](crate::load) finds them) or of a [`Control`], drawn with a fixed seed.
    ///
    /// # Errors
    /// Those of [`load`](crate::load) and [`Control::make`]; [`Error::Inconsistent`] when a name is taken.
    pub fn with_named(
        mut self,
        names: &[String],
        data_dir: Option<&Path>,
        cache: Option<&Cache>,
    ) -> Result<Self, Error> {
        let options = self.load_options(cache);
        for name in names {
            let set = match Control::find(name) {
                Some(control) => control.make(&self.id.test, CONTROL_SEED)?,
                None => load(name, Part::Test, data_dir, &options)?,
            };
            self.push(set)?;
        }
        Ok(self)
    }

    /// The same benchmark with further out-of-distribution sets by name and path: folders or archives of
    /// images, parquet files.
    ///
    /// # Errors
    /// Those of [`load_path`]; [`Error::Inconsistent`] when a name is taken.
    pub fn with_extra(
        mut self,
        extra: &[(String, PathBuf)],
        cache: Option<&Cache>,
    ) -> Result<Self, Error> {
        let options = self.load_options(cache);
        for (name, path) in extra {
            self.push(load_path(path, name, Part::Test, &options)?)?;
        }
        Ok(self)
    }

    fn load_options(&self, cache: Option<&Cache>) -> LoadOptions {
        LoadOptions {
            shape: Some(self.id.train.shape()),
            cache: cache.cloned(),
            ..LoadOptions::default()
        }
    }

    fn push(&mut self, set: ImageSet) -> Result<(), Error> {
        if self.ood.iter().any(|view| view.name() == set.name()) {
            return Err(Error::inconsistent(
                set.name(),
                "two out-of-distribution sets share this name; give one another",
            ));
        }
        self.ood.push(self.id.ood(set)?);
        Ok(())
    }

    /// Name of the benchmark.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The in-distribution set.
    #[must_use]
    pub fn id(&self) -> &InDistribution {
        &self.id
    }

    /// The out-of-distribution sets, in the order of the tables.
    #[must_use]
    pub fn ood(&self) -> &[View] {
        &self.ood
    }

    /// How many out-of-distribution images [`Benchmark::without_duplicates`] removed, by set; sets that lost
    /// none are not named.
    #[must_use]
    pub fn left_out(&self) -> &BTreeMap<String, usize> {
        &self.left_out
    }

    /// What must be said wherever a set's numbers stand: that it is incomplete, that duplicates were left out.
    #[must_use]
    pub fn note(&self, set: &ImageSet) -> Option<String> {
        let left_out = self.left_out.get(set.name()).copied().unwrap_or(0);
        let duplicates = (left_out > 0)
            .then(|| format!("{left_out} left out that equal in-distribution images"));
        let notes: Vec<String> = registry::partial_note(set, left_out)
            .into_iter()
            .chain(duplicates)
            .collect();
        (!notes.is_empty()).then(|| notes.join(", "))
    }

    /// The same benchmark with all images brought to `height` × `width`; constants are kept.
    ///
    /// # Errors
    /// Those of [`ImageSet::converted`].
    pub fn resized(&self, height: usize, width: usize) -> Result<Self, Error> {
        let shape = ImageShape {
            height,
            width,
            ..self.id.train.shape()
        };
        self.map_sets(|set| set.converted(shape, Fit::Resize))
    }

    /// The same benchmark with at most `n_train` training images a class, and at most `n_eval` images a
    /// class of every other set; constants are kept.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when a class has fewer images.
    pub fn limited(&self, n_train: usize, n_eval: usize) -> Result<Self, Error> {
        let mut limited = self.map_sets(|set| set.first_per_class(n_eval))?;
        limited.id.train = self.id.train.first_per_class(n_train)?;
        Ok(limited)
    }

    fn map_sets(
        &self,
        change: impl Fn(&ImageSet) -> Result<ImageSet, Error>,
    ) -> Result<Self, Error> {
        let id = InDistribution {
            train: change(&self.id.train)?,
            test: change(&self.id.test)?,
            normalization: self.id.normalization.clone(),
        };
        let ood = self
            .ood
            .iter()
            .map(|view| id.ood(change(view.set())?))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            name: self.name.clone(),
            id,
            ood,
            left_out: self.left_out.clone(),
        })
    }

    /// The same benchmark without out-of-distribution images whose pixels equal those of an
    /// in-distribution image (training or test).
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when a set would become empty.
    pub fn without_duplicates(&self) -> Result<Self, Error> {
        let known = crate::duplicates::pixel_hashes(&[self.id.train_set(), self.id.test_set()]);
        let mut left_out = self.left_out.clone();
        let mut ood = Vec::with_capacity(self.ood.len());
        for view in &self.ood {
            let keep = crate::duplicates::not_among(view.set(), &known);
            ood.push(if keep.len() == view.len() {
                view.clone()
            } else {
                *left_out.entry(view.name().to_string()).or_default() += view.len() - keep.len();
                self.id.ood(view.set().select(&keep)?)?
            });
        }
        Ok(Self {
            name: self.name.clone(),
            id: self.id.clone(),
            ood,
            left_out,
        })
    }

    /// The same benchmark with generated controls after its out-of-distribution sets.
    ///
    /// # Errors
    /// Those of [`Control::make`].
    pub fn with_controls(mut self, controls: &[Control], seed: u64) -> Result<Self, Error> {
        for control in controls {
            self.push(control.make(&self.id.test, seed)?)?;
        }
        Ok(self)
    }

    /// Content hashes by "name/part": `cifar10/train`, `svhn/test`, ….
    #[must_use]
    pub fn hashes(&self) -> BTreeMap<String, String> {
        [&self.id.train, &self.id.test]
            .into_iter()
            .chain(self.ood.iter().map(View::set))
            .map(|set| {
                (
                    format!("{}/{}", set.name(), set.part().name()),
                    set.content_hash().to_hex(),
                )
            })
            .collect()
    }
}
