//! What `torch.save` writes: a zip archive since PyTorch 1.6, a row of pickles and storages before.

mod container;
mod pickle;
mod tensor;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use container::Container;
use pickle::{Id, Pickle, Value};
use tensor::Tensor;

use super::NamedTensors;

/// Names under which training scripts keep the network's `state_dict`, the most telling first.
const CUSTOMARY: [&str; 5] = ["", "state_dict", "model", "model_state_dict", "net"];
/// How deep in a checkpoint a `state_dict` is looked for.
const DEEPEST: usize = 4;
/// Values a file may hold for each of its bytes; more come of stretched or compressed tensors only.
const VALUES_PER_BYTE: usize = 16;

/// A checkpoint whose pickle was read; the numbers are still in their bytes.
pub(super) struct Archive {
    pickle: Pickle,
    container: Container,
    /// The most values that are read.
    most_values: usize,
}

/// A dictionary of tensors in a checkpoint.
struct Candidate {
    /// Keys that lead to it, joined by dots; empty at the top.
    path: String,
    tensors: BTreeMap<String, Id>,
}

impl Archive {
    /// Whether a file begins as those that `torch.save` writes.
    pub(super) fn is_one(bytes: &[u8]) -> bool {
        container::is_zip(bytes) || container::is_legacy(bytes)
    }

    /// Reads the pickle of a checkpoint.
    pub(super) fn read(bytes: Vec<u8>) -> Result<Self, String> {
        let most_values = (1 << 20) + bytes.len().saturating_mul(VALUES_PER_BYTE);
        let (pickle, container) = container::read(bytes)?;
        Ok(Self {
            pickle,
            container,
            most_values,
        })
    }

    /// The tensors of the dictionary that holds most for which `fits`; of equals the one under a customary name.
    pub(super) fn tensors(&self, fits: impl Fn(&str) -> bool) -> Result<NamedTensors, String> {
        let candidates = self.candidates();
        let mut ranked: Vec<(usize, usize, &Candidate)> = candidates
            .iter()
            .map(|candidate| {
                let fitting = candidate.tensors.keys().filter(|name| fits(name)).count();
                let custom = CUSTOMARY.iter().position(|name| *name == candidate.path);
                (fitting, custom.unwrap_or(CUSTOMARY.len()), candidate)
            })
            .collect();
        ranked.sort_by_key(|&(fitting, custom, _)| (std::cmp::Reverse(fitting), custom));
        match ranked.as_slice() {
            [] => Err(self.without_tensors()),
            [(0, ..), ..] if self.is_module() => Err(self.without_tensors()),
            [(n, a, first), (m, b, second), ..] if *n > 0 && (n, a) == (m, b) => Err(format!(
                "`{}` and `{}` fit equally well; save the one you mean as the file's whole content",
                first.path, second.path
            )),
            [(.., best), ..] => self.decode(best),
        }
    }

    /// All dictionaries that hold tensors, nearest to the top first.
    fn candidates(&self) -> Vec<Candidate> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        let mut open = VecDeque::from([(String::new(), self.pickle.root(), 0)]);
        while let Some((path, id, depth)) = open.pop_front() {
            let Some(entries) = self.pickle.entries(id).filter(|_| seen.insert(id)) else {
                continue;
            };
            let mut tensors = BTreeMap::new();
            for &(key, value) in entries {
                let Some(name) = self.pickle.text(key) else {
                    continue;
                };
                if tensor::tensor(&self.pickle, value).is_some() {
                    tensors.insert(name.to_owned(), value);
                } else if depth < DEEPEST {
                    let dot = if path.is_empty() { "" } else { "." };
                    open.push_back((format!("{path}{dot}{name}"), value, depth + 1));
                }
            }
            if !tensors.is_empty() {
                found.push(Candidate { path, tensors });
            }
        }
        found
    }

    fn decode(&self, candidate: &Candidate) -> Result<NamedTensors, String> {
        let mut storages: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut decoded = NamedTensors::new();
        let mut left = self.most_values;
        for (name, &id) in &candidate.tensors {
            let about = |reason: String| format!("tensor `{name}` {reason}");
            let Some(found) = tensor::tensor(&self.pickle, id) else {
                continue;
            };
            let found: Tensor = found.map_err(about)?;
            left = found.len().and_then(|n| left.checked_sub(n)).ok_or_else(|| {
                about("makes the tensors larger than a file of this size can hold; save it anew, uncompressed".to_owned())
            })?;
            let storage = &found.storage;
            if !storages.contains_key(&storage.key) {
                let bytes = self
                    .container
                    .storage(storage, self.most_values)
                    .map_err(about)?;
                storages.insert(storage.key.clone(), bytes);
            }
            let values = found.gather(&storages[&storage.key], self.container.order());
            decoded.insert(name.clone(), (found.shape.clone(), values.map_err(about)?));
        }
        Ok(decoded)
    }

    /// The class of the object that was saved, where it is no plain value.
    fn class(&self) -> Option<&str> {
        match self.pickle.get(self.pickle.root()) {
            Value::Call(call) => self.pickle.global(call.function).map(|name| match name {
                // Classes with arguments to `__new__` are made by a helper.
                "copyreg _reconstructor" | "copy_reg _reconstructor" => {
                    let first = self
                        .pickle
                        .sequence(call.arguments)
                        .and_then(|items| items.first());
                    first
                        .and_then(|&class| self.pickle.global(class))
                        .unwrap_or(name)
                }
                name => name,
            }),
            _ => None,
        }
    }

    fn is_module(&self) -> bool {
        self.class().is_some()
    }

    fn without_tensors(&self) -> String {
        let content = match self.pickle.get(self.pickle.root()) {
            Value::Call(_) => match self.class() {
                Some(class) => format!("a pickled object of class `{}`", class.replace(' ', ".")),
                None => "a pickled object".to_owned(),
            },
            Value::Dict(entries) => {
                let keys = entries.iter().filter_map(|(key, _)| self.pickle.text(*key));
                let keys: Vec<&str> = keys.take(8).collect();
                format!(
                    "a dictionary without tensors (its keys: {})",
                    keys.join(", ")
                )
            }
            Value::Sequence(_) => "a list".to_owned(),
            _ => "a plain value".to_owned(),
        };
        format!("it holds {content}; save with `torch.save(net.state_dict(), path)`")
    }
}
