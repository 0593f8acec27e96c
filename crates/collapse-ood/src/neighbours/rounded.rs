//! Vectors rounded to whole numbers, with what the rounding took.

use collapse_numeric::norm;
use ndarray::ArrayView1;

/// The length to which vectors are scaled before they are rounded: entries fit i16, and by Cauchy and Schwarz inner products fit i32
/// in any dimension below 10⁷.
const LENGTH: f64 = 32767.0;

/// A vector `v ≈ scale · whole`.
pub(super) struct Rounded {
    /// `[D]`, and a zero where D is odd.
    pub(super) whole: Vec<i16>,
    pub(super) scale: f64,
    /// ‖v‖.
    pub(super) length: f64,
    /// ‖v − scale · whole‖.
    pub(super) error: f64,
}

impl Rounded {
    pub(super) fn new(vector: ArrayView1<f64>) -> Self {
        let length = norm(vector);
        let scale = length / LENGTH;
        // A vector shorter than the spacing of the smallest numbers is all error.
        let (scale, inverse) = match scale >= f64::MIN_POSITIVE {
            true => (scale, 1.0 / scale),
            false => (0.0, 0.0),
        };
        let mut error = 0.0;
        let round = |value: &f64| {
            let whole = (value * inverse).round().clamp(-LENGTH, LENGTH);
            let rest = value - whole * scale;
            error += (rest * inverse) * (rest * inverse);
            whole as i16
        };
        let mut whole: Vec<i16> = vector.iter().map(round).collect();
        whole.resize(vector.len().next_multiple_of(2), 0);
        Self {
            whole,
            scale,
            length,
            error: if scale > 0.0 {
                error.sqrt() * scale
            } else {
                length
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use collapse_random::Stream;
    use ndarray::{Array1, array};

    #[test]
    fn the_error_is_what_is_left() {
        let mut stream = Stream::new(1, "vectors", 0);
        for (d, scale) in [(1, 1.0), (5, 1e-9), (64, 1e200), (63, 1e-200)] {
            let vector = Array1::from_shape_simple_fn(d, || scale * stream.normal());
            let rounded = Rounded::new(vector.view());
            assert_eq!(rounded.whole.len(), d + d % 2);
            let rest = Array1::from_shape_fn(d, |i| {
                vector[i] - rounded.scale * f64::from(rounded.whole[i])
            });
            assert!((norm(rest.view()) - rounded.error).abs() <= 1e-12 * rounded.length);
            assert!(rounded.error <= 0.5 * (d as f64).sqrt() * rounded.scale * (1.0 + 1e-9));
        }
        let nothing = Rounded::new(array![0.0, 0.0].view());
        assert_eq!(
            (nothing.whole, nothing.scale, nothing.error),
            (vec![0, 0], 0.0, 0.0)
        );
        let smallest = Rounded::new(array![5e-324].view());
        assert_eq!((smallest.scale, smallest.error), (0.0, 5e-324));
    }
}
