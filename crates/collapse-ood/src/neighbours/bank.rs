//! The rows that are searched, in the form in which they are searched fast.

use collapse_numeric::{norm, rows_by_class};
use ndarray::{Array1, ArrayView1};

use super::kernel::{ROWS, RowPairs};
use super::rounded::Rounded;
use super::rows::Rows;
use crate::error::Result;

/// Rows `b` of one group about its centre, `r = b − centre`.
pub(super) struct Panel {
    /// Numbers of the rows in the bank; fewer than [`ROWS`] in the last panel of a group.
    pub(super) numbers: Vec<u32>,
    pub(super) pairs: Vec<RowPairs>,
    /// `r ≈ scale · whole`.
    pub(super) scale: [f64; ROWS],
    pub(super) length: [f64; ROWS],
    pub(super) error: [f64; ROWS],
    /// centre · r.
    pub(super) along: [f64; ROWS],
}

/// What the rows of a panel add to their values whatever the query.
pub(super) struct Terms {
    pub(super) offset: [f64; ROWS],
    /// The size of the numbers that the offset was summed from.
    pub(super) offset_size: [f64; ROWS],
    /// What the value is multiplied by, at most 1.
    pub(super) weight: [f64; ROWS],
}

/// Rows that lie about one centre.
pub(super) struct Group {
    pub(super) center: Array1<f64>,
    pub(super) center_length: f64,
    pub(super) panels: Vec<Panel>,
}

/// What makes a row a good neighbour.
pub(super) enum Goal<'a> {
    /// A small distance: the value is −½ ‖q − b‖².
    Distance,
    /// A large product with a factor a row: the value is factor · q·b, divided by `unit`, the largest factor.
    Product { factors: &'a [f64], unit: f64 },
}

/// Groups the rows by `groups` `[N]`, indices below `n_groups`, and rounds them about the means of the groups.
pub(super) fn pack(rows: &Rows, groups: &[usize], n_groups: usize) -> Result<Vec<Group>> {
    let members = rows_by_class(groups, rows.dim().0, n_groups)?;
    let group = |members: Vec<usize>| {
        let center = mean(rows, &members);
        let panels = members.chunks(ROWS);
        let panels = panels.map(|numbers| panel(rows, numbers, &center));
        Group {
            panels: panels.collect(),
            center_length: norm(center.view()),
            center,
        }
    };
    let occupied = members.into_iter().filter(|members| !members.is_empty());
    Ok(occupied.map(group).collect())
}

fn mean(rows: &Rows, members: &[usize]) -> Array1<f64> {
    let mut sum = Array1::zeros(rows.dim().1);
    for row in members {
        sum += &rows.row(*row);
    }
    sum / members.len() as f64
}

fn panel(rows: &Rows, numbers: &[usize], center: &Array1<f64>) -> Panel {
    let n_pairs = rows.dim().1.div_ceil(2);
    let mut panel = Panel {
        numbers: numbers.iter().map(|number| *number as u32).collect(),
        pairs: vec![[0; 2 * ROWS]; n_pairs],
        scale: [0.0; ROWS],
        length: [0.0; ROWS],
        error: [0.0; ROWS],
        along: [0.0; ROWS],
    };
    for (at, number) in numbers.iter().enumerate() {
        let rest = rows.row(*number) - center;
        let rounded = Rounded::new(rest.view());
        for (pairs, whole) in panel.pairs.iter_mut().zip(rounded.whole.as_chunks::<2>().0) {
            [pairs[2 * at], pairs[2 * at + 1]] = *whole;
        }
        panel.scale[at] = rounded.scale;
        panel.length[at] = rounded.length;
        panel.error[at] = rounded.error;
        panel.along[at] = center.dot(&rest);
    }
    panel
}

impl<'a> Goal<'a> {
    /// The goal of a large product with these factors `[N]`.
    pub(super) fn product(factors: &'a [f64]) -> Self {
        let largest = factors.iter().fold(0.0f64, |max, v| max.max(v.abs()));
        let unit = if largest > 0.0 { largest } else { 1.0 };
        Self::Product { factors, unit }
    }

    pub(super) fn terms(&self, panel: &Panel, center_length: f64) -> Terms {
        let mut terms = Terms {
            offset: [0.0; ROWS],
            offset_size: [0.0; ROWS],
            weight: [0.0; ROWS],
        };
        for (row, number) in panel.numbers.iter().enumerate() {
            let length = panel.length[row];
            let half_square = 0.5 * length * length;
            (terms.offset[row], terms.offset_size[row], terms.weight[row]) = match self {
                Self::Distance => (-half_square, half_square, 1.0),
                Self::Product { factors, unit } => (
                    panel.along[row],
                    center_length * length,
                    factors[*number as usize] / unit,
                ),
            };
        }
        terms
    }

    /// What a query `q = centre + t` adds to its value with every row of the group, and the size of the numbers that this was
    /// summed from.
    pub(super) fn base(&self, query: ArrayView1<f64>, group: &Group, t: &Rounded) -> (f64, f64) {
        match self {
            Self::Distance => (-0.5 * t.length * t.length, 0.5 * t.length * t.length),
            Self::Product { .. } => (query.dot(&group.center), norm(query) * group.center_length),
        }
    }
}
