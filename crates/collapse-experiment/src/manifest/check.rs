//! Whether a manifest's fields make sense: everything that can be known before any image is read.

use std::collections::BTreeSet;

use collapse_data::controls::Control;
use collapse_data::{check_set_name, registry};
use collapse_models::{Net, NetConfig};
use collapse_train::{SgdConfig, TrainConfig};

use super::read::{Key, Places};
use super::{GroupSpec, Manifest};
use crate::error::Mistake;

/// All that cannot be meant.
pub(super) fn mistakes(manifest: &Manifest, places: &Places) -> Vec<Mistake> {
    let mut checker = Checker {
        places,
        mistakes: Vec::new(),
    };
    checker.scale(manifest);
    checker.training(manifest);
    checker.data(manifest);
    checker.groups(manifest);
    checker.mistakes
}

struct Checker<'a> {
    places: &'a Places,
    mistakes: Vec<Mistake>,
}

const EMBEDDED: &str = "embedded";
/// The embedded images are of eight classes.
const EMBEDDED_CLASSES: usize = 8;
/// What a set has at least; how many a user's own has is known when it is read.
const LEAST_CLASSES: usize = 2;
/// Images of a class without which nothing can be fitted on it.
const LEAST_OF_A_CLASS: usize = 10;

const FOLDER_NAME: &str = "use lower-case letters, digits and `-`; it becomes a folder name";

impl Checker<'_> {
    fn refuse(&mut self, key: Key, field: impl Into<String>, remedy: impl Into<String>) {
        if self.places.is_sound(key) {
            self.mistakes.push(Mistake {
                line: self.places.line(key),
                field: field.into(),
                remedy: remedy.into(),
            });
        }
    }

    fn scale(&mut self, manifest: &Manifest) {
        if !is_identifier(&manifest.scale) {
            let field = format!("scale = {:?}", manifest.scale);
            self.refuse((None, "scale"), field, FOLDER_NAME);
        }
        let seeds = &manifest.seeds;
        if seeds.is_empty() {
            self.refuse((None, "seeds"), "seeds = []", "list at least one seed");
        }
        if seeds.iter().collect::<BTreeSet<_>>().len() != seeds.len() {
            let field = format!("seeds = {seeds:?}");
            self.refuse((None, "seeds"), field, "list each seed once");
        }
        let longest = manifest.groups.iter().map(|group| group.epochs).max();
        let beyond = |&&epoch: &&usize| longest.is_some_and(|longest| epoch > longest);
        if let Some(epoch) = manifest.measure_at.iter().find(beyond) {
            let field = format!("measure_at contains {epoch}");
            let remedy = "no group trains so long; name epochs from 0 to the longest group's";
            self.refuse((None, "measure_at"), field, remedy);
        }
        let classes = match registry::find(&manifest.data.id) {
            Ok(set) => set.n_classes,
            Err(_) if manifest.data.path.is_some() => LEAST_CLASSES,
            Err(_) => EMBEDDED_CLASSES,
        };
        if let Some(images) = manifest.measure_images
            && images < LEAST_OF_A_CLASS * classes
        {
            let field = format!("measure_images = {images}");
            let remedy = format!(
                "a density needs some images of each class; give at least {}",
                LEAST_OF_A_CLASS * classes
            );
            self.refuse((None, "measure_images"), field, remedy);
        }
        let resources = &manifest.resources;
        for (key, zero) in [
            ("minutes", resources.minutes == Some(0)),
            ("memory_mib", resources.memory_mib == Some(0)),
            ("cores", resources.cores == Some(0)),
        ] {
            if zero {
                self.refuse((None, key), format!("{key} = 0"), "give at least 1");
            }
        }
    }

    /// Each value of training by itself, so that all mistakes show at once.
    fn training(&mut self, manifest: &Manifest) {
        let (config, sgd) = (TrainConfig::default, SgdConfig::default);
        let with = |sgd| TrainConfig { sgd, ..config() };
        let batch_size = manifest.batch;
        let (learning_rate, momentum) = (manifest.learning_rate, manifest.momentum);
        let weight_decay = manifest.weight_decay;
        for (key, config) in [
            (
                "batch",
                TrainConfig {
                    batch_size,
                    ..config()
                },
            ),
            (
                "learning_rate",
                with(SgdConfig {
                    learning_rate,
                    ..sgd()
                }),
            ),
            ("momentum", with(SgdConfig { momentum, ..sgd() })),
            (
                "weight_decay",
                with(SgdConfig {
                    weight_decay,
                    ..sgd()
                }),
            ),
        ] {
            self.config((None, key), &config);
        }
        let coefficient = manifest.spectral_norm_coefficient;
        if !(coefficient.is_finite() && coefficient > 0.0) {
            self.refuse(
                (None, "spectral_norm_coefficient"),
                format!("spectral_norm_coefficient = {coefficient}"),
                "give a positive number; the reference uses 3",
            );
        }
    }

    fn config(&mut self, key: Key, config: &TrainConfig) {
        match config.check() {
            Ok(_) => {}
            Err(collapse_train::Error::Config { value, remedy, .. }) => {
                self.refuse(key, format!("{} = {value}", key.1), remedy);
            }
            Err(error) => self.refuse(key, key.1, error.to_string()),
        }
    }

    fn data(&mut self, manifest: &Manifest) {
        let data = &manifest.data;
        let field = format!("data id {:?}", data.id);
        let known = registry::find(&data.id);
        match &data.path {
            Some(_) if data.id == EMBEDDED || known.is_ok() => {
                let remedy = "that is a published set; give the set in `path` a name of its own";
                self.refuse((None, "id"), field, remedy);
            }
            Some(_) => {
                if let Err(error) = check_set_name(&data.id) {
                    self.refuse((None, "id"), field, error.to_string());
                }
            }
            None => {
                if let (true, Err(error)) = (data.id != EMBEDDED, known) {
                    self.refuse((None, "id"), field, error.to_string());
                }
            }
        }
        let mut seen = BTreeSet::new();
        for name in &data.ood {
            let control = Control::find(name).is_some();
            if !control && let Err(error) = registry::find(name) {
                let controls = Control::ALL.map(|control| control.name()).join(", ");
                let remedy = format!("{error}, or of the generated controls {controls}");
                self.refuse((None, "ood"), format!("ood contains {name:?}"), remedy);
            } else if !seen.insert(name) || *name == data.id {
                let field = format!("ood contains {name:?}");
                let remedy = "name each set once, and not the in-distribution set";
                self.refuse((None, "ood"), field, remedy);
            }
        }
    }

    fn groups(&mut self, manifest: &Manifest) {
        if manifest.groups.is_empty() {
            self.refuse(
                (None, "group"),
                "there is no group",
                "add at least one [[group]]",
            );
        }
        let mut seen = BTreeSet::new();
        for (index, group) in manifest.groups.iter().enumerate() {
            let key = |name| (Some(index), name);
            if !is_identifier(&group.id) {
                self.refuse(key("id"), format!("group id {:?}", group.id), FOLDER_NAME);
            } else if !seen.insert(&group.id) {
                let field = format!("group id {:?} twice", group.id);
                self.refuse(key("id"), field, "give each group its own id");
            }
            let epochs = group.epochs;
            self.config(
                key("epochs"),
                &TrainConfig {
                    epochs,
                    ..TrainConfig::default()
                },
            );
            if let Some(learning_rate) = group.learning_rate {
                let sgd = SgdConfig {
                    learning_rate,
                    ..SgdConfig::default()
                };
                self.config(
                    key("learning_rate"),
                    &TrainConfig {
                        sgd,
                        ..TrainConfig::default()
                    },
                );
            }
            let outside = |&&epoch: &&usize| epoch == 0 || epoch > group.epochs;
            if let Some(epoch) = group.evaluate_at.iter().find(outside)
                && self.places.is_sound(key("epochs"))
            {
                let field = format!("evaluate_at contains {epoch} in group {:?}", group.id);
                let remedy = "name epochs from 1 to the group's `epochs`";
                self.refuse(key("evaluate_at"), field, remedy);
            }
            self.network(manifest, group, index);
        }
    }

    fn network(&mut self, manifest: &Manifest, group: &GroupSpec, index: usize) {
        let net: Net = match group.net.parse() {
            Ok(net) => net,
            Err(error) => {
                let error: collapse_models::Error = error;
                let field = format!("net = {:?}", group.net);
                return self.refuse((Some(index), "net"), field, error.to_string());
            }
        };
        // The embedded images are grey, 28×28; a user's own become colour, 32×32, of as many classes as they have.
        let (classes, channels, side) = match registry::find(&manifest.data.id) {
            Ok(set) => (set.n_classes, set.shape.channels, set.shape.height),
            Err(_) if manifest.data.path.is_some() => (LEAST_CLASSES, 3, 32),
            Err(_) => (EMBEDDED_CLASSES, 1, 28),
        };
        let mut config = NetConfig::new(net, classes);
        config.in_channels = channels;
        config.input_size = side;
        config.modified = group.modified;
        if let Err(error) = config.check() {
            return self.refuse(
                (Some(index), "net"),
                format!("net = {net}"),
                error.to_string(),
            );
        }
        config.width = manifest.width;
        let known = |mistake: &Mistake| mistake.field.starts_with("width");
        if let Err(error) = config.check()
            && !self.mistakes.iter().any(known)
        {
            let field = format!("width = {}", manifest.width);
            self.refuse((None, "width"), field, error.to_string());
        }
    }
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
