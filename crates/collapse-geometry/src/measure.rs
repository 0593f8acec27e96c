//! All measures of one set of features in two passes, without a `[D, D]` matrix.

use collapse_numeric::{
    RowSource, argmax, check_finite, dot, inner_products, largest_magnitude, norm,
    power_of_two_below, rows_by_class,
};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut1, Axis, s};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::means::class_mean;
use crate::structure::{Structure, structure};
use crate::variability::{Variability, between_factor, centered};

/// Rows of one parallel task.
const BLOCK_ROWS: usize = 256;

/// The last linear layer.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Weight, `[C, D]`.
    pub weight: ArrayView2<'a, f64>,
    /// Bias, `[C]`.
    pub bias: ArrayView1<'a, f64>,
}

/// Neural-collapse measures of one network on one data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Collapse {
    /// Rows measured.
    pub n_samples: usize,
    /// Columns.
    pub n_features: usize,
    /// Number of classes.
    pub n_classes: usize,
    /// NC1 and its relatives.
    #[serde(flatten)]
    pub variability: Variability,
    /// NC2 and NC3.
    #[serde(flatten)]
    pub structure: Structure,
    /// Share of samples, 0..=1, where the nearest class mean disagrees with the network's argmax; 0 under collapse.
    /// Source: Papyan et al. (2020).
    pub nc4: f64,
    /// Share of samples, 0..=1, where the nearest class mean agrees with the argmax of the logits **without bias**.
    /// Source: rhubarbwu/neural-collapse.
    pub nc4_agreement_without_bias: f64,
    /// Share of samples whose label is the network's argmax, 0..=1.
    pub accuracy: f64,
    /// Share of samples whose label is the nearest class mean, 0..=1.
    pub nearest_mean_accuracy: f64,
    /// Detail per class.
    pub classes: Vec<ClassDetail>,
}

/// Measures of one class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassDetail {
    /// Samples.
    pub count: usize,
    /// `‖μ_c − μ_G‖`.
    pub mean_norm: f64,
    /// `‖w_c‖`.
    pub classifier_norm: f64,
    /// `cos(w_c, μ_c − μ_G)`.
    pub cosine: f64,
    /// Mean of `‖h − μ_c‖²` over the class.
    pub within_class_variance: f64,
    /// `tr(Σ_c Σ_B⁺)` of the class's own covariance (divisor `n_c`); NC1 is its mean weighted by the counts.
    pub nc1: f64,
    /// Share of the class's samples where the nearest class mean disagrees with the argmax.
    pub nc4: f64,
}

/// Sums over the rows of one block.
#[derive(Clone)]
struct Tally {
    squares: Vec<f64>,
    projected: Vec<f64>,
    disagree: Vec<usize>,
    agree_without_bias: usize,
    correct: usize,
    nearest_correct: usize,
}

/// Measures features `h` `[N, D]` (the input of the last linear layer) with their labels and head. Features are a view of
/// f32 or f64, or any other [`RowSource`]; f32 are computed with in f64, block by block, so no whole copy is made.
///
/// Class means weigh every class alike: `μ_G` is the mean of the class means. All measures but those of
/// [`ClassDetail`] in feature units are free of the scale of the features; numbers up to the limits of f64 are fine.
///
/// # Errors
/// Wrong shapes, labels outside `0..n_classes`, classes without samples, NaN or infinite numbers, fewer than two classes, and
/// quantities that are undefined (coinciding class means, a zero classifier vector).
pub fn measure<R: RowSource>(
    features: R,
    labels: &[usize],
    n_classes: usize,
    head: Head,
) -> Result<Collapse> {
    let (n, d) = features.dim();
    if n == 0 || d == 0 {
        return Err(Error::Empty {
            rows: n,
            columns: d,
        });
    }
    if n_classes < 2 {
        return Err(Error::TooFewClasses { n_classes });
    }
    check_head(&head, n_classes, d)?;
    let members = rows_by_class(labels, n, n_classes)?;
    if let Some(class) = members.iter().position(Vec::is_empty) {
        return Err(Error::EmptyClass { class });
    }
    // Powers of two bring features and weights near 1, so that no square leaves the range of f64.
    features.check_finite("features")?;
    check_finite("head weight", head.weight)?;
    check_finite("head bias", head.bias.insert_axis(Axis(0)))?;
    let unit = unit_of(largest_magnitude(&features));
    let weight_unit = unit_of(largest_magnitude(head.weight));
    let weight = head.weight.mapv(|v| v / weight_unit);
    let bias = head.bias.mapv(|v| v / weight_unit / unit);

    let rows: Vec<Vec<f64>> = members
        .par_iter()
        .map(|rows| class_mean(&features, rows, 1.0 / unit))
        .collect();
    let means = Array2::from_shape_fn((n_classes, d), |(c, j)| rows[c][j]);
    let tally = second_pass(&features, labels, unit, &means, &weight, &bias)?;

    let count = |c: usize| members[c].len() as f64;
    let total = n as f64;
    let variances: Array1<f64> = (0..n_classes)
        .map(|c| tally.squares[c] / count(c))
        .collect();
    let variability = Variability::new(
        tally.projected.iter().sum::<f64>() / total,
        tally.squares.iter().sum::<f64>() / total,
        means.view(),
        variances.view(),
    )?;
    let mut structure = structure(means.view(), weight.view())?;
    structure.nc3_dot_variance *= (unit * weight_unit).powi(2);
    let centered = centered(means.view());
    let classes = (0..n_classes).map(|c| {
        let mean_norm = norm(centered.row(c));
        let classifier_norm = norm(weight.row(c));
        ClassDetail {
            count: members[c].len(),
            mean_norm: mean_norm * unit,
            classifier_norm: classifier_norm * weight_unit,
            cosine: weight.row(c).dot(&centered.row(c)) / mean_norm / classifier_norm,
            within_class_variance: variances[c] * unit * unit,
            nc1: tally.projected[c] / count(c),
            nc4: tally.disagree[c] as f64 / count(c),
        }
    });
    Ok(Collapse {
        n_samples: n,
        n_features: d,
        n_classes,
        variability,
        structure,
        nc4: tally.disagree.iter().sum::<usize>() as f64 / total,
        nc4_agreement_without_bias: tally.agree_without_bias as f64 / total,
        accuracy: tally.correct as f64 / total,
        nearest_mean_accuracy: tally.nearest_correct as f64 / total,
        classes: classes.collect(),
    })
}

/// Scatter about the class means and nearest means, block by block; the blocks are added in their order.
fn second_pass<R: RowSource>(
    features: &R,
    labels: &[usize],
    unit: f64,
    means: &Array2<f64>,
    weight: &Array2<f64>,
    bias: &Array1<f64>,
) -> Result<Tally> {
    let (n_classes, d) = means.dim();
    let factor = between_factor(means.view())?;
    let rank = factor.nrows();
    let global = means.sum_axis(Axis(0)) / n_classes as f64;
    let centered = means - &global;
    let weight_at_center = weight.dot(&global);
    let half_squares: Array1<f64> = centered
        .rows()
        .into_iter()
        .map(|m| 0.5 * m.dot(&m))
        .collect();
    // One product for nearest means and logits.
    let mut both = Array2::zeros((2 * n_classes, d));
    both.slice_mut(s![..n_classes, ..]).assign(&centered);
    both.slice_mut(s![n_classes.., ..]).assign(weight);
    let (both, factor) = (
        both.into_raw_vec_and_offset().0,
        factor.into_raw_vec_and_offset().0,
    );

    let tallies: Vec<Tally> = labels
        .par_chunks(BLOCK_ROWS)
        .enumerate()
        .map(|(block, labels)| {
            let mut tally = Tally::zeros(n_classes);
            let mut row = vec![0.0; d];
            let mut about_class = Vec::with_capacity(labels.len() * d);
            let mut about_center = Vec::with_capacity(labels.len() * d);
            for (i, &label) in labels.iter().enumerate() {
                features.read(block * BLOCK_ROWS + i, &mut row);
                let start = about_class.len();
                let mean = means.row(label);
                about_class.extend(row.iter().zip(mean).map(|(v, m)| v / unit - m));
                about_center.extend(row.iter().zip(&global).map(|(v, m)| v / unit - m));
                tally.squares[label] += dot(&about_class[start..], &about_class[start..]);
            }
            let mut projected = vec![0.0; labels.len() * rank];
            inner_products(&about_class, &factor, d, &mut projected);
            let mut inner = vec![0.0; labels.len() * 2 * n_classes];
            inner_products(&about_center, &both, d, &mut inner);
            let blocks = projected
                .chunks_exact(rank)
                .zip(inner.chunks_exact_mut(2 * n_classes));
            for ((projected, inner), &label) in blocks.zip(labels) {
                tally.projected[label] += dot(projected, projected);
                let (toward_means, toward_weight) = inner.split_at_mut(n_classes);
                let mut nearness = ArrayViewMut1::from(toward_means);
                nearness -= &half_squares;
                let nearest = argmax(nearness.view());
                let mut logits = ArrayViewMut1::from(toward_weight);
                logits += &weight_at_center;
                let without_bias = argmax(logits.view());
                logits += bias;
                let decided = argmax(logits.view());
                tally.disagree[label] += usize::from(nearest != decided);
                tally.agree_without_bias += usize::from(nearest == without_bias);
                tally.correct += usize::from(decided == label);
                tally.nearest_correct += usize::from(nearest == label);
            }
            tally
        })
        .collect();
    let mut tallies = tallies.into_iter();
    let first = tallies.next().ok_or(Error::Empty {
        rows: 0,
        columns: d,
    })?;
    Ok(tallies.fold(first, Tally::plus))
}

impl Tally {
    fn zeros(n_classes: usize) -> Self {
        Self {
            squares: vec![0.0; n_classes],
            projected: vec![0.0; n_classes],
            disagree: vec![0; n_classes],
            agree_without_bias: 0,
            correct: 0,
            nearest_correct: 0,
        }
    }

    fn plus(mut self, other: Self) -> Self {
        for c in 0..self.squares.len() {
            self.squares[c] += other.squares[c];
            self.projected[c] += other.projected[c];
            self.disagree[c] += other.disagree[c];
        }
        self.agree_without_bias += other.agree_without_bias;
        self.correct += other.correct;
        self.nearest_correct += other.nearest_correct;
        self
    }
}

fn unit_of(largest: f64) -> f64 {
    if largest > 0.0 {
        power_of_two_below(largest)
    } else {
        1.0
    }
}

fn check_head(head: &Head, n_classes: usize, d: usize) -> Result<()> {
    if head.weight.dim() != (n_classes, d) {
        return Err(Error::Shape {
            what: "the head weight",
            found: [head.weight.nrows(), head.weight.ncols()],
            expected: [n_classes, d],
        });
    }
    if head.bias.len() != n_classes {
        return Err(Error::Shape {
            what: "the head bias",
            found: [1, head.bias.len()],
            expected: [1, n_classes],
        });
    }
    Ok(())
}
