//! Checkpoints: all that a run needs to go on with the same bytes, in one safetensors file.
//!
//! Every random number comes from a stream of (seed, purpose, epoch) and is drawn for an image or
//! a batch by its number, so epoch and step are the position of all generators and no generator's
//! state needs storing.

use std::collections::BTreeMap;
use std::path::Path;

use collapse_models::weights::{self, RawTensor, SealedFile, write_sealed};
use collapse_models::{NetConfig, Parameters};
use safetensors::tensor::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, TrainConfig};

/// What a checkpoint's format begins with, whatever its number.
pub(crate) const KIND: &str = "collapse.checkpoint/";
const FORMAT: &str = "collapse.checkpoint/2";

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
    /// Epochs after which an evaluation was logged, 0 = untrained.
    #[serde(default)]
    pub evaluated: Vec<usize>,
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
            evaluated: Vec::new(),
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
                !["epoch", "step", "evaluated", "kernel_path"].contains(&name.as_str())
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
    /// The optimiser's momentum of every trainable tensor, zeros for the others.
    pub momentum: Parameters<f32>,
    /// The moving average of the weights, where the run keeps one.
    pub average: Option<Parameters<f32>>,
}

/// Reads only the position and identity of a checkpoint.
///
/// # Errors
/// [`Error::File`] when it is no checkpoint of this version, was changed since it was written, or stands at a
/// position that no run reaches.
pub fn read_state(path: &Path) -> Result<RunState> {
    state_of(&open(path)?)
}

fn open(path: &Path) -> Result<SealedFile> {
    let file = weights::open(path).map_err(|error| match error {
        collapse_models::Error::File { message, .. } => invalid(path, message),
        other => invalid(path, other),
    })?;
    file.into_sealed()
        .ok_or_else(|| invalid(path, "it holds no run state"))
}

fn invalid(path: &Path, reason: impl std::fmt::Display) -> Error {
    let message = format!("not a valid checkpoint ({reason}); remove it to start anew");
    Error::file(path, message)
}

fn state_of(file: &SealedFile) -> Result<RunState> {
    let fail = |reason: &dyn std::fmt::Display| invalid(file.path(), reason);
    if file.format() != FORMAT {
        let reason = format!(
            "it has format `{}`, this version reads `{FORMAT}`",
            file.format()
        );
        return Err(fail(&reason));
    }
    let state: RunState = file.about().map_err(|e| fail(&e))?;
    state.net.check().map_err(|e| fail(&e))?;
    state.train.check().map_err(|e| fail(&e))?;
    state.check_position().map_err(|reason| fail(&reason))?;
    Ok(state)
}

impl RunState {
    /// Fails when no run of this configuration stands there, whatever its data.
    fn check_position(&self) -> Result<(), String> {
        let require = |ok: bool, what: String| if ok { Ok(()) } else { Err(what) };
        let epochs = self.train.epochs;
        require(
            self.epoch <= epochs,
            format!("it stands at epoch {} of {epochs}", self.epoch),
        )?;
        let before = self.within.as_ref().map_or(0, |part| part.steps as u64);
        let whole = self.step.checked_sub(before);
        let even = match (self.epoch as u64, whole) {
            (_, None) => false,
            (0, Some(whole)) => whole == 0,
            (epoch, Some(whole)) => whole > 0 && whole % epoch == 0,
        };
        require(
            even,
            format!("it counts {} steps in {} epochs", self.step, self.epoch),
        )?;
        let known =
            self.evaluated.iter().all(|&epoch| epoch <= self.epoch) && self.evaluated.is_sorted();
        require(
            known,
            "it counts evaluations of epochs that are not trained".to_owned(),
        )?;
        match &self.within {
            Some(part) => {
                require(
                    self.epoch < epochs,
                    "it stands behind its last epoch".to_owned(),
                )?;
                part.check(self.train.batch_size)
            }
            None => Ok(()),
        }
    }

    /// Fails unless the position is one of a run on `n` images.
    fn check_steps(&self, steps_per_epoch: usize) -> Result<(), String> {
        let part = self.within.as_ref().map_or(0, |part| part.steps);
        let whole = (self.epoch as u64).checked_mul(steps_per_epoch as u64);
        let expected = whole.and_then(|whole| whole.checked_add(part as u64));
        if part <= steps_per_epoch && expected == Some(self.step) {
            return Ok(());
        }
        let (step, epoch) = (self.step, self.epoch);
        Err(format!(
            "it stands at step {step} behind {epoch} epochs of {steps_per_epoch} steps"
        ))
    }
}

impl EpochPart {
    fn check(&self, batch_size: usize) -> Result<(), String> {
        // A last single image joins the batch before it.
        let most = self
            .steps
            .checked_mul(batch_size)
            .and_then(|n| n.checked_add(1));
        let sums = self
            .components
            .values()
            .chain([&self.loss, &self.rate, &self.time]);
        let sound = self.steps > 0
            && (1..=most.unwrap_or(0)).contains(&self.images)
            && self.hits <= self.images
            && sums.into_iter().all(|value| value.is_finite())
            && self.rate >= 0.0
            && self.time >= 0.0;
        if sound {
            return Ok(());
        }
        Err(format!(
            "within its epoch it counts {} steps, {} images and {} hits, with a loss of {}",
            self.steps, self.images, self.hits, self.loss
        ))
    }
}

impl Checkpoint {
    /// Reads a whole checkpoint.
    ///
    /// # Errors
    /// As [`read_state`]; [`Error::File`] when tensors are missing, of another shape or hold what is no number.
    pub fn read(path: &Path) -> Result<Self> {
        Self::of(&open(path)?)
    }

    pub(crate) fn of(file: &SealedFile) -> Result<Self> {
        Self::with_state(file, state_of(file)?)
    }

    fn with_state(file: &SealedFile, state: RunState) -> Result<Self> {
        let fail = |reason: &dyn std::fmt::Display| invalid(file.path(), reason);
        let plan = state.net.plan()?;
        let stored = file.tensors().map_err(|e| fail(&e))?;
        let read = |name: &str, len| numbers(&stored, name, len).map_err(|reason| fail(&reason));
        let all = |prefix: &str| -> Result<Parameters<f32>> {
            let mut parameters = Parameters::zeros(&plan);
            for spec in plan.tensors() {
                let values = read(&format!("{prefix}.{}", spec.name), spec.len())?;
                parameters.set(&spec.name, values)?;
            }
            parameters.check_values().map_err(|e| fail(&e))?;
            Ok(parameters)
        };
        let mut momentum = Parameters::zeros(&plan);
        for spec in plan.tensors() {
            if spec.role.is_trainable() {
                let values = read(&format!("momentum.{}", spec.name), spec.len())?;
                momentum.set(&spec.name, values)?;
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

    /// Reads the checkpoint if there is one; fails when it belongs to another run, or stands where a run of so many
    /// steps an epoch does not.
    pub(crate) fn resume(
        path: &Path,
        ours: &RunState,
        steps_per_epoch: usize,
    ) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let file = open(path)?;
        let state = state_of(&file)?;
        if let Some(difference) = state.difference(ours) {
            return Err(Error::OtherRun {
                path: path.to_owned(),
                difference,
            });
        }
        state
            .check_steps(steps_per_epoch)
            .map_err(|reason| invalid(path, reason))?;
        Self::with_state(&file, state).map(Some)
    }

    /// The weights that count: their average where the run keeps one.
    #[must_use]
    pub fn into_weights(self) -> (RunState, Parameters<f32>) {
        (self.state, self.average.unwrap_or(self.parameters))
    }
}

fn numbers(stored: &SafeTensors<'_>, name: &str, len: usize) -> Result<Vec<f32>, String> {
    let view = stored
        .tensor(name)
        .map_err(|_| format!("tensor `{name}` is missing"))?;
    let data = view.data();
    if view.dtype() != Dtype::F32 || data.len() != 4 * len {
        return Err(format!("tensor `{name}` is not {len} numbers in f32"));
    }
    let numbers = data.chunks_exact(4);
    Ok(numbers
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect())
}

/// The parts of a running training that a checkpoint stores.
pub(crate) struct Snapshot<'a> {
    pub(crate) state: &'a RunState,
    pub(crate) parameters: &'a Parameters<f32>,
    pub(crate) momentum: &'a Parameters<f32>,
    pub(crate) average: Option<&'a Parameters<f32>>,
}

impl Snapshot<'_> {
    /// Writes the file as a whole or not at all; equal states give equal bytes.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let mut tensors = Vec::new();
        for id in self.parameters.ids() {
            let spec = self.parameters.spec(id);
            let mut push = |kind: &str, values: &[f32]| {
                tensors.push(RawTensor {
                    name: format!("{kind}.{}", spec.name),
                    dtype: Dtype::F32,
                    shape: &spec.shape,
                    bytes: values.iter().flat_map(|x| x.to_le_bytes()).collect(),
                });
            };
            push("model", self.parameters.get(id));
            if spec.role.is_trainable() {
                push("momentum", self.momentum.get(id));
            }
            if let Some(average) = self.average {
                push("average", average.get(id));
            }
        }
        Ok(write_sealed(path, self.state, &tensors)?)
    }
}
