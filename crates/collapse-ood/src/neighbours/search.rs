//! The search of one block of queries.

use ndarray::{ArrayView1, ArrayView2};
use pulp::NullaryFnOnce;

use super::bank::{Goal, Group, Panel, Terms};
use super::kernel::{QUERIES, QueryPairs, ROWS, Simd, Work, on_this_processor, pair};
use super::rounded::Rounded;

/// Roundings of f64 in a value and its bound, generously counted, for `D` terms a sum.
const SLACK: f64 = 16.0 * f64::EPSILON;

/// For every query `[Q, D]` the rows that can be among its `k` best: all that are, and few others.
pub(super) fn candidates(
    groups: &[Group],
    goal: &Goal,
    queries: ArrayView2<f64>,
    k: usize,
) -> Vec<Candidates> {
    let mut found: Vec<Candidates> = queries
        .rows()
        .into_iter()
        .map(|_| Candidates::new(k))
        .collect();
    for group in groups {
        let tiles: Vec<Tile> = (0..queries.nrows())
            .step_by(QUERIES)
            .map(|first| Tile::new(group, goal, queries, first))
            .collect();
        on_this_processor(Offer {
            group,
            goal,
            tiles: &tiles,
            found: &mut found,
        });
    }
    found
}

/// All rows of a group, offered to all queries.
struct Offer<'a> {
    group: &'a Group,
    goal: &'a Goal<'a>,
    tiles: &'a [Tile],
    found: &'a mut [Candidates],
}

impl Work for Offer<'_> {
    type Output = ();

    fn run<S: Simd>(self, simd: S) {
        simd.run(With { simd, offer: self });
    }
}

struct With<'a, S> {
    simd: S,
    offer: Offer<'a>,
}

impl<S: Simd> NullaryFnOnce for With<'_, S> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Offer {
            group,
            goal,
            tiles,
            found,
        } = self.offer;
        for panel in &group.panels {
            let terms = goal.terms(panel, group.center_length);
            for (tile, found) in tiles.iter().zip(found.chunks_mut(QUERIES)) {
                tile.offer(self.simd, panel, &terms, found);
            }
        }
    }
}

/// A few queries about the centre of a group, `t = q − centre`.
struct Tile {
    pairs: Vec<QueryPairs>,
    parts: Vec<Query>,
}

struct Query {
    scale: f64,
    length: f64,
    error: f64,
    base: f64,
    base_size: f64,
    /// Relative rounding of sums of D terms.
    slack: f64,
}

impl Tile {
    fn new(group: &Group, goal: &Goal, queries: ArrayView2<f64>, first: usize) -> Self {
        let d = queries.ncols();
        let mut pairs = vec![[0; QUERIES]; d.div_ceil(2)];
        let last = queries.nrows().min(first + QUERIES);
        let part = |number: usize| {
            let query: ArrayView1<f64> = queries.row(number);
            let t = Rounded::new((&query - &group.center).view());
            for (pairs, whole) in pairs.iter_mut().zip(t.whole.as_chunks::<2>().0) {
                pairs[number - first] = pair(whole[0], whole[1]);
            }
            let (base, base_size) = goal.base(query, group, &t);
            Query {
                base,
                base_size,
                scale: t.scale,
                length: t.length,
                error: t.error,
                slack: SLACK + d as f64 * f64::EPSILON,
            }
        };
        let parts = (first..last).map(part).collect();
        Self { pairs, parts }
    }

    #[inline(always)]
    fn offer(&self, simd: impl Simd, panel: &Panel, terms: &Terms, found: &mut [Candidates]) {
        let products = simd.products(&panel.pairs, &self.pairs);
        for ((query, products), found) in self.parts.iter().zip(&products).zip(found) {
            if query.may_reach(found.threshold, panel, terms, products) {
                let (value, bound) = query.values(panel, terms, products);
                found.offer(&panel.numbers, &value, &bound);
            }
        }
    }
}

impl Query {
    /// Whether value and bound of a row can add up to the threshold: their sum with the terms in another order, and with twice the
    /// allowance for the roundings of f64.
    #[inline(always)]
    fn may_reach(
        &self,
        threshold: f64,
        panel: &Panel,
        terms: &Terms,
        products: &[i32; ROWS],
    ) -> bool {
        let slack = 2.0 * self.slack;
        let of_length = self.error * (1.0 + slack) + slack * self.length;
        let of_error = (self.length + self.error) * (1.0 + slack);
        let of_query = slack * self.base_size;
        let mut any = false;
        // Without an early exit the loop is one of vectors.
        for row in 0..ROWS {
            let product = f64::from(products[row]) * (self.scale * panel.scale[row]);
            let weight = terms.weight[row];
            let bound = of_length * panel.length[row]
                + of_error * panel.error[row]
                + (slack * terms.offset_size[row] + of_query);
            let most = weight * (self.base + (product + terms.offset[row])) + weight.abs() * bound;
            any |= most + f64::MIN_POSITIVE >= threshold;
        }
        any
    }

    /// The value of every row and how far it may be off: `|t·r − t̂·r̂| ≤ ‖t − t̂‖ ‖r‖ + ‖t̂‖ ‖r − r̂‖`.
    #[inline(always)]
    fn values(
        &self,
        panel: &Panel,
        terms: &Terms,
        products: &[i32; ROWS],
    ) -> ([f64; ROWS], [f64; ROWS]) {
        let (mut value, mut bound) = ([0.0; ROWS], [0.0; ROWS]);
        let rounded_length = self.length + self.error;
        for row in 0..ROWS {
            let product = f64::from(products[row]) * (self.scale * panel.scale[row]);
            let weight = terms.weight[row];
            value[row] = weight * (self.base + (product + terms.offset[row]));
            let rounding = self.error * panel.length[row] + rounded_length * panel.error[row];
            let size = self.base_size + terms.offset_size[row] + self.length * panel.length[row];
            bound[row] =
                weight.abs() * (rounding * (1.0 + SLACK) + self.slack * size) + f64::MIN_POSITIVE;
        }
        (value, bound)
    }
}

/// The rows that may be among the `k` best of one query.
#[derive(Clone)]
pub(super) struct Candidates {
    k: usize,
    /// Nothing below can be among the k best.
    threshold: f64,
    /// Candidates that make another selection worth its time.
    limit: usize,
    /// The least and the largest that the value can be, and the row.
    kept: Vec<(f64, f64, u32)>,
}

impl Candidates {
    fn new(k: usize) -> Self {
        Self {
            k,
            threshold: f64::NEG_INFINITY,
            limit: 4 * k,
            kept: Vec::new(),
        }
    }

    fn offer(&mut self, numbers: &[u32], value: &[f64; ROWS], bound: &[f64; ROWS]) {
        for ((number, value), bound) in numbers.iter().zip(value).zip(bound) {
            if value + bound >= self.threshold {
                self.kept.push((value - bound, value + bound, *number));
            }
        }
        if self.kept.len() >= self.limit {
            self.tighten();
            // Many near-equal rows stay; do not go through them again and again.
            self.limit = (4 * self.k).max(2 * self.kept.len());
        }
    }

    fn tighten(&mut self) {
        if self.kept.len() < self.k {
            return;
        }
        let by_least = |a: &(f64, f64, u32), b: &(f64, f64, u32)| b.0.total_cmp(&a.0);
        let (_, kth, _) = self.kept.select_nth_unstable_by(self.k - 1, by_least);
        let threshold = kth.0;
        self.threshold = threshold;
        self.kept.retain(|candidate| candidate.1 >= threshold);
    }

    /// The rows that may be among the `k` best, by their numbers.
    pub(super) fn best(mut self) -> Vec<u32> {
        self.tighten();
        numbers(self.kept.into_iter())
    }

    /// The rows that may be the `k`-th best, by their numbers, and how many others are better for certain.
    pub(super) fn kth(mut self) -> (usize, Vec<u32>) {
        self.tighten();
        let by_most = |a: &(f64, f64, u32), b: &(f64, f64, u32)| b.1.total_cmp(&a.1);
        let (_, kth, _) = self.kept.select_nth_unstable_by(self.k - 1, by_most);
        // The k-th best value is at most the k-th largest of what the values can be.
        let most = kth.1;
        let all = self.kept.len();
        let doubtful = self.kept.into_iter().filter(|kept| kept.0 <= most);
        let doubtful = numbers(doubtful);
        (all - doubtful.len(), doubtful)
    }
}

/// In ascending order, so that rows are read in theirs and the order of equals is fixed.
fn numbers(kept: impl Iterator<Item = (f64, f64, u32)>) -> Vec<u32> {
    let mut numbers: Vec<u32> = kept.map(|(_, _, number)| number).collect();
    numbers.sort_unstable();
    numbers
}
