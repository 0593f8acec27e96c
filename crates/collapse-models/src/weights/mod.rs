//! Weights in and out: safetensors, PyTorch checkpoints, names of other code bases.

mod file;
mod names;

use std::collections::BTreeMap;
use std::fmt;

use collapse_kernels::Float;

use crate::{Error, Parameters, Result, Role};

pub use file::{export, load, read};
pub use names::canonical_name;

/// Tensors by name, row-major in f64, as they stand in a file.
pub type NamedTensors = BTreeMap<String, (Vec<usize>, Vec<f64>)>;

/// What did not fit when weights were filled in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mismatch {
    /// Tensors of the network that the file lacks.
    pub missing: Vec<String>,
    /// Tensors of the file that the network lacks.
    pub unexpected: Vec<String>,
    /// Tensors of another shape: name, the network's, the file's.
    pub shapes: Vec<(String, Vec<usize>, Vec<usize>)>,
}

impl Mismatch {
    fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.shapes.is_empty()
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.missing.is_empty() {
            parts.push(format!("missing {}", self.missing.join(", ")));
        }
        if !self.unexpected.is_empty() {
            parts.push(format!("unexpected {}", self.unexpected.join(", ")));
        }
        for (name, expected, found) in &self.shapes {
            parts.push(format!(
                "`{name}` is {found:?} where the network has {expected:?}"
            ));
        }
        f.write_str(&parts.join("; "))?;
        f.write_str("; check net, width, classes, `modified` and spectral norm")
    }
}

impl<P: Float> Parameters<P> {
    /// What the tensor that a file calls `name` is called here: as in the file where it is DDU's
    /// name, else by [`canonical_name`] with this network's name of the head.
    fn name_here(&self, name: &str) -> String {
        let own = names::unwrapped(name);
        if self.index_of(own).is_ok() {
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
    /// `num_batches_tracked` and σ may be absent; everything else must be there in the right
    /// shape and nothing else may be, otherwise nothing changes and the error lists what is
    /// missing, unexpected or of another shape.
    pub fn fill(&mut self, tensors: &NamedTensors) -> Result<()> {
        let mut mismatch = Mismatch::default();
        let mut by_name = BTreeMap::new();
        for (name, tensor) in tensors {
            by_name.insert(self.name_here(name), (name, tensor));
        }
        let mut found: Vec<(usize, &[f64])> = Vec::new();
        for (i, spec) in self.specs().iter().enumerate() {
            let optional = matches!(spec.role, Role::BatchesTracked | Role::SpectralSigma);
            match by_name.remove(&spec.name) {
                None if optional => {}
                None => mismatch.missing.push(spec.name.clone()),
                Some((_, (shape, values))) => {
                    let same = *shape == spec.shape
                        || (spec.len() == 1 && shape.iter().product::<usize>() == 1);
                    if same && values.len() == spec.len() {
                        found.push((i, values));
                    } else {
                        mismatch.shapes.push((
                            spec.name.clone(),
                            spec.shape.clone(),
                            shape.clone(),
                        ));
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
        for (i, values) in found {
            for (slot, &value) in self.get_mut(i).iter_mut().zip(values) {
                *slot = P::from_f64(value);
            }
        }
        Ok(())
    }
}
