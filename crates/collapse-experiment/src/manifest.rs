//! The manifest of a scale: which groups are trained, on which images, with which seeds.

use std::collections::BTreeSet;
use std::path::Path;

use collapse_results::{Loss, ScheduleLength};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The scales that come with the project.
const BUILT_IN: [(&str, &str); 4] = [
    ("quick", include_str!("../../../experiments/quick.toml")),
    (
        "precision",
        include_str!("../../../experiments/precision.toml"),
    ),
    ("small", include_str!("../../../experiments/small.toml")),
    ("paper", include_str!("../../../experiments/paper.toml")),
];

/// Arithmetic of training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// bf16 where the machine multiplies it in hardware, f32 elsewhere.
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSpec {
    /// In-distribution set: `embedded` or a registered name such as `cifar10`.
    pub id: String,
    /// OoD sets by registered name, and generated controls such as `uniform-noise`; `embedded` brings its own besides.
    #[serde(default)]
    pub ood: Vec<String>,
    /// Leave out OoD images whose pixels occur in the in-distribution set.
    #[serde(default)]
    pub drop_duplicates: bool,
}

/// One group: runs that differ only in their seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSpec {
    /// Identifier and folder name: lower-case letters, digits and `-`.
    pub id: String,
    /// Network, `resnet18` or `resnet50`.
    #[serde(default = "default_net")]
    pub net: String,
    /// Whether features are L2-normalised before the head.
    pub l2: bool,
    /// Loss; cross-entropy unless said otherwise.
    #[serde(default = "default_loss")]
    pub loss: Loss,
    /// Epochs.
    pub epochs: usize,
    /// Short or long schedule.
    pub schedule: ScheduleLength,
    /// Epochs before the last at which the whole evaluation is made too.
    #[serde(default)]
    pub evaluate_at: Vec<usize>,
    /// Spectral normalisation of the convolutions.
    #[serde(default = "yes")]
    pub spectral_norm: bool,
    /// LeakyReLU and average-pool shortcuts.
    #[serde(default = "yes")]
    pub modified: bool,
    /// Shown in the ablation table only.
    #[serde(default)]
    pub ablation: bool,
    /// Arithmetic of training, where it differs from the scale's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// Learning rate, where it differs from the scale's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
}

fn default_net() -> String {
    "resnet18".to_owned()
}

fn default_loss() -> Loss {
    Loss::CrossEntropy
}

fn yes() -> bool {
    true
}

/// A scale as written in `experiments/*.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name of the scale, also a folder name.
    pub scale: String,
    /// One line for the reader of a table.
    pub description: String,
    /// Seeds of every group.
    pub seeds: Vec<u64>,
    /// Channels of the first stage (64 in the paper).
    pub width: usize,
    /// Images a step.
    pub batch: usize,
    /// Initial learning rate.
    pub learning_rate: f64,
    /// Momentum.
    pub momentum: f64,
    /// Weight decay on all parameters.
    pub weight_decay: f64,
    /// Arithmetic of training.
    #[serde(default)]
    pub precision: Precision,
    /// How runs share the machine.
    #[serde(default)]
    pub parallel: Parallel,
    /// Coefficient of spectral normalisation where a group has it on.
    #[serde(default = "default_coefficient")]
    pub spectral_norm_coefficient: f64,
    /// Epochs at which geometry and detection are measured; empty = the log-spaced set.
    #[serde(default)]
    pub measure_at: Vec<usize>,
    /// Image sets.
    pub data: DataSpec,
    /// The groups, in the order they are trained and shown.
    #[serde(rename = "group")]
    pub groups: Vec<GroupSpec>,
}

fn default_coefficient() -> f64 {
    3.0
}

impl Manifest {
    /// Parses and checks the text of a manifest; `origin` names it in errors.
    pub fn parse(text: &str, origin: &str) -> Result<Self, Error> {
        let manifest: Self = toml::from_str(text).map_err(|source| Error::ManifestSyntax {
            origin: origin.to_owned(),
            message: source.to_string(),
        })?;
        manifest.check(origin)?;
        Ok(manifest)
    }

    /// A built-in scale by name, or the manifest file that `scale` names.
    ///
    /// ```
    /// let quick = collapse_experiment::Manifest::scale("quick")?;
    /// assert_eq!(quick.seeds.len(), 3);
    /// # Ok::<(), collapse_experiment::Error>(())
    /// ```
    pub fn scale(scale: &str) -> Result<Self, Error> {
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

    /// Keeps the first `seeds` seeds and cuts every schedule to `epochs` epochs.
    pub fn shorten(&mut self, seeds: Option<usize>, epochs: Option<usize>) -> Result<(), Error> {
        if let Some(seeds) = seeds {
            self.seeds.truncate(seeds);
        }
        if let Some(epochs) = epochs {
            for group in &mut self.groups {
                group.epochs = group.epochs.min(epochs);
                group.evaluate_at.retain(|&epoch| epoch <= epochs);
            }
        }
        self.check(&format!("{} as shortened", self.scale))
    }

    /// Reads and checks a manifest file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Keeps only the groups named, in manifest order.
    pub fn select_groups(&mut self, ids: &[String]) -> Result<(), Error> {
        if let Some(unknown) = ids
            .iter()
            .find(|id| !self.groups.iter().any(|g| &g.id == *id))
        {
            return Err(Error::UnknownGroup {
                group: unknown.clone(),
                scale: self.scale.clone(),
                known: self
                    .groups
                    .iter()
                    .map(|g| g.id.clone())
                    .collect::<Vec<_>>()
                    .join(", "),
            });
        }
        if !ids.is_empty() {
            self.groups.retain(|group| ids.contains(&group.id));
        }
        Ok(())
    }

    fn check(&self, origin: &str) -> Result<(), Error> {
        let refuse = |field: String, remedy: &str| {
            Err(Error::Manifest {
                origin: origin.to_owned(),
                field,
                remedy: remedy.to_owned(),
            })
        };
        if !is_identifier(&self.scale) {
            return refuse(
                format!("scale = {:?}", self.scale),
                "use lower-case letters, digits and `-`; it becomes a folder name",
            );
        }
        if self.seeds.is_empty() {
            return refuse("seeds = []".into(), "list at least one seed");
        }
        if self.seeds.iter().collect::<BTreeSet<_>>().len() != self.seeds.len() {
            return refuse(format!("seeds = {:?}", self.seeds), "list each seed once");
        }
        for (name, value) in [("width", self.width), ("batch", self.batch)] {
            if value == 0 {
                return refuse(format!("{name} = 0"), "give a positive number");
            }
        }
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            return refuse(
                format!("learning_rate = {}", self.learning_rate),
                "give a positive number; the reference uses 0.1",
            );
        }
        if self.groups.is_empty() {
            return refuse("group = []".into(), "add at least one [[group]]");
        }
        let mut seen = BTreeSet::new();
        for group in &self.groups {
            if !is_identifier(&group.id) {
                return refuse(
                    format!("group id {:?}", group.id),
                    "use lower-case letters, digits and `-`; it becomes a folder name",
                );
            }
            if !seen.insert(&group.id) {
                return refuse(
                    format!("group id {:?} twice", group.id),
                    "give each group its own id",
                );
            }
            if group.epochs == 0 {
                return refuse(
                    format!("epochs = 0 in group {:?}", group.id),
                    "train at least one epoch",
                );
            }
            if let Some(late) = group
                .evaluate_at
                .iter()
                .find(|&&e| e == 0 || e > group.epochs)
            {
                return refuse(
                    format!("evaluate_at contains {late} in group {:?}", group.id),
                    "name epochs from 1 to the group's `epochs`",
                );
            }
        }
        Ok(())
    }
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
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
        assert_eq!(manifest.groups[0].net, "resnet18");
        assert!(manifest.groups[1].spectral_norm && manifest.groups[1].modified);
        assert_eq!(manifest.precision, Precision::Auto);
    }

    #[test]
    fn mistakes_are_named_with_a_remedy() {
        for (from, to, expected) in [
            ("seeds = [1, 2]", "seeds = []", "at least one seed"),
            ("seeds = [1, 2]", "seeds = [1, 1]", "each seed once"),
            ("width = 8", "width = 0", "width = 0"),
            ("id = \"base\"", "id = \"l2\"", "\"l2\" twice"),
            ("id = \"base\"", "id = \"../base\"", "folder name"),
            ("evaluate_at = [2]", "evaluate_at = [5]", "contains 5"),
            ("batch = 64", "batches = 64", "batches"),
            ("learning_rate = 0.1", "learning_rate = nan", "NaN"),
        ] {
            let message = Manifest::parse(&GOOD.replace(from, to), "t.toml")
                .unwrap_err()
                .to_string();
            assert!(
                message.contains(expected),
                "{message} does not say {expected}"
            );
            assert!(
                message.contains("t.toml"),
                "{message} does not name the file"
            );
        }
    }

    #[test]
    fn every_built_in_scale_is_sound() {
        for (name, _) in BUILT_IN {
            assert_eq!(Manifest::scale(name).unwrap().scale, name);
        }
        let message = Manifest::scale("huge").unwrap_err().to_string();
        assert!(
            message.contains("huge") && message.contains("quick, precision, small, paper"),
            "{message}"
        );
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
        assert_eq!(manifest.groups.len(), 1);
    }
}
