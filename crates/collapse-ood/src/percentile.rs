//! Percentiles of many values without a copy of them.

use collapse_numeric::{RowSource, sum_by_lanes};

use crate::error::{Error, Result};

/// The percentile of all entries of `values`, at least one, interpolated linearly between neighbours; `percentile` in 0..=100.
///
/// # Errors
/// [`Error::Setting`] with the setting's `name`.
pub(crate) fn percentile_of(
    name: &'static str,
    values: &impl RowSource,
    percentile: f64,
) -> Result<f64> {
    if !(0.0..=100.0).contains(&percentile) {
        return Err(Error::Setting {
            name,
            value: percentile.to_string(),
            expected: "between 0 and 100".into(),
        });
    }
    let last = values.nrows() * values.ncols() - 1;
    let position = percentile / 100.0 * last as f64;
    let low = (position.floor() as usize).min(last);
    let (at, next) = order_statistics(values, low);
    let share = position - low as f64;
    Ok(match next {
        Some(next) if share > 0.0 => at + share * (next - at),
        _ => at,
    })
}

/// The `k`-th smallest value, counted from zero, and the one after it.
///
/// Sixteen bits of an integer of the same order are settled by each of four passes, so nothing is sorted or copied.
fn order_statistics(values: &impl RowSource, k: usize) -> (f64, Option<f64>) {
    let (mut found, mut settled, mut left) = (0u64, 0u64, k);
    let mut equal = 0;
    for shift in [48, 32, 16, 0] {
        let mut counts = vec![0usize; 1 << 16];
        each(values, |key| {
            if key & settled == found {
                counts[usize::from((key >> shift) as u16)] += 1;
            }
        });
        let mut digit = 0;
        while left >= counts[digit] {
            left -= counts[digit];
            digit += 1;
        }
        found |= (digit as u64) << shift;
        settled |= 0xffff << shift;
        equal = counts[digit];
    }
    if left + 1 < equal {
        return (value(found), Some(value(found)));
    }
    let mut next = None;
    each(values, |key| {
        if key > found && next.is_none_or(|next| key < next) {
            next = Some(key);
        }
    });
    (value(found), next.map(value))
}

/// Calls `take` with the key of every value.
fn each(values: &impl RowSource, mut take: impl FnMut(u64)) {
    let mut row = vec![0.0; values.ncols()];
    for i in 0..values.nrows() {
        values.read(i, &mut row);
        row.iter().for_each(|value| take(key(*value)));
    }
}

/// The largest of some values: what they sum to, and where they end.
pub(crate) struct Largest {
    /// The least of them.
    pub(crate) least: f64,
    /// How many of those equal to the least are among them.
    pub(crate) ties: usize,
    pub(crate) sum: f64,
}

impl Largest {
    /// The `n` largest of the values, in 1..=D. `keys` is room to work in.
    pub(crate) fn of(values: &[f64], n: usize, keys: &mut Vec<u64>) -> Self {
        keys.clear();
        keys.extend(values.iter().map(|value| !key(*value)));
        let least = value(!*keys.select_nth_unstable(n - 1).1);
        let above = values.iter().filter(|value| **value > least).count();
        let ties = n - above;
        let of_above = |value: f64, _| if value > least { value } else { 0.0 };
        Self {
            least,
            ties,
            sum: sum_by_lanes(values, values, of_above) + ties as f64 * least,
        }
    }
}

/// An integer of the order of `f64::total_cmp`.
fn key(value: f64) -> u64 {
    let bits = value.to_bits();
    bits ^ (((bits as i64) >> 63) as u64 | 1 << 63)
}

fn value(key: u64) -> f64 {
    f64::from_bits(key ^ (((!key as i64) >> 63) as u64 | 1 << 63))
}

#[cfg(test)]
mod tests {
    use super::*;
    use collapse_random::Stream;
    use ndarray::Array2;

    #[test]
    fn the_largest_are_those_of_the_sorted_values() {
        let mut stream = Stream::new(4, "largest", 0);
        let mut keys = Vec::new();
        for d in [1usize, 2, 7, 300] {
            let values: Vec<f64> = (0..d)
                .map(|_| (stream.below(50) as f64 - 25.0) / 8.0)
                .collect();
            let mut sorted = values.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            for n in [1, d.div_ceil(2), d] {
                let Largest { least, ties, sum } = Largest::of(&values, n, &mut keys);
                assert_eq!(
                    (least, sum),
                    (sorted[n - 1], sorted[..n].iter().sum::<f64>())
                );
                assert_eq!(ties, sorted[..n].iter().filter(|v| **v == least).count());
            }
        }
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_values() {
        let mut stream = Stream::new(3, "percentiles", 0);
        for n in [1, 2, 7, 1000] {
            // Few values, so that many are equal; both signs.
            let values = Array2::from_shape_fn((n, 3), |_| (stream.below(50) as f64 - 25.0) / 8.0);
            let mut sorted: Vec<f64> = values.iter().copied().collect();
            sorted.sort_by(f64::total_cmp);
            for percentile in [0.0, 3.0, 50.0, 90.0, 99.9, 100.0] {
                let position = percentile / 100.0 * (sorted.len() - 1) as f64;
                let (low, high) = (position.floor() as usize, position.ceil() as usize);
                let expected = sorted[low] + position.fract() * (sorted[high] - sorted[low]);
                let found = percentile_of("a percentile", &values.view(), percentile);
                assert!(
                    (found.unwrap() - expected).abs() < 1e-12,
                    "{n}, {percentile}"
                );
            }
        }
        let far = Array2::from_shape_vec((1, 3), vec![-1e300, 1e300, 0.0]).unwrap();
        assert_eq!(
            percentile_of("a percentile", &far.view(), 100.0).unwrap(),
            1e300
        );
        assert_eq!(
            percentile_of("a percentile", &far.view(), 0.0).unwrap(),
            -1e300
        );
        assert!(percentile_of("a percentile", &far.view(), 100.5).is_err());
    }
}
