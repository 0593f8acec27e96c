//! Features, logits and labels of a whole set, in evaluation mode.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::thread;

use collapse_features::{FeatureSet, FeatureWriter, Head, Outline, Precision};
use collapse_models::{L2Mode, Model, Output};
use collapse_numeric::argmax;
use ndarray::{Array1, Array2};

use crate::data::{Batches, Draw, TrainSet, check_set};
use crate::{Error, Result};

/// Called after every batch with the number of its images; says whether to go on.
pub type AfterBatch<'a> = dyn FnMut(usize) -> ControlFlow<()> + 'a;

/// Runs the network over `set` without augmentation, in order, and collects raw features z [N, D],
/// logits [N, C], labels `[N]` and the head.
///
/// The metadata holds `net`, `width`, `l2` (whether the head saw normalised features) and what
/// `metadata` adds, e.g. `dataset`, `split`, `epoch` and `seed`.
///
/// # Errors
/// [`Error::Stopped`] when `after_batch` breaks; those of the set, when its images are not the network's, and of the
/// network.
pub fn extract(
    model: &mut dyn Model,
    set: &dyn TrainSet,
    batch_size: usize,
    metadata: &[(&str, String)],
    after_batch: &mut AfterBatch<'_>,
) -> Result<FeatureSet> {
    let plan = model.plan();
    let (n, d, c) = (set.len(), plan.n_features(), plan.n_classes());
    let (head, metadata) = (head(model)?, describe(model, metadata));
    let mut features: Vec<f32> = Vec::with_capacity(n * d);
    let mut logits = Vec::with_capacity(n * c);
    each_output(model, set, batch_size, after_batch, |output| {
        features.extend(&output.features);
        logits.extend(output.logits.iter().map(|&x| f64::from(x)));
        Ok(())
    })?;
    let mut found = FeatureSet::new(matrix(n, d, features)?);
    found.logits = Some(matrix(n, c, logits)?);
    found.labels = labels(set).map(<[usize]>::to_vec);
    found.head = Some(head);
    found.metadata = metadata;
    Ok(found)
}

/// As [`extract`], but batch by batch into the file `path`, which needs no memory for the features.
///
/// # Errors
/// As [`extract`], and those of the file; it is then not there, or the old one.
pub fn extract_to(
    path: &Path,
    precision: Precision,
    model: &mut dyn Model,
    set: &dyn TrainSet,
    batch_size: usize,
    metadata: &[(&str, String)],
    after_batch: &mut AfterBatch<'_>,
) -> Result<()> {
    let (head, metadata) = (head(model)?, describe(model, metadata));
    let outline = Outline {
        rows: set.len(),
        dim: model.plan().n_features(),
        labels: labels(set),
        head: &head,
        metadata: &metadata,
    };
    let mut writer = FeatureWriter::create(path, &outline, precision)?;
    each_output(model, set, batch_size, after_batch, |output| {
        Ok(writer.append(&output.features, &output.logits)?)
    })?;
    Ok(writer.finish()?)
}

fn each_output(
    model: &mut dyn Model,
    set: &dyn TrainSet,
    batch_size: usize,
    after_batch: &mut AfterBatch<'_>,
    mut take: impl FnMut(Output<f32>) -> Result<()>,
) -> Result<()> {
    check_set(set, model.plan(), false)?;
    let order: Vec<usize> = (0..set.len()).collect();
    let draw = Draw {
        order: &order,
        batch_size: batch_size.max(2),
        skip: 0,
        epoch: 0,
        seed: 0,
        augment: false,
    };
    thread::scope(|scope| {
        for batch in Batches::read_ahead(scope, set, draw) {
            let batch = batch?;
            take(model.forward_eval(&batch.images())?)?;
            if after_batch(batch.indices.len()).is_break() {
                return Err(Error::Stopped);
            }
        }
        Ok(())
    })
}

fn labels(set: &dyn TrainSet) -> Option<&[usize]> {
    (set.labels().len() == set.len()).then(|| set.labels())
}

/// The last layer as the feature file means it: the temperature is part of it.
fn head(model: &mut dyn Model) -> Result<Head> {
    let plan = model.plan();
    let (c, d) = (plan.n_classes(), plan.n_features());
    let (weight, bias) = plan.head_tensors();
    let temperature = plan.config().temperature;
    let parameters = model.parameters()?;
    let scaled = |tensor| -> Vec<f64> {
        let values = parameters.get(tensor).iter();
        values.map(|&x| f64::from(x) / temperature).collect()
    };
    Ok(Head {
        weight: matrix(c, d, scaled(weight))?,
        bias: Array1::from_vec(scaled(bias)),
    })
}

fn describe(model: &dyn Model, metadata: &[(&str, String)]) -> BTreeMap<String, String> {
    let config = model.plan().config();
    let l2 = config.l2 == L2Mode::TrainAndInference;
    let own = [
        ("net", config.net.name().to_owned()),
        ("width", config.width.to_string()),
        ("l2", l2.to_string()),
    ];
    let all = own.iter().chain(metadata);
    all.map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect()
}

fn matrix<T>(rows: usize, columns: usize, values: Vec<T>) -> Result<Array2<T>> {
    let found = values.len();
    Array2::from_shape_vec((rows, columns), values).map_err(|_| Error::Data {
        expected: format!("{} values", rows * columns),
        found: format!("{found} values"),
    })
}

/// Share of rows whose largest logit is the label's; `None` without labels.
#[must_use]
pub fn accuracy(set: &FeatureSet) -> Option<f64> {
    let (logits, labels) = (set.logits.as_ref()?, set.labels.as_ref()?);
    let hits = logits
        .rows()
        .into_iter()
        .zip(labels)
        .filter(|(row, label)| argmax(row.view()) == **label)
        .count();
    Some(hits as f64 / labels.len().max(1) as f64)
}
