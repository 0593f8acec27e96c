//! The manifest of a scale: which groups are trained, on which images, with which seeds.

mod check;
mod read;
mod resources;

use std::path::{Path, PathBuf};

use collapse_results::{Loss, ScheduleLength};
use serde::{Deserialize, Serialize};

use crate::error::Error;
pub use resources::Resources;

/// The scales that come with the project.
const BUILT_IN: [(&str, &str); 5] = [
    ("quick", include_str!("../../manifests/quick.toml")),
    ("precision", include_str!("../../manifests/precision.toml")),
    ("small", include_str!("../../manifests/small.toml")),
    ("full", include_str!("../../manifests/full.toml")),
    ("paper", include_str!("../../manifests/paper.toml")),
];

/// Arithmetic of training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// bf16 where the machine multiplies it faster than f32, f32 elsewhere.
    #[default]
    Auto,
    /// Single precision throughout, the reference.
    F32,
    /// bf16 operands, f32 accumulation, weights, statistics and loss.
    Bf16,
}

/// How many runs are computed at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Parallel {
    /// One run after the other, each on all cores: for networks that fill them.
    #[default]
    Threads,
    /// As many runs as cores, each on one: narrow networks scale better so.
    Runs,
}

/// Which image sets a scale uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DataSpec {
    /// In-distribution set: `embedded`, a registered name such as `cifar10`, or the name of the set in `path`.
    pub id: String,
    /// A user's own set, a folder or archive with labels; its images are part of the question, not its place.
    #[serde(skip)]
    pub path: Option<PathBuf>,
    /// OoD sets by registered name, and generated controls such as `uniform-noise`; `embedded` brings its own besides.
    pub ood: Vec<String>,
    /// Leave out OoD images whose pixels occur in the in-distribution set.
    pub drop_duplicates: bool,
}

/// One group: runs that differ only in their seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupSpec {
    /// Identifier and folder name: lower-case letters, digits and `-`.
    pub id: String,
    /// Network, `resnet18` (where none is given) or `resnet50`, say.
    pub net: String,
    /// Whether features are L2-normalised before the head.
    pub l2: bool,
    /// Loss; cross-entropy unless said otherwise.
    pub loss: Loss,
    /// Epochs, at least 1.
    pub epochs: usize,
    /// Short or long schedule.
    pub schedule: ScheduleLength,
    /// Epochs before the last at which the whole evaluation is made too, each from 1 to `epochs`.
    pub evaluate_at: Vec<usize>,
    /// Spectral normalisation of the convolutions; on unless said otherwise.
    pub spectral_norm: bool,
    /// LeakyReLU and average-pool shortcuts; on unless said otherwise.
    pub modified: bool,
    /// Shown in the ablation table only.
    pub ablation: bool,
    /// Arithmetic of training, where it differs from the scale's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// Learning rate, where it differs from the scale's; positive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
}

/// A scale as written in `experiments/*.toml`, checked: every group can be trained.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Manifest {
    /// Name of the scale, also a folder name.
    scale: String,
    /// One line for the reader of a table.
    description: String,
    /// Seeds of every group, at least one, each once.
    seeds: Vec<u64>,
    /// Channels of the first stage (64 in the paper).
    pub(crate) width: usize,
    /// Images a step.
    pub(crate) batch: usize,
    /// Initial learning rate.
    pub(crate) learning_rate: f64,
    /// Momentum.
    pub(crate) momentum: f64,
    /// Weight decay on all parameters.
    pub(crate) weight_decay: f64,
    /// Arithmetic of training.
    pub(crate) precision: Precision,
    /// How runs share the machine.
    parallel: Parallel,
    /// Coefficient of spectral normalisation where a group has it on.
    pub(crate) spectral_norm_coefficient: f64,
    /// Epochs at which geometry and detection are measured; empty = the log-spaced set.
    pub(crate) measure_at: Vec<usize>,
    /// At an epoch on the way, so many images of each set are measured, drawn once and class-balanced; `None` = all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) measure_images: Option<usize>,
    /// What a cluster's scheduler is asked for; not part of the question.
    #[serde(skip)]
    resources: Resources,
    /// Image sets.
    data: DataSpec,
    /// The groups, in the order they are trained and shown.
    #[serde(rename = "group")]
    groups: Vec<GroupSpec>,
}

impl Manifest {
    /// Parses and checks the text of a manifest; `origin` names it in errors.
    ///
    /// # Errors
    /// [`Error::Manifest`] with every mistake and its line.
    pub fn parse(text: &str, origin: &str) -> Result<Self, Error> {
        let (manifest, mut mistakes) = read::read(text);
        if let Some((manifest, places)) = &manifest {
            mistakes.extend(check::mistakes(manifest, places));
        }
        match manifest {
            Some((manifest, _)) if mistakes.is_empty() => Ok(manifest),
            _ => {
                mistakes.sort_by_key(|mistake| mistake.line);
                Err(Error::Manifest {
                    origin: origin.to_owned(),
                    mistakes,
                })
            }
        }
    }

    /// A built-in scale by name, or the manifest file that `scale` names.
    ///
    /// ```
    /// let quick = collapse_experiment::Manifest::scale_named("quick")?;
    /// assert_eq!(quick.seeds().len(), 3);
    /// # Ok::<(), collapse_experiment::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownScale`], [`Error::Read`], [`Error::Manifest`].
    pub fn scale_named(scale: &str) -> Result<Self, Error> {
        if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == scale) {
            return Self::parse(text, &format!("experiments/{name}.toml"));
        }
        if scale.ends_with(".toml") {
            return Self::read(Path::new(scale));
        }
        Err(Error::UnknownScale {
            scale: scale.to_owned(),
            known: BUILT_IN.map(|(name, _)| name).join(", "),
        })
    }

    /// Reads and checks a manifest file; a user's own set is named from the file's folder.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Manifest`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        let mut manifest = Self::parse(&text, &path.display().to_string())?;
        if let (Some(set), Some(folder)) = (&mut manifest.data.path, path.parent()) {
            *set = folder.join(&set);
        }
        Ok(manifest)
    }

    /// Name of the scale, also a folder name.
    #[must_use]
    pub fn scale(&self) -> &str {
        &self.scale
    }

    /// Seeds of every group.
    #[must_use]
    pub fn seeds(&self) -> &[u64] {
        &self.seeds
    }

    /// The groups, in the order they are trained and shown.
    #[must_use]
    pub fn groups(&self) -> &[GroupSpec] {
        &self.groups
    }

    /// Image sets.
    #[must_use]
    pub fn data(&self) -> &DataSpec {
        &self.data
    }

    /// What a scheduler is asked for.
    #[must_use]
    pub fn resources(&self) -> &Resources {
        &self.resources
    }

    /// How runs share the machine.
    #[must_use]
    pub fn parallel(&self) -> Parallel {
        self.parallel
    }

    /// Whether some group's precision is left to the machine.
    pub(crate) fn has_auto_precision(&self) -> bool {
        let of = |group: &GroupSpec| group.precision.unwrap_or(self.precision);
        self.groups.iter().any(|group| of(group) == Precision::Auto)
    }

    /// SHA-256 of the manifest's content, whatever its layout as text.
    #[must_use]
    pub fn sha256(&self) -> String {
        // Checked numbers and names always have a form in JSON.
        crate::store::hash(&serde_json::to_value(self).unwrap_or_default())
    }

    /// Leaves out OoD images whose pixels occur in the in-distribution set.
    pub fn drop_duplicates(&mut self) {
        self.data.drop_duplicates = true;
    }

    /// Keeps only the groups named, in manifest order; all where none is named.
    ///
    /// # Errors
    /// [`Error::UnknownGroup`].
    pub fn select_groups(&mut self, ids: &[String]) -> Result<(), Error> {
        let known = |id: &String| self.groups.iter().any(|group| group.id == *id);
        if let Some(unknown) = ids.iter().find(|id| !known(id)) {
            let known: Vec<&str> = self.groups.iter().map(|group| group.id.as_str()).collect();
            return Err(Error::UnknownGroup {
                group: unknown.clone(),
                scale: self.scale.clone(),
                known: known.join(", "),
            });
        }
        if !ids.is_empty() {
            self.groups.retain(|group| ids.contains(&group.id));
        }
        Ok(())
    }

    /// Keeps only the seeds named, in manifest order; all where none is named.
    ///
    /// # Errors
    /// [`Error::UnknownSeed`].
    pub fn select_seeds(&mut self, seeds: &[u64]) -> Result<(), Error> {
        if let Some(&seed) = seeds.iter().find(|seed| !self.seeds.contains(seed)) {
            let known: Vec<String> = self.seeds.iter().map(u64::to_string).collect();
            return Err(Error::UnknownSeed {
                seed,
                scale: self.scale.clone(),
                known: known.join(", "),
            });
        }
        if !seeds.is_empty() {
            self.seeds.retain(|seed| seeds.contains(seed));
        }
        Ok(())
    }

    /// Keeps the first `seeds` seeds and cuts every schedule to `epochs` epochs.
    ///
    /// # Errors
    /// [`Error::Argument`] when there are fewer seeds, or nothing would be left.
    pub fn shorten(&mut self, seeds: Option<usize>, epochs: Option<usize>) -> Result<(), Error> {
        if let Some(n) = seeds {
            let found = self.seeds.len();
            if !(1..=found).contains(&n) {
                return Err(Error::Argument {
                    argument: "--seeds",
                    value: n.to_string(),
                    remedy: format!("scale {} has {found}; give 1 to {found}", self.scale),
                });
            }
            self.seeds.truncate(n);
        }
        if let Some(epochs) = epochs {
            if epochs == 0 {
                return Err(Error::Argument {
                    argument: "--epochs-at-most",
                    value: "0".to_owned(),
                    remedy: "train at least one epoch".to_owned(),
                });
            }
            self.measure_at.retain(|&epoch| epoch <= epochs);
            for group in &mut self.groups {
                group.epochs = group.epochs.min(epochs);
                group.evaluate_at.retain(|&epoch| epoch <= epochs);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        scale = "tiny"
        description = "for tests"
        seeds = [1, 2]
        width = 8
        batch = 64
        learning_rate = 0.1
        momentum = 0.9
        weight_decay = 5e-4
        [data]
        id = "embedded"
        [[group]]
        id = "l2"
        l2 = true
        epochs = 2
        schedule = "short"
        [[group]]
        id = "base"
        l2 = false
        epochs = 4
        schedule = "long"
        evaluate_at = [2]
    "#;

    #[test]
    fn a_good_manifest_is_read_with_its_defaults() {
        let manifest = Manifest::parse(GOOD, "test").unwrap();
        assert_eq!(manifest.groups()[0].net, "resnet18");
        assert!(manifest.groups()[1].spectral_norm && manifest.groups()[1].modified);
        assert_eq!(manifest.precision, Precision::Auto);
    }

    fn refused(text: &str) -> String {
        Manifest::parse(text, "t.toml").unwrap_err().to_string()
    }

    #[test]
    fn all_mistakes_are_named_at_once_with_line_and_remedy() {
        let bad = GOOD
            .replace("seeds = [1, 2]", "seeds = [1, 1]")
            .replace("width = 8", "width = \"wide\"")
            .replace("batch = 64", "batches = 64")
            .replace("momentum = 0.9", "momentum = 1.5")
            .replace(
                "id = \"embedded\"",
                "id = \"cifar11\"\nood = [\"svhn\", \"svhn\", \"a/b\"]",
            )
            .replace("id = \"base\"", "id = \"../base\"\nnet = \"resnet19\"")
            .replace("schedule = \"long\"", "schedule = \"longer\"")
            .replace("evaluate_at = [2]", "evaluate_at = [5]");
        expect_test::expect![[r#"
            manifest t.toml has 12 mistakes:
              line 1: the manifest has no `batch`; add it
              line 4: seeds = [1, 1]; list each seed once
              line 5: width = "wide"; invalid type: string "wide", expected usize
              line 6: the manifest has an unknown field `batches`; remove it or correct its name
              line 8: momentum = 1.5; choose 0 up to, but not including, 1
              line 11: data id "cifar11"; unknown data set "cifar11"; known are cifar10, cifar100, svhn, tiny-imagenet, mnist, fashion-mnist, textures, or give the path of a folder or file
              line 12: ood contains "svhn"; name each set once, and not the in-distribution set
              line 12: ood contains "a/b"; unknown data set "a/b"; known are cifar10, cifar100, svhn, tiny-imagenet, mnist, fashion-mnist, textures, or give the path of a folder or file, or of the generated controls uniform-noise, gaussian-noise, constant-colour, phase-scrambled, permuted-patches, jpeg-round-trip
              line 19: group id "../base"; use lower-case letters, digits and `-`; it becomes a folder name
              line 20: net = "resnet19"; the network's `net` is `resnet19`; known are resnet18, resnet34, resnet50, resnet101, wide-resnet28 and vgg16
              line 23: schedule = "longer"; unknown variant `longer`, expected `short` or `long`
              line 24: evaluate_at contains 5 in group "../base"; name epochs from 1 to the group's `epochs`"#]].assert_eq(&refused(&bad));
    }

    #[test]
    fn broken_toml_is_named_by_its_line() {
        expect_test::expect![[r#"
            manifest t.toml has 2 mistakes:
              line 5: extra `=`, expected nothing; correct the TOML
              line 5: unexpected key or value, expected newline, `#`; correct the TOML"#]]
        .assert_eq(&refused(&GOOD.replace("width = 8", "width = = 8")));
    }

    #[test]
    fn each_mistake_is_found() {
        for (from, to, expected) in [
            ("seeds = [1, 2]", "seeds = []", "at least one seed"),
            ("seeds = [1, 2]", "seeds = [1, 1]", "each seed once"),
            ("seeds = [1, 2]", "seeds = [1, -1]", "line 4"),
            ("width = 8", "width = 0", "width"),
            ("batch = 64", "batch = 1", "batch"),
            ("id = \"base\"", "id = \"l2\"", "\"l2\" twice"),
            ("id = \"base\"", "id = \"../base\"", "folder name"),
            ("id = \"embedded\"", "id = \"nowhere\"", "cifar10"),
            (
                "id = \"embedded\"",
                "id = \"embedded\"\nood = [\"x\"]",
                "uniform-noise",
            ),
            (
                "evaluate_at = [2]",
                "evaluate_at = [5]",
                "evaluate_at contains 5",
            ),
            (
                "width = 8",
                "width = 8\nmeasure_at = [1, 9]",
                "measure_at contains 9",
            ),
            ("batch = 64", "batch = 64\nbatches = 64", "batches"),
            ("learning_rate = 0.1", "learning_rate = nan", "NaN"),
            ("weight_decay = 5e-4", "weight_decay = -1.0", "weight_decay"),
            (
                "width = 8",
                "width = 8\nspectral_norm_coefficient = 0.0",
                "spectral",
            ),
            ("epochs = 4", "epochs = 0", "epochs"),
            ("scale = \"tiny\"", "", "scale"),
            ("[data]", "[date]", "data"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let message = refused(&GOOD.replace(from, to));
            assert!(
                message.contains(expected),
                "{to}: {message} does not say {expected}"
            );
            assert!(
                message.contains("t.toml"),
                "{message} does not name the file"
            );
        }
    }

    #[test]
    fn a_scale_is_cut_only_to_what_it_has() {
        let mut manifest = Manifest::parse(GOOD, "test").unwrap();
        for n in [0, 3, 99] {
            let message = manifest.shorten(Some(n), None).unwrap_err().to_string();
            assert!(message.contains("give 1 to 2"), "{message}");
        }
        let message = manifest.shorten(None, Some(0)).unwrap_err().to_string();
        assert!(message.contains("--epochs-at-most"), "{message}");
        let message = manifest.select_seeds(&[7]).unwrap_err().to_string();
        assert!(message.contains("1, 2"), "{message}");
        manifest.select_seeds(&[2]).unwrap();
        manifest.shorten(Some(1), Some(1)).unwrap();
        assert_eq!(manifest.seeds(), [2]);
        assert!(
            manifest
                .groups()
                .iter()
                .all(|group| group.epochs == 1 && group.evaluate_at.is_empty())
        );
    }

    #[test]
    fn every_built_in_scale_is_sound() {
        for (name, _) in BUILT_IN {
            assert_eq!(Manifest::scale_named(name).unwrap().scale(), name);
        }
        let message = Manifest::scale_named("huge").unwrap_err().to_string();
        let known = message.contains("quick, precision, small, full, paper");
        assert!(message.contains("huge") && known, "{message}");
    }

    #[test]
    fn an_unknown_group_lists_the_known_ones() {
        let mut manifest = Manifest::parse(GOOD, "test").unwrap();
        let message = manifest
            .select_groups(&["l3".into()])
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("l3") && message.contains("l2, base"),
            "{message}"
        );
        manifest.select_groups(&["base".into()]).unwrap();
        assert_eq!(manifest.groups().len(), 1);
    }
}
