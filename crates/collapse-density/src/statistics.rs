//! Partial statistics of labelled features: one pass, mergeable, as good as two passes.
//!
//! Each chunk is centred about its own class means before anything is squared, and enters the
//! total through the exact update of Chan, Golub and LeVeque (1983),
//! `S ← S_a + S_b + (n_a n_b / (n_a + n_b)) δ δᵀ` with `δ = μ_b − μ_a`. Means are kept as a row of the class plus an
//! offset, so neither they nor `δ` lose digits when the spread is tiny beside them: collapsed features lose
//! nothing to two passes. The `δ` term rides along as one more row of the Gram matrix.

use collapse_numeric::{RowSource, SymmetricPanels, dot, rows_by_class};
use ndarray::Array2;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::params::{Covariance, Shrinkage, ValidParams};
use crate::rows::{AboutMean, AboutMeans, Block, Center, centers, check_shape, spread};

/// Second moments of one class about its mean.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Scatter {
    Full(SymmetricPanels),
    Diagonal(Vec<f64>),
    /// Centred rows whose Gram matrix is the scatter, while they are fewer than the columns.
    Rows(Vec<f64>),
}

/// Sums that Ledoit and Wolf's rule needs beside the scatter: `Σ q²` and `Σ q r` for centred rows `r`, `q = ‖r‖²`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Fourth {
    sum: f64,
    weighted: Vec<f64>,
}

/// Count, mean and scatter of one class.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ClassMoments {
    pub(crate) count: usize,
    /// `None` until the first row.
    center: Option<Center>,
    /// Largest distance of a feature from its chunk's mean, looked up where the squares vanish: tells squares too small for
    /// f64 from no spread.
    pub(crate) spread: f64,
    scatter: Scatter,
    fourth: Option<Fourth>,
}

/// Partial statistics of a labelled Gaussian mixture: feed chunks to [`update`](Self::update),
/// [`merge`](Self::merge) parts computed elsewhere, and turn them into a model with
/// [`finish`](Self::finish).
///
/// Memory, whatever the number of rows: `C · D² / 2` numbers for full covariances, `D² / 2` for a tied one, `C · D` for diagonal ones. The
/// low-rank form keeps a class's rows while they are fewer than `D`. The statistics go through serde, so parts can be computed on several machines.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PartialStatistics {
    params: ValidParams,
    n_features: usize,
    classes: Vec<ClassMoments>,
    /// Scatter of all classes together when they share it.
    pooled: Option<SymmetricPanels>,
}

impl PartialStatistics {
    /// Empty statistics for rows of `n_features` columns.
    ///
    /// # Errors
    /// [`Error::NoFeatures`] for zero columns.
    pub fn new(params: ValidParams, n_features: usize) -> Result<Self> {
        if n_features == 0 {
            return Err(Error::NoFeatures);
        }
        let shared = params.covariance() == Covariance::Tied;
        let scatter = || match params.covariance() {
            Covariance::Full | Covariance::Shrinkage(_) => {
                Scatter::Full(SymmetricPanels::zeros(n_features))
            }
            Covariance::LowRank { .. } => Scatter::Rows(Vec::new()),
            Covariance::Diagonal => Scatter::Diagonal(vec![0.0; n_features]),
            Covariance::Tied => Scatter::Full(SymmetricPanels::zeros(0)),
        };
        let fourth = matches!(
            params.covariance(),
            Covariance::Shrinkage(Shrinkage::LedoitWolf)
        );
        let classes = (0..params.n_classes()).map(|_| ClassMoments {
            count: 0,
            center: None,
            spread: 0.0,
            scatter: scatter(),
            fourth: fourth.then(|| Fourth {
                sum: 0.0,
                weighted: vec![0.0; n_features],
            }),
        });
        Ok(Self {
            params,
            n_features,
            classes: classes.collect(),
            pooled: shared.then(|| SymmetricPanels::zeros(n_features)),
        })
    }

    /// Parameters the statistics were made for.
    #[must_use]
    pub fn params(&self) -> &ValidParams {
        &self.params
    }

    /// Number of columns.
    #[must_use]
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// Rows seen per class.
    #[must_use]
    pub fn counts(&self) -> Vec<usize> {
        self.classes.iter().map(|class| class.count).collect()
    }

    /// Takes in a chunk: features `[N, D]` and one label per row.
    ///
    /// # Errors
    /// Wrong shapes, labels outside `0..n_classes`, NaN or infinite features. The statistics are
    /// unchanged then.
    pub fn update<R: RowSource>(&mut self, features: R, labels: &[usize]) -> Result<()> {
        check_shape(&features, self.n_features)?;
        let members = rows_by_class(labels, features.nrows(), self.classes.len())?;
        let origins: Vec<Option<&[f64]>> = self.classes.iter().map(ClassMoments::origin).collect();
        let centers = centers(&features, &members, &origins)?;
        if let Some(pooled) = &mut self.pooled {
            let centered = AboutMeans {
                rows: &features,
                labels,
                centers: &centers,
            };
            pooled.add_gram_of(features.nrows(), centered);
            let mut shifts = Block::new(self.n_features, members.len());
            for ((class, indices), center) in self.classes.iter_mut().zip(&members).zip(&centers) {
                let Some(center) = center else { continue };
                if shifts.room() == 0 {
                    pooled.add_gram(shifts.filled());
                    shifts.clear();
                }
                class.shift_row(indices.len(), center, &mut shifts);
                class.advance(indices.len(), center);
            }
            pooled.add_gram(shifts.filled());
        } else {
            self.classes
                .par_iter_mut()
                .zip(&members)
                .zip(&centers)
                .for_each(|((class, indices), center)| {
                    if let Some(center) = center {
                        class.update(&features, indices, center);
                    }
                });
        }
        let shared = self.pooled.as_ref().map(SymmetricPanels::diagonal);
        for ((class, indices), center) in self.classes.iter_mut().zip(&members).zip(&centers) {
            let vanished = |diagonal: &[f64]| diagonal.iter().sum::<f64>() < f64::MIN_POSITIVE;
            if let Some(center) = center
                && shared
                    .as_deref()
                    .map_or_else(|| vanished(&class.diagonal()), vanished)
            {
                class.spread = class.spread.max(spread(&features, indices, center));
            }
        }
        Ok(())
    }

    /// Adds statistics of other rows, computed with the same parameters.
    ///
    /// # Errors
    /// [`Error::Incompatible`] when parameters or dimensions differ.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.params != other.params || self.n_features != other.n_features {
            let describe = |s: &Self| format!("{} features and {:?}", s.n_features, s.params);
            return Err(Error::Incompatible {
                left: describe(self),
                right: describe(other),
            });
        }
        if let (Some(mine), Some(theirs)) = (&mut self.pooled, &other.pooled) {
            mine.add(theirs);
            for (a, b) in self.classes.iter_mut().zip(&other.classes) {
                let Some(center) = &b.center else { continue };
                let mut block = Block::new(self.n_features, 1);
                a.shift_row(b.count, center, &mut block);
                mine.add_gram(block.filled());
                a.advance(b.count, center);
                a.spread = a.spread.max(b.spread);
            }
            return Ok(());
        }
        for (a, b) in self.classes.iter_mut().zip(&other.classes) {
            a.absorb(b);
        }
        Ok(())
    }

    pub(crate) fn into_parts(self) -> (Vec<ClassMoments>, Option<SymmetricPanels>) {
        (self.classes, self.pooled)
    }

    /// Whether full class covariances can be expected to have factors without jitter.
    pub(crate) fn looks_regular(&self) -> bool {
        let regular = |class: &ClassMoments| {
            let diagonal = class.diagonal();
            class.count > diagonal.len() && diagonal.iter().all(|v| *v > 0.0)
        };
        self.pooled.is_none() && self.classes.iter().all(regular)
    }
}

impl ClassMoments {
    fn update<R: RowSource>(&mut self, rows: &R, indices: &[usize], center: &Center) {
        let d = center.offset.len();
        // Fourth moments of two parts need the scatter of both apart, so they meet in `absorb`.
        if self.fourth.is_some() && self.count > 0 {
            let mut part = Self {
                count: 0,
                center: None,
                spread: 0.0,
                scatter: Scatter::Full(SymmetricPanels::zeros(d)),
                fourth: Some(Fourth {
                    sum: 0.0,
                    weighted: vec![0.0; d],
                }),
            };
            part.update(rows, indices, center);
            self.absorb(&part);
            return;
        }
        if let (Scatter::Full(panels), None) = (&mut self.scatter, &self.fourth) {
            let centered = AboutMean {
                rows,
                indices,
                center,
            };
            panels.add_gram_of(indices.len(), centered);
            self.absorb_mean(indices.len(), center);
            return;
        }
        let mut block = Block::new(d, indices.len() + 1);
        self.shift_row(indices.len(), center, &mut block);
        let mut left = indices;
        while !left.is_empty() {
            let (run, rest) = left.split_at(left.len().min(block.room()));
            block.gather(rows, run, center);
            if let Some(fourth) = &mut self.fourth {
                fourth.add(block.filled(), d);
            }
            self.scatter.add_gram(block.filled(), d);
            block.clear();
            left = rest;
        }
        self.advance(indices.len(), center);
    }

    fn origin(&self) -> Option<&[f64]> {
        self.center.as_ref().map(|center| center.origin.as_slice())
    }

    /// Mean of the rows, `[D]`; `None` before the first.
    pub(crate) fn mean(&self) -> Option<Vec<f64>> {
        self.center.as_ref().map(Center::mean)
    }

    /// Puts `√(n_a n_b / (n_a + n_b)) (μ_b − μ_a)` into the block.
    fn shift_row(&self, count: usize, center: &Center, block: &mut Block) {
        let Some(own) = &self.center else { return };
        let (a, b) = (self.count as f64, count as f64);
        let weight = (a / (a + b) * b).sqrt();
        block.push(own.difference(center).map(|delta| weight * delta));
    }

    /// Takes `count` rows with this mean into count and mean.
    fn advance(&mut self, count: usize, center: &Center) {
        let total = self.count + count;
        let weight = count as f64 / total as f64;
        match &mut self.center {
            None => self.center = Some(center.clone()),
            Some(own) => {
                let moves: Vec<f64> = own.difference(center).map(|delta| weight * delta).collect();
                own.offset
                    .iter_mut()
                    .zip(moves)
                    .for_each(|(offset, by)| *offset += by);
            }
        }
        self.count = total;
    }

    /// Merges the moments of other rows of the same class.
    fn absorb(&mut self, other: &Self) {
        let Some(center) = &other.center else { return };
        if self.center.is_none() {
            *self = other.clone();
            return;
        }
        self.merge_fourth(other);
        self.spread = self.spread.max(other.spread);
        let d = center.offset.len();
        self.scatter.absorb(&other.scatter, d);
        self.absorb_mean(other.count, center);
    }

    /// Takes `count` rows with this mean into scatter, count and mean, their scatter about it aside.
    fn absorb_mean(&mut self, count: usize, center: &Center) {
        let d = center.offset.len();
        let mut block = Block::new(d, 1);
        self.shift_row(count, center, &mut block);
        self.scatter.add_gram(block.filled(), d);
        self.advance(count, center);
    }

    /// Moves both fourth-moment sums to the common mean `μ`. With `d = μ_part − μ`, `Q = Σ q = tr S`:
    /// `Σ‖r+d‖⁴ = Σq² + 4 dᵀ Σqr + 4 dᵀSd + 2‖d‖² Q + n‖d‖⁴`,
    /// `Σ‖r+d‖²(r+d) = Σqr + Q d + 2 S d + n‖d‖² d`.
    fn merge_fourth(&mut self, other: &Self) {
        let total = (self.count + other.count) as f64;
        let shares = [other.count as f64 / total, -(self.count as f64) / total];
        let (Some(own), Some(theirs)) = (&self.center, &other.center) else {
            return;
        };
        let delta: Vec<f64> = theirs.difference(own).collect();
        let moved = |part: &Self, share: f64| -> Option<Fourth> {
            let (Some(fourth), Scatter::Full(scatter)) = (&part.fourth, &part.scatter) else {
                return None;
            };
            let d: Vec<f64> = delta.iter().map(|v| v * share).collect();
            let sd = scatter.times(&d);
            let (n, trace) = (part.count as f64, scatter.diagonal().iter().sum::<f64>());
            let dd = dot(&d, &d);
            let sum = fourth.sum
                + 4.0 * dot(&d, &fourth.weighted)
                + 4.0 * dot(&d, &sd)
                + 2.0 * dd * trace
                + n * dd * dd;
            let weighted = fourth.weighted.iter().zip(&d).zip(&sd);
            Some(Fourth {
                sum,
                weighted: weighted
                    .map(|((t, d), sd)| t + trace * d + 2.0 * sd + n * dd * d)
                    .collect(),
            })
        };
        if let (Some(mut a), Some(b)) = (moved(self, shares[0]), moved(other, shares[1])) {
            a.sum += b.sum;
            a.weighted
                .iter_mut()
                .zip(&b.weighted)
                .for_each(|(a, b)| *a += b);
            self.fourth = Some(a);
        }
    }

    /// The full scatter, when it is kept.
    pub(crate) fn scatter(&self) -> Option<&SymmetricPanels> {
        match &self.scatter {
            Scatter::Full(panels) => Some(panels),
            Scatter::Diagonal(_) | Scatter::Rows(_) => None,
        }
    }

    /// The full scatter, when it is kept.
    pub(crate) fn into_scatter(self) -> Option<SymmetricPanels> {
        match self.scatter {
            Scatter::Full(panels) => Some(panels),
            Scatter::Diagonal(_) | Scatter::Rows(_) => None,
        }
    }

    /// Centred rows `[K, D]`, row-major, whose Gram matrix is the scatter, when they are kept.
    pub(crate) fn scatter_rows(&self) -> Option<&[f64]> {
        match &self.scatter {
            Scatter::Rows(rows) => Some(rows),
            Scatter::Diagonal(_) | Scatter::Full(_) => None,
        }
    }

    /// The diagonal of the scatter.
    pub(crate) fn diagonal(&self) -> Vec<f64> {
        match &self.scatter {
            Scatter::Full(panels) => panels.diagonal(),
            Scatter::Diagonal(values) => values.clone(),
            Scatter::Rows(rows) => {
                let d = self.center.as_ref().map_or(1, |center| center.offset.len());
                let mut sum = vec![0.0; d];
                add_squares(&mut sum, rows);
                sum
            }
        }
    }

    /// `Σ ‖r‖⁴` about the mean, when it is kept.
    pub(crate) fn fourth_moment(&self) -> Option<f64> {
        self.fourth.as_ref().map(|fourth| fourth.sum)
    }
}

impl Scatter {
    /// Adds `rowsᵀ · rows` of row-major centred rows `[K, D]`.
    fn add_gram(&mut self, rows: &[f64], d: usize) {
        match self {
            Self::Full(panels) => panels.add_gram(rows),
            Self::Diagonal(sum) => add_squares(sum, rows),
            Self::Rows(kept) if kept.len() + rows.len() <= d * d => kept.extend_from_slice(rows),
            Self::Rows(kept) => {
                let mut panels = SymmetricPanels::zeros(d);
                panels.add_gram(kept);
                panels.add_gram(rows);
                *self = Self::Full(panels);
            }
        }
    }

    /// Adds the scatter of other rows about their own mean.
    fn absorb(&mut self, other: &Self, d: usize) {
        match (&mut *self, other) {
            (Self::Full(a), Self::Full(b)) => a.add(b),
            (Self::Diagonal(a), Self::Diagonal(b)) => {
                a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
            }
            (_, Self::Rows(rows)) => self.add_gram(rows, d),
            (Self::Rows(rows), Self::Full(panels)) => {
                let mut panels = panels.clone();
                panels.add_gram(rows);
                *self = Self::Full(panels);
            }
            // Parts of one kind of covariance meet here, so what is left cannot be.
            (Self::Full(_), Self::Diagonal(_)) | (Self::Diagonal(_), Self::Full(_)) => {}
            (Self::Rows(_), Self::Diagonal(_)) => {}
        }
    }
}

/// Adds the squares of row-major rows, column by column.
fn add_squares(sum: &mut [f64], rows: &[f64]) {
    for row in rows.chunks_exact(sum.len()) {
        sum.iter_mut().zip(row).for_each(|(s, v)| *s += v * v);
    }
}

impl Fourth {
    fn add(&mut self, rows: &[f64], n_features: usize) {
        for row in rows.chunks_exact(n_features) {
            let q = dot(row, row);
            self.sum += q * q;
            self.weighted
                .iter_mut()
                .zip(row)
                .for_each(|(t, v)| *t += q * v);
        }
    }
}

/// Class means as an array `[C, D]`; zero for a class without rows.
pub(crate) fn stack_means(classes: &[ClassMoments], n_features: usize) -> Array2<f64> {
    let mut out = Array2::zeros((classes.len(), n_features));
    for (mut row, class) in out.rows_mut().into_iter().zip(classes) {
        if let Some(mean) = class.mean() {
            row.assign(&ndarray::ArrayView1::from(&mean));
        }
    }
    out
}
