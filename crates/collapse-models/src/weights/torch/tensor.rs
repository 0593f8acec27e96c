//! Tensors as PyTorch pickles them: a view of a storage.

use super::pickle::{Id, Pickle, Value};
use crate::weights::element::{ByteOrder, Element};

/// A tensor whose numbers are still in the file.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    pub(super) storage: Storage,
    /// First number in the storage.
    offset: usize,
    pub(super) shape: Vec<usize>,
    /// Numbers from one index to the next, per dimension.
    strides: Vec<usize>,
}

/// A storage: the file's name for it, type and number of its numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Storage {
    pub(super) key: String,
    pub(super) element: Element,
    pub(super) len: usize,
}

/// Functions that return their first argument's tensor with something added.
const WRAPPERS: [&str; 2] = [
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_parameter_with_state",
];
/// Attributes around a tensor around … : nobody nests deeper.
const DEEPEST: usize = 8;

/// The tensor that a value is; `None` when it is none, an error when it is one that cannot be read.
pub(super) fn tensor(pickle: &Pickle, mut id: Id) -> Option<Result<Tensor, String>> {
    let Value::Call(call) = pickle.get(id) else {
        return None;
    };
    let (mut function, mut arguments) = (pickle.global(call.function)?, call.arguments);
    for _ in 0..DEEPEST {
        let items = pickle.sequence(arguments)?;
        if WRAPPERS.contains(&function) {
            id = *items.first()?;
            let Value::Call(inner) = pickle.get(id) else {
                return None;
            };
            (function, arguments) = (pickle.global(inner.function)?, inner.arguments);
        } else if function == "torch._tensor _rebuild_from_type_v2" {
            (function, arguments) = (pickle.global(*items.first()?)?, *items.get(2)?);
        } else {
            break;
        }
    }
    let items = pickle.sequence(arguments)?;
    match function {
        "torch._utils _rebuild_tensor_v2" | "torch._utils _rebuild_tensor" => {
            Some(dense(pickle, items))
        }
        other => {
            let name = other.strip_prefix("torch._utils _rebuild_")?;
            Some(Err(format!(
                "is stored as `{name}`; store dense tensors of f16, bf16, f32, f64 or integers"
            )))
        }
    }
}

fn dense(pickle: &Pickle, items: &[Id]) -> Result<Tensor, String> {
    let malformed = || "is not stored as PyTorch stores tensors".to_owned();
    let [storage, offset, shape, strides, ..] = *items else {
        return Err(malformed());
    };
    let sizes = |id| -> Option<Vec<usize>> {
        let items = pickle.sequence(id)?.iter();
        items.map(|&item| pickle.size(item)).collect()
    };
    let shape = sizes(shape).ok_or_else(malformed)?;
    let strides = sizes(strides).ok_or_else(malformed)?;
    let offset = pickle.size(offset).ok_or_else(malformed)?;
    let Value::Persistent(storage) = pickle.get(storage) else {
        return Err(malformed());
    };
    let (storage, start) = self::storage(pickle, *storage)?;
    if shape.len() != strides.len() {
        return Err(malformed());
    }
    Ok(Tensor {
        storage,
        offset: offset.checked_add(start).ok_or_else(malformed)?,
        shape,
        strides,
    })
}

/// What a persistent value names, and where in it a view of before PyTorch 0.4 begins.
pub(super) fn storage(pickle: &Pickle, id: Id) -> Result<(Storage, usize), String> {
    let malformed = || "has a storage unlike PyTorch's".to_owned();
    let items = pickle.sequence(id).ok_or_else(malformed)?;
    let [_, class, key, _, len, ..] = *items else {
        return Err(malformed());
    };
    let class = pickle.global(class).ok_or_else(malformed)?;
    let class = class.rsplit(' ').next().unwrap_or(class);
    let element = Element::of_torch(class)
        .ok_or_else(|| format!("has a `{class}`; store f16, bf16, f32, f64 or integers"))?;
    let start = match items.get(5).and_then(|&view| pickle.sequence(view)) {
        Some(&[_, offset, _]) => pickle.size(offset).ok_or_else(malformed)?,
        _ => 0,
    };
    let storage = Storage {
        key: pickle.text(key).ok_or_else(malformed)?.to_owned(),
        element,
        len: pickle.size(len).ok_or_else(malformed)?,
    };
    Ok((storage, start))
}

impl Tensor {
    /// Number of values; `None` beyond any memory.
    pub(super) fn len(&self) -> Option<usize> {
        self.shape
            .iter()
            .try_fold(1usize, |n, &size| n.checked_mul(size))
    }

    /// The numbers, row-major, whatever their order in the storage (`channels_last` has another).
    pub(super) fn gather(&self, storage: &[u8], order: ByteOrder) -> Result<Vec<f64>, String> {
        let beyond = || "reaches beyond its storage".to_owned();
        let n = self.len().ok_or_else(beyond)?;
        if n == 0 {
            return Ok(Vec::new());
        }
        let size = self.storage.element.size();
        let last = self
            .shape
            .iter()
            .zip(&self.strides)
            .try_fold(self.offset, |at, (n, stride)| {
                (n - 1).checked_mul(*stride)?.checked_add(at)
            });
        if last.is_none_or(|last| last >= storage.len() / size) {
            return Err(beyond());
        }
        let mut values = Vec::with_capacity(n);
        let mut index = vec![0usize; self.shape.len()];
        let mut at = self.offset;
        loop {
            values.push(
                self.storage
                    .element
                    .value(&storage[at * size..(at + 1) * size], order),
            );
            // The next index: the last dimension runs fastest.
            let mut axis = index.len();
            loop {
                if axis == 0 {
                    return Ok(values);
                }
                axis -= 1;
                index[axis] += 1;
                if index[axis] < self.shape[axis] {
                    at += self.strides[axis];
                    break;
                }
                at -= (self.shape[axis] - 1) * self.strides[axis];
                index[axis] = 0;
            }
        }
    }
}
