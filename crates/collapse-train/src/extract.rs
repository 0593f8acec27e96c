//! Features, logits and labels of a whole set, in evaluation mode.

use collapse_features::{FeatureSet, Head};
use collapse_models::{L2Mode, Model};
use ndarray::{Array1, Array2};

use crate::data::{Draw, TrainSet, check_set, for_each_batch};
use crate::{Error, Result};

/// Runs the network over `set` without augmentation, in order, and collects raw features z,
/// logits, labels and the head.
///
/// The metadata holds `net`, `width`, `l2` (whether the head saw normalised features) and what
/// `metadata` adds, e.g. `dataset`, `split`, `epoch` and `seed`.
pub fn extract(
    model: &mut dyn Model,
    set: &dyn TrainSet,
    batch_size: usize,
    metadata: &[(&str, String)],
) -> Result<FeatureSet> {
    check_set(set, model.plan(), false)?;
    let plan = model.plan();
    let (n, d, c) = (set.len(), plan.n_features(), plan.n_classes());
    let config = plan.config().clone();
    let (weight, bias) = plan.head_tensors();
    let order: Vec<usize> = (0..n).collect();
    let mut features = Vec::with_capacity(n * d);
    let mut logits = Vec::with_capacity(n * c);
    let draw = Draw {
        order: &order,
        batch_size: batch_size.max(2),
        epoch: 0,
        seed: 0,
        augment: false,
    };
    for_each_batch(set, draw, |_, images| {
        let output = model.forward_eval(images)?;
        features.extend(output.features.iter().map(|&x| f64::from(x)));
        logits.extend(output.logits.iter().map(|&x| f64::from(x)));
        Ok(())
    })?;
    let widen = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
    let matrix = |rows, columns, values: Vec<f64>| {
        let found = values.len();
        Array2::from_shape_vec((rows, columns), values).map_err(|_| Error::Data {
            expected: format!("{} values", rows * columns),
            found: format!("{found} values"),
        })
    };
    let temperature = config.temperature;
    let scaled = |values: &[f32]| -> Vec<f64> {
        widen(values).into_iter().map(|x| x / temperature).collect()
    };
    let parameters = model.parameters();
    let mut set_of = FeatureSet::new(matrix(n, d, features)?);
    set_of.logits = Some(matrix(n, c, logits)?);
    set_of.labels = (set.labels().len() == n).then(|| set.labels().to_vec());
    set_of.head = Some(Head {
        weight: matrix(c, d, scaled(parameters.get(weight)))?,
        bias: Array1::from_vec(scaled(parameters.get(bias))),
    });
    let mut put = |key: &str, value: String| set_of.metadata.insert(key.to_owned(), value);
    put("net", config.net.name().to_owned());
    put("width", config.width.to_string());
    put("l2", (config.l2 == L2Mode::TrainAndInference).to_string());
    for (key, value) in metadata {
        put(key, value.clone());
    }
    Ok(set_of)
}

/// Share of rows whose largest logit is the label's; `None` without labels.
pub fn accuracy(set: &FeatureSet) -> Option<f64> {
    let (logits, labels) = (set.logits.as_ref()?, set.labels.as_ref()?);
    let hits = logits
        .rows()
        .into_iter()
        .zip(labels)
        .filter(|(row, label)| argmax(row.iter().copied()) == **label)
        .count();
    Some(hits as f64 / labels.len().max(1) as f64)
}

/// Index of the first largest value.
pub(crate) fn argmax<V: PartialOrd + Copy>(values: impl Iterator<Item = V>) -> usize {
    let mut best: Option<(usize, V)> = None;
    for (i, value) in values.enumerate() {
        if best.is_none_or(|(_, top)| value > top) {
            best = Some((i, value));
        }
    }
    best.map_or(0, |(i, _)| i)
}
