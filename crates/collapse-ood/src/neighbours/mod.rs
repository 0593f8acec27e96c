//! Exact nearest neighbours at the speed of whole numbers, for kNN and NNGuide.
//!
//! Rows and queries are rounded to 16-bit whole numbers about the mean of each group of rows (the class), so that the rounding is
//! small beside the spread of the group, also where classes collapse. The rounding of every inner product is bounded by Cauchy and
//! Schwarz from what the rounding took of both vectors; each row whose bound lets it be among the k best, or the k-th where that alone
//! is wanted, is then measured in f64 from the rows themselves. So the result is that of f64.

mod bank;
mod kernel;
mod rounded;
mod rows;
mod search;

use std::sync::{Arc, OnceLock};

use collapse_numeric::{Matrix, dot, sum_by_lanes};
use ndarray::{Array1, Array2, ArrayView2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};
use bank::{Goal, Group};
use rows::Rows;
use search::Candidates;

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

/// Rows to be searched; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Bank(Arc<Kept>);

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// `[N, D]`.
    rows: Rows,
    /// Group of each row, `[N]`.
    groups: Vec<usize>,
    #[serde(skip)]
    packed: Packed,
}

/// Made from the rows when first asked for.
#[derive(Default)]
struct Packed(OnceLock<Result<Vec<Group>>>);

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Packed")
    }
}

impl Serialize for Bank {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Bank {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Kept::deserialize(deserializer).map(|kept| Self(Arc::new(kept)))
    }
}

impl Bank {
    /// Features `[N, D]`, searched as ẑ = z / max(‖z‖, 1e-12); `groups` `[N]` says which lie together.
    pub(crate) fn normalized(features: Matrix, groups: &[usize]) -> Self {
        Self::new(Rows::normalized(features), groups)
    }

    fn new(rows: Rows, groups: &[usize]) -> Self {
        Self(Arc::new(Kept {
            rows,
            groups: groups.to_vec(),
            packed: Packed::default(),
        }))
    }

    /// Number of rows N.
    pub(crate) fn n_rows(&self) -> usize {
        self.0.rows.dim().0
    }

    /// Number of columns D.
    pub(crate) fn n_features(&self) -> usize {
        self.0.rows.dim().1
    }

    /// Whether both are one in memory.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The squared distance of every query `[Q, D]` to its `k`-th nearest row, `1 ≤ k ≤ N`; `[Q]`.
    ///
    /// # Errors
    /// [`Error::Stored`] for a bank from a file whose parts do not fit together.
    pub(crate) fn kth_nearest(&self, queries: ArrayView2<f64>, k: usize) -> Result<Array1<f64>> {
        self.0.kth_nearest(queries, k)
    }

    /// The `k` largest products of every query `[Q, D]` with the rows, each times the row's factor `[N]`, descending;
    /// `[Q, k]`.
    ///
    /// # Errors
    /// As [`kth_nearest`](Self::kth_nearest), also for another number of factors.
    pub(crate) fn largest(
        &self,
        queries: ArrayView2<f64>,
        k: usize,
        factors: &[f64],
    ) -> Result<Array2<f64>> {
        if factors.len() != self.n_rows() {
            return Err(Error::Stored {
                what: "the rows and their factors",
            });
        }
        self.0.best(queries, k, &Goal::product(factors))
    }
}

impl Kept {
    /// The values of the `k` best rows, the best first; `[Q, k]`.
    fn best(&self, queries: ArrayView2<f64>, k: usize, goal: &Goal) -> Result<Array2<f64>> {
        let rows = self.search(queries, k, goal, |found, values| values(&found.best()))?;
        Ok(Array2::from_shape_fn((rows.len(), k), |(query, i)| {
            rows[query][i]
        }))
    }

    fn kth_nearest(&self, queries: ArrayView2<f64>, k: usize) -> Result<Array1<f64>> {
        let kth = self.search(queries, k, &Goal::Distance, |found, values| {
            let (better, doubtful) = found.kth();
            values(&doubtful)[k - 1 - better]
        })?;
        Ok(Array1::from_vec(kth))
    }

    /// What `finish` makes of the candidates of every query, in their order; it is given the values of rows, sorted, the best first.
    fn search<R: Send>(
        &self,
        queries: ArrayView2<f64>,
        k: usize,
        goal: &Goal,
        finish: impl Fn(Candidates, &mut dyn FnMut(&[u32]) -> Vec<f64>) -> R + Sync,
    ) -> Result<Vec<R>> {
        let groups = self.groups()?;
        let blocks: Vec<_> = queries.axis_chunks_iter(Axis(0), QUERY_ROWS).collect();
        let finished = blocks.into_par_iter().flat_map_iter(|queries| {
            let queries = queries.as_standard_layout();
            let found = search::candidates(groups, goal, queries.view(), k);
            let mut own = Vec::new();
            let finished = queries.rows().into_iter().zip(found).map(|(query, found)| {
                let query = query.as_slice().unwrap_or(&[]);
                finish(found, &mut |numbers| {
                    let values = numbers.iter();
                    let values =
                        values.map(|row| self.measure(query, *row as usize, goal, &mut own));
                    sorted(values.collect(), goal)
                })
            });
            finished.collect::<Vec<R>>()
        });
        Ok(finished.collect())
    }

    /// The value of a row, which is read into `own`.
    fn measure(&self, query: &[f64], row: usize, goal: &Goal, own: &mut Vec<f64>) -> f64 {
        self.rows.read(row, own);
        match goal {
            Goal::Distance => sum_by_lanes(query, own, |a, b| (a - b) * (a - b)),
            Goal::Product { factors, .. } => factors[row] * dot(query, own),
        }
    }

    fn groups(&self) -> Result<&[Group]> {
        // One thread alone packs, without parallel work inside: a worker that waits for it must not be given a task that
        // asks for the same.
        let packed = self.packed.0.get_or_init(|| self.pack());
        match packed {
            Ok(groups) => Ok(groups),
            Err(_) => Err(Error::Stored {
                what: "the rows and their groups",
            }),
        }
    }

    fn pack(&self) -> Result<Vec<Group>> {
        let (n, _) = self.rows.dim();
        let last = self.groups.iter().max();
        let n_groups = last.map_or(0, |last| last.saturating_add(1));
        if !self.rows.fit() || n_groups > n {
            return Err(Error::Stored {
                what: "the rows and their groups",
            });
        }
        bank::pack(&self.rows, &self.groups, n_groups)
    }
}

/// The best first.
fn sorted(mut values: Vec<f64>, goal: &Goal) -> Vec<f64> {
    match goal {
        Goal::Distance => values.sort_unstable_by(f64::total_cmp),
        Goal::Product { .. } => values.sort_unstable_by(|a, b| b.total_cmp(a)),
    }
    values
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
            let bank = |groups: &[usize]| Bank::new(Rows::plain(bank.clone().into()), groups);
            for (bank, goal) in [
                (bank(&groups), Goal::Distance),
                (bank(&vec![0; n]), Goal::Distance),
                (bank(&groups), Goal::product(&factors)),
            ] {
                for k in [1, 10.min(n), n] {
                    let found = bank.0.best(queries.view(), k, &goal).unwrap();
                    let kth = bank.kth_nearest(queries.view(), k).unwrap();
                    let rows = queries.rows().into_iter().zip(found.rows());
                    for ((query, found), kth) in rows.zip(kth) {
                        let query = query.as_slice().unwrap();
                        let mut all: Vec<f64> = (0..n)
                            .map(|row| bank.0.measure(query, row, &goal, &mut Vec::new()))
                            .collect();
                        all.sort_by(f64::total_cmp);
                        if matches!(goal, Goal::Product { .. }) {
                            all.reverse();
                        }
                        assert_eq!(
                            found.to_vec(),
                            all[..k],
                            "{n} x {d}, spread {spread}, k = {k}"
                        );
                        if matches!(goal, Goal::Distance) {
                            assert_eq!(kth, all[k - 1]);
                        }
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
            let packed = bank::pack(&Rows::plain(bank.into()), &groups, 3).unwrap();
            let found = search::candidates(&packed, &Goal::Distance, queries.view(), 50);
            let (best, kth): (Vec<_>, Vec<_>) = found
                .into_iter()
                .map(|found| (found.clone().best().len(), found.kth()))
                .unzip();
            let doubtful = kth.iter().map(|(_, doubtful)| doubtful.len()).max();
            assert!(doubtful.unwrap() <= 12, "{doubtful:?} at spread {spread}");
            let most = best.into_iter().max().unwrap();
            assert!(
                (50..=60).contains(&most),
                "{most} candidates at spread {spread}"
            );
        }
    }

    #[test]
    fn a_bank_whose_parts_do_not_fit_is_refused() {
        let (bank, groups) = rows(1, 20, 4, 1.0);
        let stored = |groups: &[usize]| Bank::new(Rows::plain(bank.clone().into()), groups);
        assert!(stored(&groups).kth_nearest(bank.view(), 3).is_ok());
        let short = stored(&groups).largest(bank.view(), 3, &[1.0; 19]);
        assert!(short.is_err());
        assert!(stored(&groups[..19]).kth_nearest(bank.view(), 3).is_err());
        assert!(
            stored(&[usize::MAX; 20])
                .kth_nearest(bank.view(), 3)
                .is_err()
        );
    }
}
