//! Exact nearest neighbours at the speed of whole numbers, for kNN and NNGuide.
//!
//! Rows and queries are rounded to 16-bit whole numbers about the mean of each group of rows (the class), so that the rounding is
//! small beside the spread of the group, also where classes collapse. The rounding of every inner product is bounded by Cauchy and
//! Schwarz from what the rounding took of both vectors; each row whose bound lets it be among the k best is then measured in f64 from
//! the rows themselves. So the result is that of f64, and the [k]-th best needs no luck.
//!
//! [k]: Neighbours::best

mod bank;
mod kernel;
mod rounded;
mod rows;
mod search;

use std::sync::OnceLock;

use collapse_numeric::{dot, sum_by_lanes};
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use bank::{Goal, Group};
pub(crate) use rows::Rows;

/// Fails unless `neighbours` is in `1..=n` for `n` training samples.
///
/// # Errors
/// [`Error::Setting`] with the setting's name.
pub(crate) fn check_count(name: &'static str, neighbours: usize, n: usize) -> Result<()> {
    if (1..=n).contains(&neighbours) {
        return Ok(());
    }
    Err(Error::Setting {
        name,
        value: neighbours.to_string(),
        expected: format!("between 1 and {n}, the number of training samples"),
    })
}

/// Queries of one parallel task.
const QUERY_ROWS: usize = 96;

/// Rows to be searched.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Neighbours {
    /// `[N, D]`.
    rows: Rows,
    /// Group of each row, `[N]`.
    groups: Vec<usize>,
    /// Factors of the products, `[N]`; `None` where distances are sought.
    factors: Option<Vec<f64>>,
    #[serde(skip)]
    packed: Packed,
}

/// Made from the rows when first asked for.
#[derive(Default)]
struct Packed(OnceLock<Vec<Group>>);

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Packed")
    }
}

impl Clone for Packed {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Neighbours {
    /// Rows `[N, D]`, the nearest of which are sought; `groups` `[N]` says which lie together.
    pub(crate) fn by_distance(rows: Rows, groups: &[usize]) -> Self {
        Self {
            rows,
            groups: groups.to_vec(),
            factors: None,
            packed: Packed::default(),
        }
    }

    /// Rows `[N, D]`, of which those of the largest factor · product are sought.
    pub(crate) fn by_product(rows: Rows, groups: &[usize], factors: Vec<f64>) -> Self {
        Self {
            factors: Some(factors),
            ..Self::by_distance(rows, groups)
        }
    }

    /// Number of columns D.
    pub(crate) fn n_features(&self) -> usize {
        self.rows.dim().1
    }

    /// The `k` best of every query `[Q, D]`, `1 ≤ k ≤ N`: squared distances, ascending, or products, descending; `[Q, k]`.
    ///
    /// # Errors
    /// [`Error::Stored`] for a bank from a file whose parts do not fit together.
    pub(crate) fn best(&self, queries: ArrayView2<f64>, k: usize) -> Result<Array2<f64>> {
        let goal = self
            .factors
            .as_deref()
            .map_or(Goal::Distance, Goal::Product);
        let groups = self.groups(&goal)?;
        let mut out = Array2::zeros((queries.nrows(), k));
        out.axis_chunks_iter_mut(Axis(0), QUERY_ROWS)
            .into_par_iter()
            .zip(queries.axis_chunks_iter(Axis(0), QUERY_ROWS))
            .for_each(|(mut out, queries)| {
                let queries = queries.as_standard_layout();
                let found = search::candidates(groups, &goal, queries.view(), k);
                let rows = out.rows_mut().into_iter().zip(queries.rows());
                for ((mut out, query), numbers) in rows.zip(found) {
                    let query = query.as_slice().unwrap_or(&[]);
                    let mut own = Vec::with_capacity(query.len());
                    let mut exact: Vec<f64> = numbers
                        .iter()
                        .map(|row| self.measure(query, *row as usize, &mut own))
                        .collect();
                    match self.factors {
                        None => exact.sort_unstable_by(f64::total_cmp),
                        Some(_) => exact.sort_unstable_by(|a, b| b.total_cmp(a)),
                    }
                    out.iter_mut()
                        .zip(exact)
                        .for_each(|(out, value)| *out = value);
                }
            });
        Ok(out)
    }

    /// The value of a row, which is read into `own`.
    fn measure(&self, query: &[f64], row: usize, own: &mut Vec<f64>) -> f64 {
        self.rows.read(row, own);
        match &self.factors {
            None => sum_by_lanes(query, own, |a, b| (a - b) * (a - b)),
            Some(factors) => factors[row] * dot(query, own),
        }
    }

    fn groups(&self, goal: &Goal) -> Result<&[Group]> {
        if let Some(groups) = self.packed.0.get() {
            return Ok(groups);
        }
        let (n, _) = self.rows.dim();
        let fits = self.rows.fit()
            && self.groups.len() == n
            && self
                .factors
                .as_ref()
                .is_none_or(|factors| factors.len() == n);
        if !fits {
            return Err(Error::Stored {
                what: "the rows, their groups and their factors",
            });
        }
        let n_groups = self
            .groups
            .iter()
            .max()
            .map_or(0, |last| last.saturating_add(1));
        if n_groups > n {
            return Err(Error::Stored {
                what: "the groups of the rows",
            });
        }
        let groups = bank::pack(&self.rows, &self.groups, n_groups, goal)?;
        Ok(self.packed.0.get_or_init(|| groups))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use collapse_random::Stream;

    /// Rows about three centres, `spread` about them; every seventh row is zero and some rows are equal.
    fn rows(seed: u64, n: usize, d: usize, spread: f64) -> (Array2<f64>, Vec<usize>) {
        let mut stream = Stream::new(seed, "neighbours", 0);
        let centers = Array2::from_shape_simple_fn((3, d), || stream.normal());
        let groups: Vec<usize> = (0..n).map(|i| i % 3).collect();
        let mut rows = Array2::from_shape_fn((n, d), |(i, j)| {
            centers[[i % 3, j]] + spread * stream.normal()
        });
        for i in (0..n).step_by(7) {
            rows.row_mut(i).fill(0.0);
        }
        for i in (13..n).step_by(13) {
            let (above, mut below) =
                rows.multi_slice_mut((ndarray::s![i - 3, ..], ndarray::s![i, ..]));
            below.assign(&above);
        }
        (rows, groups)
    }

    /// Every number is that of measuring all rows, to the last bit.
    #[test]
    fn the_search_finds_what_measuring_all_rows_finds() {
        for (seed, n, d, spread) in [
            (1, 700, 33, 1.0),
            (2, 300, 8, 1e-3),
            (3, 200, 16, 1e-9),
            (4, 90, 5, 1e-300),
            (5, 1, 1, 1.0),
        ] {
            let (bank, groups) = rows(seed, n, d, spread);
            let (mut queries, _) = rows(seed, 40, d, spread);
            let mut stream = Stream::new(seed, "queries", 0);
            queries.mapv_inplace(|v| v * (1.0 + 0.1 * spread * stream.normal()));
            let factors: Vec<f64> = (0..n).map(|_| 5.0 * stream.normal()).collect();
            let bank = || Rows::plain(bank.view());
            for bank in [
                Neighbours::by_distance(bank(), &groups),
                Neighbours::by_distance(bank(), &vec![0; n]),
                Neighbours::by_product(bank(), &groups, factors),
            ] {
                for k in [1, 10.min(n), n] {
                    let found = bank.best(queries.view(), k).unwrap();
                    for (query, found) in queries.rows().into_iter().zip(found.rows()) {
                        let query = query.as_slice().unwrap();
                        let mut all: Vec<f64> = (0..n)
                            .map(|row| bank.measure(query, row, &mut Vec::new()))
                            .collect();
                        all.sort_by(f64::total_cmp);
                        if bank.factors.is_some() {
                            all.reverse();
                        }
                        assert_eq!(
                            found.to_vec(),
                            all[..k],
                            "{n} x {d}, spread {spread}, k = {k}"
                        );
                    }
                }
            }
        }
    }

    /// On collapsed classes, too, few rows are measured in f64.
    #[test]
    fn few_rows_are_candidates() {
        for spread in [1.0, 1e-3, 1e-6, 1e-9] {
            let mut stream = Stream::new(1, "neighbours", 0);
            let centers = Array2::from_shape_simple_fn((3, 64), || stream.normal());
            let mut near = |n| {
                Array2::from_shape_fn((n, 64), |(i, j)| {
                    centers[[i % 3, j]] + spread * stream.normal()
                })
            };
            let (bank, queries) = (near(3000), near(60));
            let groups: Vec<usize> = (0..3000).map(|i| i % 3).collect();
            let packed =
                bank::pack(&Rows::plain(bank.view()), &groups, 3, &Goal::Distance).unwrap();
            let found = search::candidates(&packed, &Goal::Distance, queries.view(), 50);
            let most = found.iter().map(Vec::len).max().unwrap();
            assert!(
                (50..=60).contains(&most),
                "{most} candidates at spread {spread}"
            );
        }
    }

    #[test]
    fn a_bank_whose_parts_do_not_fit_is_refused() {
        let (bank, groups) = rows(1, 20, 4, 1.0);
        let mut stored = Neighbours::by_product(Rows::plain(bank.view()), &groups, vec![1.0; 19]);
        assert!(stored.best(bank.view(), 3).is_err());
        stored = Neighbours::by_distance(Rows::plain(bank.view()), &groups[..19]);
        assert!(stored.best(bank.view(), 3).is_err());
        stored = Neighbours::by_distance(Rows::plain(bank.view()), &[usize::MAX; 20]);
        assert!(stored.best(bank.view(), 3).is_err());
    }
}
