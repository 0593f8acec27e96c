//! [`Benchmark`]: an in-distribution set and those it is tested against.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::batch::{Constants, View};
use crate::controls::Control;
use crate::in_distribution::InDistribution;
use crate::names::check_set_names;
use crate::{
    Cache, Error, Fit, ImageSet, ImageShape, LoadOptions, Part, load, load_own, load_path,
    registry, set_name,
};

/// An in-distribution set, by name or a user's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdSet {
    /// A name of the registry.
    Published(String),
    /// A folder, archive or file with labels, see [`load_own`].
    Own {
        /// Name in tables.
        name: String,
        /// Where it is.
        path: PathBuf,
    },
}

impl IdSet {
    /// Its name in tables.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Published(name) | Self::Own { name, .. } => name,
        }
    }

    fn open(
        &self,
        data_dir: Option<&Path>,
        options: &LoadOptions,
    ) -> Result<InDistribution, Error> {
        match self {
            Self::Published(name) => {
                let info = registry::find(name)?;
                let part = |part| load(info.name, part, data_dir, options);
                InDistribution::new(part(Part::Train)?, part(Part::Test)?, info.constants)
            }
            Self::Own { name, path } => {
                let (train, test) = load_own(path, name, options)?;
                InDistribution::new(train, test, Constants::Measured)
            }
        }
    }
}

/// What [`Benchmark::open`] looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BenchmarkOptions {
    /// In-distribution set.
    pub id: IdSet,
    /// Out-of-distribution sets: names of the registry, whose test parts are taken, and of [`Control`]s.
    pub ood: Vec<String>,
    /// Further out-of-distribution sets by name and path: folders or archives of images, parquet files.
    pub extra: Vec<(String, PathBuf)>,
    /// Where decoded sets are kept.
    pub cache: Option<Cache>,
}

impl Default for BenchmarkOptions {
    /// CIFAR-10 against SVHN, CIFAR-100 and Tiny ImageNet. Source: `docs/method.md` section 2.
    fn default() -> Self {
        Self {
            id: IdSet::Published("cifar10".to_string()),
            ood: ["svhn", "cifar100", "tiny-imagenet"]
                .map(String::from)
                .to_vec(),
            extra: Vec::new(),
            cache: Cache::default_location(),
        }
    }
}

impl BenchmarkOptions {
    /// Fails for what could only go wrong: a name that is unknown, unusable or there twice. Nothing is opened.
    ///
    /// # Errors
    /// [`Error::UnknownSet`], [`Error::SetName`].
    pub fn check(&self) -> Result<(), Error> {
        if let IdSet::Published(name) = &self.id {
            registry::find(name)?;
        }
        check_ood_names([self.id.name()], &self.ood, &self.extra)
    }
}

/// Fails unless the sets to be added beside those that are there can be told apart and the named ones are known.
fn check_ood_names<'a>(
    there: impl IntoIterator<Item = &'a str>,
    named: &'a [String],
    extra: &'a [(String, PathBuf)],
) -> Result<(), Error> {
    for name in named {
        if Control::find(name).is_none() && !Path::new(name).exists() {
            registry::find(name)?;
        }
    }
    let extra = extra.iter().map(|(name, _)| name.clone());
    let new: Vec<String> = named
        .iter()
        .map(|name| set_name(name))
        .chain(extra)
        .collect();
    let there = there.into_iter().map(str::to_string);
    let all: Vec<String> = there.chain(new).collect();
    check_set_names(all.iter().map(String::as_str))
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
    /// Those of [`ImageSet::converted`] and [`InDistribution::ood`]; [`Error::SetName`] when two
    /// sets share a name or one cannot be used.
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
    /// Those of [`BenchmarkOptions::check`], before anything is read; [`Error::NotFound`] naming a missing set and how to
    /// fetch it; those of the readers.
    pub fn open(data_dir: Option<&Path>, options: &BenchmarkOptions) -> Result<Self, Error> {
        options.check()?;
        let load_options = LoadOptions {
            cache: options.cache.clone(),
            ..LoadOptions::default()
        };
        let id = options.id.open(data_dir, &load_options)?;
        Self::new(options.id.name(), id, Vec::new())?
            .with_named(&options.ood, data_dir, options.cache.as_ref())?
            .with_extra(&options.extra, options.cache.as_ref())
    }

    /// The same benchmark with further out-of-distribution sets by name: of the registry (their test parts, found
    /// as [`load`](crate::load) finds them) or of a [`Control`], drawn with a fixed seed.
    ///
    /// # Errors
    /// Those of [`load`](crate::load) and [`Control::make`]; [`Error::SetName`] when a name is taken or cannot be used.
    pub fn with_named(
        mut self,
        names: &[String],
        data_dir: Option<&Path>,
        cache: Option<&Cache>,
    ) -> Result<Self, Error> {
        self.check_further(names, &[])?;
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
    /// Those of [`load_path`]; [`Error::SetName`] when a name is taken or cannot be used.
    pub fn with_extra(
        mut self,
        extra: &[(String, PathBuf)],
        cache: Option<&Cache>,
    ) -> Result<Self, Error> {
        self.check_further(&[], extra)?;
        let options = self.load_options(cache);
        for (name, path) in extra {
            self.push(load_path(path, name, Part::Test, &options)?)?;
        }
        Ok(self)
    }

    /// Fails unless these sets can be added by [`Benchmark::with_named`] and [`Benchmark::with_extra`]: a name is unknown,
    /// unusable or taken. Nothing is opened.
    ///
    /// # Errors
    /// [`Error::UnknownSet`], [`Error::SetName`].
    pub fn check_further(
        &self,
        named: &[String],
        extra: &[(String, PathBuf)],
    ) -> Result<(), Error> {
        check_ood_names(self.names(), named, extra)
    }

    /// Names of all its sets.
    fn names(&self) -> impl Iterator<Item = &str> {
        let id = self.id.train.name();
        std::iter::once(id).chain(self.ood.iter().map(View::name))
    }

    fn load_options(&self, cache: Option<&Cache>) -> LoadOptions {
        LoadOptions {
            shape: Some(self.id.train.shape()),
            cache: cache.cloned(),
            ..LoadOptions::default()
        }
    }

    fn push(&mut self, set: ImageSet) -> Result<(), Error> {
        check_set_names(self.names().chain([set.name()]))?;
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
