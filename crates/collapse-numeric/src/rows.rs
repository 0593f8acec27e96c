//! Rows of features: finite checks, norms, normalisation.

use ndarray::parallel::prelude::*;
use ndarray::{Array2, ArrayView, ArrayView1, ArrayView2, Axis, Dimension, NdFloat};

use crate::error::{Error, Result};
use crate::lanes::{dot, sum_by_lanes};

/// Norms below this divide by it instead, so that a zero row stays zero. Source: `torch.nn.functional.normalize`.
pub const NORM_FLOOR: f64 = 1e-12;

/// Rows that one task checks.
const CHECK_ROWS: usize = 64;

/// Names the first NaN or infinity of `values` `[N, D]` in row-major order; `what` is the array's name in the message.
///
/// # Errors
/// [`Error::NotFinite`].
pub fn check_finite<F: NdFloat>(what: &'static str, values: ArrayView2<F>) -> Result<()> {
    // Without an early exit the loop is one of vectors.
    let finite = |block: ArrayView2<F>| match block.as_slice() {
        Some(values) => values.iter().fold(true, |ok, v| ok & v.is_finite()),
        None => block.iter().all(|v| v.is_finite()),
    };
    let blocks = values.axis_chunks_iter(Axis(0), CHECK_ROWS).into_par_iter();
    let Some(block) = blocks.map(finite).position_first(|ok| !ok) else {
        return Ok(());
    };
    let rows = values.rows().into_iter().enumerate();
    for (row, values) in rows.skip(block * CHECK_ROWS) {
        if let Some(column) = values.iter().position(|v| !v.is_finite()) {
            return Err(Error::NotFinite {
                what,
                row,
                column,
                value: values[column].to_string(),
            });
        }
    }
    Ok(())
}

/// Euclidean (for a matrix: Frobenius) norm, also where squares leave the range of f64; infinite where an entry is.
#[must_use]
pub fn norm<D: Dimension>(values: ArrayView<f64, D>) -> f64 {
    let squared = match values.as_slice_memory_order() {
        Some(values) => dot(values, values),
        None => values.iter().map(|v| v * v).sum(),
    };
    if squared.is_finite() && squared > f64::MIN_POSITIVE {
        return squared.sqrt();
    }
    let largest = values.iter().fold(0.0f64, |max, v| max.max(v.abs()));
    if largest == 0.0 || !largest.is_finite() {
        return largest;
    }
    let unit = power_of_two_below(largest);
    let squares = values.iter().map(|v| (v / unit) * (v / unit));
    unit * squares.sum::<f64>().sqrt()
}

/// `‖a − b‖` of two vectors of one length, also where squares leave the range of f64.
#[must_use]
pub fn distance(a: ArrayView1<f64>, b: ArrayView1<f64>) -> f64 {
    let squared = match (a.as_slice(), b.as_slice()) {
        (Some(a), Some(b)) => sum_by_lanes(a, b, |a, b| (a - b) * (a - b)),
        _ => f64::INFINITY,
    };
    match squared.is_finite() && squared > f64::MIN_POSITIVE {
        true => squared.sqrt(),
        false => norm((&a - &b).view()),
    }
}

/// The power of two `p ≤ value < 2p` for a positive finite value (its exponent bits alone); dividing by it is exact.
#[must_use]
pub fn power_of_two_below(value: f64) -> f64 {
    f64::from_bits(value.to_bits() & 0x7ff0_0000_0000_0000).max(f64::MIN_POSITIVE)
}

/// Every row of `features` `[N, D]` divided by its norm (at least [`NORM_FLOOR`]).
#[must_use]
pub fn normalize_rows(features: ArrayView2<f64>) -> Array2<f64> {
    let mut normalized = features.as_standard_layout().into_owned();
    let rows = normalized.axis_iter_mut(Axis(0)).into_par_iter();
    rows.for_each(|mut row| {
        let length = norm(row.view()).max(NORM_FLOOR);
        row.mapv_inplace(|value| value / length);
    });
    normalized
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, array};

    #[test]
    fn norms_survive_the_ends_of_the_range() {
        for scale in [1.0, 1e-300, 1e300, 1e-200, 1e200] {
            let found = norm(array![3.0 * scale, 4.0 * scale].view());
            assert!((found / scale - 5.0).abs() < 1e-14, "{scale:e}: {found:e}");
        }
        assert_eq!(norm(array![0.0, -0.0].view()), 0.0);
        assert_eq!(norm(array![1.0, f64::NEG_INFINITY].view()), f64::INFINITY);
        let strided = array![[3.0, 9.0], [4.0, 9.0]];
        assert_eq!(norm(strided.column(0)), 5.0);
    }

    #[test]
    fn a_distance_is_the_norm_of_the_difference() {
        for scale in [1.0, 1e-300, 1e300] {
            let (a, b) = (array![5.0, 1.0, 7.0] * scale, array![2.0, 1.0, 3.0] * scale);
            let found = distance(a.view(), b.view());
            assert!((found / scale - 5.0).abs() < 1e-14, "{scale:e}: {found:e}");
            let (a, b) = (a.insert_axis(Axis(1)), b.insert_axis(Axis(1)));
            let both = ndarray::concatenate![Axis(1), a, b];
            assert_eq!(distance(both.column(0), both.column(1)), found);
            assert_eq!(distance(both.column(0), both.column(0)), 0.0);
        }
    }

    #[test]
    fn normalised_rows_have_length_one_and_zero_stays_zero() {
        let unit = normalize_rows(array![[1e-300, 0.0], [3e200, 4e200], [0.0, 0.0]].view());
        assert!((unit[[1, 0]] - 0.6).abs() < 1e-15 && (unit[[1, 1]] - 0.8).abs() < 1e-15);
        assert_eq!(unit.row(2), Array1::<f64>::zeros(2));
        // Below the floor a row is divided by the floor, as PyTorch does.
        assert_eq!(unit[[0, 0]], 1e-300 / NORM_FLOOR);
    }

    #[test]
    fn the_first_number_that_is_not_finite_is_named() {
        let mut values = Array2::<f32>::zeros((200, 3));
        assert!(check_finite("features", values.view()).is_ok());
        values[[199, 0]] = f32::NAN;
        values[[130, 2]] = f32::INFINITY;
        let expected = "features [130, 2] is inf: leave the row out or repair its source";
        for view in [values.view(), values.t().as_standard_layout().t()] {
            let error = check_finite("features", view).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        assert!(check_finite("features", Array2::<f64>::zeros((0, 3)).view()).is_ok());
        assert!(check_finite("features", Array2::<f64>::zeros((3, 0)).view()).is_ok());
    }
}
