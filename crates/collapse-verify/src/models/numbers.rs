//! Numbers of networks and of their references.

use collapse_kernels::Float;
use collapse_numeric::Softmax;
use ndarray::ArrayView1;
use serde_json::Value;

use crate::folder::{at, number};

/// Mean cross-entropy and its gradient, in the precision of the network with sums in f64.
pub(super) fn cross_entropy<P: Float>(logits: &[P], labels: &[usize]) -> (f64, Vec<P>) {
    let n_classes = logits.len() / labels.len().max(1);
    let n = labels.len() as f64;
    let mut loss = 0.0;
    let mut gradient = Vec::with_capacity(logits.len());
    for (row, &label) in logits.chunks_exact(n_classes).zip(labels) {
        let row = wide(row);
        let softmax = Softmax::of(ArrayView1::from(&row), 1.0);
        loss += softmax.loss(row[label]) / n;
        for (k, x) in row.iter().enumerate() {
            let target = if k == label { 1.0 } else { 0.0 };
            gradient.push(P::from_f64((softmax.probability(*x) - target) / n));
        }
    }
    (loss, gradient)
}

pub(super) fn wide<P: Float>(values: &[P]) -> Vec<f64> {
    values.iter().map(|x| x.to_f64()).collect()
}

pub(super) fn norm(values: &[f64]) -> f64 {
    values.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// The larger error; NaN wins.
pub(super) fn worst(a: f64, b: f64) -> f64 {
    if b.is_nan() { b } else { a.max(b) }
}

/// All numbers below a path of keys, depth first; empty when absent.
pub(super) fn nested(value: &Value, path: &[&str]) -> Vec<f64> {
    fn all(value: &Value, out: &mut Vec<f64>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| all(item, out)),
            other => out.extend(number(other)),
        }
    }
    let mut out = Vec::new();
    if let Some(value) = at(value, path) {
        all(value, &mut out);
    }
    out
}
