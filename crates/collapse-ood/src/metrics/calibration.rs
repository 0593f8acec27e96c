//! Do confidences mean what they say?

use collapse_numeric::{Softmax, argmax, check_finite, check_labels};
use ndarray::{ArrayView1, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Bins of the expected calibration error.
const BINS: usize = 15;

/// Accuracy and calibration of one set of logits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Share of rows whose largest logit is the label.
    pub accuracy: f64,
    /// Mean largest softmax probability.
    pub mean_confidence: f64,
    /// Expected calibration error, 15 bins.
    pub ece: f64,
    /// Mean negative log-likelihood, nats.
    pub nll: f64,
}

/// Accuracy, confidence, ECE and NLL of `logits / temperature` `[N, C]`.
///
/// # Errors
/// Shapes that differ, no rows, labels outside the classes, non-finite logits, a temperature that
/// is not positive.
pub fn calibration(
    logits: ArrayView2<f64>,
    labels: &[usize],
    temperature: f64,
) -> Result<Calibration> {
    check(logits, labels)?;
    if !(temperature > 0.0 && temperature.is_finite()) {
        let expected = "positive and finite".into();
        return Err(Error::Setting {
            name: "temperature",
            value: temperature.to_string(),
            expected,
        });
    }
    let n = labels.len() as f64;
    let (mut nll, mut confidence, mut correct) = (0.0, 0.0, 0usize);
    let mut bins = Bins::new(BINS);
    for (row, &label) in logits.rows().into_iter().zip(labels) {
        let softmax = Softmax::of(row, temperature);
        let hit = softmax.top() == label;
        nll += softmax.loss(row[label]);
        confidence += softmax.confidence();
        bins.add(softmax.confidence(), softmax.doubt(), hit);
        correct += usize::from(hit);
    }
    Ok(Calibration {
        accuracy: correct as f64 / n,
        mean_confidence: confidence / n,
        ece: bins.expected_error(),
        nll: nll / n,
    })
}

/// What is drawn of the samples of one bin of confidence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Samples.
    pub count: usize,
    /// Mean largest softmax probability; 0 of no samples.
    pub confidence: f64,
    /// Share of samples whose largest logit is the label; 0 of no samples.
    pub accuracy: f64,
}

/// The 15 bins of the expected calibration error of `logits / temperature` `[N, C]`: bin b holds probabilities in
/// (b / 15, (b + 1) / 15].
///
/// # Errors
/// As [`calibration`].
pub fn reliability(
    logits: ArrayView2<f64>,
    labels: &[usize],
    temperature: f64,
) -> Result<Vec<ReliabilityBin>> {
    calibration(logits, labels, temperature)?;
    let mut bins = vec![ReliabilityBin::default(); BINS];
    for (row, &label) in logits.rows().into_iter().zip(labels) {
        let softmax = Softmax::of(row, temperature);
        let bin = &mut bins[bin_of(softmax.confidence(), BINS)];
        bin.count += 1;
        bin.confidence += softmax.confidence();
        bin.accuracy += f64::from(u8::from(softmax.top() == label));
    }
    for bin in &mut bins {
        let count = bin.count.max(1) as f64;
        bin.confidence /= count;
        bin.accuracy /= count;
    }
    Ok(bins)
}

/// The bin of a confidence, by ⌈n · confidence − 1⌉.
fn bin_of(confidence: f64, n_bins: usize) -> usize {
    let bin = (n_bins as f64 * confidence - 1.0).ceil().max(0.0) as usize;
    bin.min(n_bins - 1)
}

/// For every row whether its largest logit, the first among equals, is the label's.
///
/// # Errors
/// As [`calibration`].
pub fn correct(logits: ArrayView2<f64>, labels: &[usize]) -> Result<Vec<bool>> {
    check(logits, labels)?;
    let rows = logits.rows().into_iter().zip(labels);
    Ok(rows.map(|(row, &label)| argmax(row) == label).collect())
}

/// Share of rows that are [`correct`].
///
/// # Errors
/// As [`calibration`].
pub fn accuracy(logits: ArrayView2<f64>, labels: &[usize]) -> Result<f64> {
    let correct = correct(logits, labels)?;
    let hits = correct.iter().filter(|hit| **hit).count();
    Ok(hits as f64 / correct.len() as f64)
}

/// Mean negative log-likelihood of the labels, nats.
///
/// # Errors
/// As [`calibration`].
pub fn nll(logits: ArrayView2<f64>, labels: &[usize]) -> Result<f64> {
    check(logits, labels)?;
    let loss = |(row, &label): (ArrayView1<f64>, &usize)| Softmax::of(row, 1.0).loss(row[label]);
    Ok(logits.rows().into_iter().zip(labels).map(loss).sum::<f64>() / labels.len() as f64)
}

/// Σ over bins of (share of samples) · |accuracy − mean confidence|.
///
/// Bin b of `n_bins` holds confidences in (b / n, (b + 1) / n], by ⌈n·confidence − 1⌉.
/// Source: DDU, `metrics/calibration_metrics.py`.
///
/// # Errors
/// Different lengths, no samples, no bins, confidences outside 0..=1.
pub fn expected_calibration_error(
    confidences: &[f64],
    correct: &[bool],
    n_bins: usize,
) -> Result<f64> {
    if confidences.len() != correct.len() {
        return Err(Error::Shape {
            what: "correct",
            found: format!("{} entries", correct.len()),
            expected: format!("{}, one for each confidence", confidences.len()),
        });
    }
    if confidences.is_empty() {
        return Err(Error::undefined(
            "the calibration error",
            "there are no samples",
        ));
    }
    if n_bins == 0 {
        return Err(Error::Setting {
            name: "n_bins",
            value: "0".into(),
            expected: "at least 1".into(),
        });
    }
    let mut bins = Bins::new(n_bins);
    for (&confidence, &hit) in confidences.iter().zip(correct) {
        // Rounding may carry a softmax a few units past 1.
        if !(0.0..=1.0 + 1e-12).contains(&confidence) {
            let expected = "between 0 and 1".into();
            return Err(Error::Setting {
                name: "confidence",
                value: confidence.to_string(),
                expected,
            });
        }
        bins.add(confidence, 1.0 - confidence, hit);
    }
    Ok(bins.expected_error())
}

/// Gaps between being right and being sure, by confidence.
struct Bins {
    /// `Σ (hit − confidence)` per bin.
    gaps: Vec<f64>,
    count: usize,
}

impl Bins {
    fn new(n_bins: usize) -> Self {
        Self {
            gaps: vec![0.0; n_bins],
            count: 0,
        }
    }

    /// `doubt` is one minus the confidence; where it is known more precisely than that, so is the error.
    fn add(&mut self, confidence: f64, doubt: f64, hit: bool) {
        let bin = bin_of(confidence, self.gaps.len());
        self.gaps[bin] += if hit { doubt } else { -confidence };
        self.count += 1;
    }

    fn expected_error(&self) -> f64 {
        self.gaps.iter().map(|gap| gap.abs()).sum::<f64>() / self.count as f64
    }
}

/// The best temperatures of DDU's grid.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TemperatureGrid {
    /// Temperature of the least NLL.
    pub by_nll: f64,
    /// Temperature of the least ECE.
    pub by_ece: f64,
}

/// Searches T = 0.1, 0.2, … (100 values, accumulated by addition); the first of equals wins.
///
/// Source: DDU, `utils/temperature_scaling.py`, which uses `by_ece`.
///
/// # Errors
/// As [`calibration`].
pub fn temperature_grid(logits: ArrayView2<f64>, labels: &[usize]) -> Result<TemperatureGrid> {
    let mut grid = TemperatureGrid {
        by_nll: 1.0,
        by_ece: 1.0,
    };
    let (mut least_nll, mut least_ece) = (f64::INFINITY, f64::INFINITY);
    let mut temperature = 0.1;
    for _ in 0..100 {
        let at = calibration(logits, labels, temperature)?;
        if at.nll < least_nll {
            (least_nll, grid.by_nll) = (at.nll, temperature);
        }
        if at.ece < least_ece {
            (least_ece, grid.by_ece) = (at.ece, temperature);
        }
        temperature += 0.1;
    }
    Ok(grid)
}

/// The temperature of the least NLL, to full precision.
///
/// The NLL is convex in β = 1/T; the root of its derivative is bracketed and bisected.
///
/// # Errors
/// As [`calibration`]; [`Error::Undefined`] when the NLL has no minimum, as for logits that are
/// never wrong (T → 0) or worse than chance (T → ∞).
pub fn temperature_optimum(logits: ArrayView2<f64>, labels: &[usize]) -> Result<f64> {
    check(logits, labels)?;
    let slope = |beta: f64| -> f64 {
        let expected = |row: ArrayView1<f64>| {
            let top = row[argmax(row)];
            let (mut sum, mut moment) = (0.0, 0.0);
            for &logit in row {
                let weight = (beta * (logit - top)).exp();
                sum += weight;
                moment += weight * (logit - top);
            }
            top + moment / sum
        };
        logits
            .rows()
            .into_iter()
            .zip(labels)
            .map(|(row, &label)| expected(row) - row[label])
            .sum()
    };
    let spread = logits
        .rows()
        .into_iter()
        .map(|row| row[argmax(row)] - row.iter().copied().fold(f64::INFINITY, f64::min));
    let scale = spread.fold(0.0, f64::max);
    let undefined = |reason: &str| Err(Error::undefined("the temperature of least NLL", reason));
    if scale == 0.0 {
        return undefined("all logits of a row are equal");
    }
    // The slope at infinite β is the sum of what the labels' logits lack to the largest.
    let mut rows = logits.rows().into_iter().zip(labels);
    if rows.all(|(row, &label)| row[label] == row[argmax(row)]) {
        return undefined("the largest logit is always the label, so T falls to zero");
    }
    let (mut low, mut high) = (1e-6 / scale, 1.0 / scale);
    if slope(low) >= 0.0 {
        return undefined("the logits are no better than chance, so T grows without bound");
    }
    let out_of_range = "it leaves the range of f64; scale the logits";
    while slope(high) < 0.0 {
        (low, high) = (high, 2.0 * high);
        if high.is_infinite() {
            return undefined(out_of_range);
        }
    }
    while high - low > 1e-15 * high {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if slope(middle) < 0.0 {
            low = middle
        } else {
            high = middle
        }
    }
    let temperature = 1.0 / (0.5 * low + 0.5 * high);
    if temperature > 0.0 && temperature.is_finite() {
        Ok(temperature)
    } else {
        undefined(out_of_range)
    }
}

fn check(logits: ArrayView2<f64>, labels: &[usize]) -> Result<()> {
    let (n, n_classes) = logits.dim();
    if n == 0 || n_classes == 0 {
        return Err(Error::undefined(
            "calibration",
            format!("the logits are [{n}, {n_classes}]"),
        ));
    }
    check_labels(labels, n, n_classes)?;
    check_finite("logits", logits)?;
    Ok(())
}
