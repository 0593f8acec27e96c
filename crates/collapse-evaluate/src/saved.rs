//! Fitted detectors in a file, for later samples of the same network.

use std::io::{BufWriter, Write};
use std::path::Path;

use collapse_files::{Check, Seal, SealedReplacement, check};
use collapse_ood::{Fitted, Head};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::held_out::HeldOut;
use crate::splits::{CompleteSplits, Split, same_head};

/// Schema of the files.
const SCHEMA: &str = "collapse.detectors/5";

/// Detectors with what they were fitted on.
///
/// A file is JSON where its name ends in `.json` and MessagePack, a fifth of the size, elsewhere. It carries a seal:
/// [`read`](Self::read) refuses a file that was damaged or edited.
#[derive(Clone, Debug)]
pub struct SavedDetectors {
    /// Version of the code that fitted them.
    pub code_version: String,
    /// Dimension D of the features.
    pub n_features: usize,
    /// Classes C of the network, where logits or a head told.
    pub n_classes: Option<usize>,
    /// Whether the head saw normalised features.
    pub l2: bool,
    /// The last linear layer, where there was one; logits of later sets follow from it.
    pub head: Option<Head>,
    /// The detectors.
    pub fitted: Fitted,
    /// Their confidences on held-out in-distribution samples, from which thresholds are chosen; may be empty.
    pub held_out: Vec<HeldOut>,
}

/// The content of a file. The seal comes early, where one who seals a file as it is written finds it.
#[derive(Serialize, Deserialize)]
struct Content<F, H> {
    schema: String,
    seal: String,
    code_version: String,
    n_features: usize,
    n_classes: Option<usize>,
    l2: bool,
    head: Option<Head>,
    held_out: H,
    fitted: F,
}

/// What every version says.
#[derive(Deserialize)]
struct Version {
    schema: String,
}

fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, String> {
    match is_json(path) {
        true => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
        false => rmp_serde::from_slice(bytes).map_err(|error| error.to_string()),
    }
}

impl SavedDetectors {
    /// Detectors that were fitted on the training split of `splits`, without held-out confidences.
    #[must_use]
    pub fn of(splits: &CompleteSplits, fitted: Fitted, code_version: &str) -> Self {
        let features = &splits.test().features;
        let head = splits.head().map(|head| Head {
            weight: head.weight.clone(),
            bias: head.bias.clone(),
        });
        Self {
            code_version: code_version.to_owned(),
            n_features: features.n_features(),
            n_classes: splits.n_classes(),
            l2: features.l2(),
            head,
            fitted,
            held_out: Vec::new(),
        }
    }

    /// The same with the confidences of the validation split, from which thresholds are chosen.
    ///
    /// # Errors
    /// As [`CompleteSplits::held_out`].
    pub fn with_held_out(mut self, splits: &CompleteSplits) -> Result<Self> {
        self.held_out = splits.held_out(&self.fitted)?;
        Ok(self)
    }

    /// Writes the file: the old one or the whole new one stands at `path` afterwards.
    ///
    /// # Errors
    /// [`Error::Files`] or [`Error::Unwritable`]; [`Error::NoJson`] for JSON of a detector with an infinite number.
    pub fn write(&self, path: &Path) -> Result<()> {
        let content = Content {
            schema: SCHEMA.to_owned(),
            seal: Seal::BLANK.to_owned(),
            code_version: self.code_version.clone(),
            n_features: self.n_features,
            n_classes: self.n_classes,
            l2: self.l2,
            head: self.head.clone(),
            held_out: &self.held_out,
            fitted: &self.fitted,
        };
        let mut out = BufWriter::new(SealedReplacement::begin(path)?);
        let written = if is_json(path) {
            let text = serde_json::to_vec_pretty(&content).map_err(std::io::Error::from);
            // An infinite number would be written as null, which is none when it is read.
            if let Ok(text) = &text {
                parse::<Content<Fitted, Vec<HeldOut>>>(path, text).map_err(|reason| {
                    Error::NoJson {
                        path: path.to_owned(),
                        reason,
                    }
                })?;
            }
            text.and_then(|text| out.write_all(&text))
                .and_then(|()| out.write_all(b"\n"))
        } else {
            rmp_serde::encode::write_named(&mut out, &content).map_err(std::io::Error::other)
        };
        let sealed = written.and_then(|()| out.into_inner().map_err(|error| error.into_error()));
        let sealed = sealed.map_err(|source| Error::Unwritable {
            path: path.to_owned(),
            source,
        })?;
        Ok(sealed.finish()?)
    }

    /// Reads a file that [`write`](Self::write) made.
    ///
    /// # Errors
    /// [`Error::Unreadable`], also for anything but a regular file; [`Error::Damaged`]; [`Error::NoDetectors`] for other
    /// files and those of other versions.
    pub fn read(path: &Path) -> Result<Self> {
        let unreadable = |source| Error::Unreadable {
            path: path.to_owned(),
            source,
        };
        // Opening a pipe waits for its writer, so its kind is asked first.
        if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(unreadable(std::io::Error::other("it is no regular file")));
        }
        let bytes = std::fs::read(path).map_err(unreadable)?;
        let other = |reason: String| Error::NoDetectors {
            path: path.to_owned(),
            reason,
        };
        match check(&bytes) {
            Check::Sound(_) => {}
            Check::Damaged => {
                return Err(Error::Damaged {
                    path: path.to_owned(),
                });
            }
            Check::Unsealed => return Err(other("it has no seal".to_owned())),
        }
        // Other versions hold other things, so the version is asked first.
        let Version { schema } = parse(path, &bytes).map_err(other)?;
        if schema != SCHEMA {
            let reason = format!(
                "it is of schema {schema}, expected {SCHEMA}; fit the detectors again and save them"
            );
            return Err(other(reason));
        }
        let content: Content<Fitted, Vec<HeldOut>> = parse(path, &bytes).map_err(other)?;
        Ok(Self {
            code_version: content.code_version,
            n_features: content.n_features,
            n_classes: content.n_classes,
            l2: content.l2,
            head: content.head,
            fitted: content.fitted,
            held_out: content.held_out,
        })
    }

    /// The head as that of a feature set.
    #[must_use]
    pub fn features_head(&self) -> Option<collapse_features::Head> {
        let head = self.head.as_ref()?;
        Some(collapse_features::Head {
            weight: head.weight.clone(),
            bias: head.bias.clone(),
        })
    }

    /// Whether the detectors, called by their `origin`, can score this set.
    ///
    /// # Errors
    /// [`Error::OtherNetwork`] when dimension, normalisation or number of classes differ; [`Error::Heads`].
    pub fn check_fits(&self, origin: &str, set: &Split) -> Result<()> {
        let features = &set.features;
        let found = (features.n_features(), features.n_classes(), features.l2());
        self.check_network(origin, &set.origin, found)?;
        match &features.head {
            Some(head) => self.check_head(origin, &set.origin, head),
            None => Ok(()),
        }
    }

    /// Whether the head of a set, called `set` in messages, is that which the detectors, called by their `origin`, were fitted
    /// with.
    ///
    /// # Errors
    /// [`Error::Heads`].
    pub fn check_head(
        &self,
        origin: &str,
        set: &str,
        head: &collapse_features::Head,
    ) -> Result<()> {
        let same = |own: &Head| same_head((&own.weight, &own.bias), (&head.weight, &head.bias));
        if self.head.as_ref().is_none_or(same) {
            return Ok(());
        }
        Err(Error::Heads {
            first: origin.to_owned(),
            second: set.to_owned(),
        })
    }

    /// Whether a set, called `set` in messages, of these numbers of features and classes, normalised or not, can be of the
    /// network that the detectors, called by their `origin`, were fitted on.
    ///
    /// # Errors
    /// [`Error::OtherNetwork`].
    pub fn check_network(
        &self,
        origin: &str,
        set: &str,
        (n_features, n_classes, l2): (usize, Option<usize>, bool),
    ) -> Result<()> {
        let differ = |what, fitted: String, found: String| {
            Err(Error::OtherNetwork {
                detectors: origin.to_owned(),
                set: set.to_owned(),
                what,
                fitted,
                found,
            })
        };
        if self.n_features != n_features {
            let fitted = self.n_features.to_string();
            return differ("the feature dimension", fitted, n_features.to_string());
        }
        if self.l2 != l2 {
            return differ("l2", self.l2.to_string(), l2.to_string());
        }
        match (self.n_classes, n_classes) {
            (Some(fitted), Some(found)) if fitted != found => differ(
                "the number of classes",
                fitted.to_string(),
                found.to_string(),
            ),
            _ => Ok(()),
        }
    }
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "json")
}
