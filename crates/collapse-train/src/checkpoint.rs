//! Checkpoints: all that a run needs to go on with the same bytes, in one safetensors file.
//!
//! Every random number comes from a stream of (seed, purpose, epoch) and is drawn for an image or
//! a batch by its number, so epoch and step are the position of all generators and no generator's
//! state needs storing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use collapse_models::{NetConfig, Parameters, Plan};
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, Sgd, TrainConfig};

const KEY: &str = "collapse";
const FORMAT: &str = "collapse.checkpoint/1";

/// What identifies a run and where it stands; the metadata of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// Format of the file.
    pub format: String,
    /// Epochs finished.
    pub epoch: usize,
    /// Steps finished.
    pub step: u64,
    /// The network.
    pub net: NetConfig,
    /// The training.
    pub train: TrainConfig,
    /// Hash of the training data.
    pub data_hash: String,
    /// Kernel path that wrote it, or the device where it is not the CPU; another one goes on with other bytes.
    pub kernel_path: String,
    /// Position within the epoch after `epoch`, in a checkpoint written before its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<EpochPart>,
}

/// The beginning of an epoch: its steps so far and the sums behind its record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochPart {
    /// Steps finished.
    pub steps: usize,
    /// Their images.
    pub images: usize,
    /// Images whose largest logit was the label's.
    pub hits: usize,
    /// Sum of the losses over images.
    pub loss: f64,
    /// Sums of the loss's parts over images.
    pub components: BTreeMap<String, f64>,
    /// Learning rate of the last step.
    pub rate: f64,
    /// Seconds spent.
    pub time: f64,
}

impl RunState {
    pub(crate) fn new(
        net: &NetConfig,
        train: &TrainConfig,
        data_hash: &str,
        kernel_path: &str,
    ) -> Self {
        Self {
            format: FORMAT.to_owned(),
            epoch: 0,
            step: 0,
            net: net.clone(),
            train: train.clone(),
            data_hash: data_hash.to_owned(),
            kernel_path: kernel_path.to_owned(),
            within: None,
        }
    }

    /// The settings that differ, as `name: theirs, here ours`; `None` when it is the same run.
    fn difference(&self, ours: &Self) -> Option<String> {
        let flat = |state: &Self| {
            let mut fields = Vec::new();
            if let Ok(value) = serde_json::to_value(state) {
                flatten("", &value, &mut fields);
            }
            fields.retain(|(name, _)| {
                // Position and machine are not part of the question.
                !matches!(name.as_str(), "epoch" | "step" | "kernel_path")
                    && !name.starts_with("within")
            });
            fields
        };
        let (theirs, ours) = (flat(self), flat(ours));
        let mut parts: Vec<String> = Vec::new();
        for (name, value) in &theirs {
            let here = ours.iter().find(|(other, _)| other == name);
            let here = here.map_or("absent", |(_, value)| value.as_str());
            if here != value {
                parts.push(format!("{name} is {value} there and {here} here"));
            }
        }
        for (name, value) in &ours {
            if !theirs.iter().any(|(other, _)| other == name) {
                parts.push(format!("{name} is absent there and {value} here"));
            }
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

fn flatten(prefix: &str, value: &serde_json::Value, out: &mut Vec<(String, String)>) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                let name = if prefix.is_empty() {
                    key.clone()
                } else {
                    format!("{prefix}.{key}")
                };
                flatten(&name, value, out);
            }
        }
        other => out.push((prefix.to_owned(), other.to_string())),
    }
}

/// A run at the end of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Identity and position.
    pub state: RunState,
    /// Weights, batch-norm statistics and spectral vectors.
    pub parameters: Parameters<f32>,
    /// The optimiser's momentum, as [`Sgd`] holds it.
    pub momentum: Vec<Vec<f32>>,
    /// The moving average of the weights, where the run keeps one.
    pub average: Option<Parameters<f32>>,
}

/// Reads only the position and identity of a checkpoint.
pub fn read_state(path: &Path) -> Result<RunState> {
    let bytes = fs::read(path).map_err(|e| Error::file(path, e))?;
    let (_, metadata) =
        SafeTensors::read_metadata(&bytes).map_err(|e| Error::file(path, damaged(e)))?;
    state_of(path, &metadata)
}

fn damaged(error: impl std::fmt::Display) -> String {
    format!("not a valid checkpoint ({error}); remove it to start anew")
}

fn state_of(path: &Path, metadata: &Metadata) -> Result<RunState> {
    let text = metadata.metadata().as_ref().and_then(|map| map.get(KEY));
    let Some(text) = text else {
        return Err(Error::file(path, damaged("it holds no run state")));
    };
    let state: RunState = serde_json::from_str(text).map_err(|e| Error::file(path, damaged(e)))?;
    if state.format != FORMAT {
        let message = format!(
            "it has format `{}`, this version reads `{FORMAT}`",
            state.format
        );
        return Err(Error::file(path, damaged(message)));
    }
    Ok(state)
}

impl Checkpoint {
    /// Reads a whole checkpoint.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).map_err(|e| Error::file(path, e))?;
        let fail = |message: String| Error::file(path, damaged(message));
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| fail(e.to_string()))?;
        let state = state_of(path, &metadata)?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| fail(e.to_string()))?;
        let plan = state.net.plan()?;
        let tensor = |name: &str, len: usize| -> Result<Vec<f32>> {
            let view = file
                .tensor(name)
                .map_err(|_| fail(format!("tensor `{name}` is missing")))?;
            let data = view.data();
            if view.dtype() != Dtype::F32 || data.len() != 4 * len {
                return Err(fail(format!("tensor `{name}` is not {len} numbers in f32")));
            }
            Ok(data
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect())
        };
        let all = |prefix: &str| -> Result<Parameters<f32>> {
            let mut parameters = Parameters::zeros(&plan);
            for spec in plan.tensors() {
                let values = tensor(&format!("{prefix}.{}", spec.name), spec.len())?;
                parameters.set(&spec.name, values)?;
            }
            Ok(parameters)
        };
        let mut momentum = Sgd::new(state.train.sgd, &plan).momentum;
        for (spec, slot) in plan.tensors().iter().zip(&mut momentum) {
            if spec.role.is_trainable() {
                *slot = tensor(&format!("momentum.{}", spec.name), spec.len())?;
            }
        }
        let average = match state.train.ema_decay {
            Some(_) => Some(all("average")?),
            None => None,
        };
        Ok(Self {
            parameters: all("model")?,
            momentum,
            average,
            state,
        })
    }

    /// Reads the checkpoint if there is one; fails when it belongs to another run.
    pub(crate) fn resume(path: &Path, ours: &RunState) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let state = read_state(path)?;
        if let Some(difference) = state.difference(ours) {
            return Err(Error::OtherRun {
                path: path.to_owned(),
                difference,
            });
        }
        Self::read(path).map(Some)
    }
}

/// The parts of a running training that a checkpoint stores.
pub(crate) struct Snapshot<'a> {
    pub(crate) state: &'a RunState,
    pub(crate) plan: &'a Plan,
    pub(crate) parameters: &'a Parameters<f32>,
    pub(crate) sgd: &'a Sgd,
    pub(crate) average: Option<&'a Parameters<f32>>,
}

impl Snapshot<'_> {
    /// Writes the file atomically; equal states give equal bytes.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
        let mut push = |name: String, shape: &[usize], values: &[f32]| {
            let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
            tensors.push((name, shape.to_vec(), bytes));
        };
        for (i, spec) in self.plan.tensors().iter().enumerate() {
            push(
                format!("model.{}", spec.name),
                &spec.shape,
                self.parameters.get(i),
            );
            if spec.role.is_trainable() {
                push(
                    format!("momentum.{}", spec.name),
                    &spec.shape,
                    &self.sgd.momentum[i],
                );
            }
            if let Some(average) = self.average {
                push(
                    format!("average.{}", spec.name),
                    &spec.shape,
                    average.get(i),
                );
            }
        }
        let fail = |message: String| Error::file(path, message);
        let views: Vec<(&str, TensorView<'_>)> = tensors
            .iter()
            .map(|(name, shape, bytes)| {
                TensorView::new(Dtype::F32, shape.clone(), bytes)
                    .map(|view| (name.as_str(), view))
                    .map_err(|e| fail(e.to_string()))
            })
            .collect::<Result<_>>()?;
        let text = serde_json::to_string(self.state).map_err(|e| fail(e.to_string()))?;
        // One key only: the map's order would otherwise show in the bytes.
        let metadata = Some([(KEY.to_owned(), text)].into_iter().collect());
        let bytes = safetensors::serialize(views, metadata).map_err(|e| fail(e.to_string()))?;
        crate::atomic::write(path, &bytes)
    }
}

/// When a run writes its checkpoint beside the end of every epoch, and of which epochs it keeps a
/// copy, in `checkpoints/`. None of it changes a result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeepConfig {
    /// Of how many latest epochs a copy stays.
    pub last: usize,
    /// Epochs whose checkpoints stay for good.
    pub epochs: Vec<usize>,
    /// Seconds of work that a killed run may lose: within an epoch a checkpoint is written at the
    /// first step after them.
    pub interval_seconds: f64,
}

impl Default for KeepConfig {
    fn default() -> Self {
        Self {
            last: 0,
            epochs: Vec::new(),
            interval_seconds: 600.0,
        }
    }
}

impl KeepConfig {
    /// Copies the fresh checkpoint of `epoch` where it is to be kept and removes outdated ones.
    pub(crate) fn apply(&self, latest: &Path, epoch: usize) -> Result<()> {
        if self.last == 0 && !self.epochs.contains(&epoch) {
            return Ok(());
        }
        let folder = latest.with_file_name("checkpoints");
        let name = |epoch: usize| folder.join(format!("epoch-{epoch:05}.safetensors"));
        let bytes = fs::read(latest).map_err(|e| Error::file(latest, e))?;
        crate::atomic::write(&name(epoch), &bytes)?;
        let outdated = epoch.saturating_sub(self.last);
        for old in (0..=outdated).rev() {
            let path = name(old);
            if self.epochs.contains(&old) || old == epoch {
                continue;
            }
            if !path.exists() {
                break;
            }
            fs::remove_file(&path).map_err(|e| Error::file(&path, e))?;
        }
        Ok(())
    }
}

/// Where a run's checkpoint stands.
pub(crate) fn checkpoint_path(folder: &Path) -> PathBuf {
    folder.join("checkpoint.safetensors")
}
