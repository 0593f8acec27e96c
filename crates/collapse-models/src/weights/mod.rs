//! Weights in and out: sealed safetensors, PyTorch checkpoints, names of other code bases.

mod element;
mod file;
mod names;
mod sealed;
mod torch;

use std::collections::BTreeMap;
use std::fmt;

use collapse_kernels::Float;

use crate::{Error, Parameters, Result, Role};

pub use file::{WeightFile, export, load, open, read};
pub use names::canonical_name;
pub use sealed::{RawTensor, SealedFile, write_sealed};

/// Shape and values of a tensor, row-major in f64.
pub type ShapedValues = (Vec<usize>, Vec<f64>);

/// Tensors by name, as they stand in a file.
pub type NamedTensors = BTreeMap<String, ShapedValues>;

/// What did not fit when weights were filled in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mismatch {
    /// Tensors of the network that the file lacks.
    pub missing: Vec<String>,
    /// Tensors of the file that the network lacks.
    pub unexpected: Vec<String>,
    /// Tensors of another shape: name, the network's, the file's.
    pub shapes: Vec<(String, Vec<usize>, Vec<usize>)>,
    /// Tensors of the network that the file has twice: name, the file's two names for it.
    pub repeated: Vec<(String, String, String)>,
}

/// How many names of a kind a message lists.
const LISTED: usize = 12;

impl Mismatch {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: &[String]| {
            let more = names.len().saturating_sub(LISTED);
            let listed = names[..names.len() - more].join(", ");
            match more {
                0 => listed,
                more => format!("{listed} and {more} more"),
            }
        };
        let mut parts = Vec::new();
        if !self.missing.is_empty() {
            parts.push(format!("missing {}", list(&self.missing)));
        }
        if !self.unexpected.is_empty() {
            parts.push(format!("unexpected {}", list(&self.unexpected)));
        }
        for (name, expected, found) in self.shapes.iter().take(LISTED) {
            parts.push(format!(
                "`{name}` is {found:?} where the network has {expected:?}"
            ));
        }
        for (name, first, second) in self.repeated.iter().take(LISTED) {
            parts.push(format!(
                "`{name}` is there twice, as `{first}` and `{second}`"
            ));
        }
        f.write_str(&parts.join("; "))?;
        f.write_str("; check net, width, classes, `modified` and spectral norm")
    }
}

impl<P: Float> Parameters<P> {
    /// What the tensor that a file calls `name` is called here: as in the file where it is DDU's
    /// name, else by [`canonical_name`] with this network's name of the head.
    pub(crate) fn name_here(&self, name: &str) -> String {
        let own = names::unwrapped(name);
        if self.id_of(own).is_ok() {
            return own.to_owned();
        }
        let canonical = canonical_name(name);
        let head = self.specs().iter().find_map(|spec| {
            (spec.role == Role::LinearWeight).then(|| spec.name.trim_end_matches("weight"))
        });
        match (canonical.strip_prefix("fc."), head) {
            (Some(tail), Some(head)) => format!("{head}{tail}"),
            _ => canonical,
        }
    }

    /// Replaces every tensor from `tensors`, whose names may be DDU's or torchvision's.
    ///
    /// `num_batches_tracked` and σ may be absent, and `n_averaged` of PyTorch's averaged models is no weight;
    /// everything else must be there once, in the right shape, and nothing else may be.
    ///
    /// # Errors
    /// [`Error::Mismatch`] with what is missing, unexpected, repeated or of another shape; [`Error::NotFinite`] when a
    /// value is no number or beyond `P`. Nothing has changed then.
    pub fn fill(&mut self, tensors: &NamedTensors) -> Result<()> {
        let mut mismatch = Mismatch::default();
        let mut by_name: BTreeMap<String, (&String, &ShapedValues)> = BTreeMap::new();
        for (name, tensor) in tensors {
            if names::unwrapped(name) == names::AVERAGED {
                continue;
            }
            let own = self.name_here(name);
            if let Some((first, _)) = by_name.get(&own) {
                mismatch
                    .repeated
                    .push((own, (*first).clone(), name.clone()));
            } else {
                by_name.insert(own, (name, tensor));
            }
        }
        let mut filled = self.clone();
        for id in self.ids() {
            let spec = self.spec(id);
            let optional = matches!(spec.role, Role::BatchesTracked | Role::SpectralSigma);
            match by_name.remove(&spec.name) {
                None if optional => {}
                None => mismatch.missing.push(spec.name.clone()),
                Some((_, (shape, values))) => {
                    let same = *shape == spec.shape
                        || (spec.len() == 1 && shape.iter().product::<usize>() == 1);
                    if same && values.len() == spec.len() {
                        for (slot, &value) in filled.get_mut(id).iter_mut().zip(values) {
                            *slot = P::from_f64(value);
                        }
                    } else {
                        let shapes = (spec.name.clone(), spec.shape.clone(), shape.clone());
                        mismatch.shapes.push(shapes);
                    }
                }
            }
        }
        mismatch.unexpected = by_name
            .into_values()
            .map(|(name, _)| name.clone())
            .collect();
        if !mismatch.is_empty() {
            return Err(Error::Mismatch(mismatch));
        }
        filled.check_values()?;
        *self = filled;
        Ok(())
    }

    /// Whether every tensor holds numbers that a network can compute with.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with the first value that is no number, or a negative variance.
    pub fn check_values(&self) -> Result<()> {
        for (spec, values) in self.iter() {
            let sound = |value: f64| {
                value.is_finite() && (spec.role != Role::RunningVariance || value >= 0.0)
            };
            let mut values = values.iter().map(|x| x.to_f64());
            if let Some(value) = values.find(|&value| !sound(value)) {
                return Err(Error::NotFinite {
                    tensor: spec.name.clone(),
                    value,
                });
            }
        }
        Ok(())
    }
}
