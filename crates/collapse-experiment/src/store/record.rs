//! What a run folder says about its run: `manifest.json` and `result.json`.

use std::path::Path;

use collapse_models::NetConfig;
use collapse_results::{DataSet, Run};
use collapse_train::Precision;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::sealed;
use crate::error::Error;
use crate::image_form::ImageForm;

pub(crate) const RESULT: &str = "result.json";
pub(crate) const MANIFEST: &str = "manifest.json";

/// What a run was made from: the content of its `manifest.json`.
///
/// Two runs with the same `identity` answer the same question; the other fields are for the reader.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunManifest {
    /// Identifier of the group.
    pub group: String,
    /// Seed.
    pub seed: u64,
    /// Everything that determines the result: configuration, precision, data hashes, form of the computation.
    pub identity: serde_json::Value,
    /// SHA-256 of `identity`'s canonical JSON, 64 hexadecimal digits.
    pub identity_sha256: String,
    /// Version of the code that started the run.
    pub code_version: String,
    /// The image sets, as a report describes them.
    #[serde(default)]
    pub data: Vec<DataSet>,
}

impl RunManifest {
    /// Hashes `identity`; serde_json keeps object keys sorted, so equal values hash equally.
    #[must_use]
    pub fn new(group: &str, seed: u64, identity: serde_json::Value, code_version: &str) -> Self {
        Self {
            group: group.to_owned(),
            seed,
            identity_sha256: hash(&identity),
            identity,
            code_version: code_version.to_owned(),
            data: Vec::new(),
        }
    }

    /// The manifest of the run in `folder`; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Damaged`] when it is not what was written.
    pub fn read(folder: &Path) -> Result<Option<Self>, Error> {
        let path = folder.join(MANIFEST);
        let manifest: Option<Self> = sealed::read(&path)?;
        match manifest {
            Some(manifest) if hash(&manifest.identity) != manifest.identity_sha256 => {
                Err(Error::Damaged {
                    path,
                    message: "its hash is not that of its identity".to_owned(),
                })
            }
            manifest => Ok(manifest),
        }
    }

    /// The form of the images that its network was made for.
    pub(crate) fn image_form(&self) -> Option<ImageForm> {
        let net = self.identity.get("run")?.get("net")?;
        let net: NetConfig = serde_json::from_value(net.clone()).ok()?;
        Some(ImageForm {
            n_classes: net.n_classes,
            channels: net.in_channels,
            side: net.input_size,
        })
    }

    /// The precision that it was begun with.
    #[must_use]
    pub fn precision(&self) -> Option<Precision> {
        let train = self.identity.get("run")?.get("train")?;
        serde_json::from_value(train.get("precision")?.clone()).ok()
    }

    /// Whether `other` answers the same question for the same group and seed.
    #[must_use]
    pub fn is_of(&self, other: &Self) -> bool {
        (&self.identity_sha256, &self.group, self.seed)
            == (&other.identity_sha256, &other.group, other.seed)
    }
}

pub(crate) fn hash(value: &serde_json::Value) -> String {
    let digest = Sha256::digest(value.to_string().as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The content of `result.json`: a run, and the identity that it answers.
#[derive(Serialize, Deserialize)]
struct StoredRun {
    identity_sha256: String,
    #[serde(flatten)]
    run: Run,
}

pub(super) fn write_result(folder: &Path, manifest: &RunManifest, run: &Run) -> Result<(), Error> {
    sealed::write(
        &folder.join(RESULT),
        &StoredRun {
            identity_sha256: manifest.identity_sha256.clone(),
            run: run.clone(),
        },
    )
}

/// The result in `folder`; `None` where there is none.
///
/// [`Error::Damaged`] when it is not what was written, or was written for another run than `manifest`'s.
pub(crate) fn read_result(folder: &Path, manifest: &RunManifest) -> Result<Option<Run>, Error> {
    let path = folder.join(RESULT);
    let Some(stored) = sealed::read::<StoredRun>(&path)? else {
        return Ok(None);
    };
    let run = stored.run;
    let message = if stored.identity_sha256 != manifest.identity_sha256 {
        "it is the result of another configuration".to_owned()
    } else if (&run.group, run.seed) != (&manifest.group, manifest.seed) {
        format!("it is the result of {} seed {}", run.group, run.seed)
    } else if let Err(error) = run.check() {
        error.to_string()
    } else {
        return Ok(Some(run));
    };
    Err(Error::Damaged { path, message })
}
