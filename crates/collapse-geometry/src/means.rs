//! Class means.

use collapse_numeric::RowSource;

/// Mean of `scale · h` over some rows, by two passes.
pub(crate) fn class_mean<R: RowSource>(features: &R, rows: &[usize], scale: f64) -> Vec<f64> {
    let n = rows.len().max(1) as f64;
    let mut values = vec![0.0; features.ncols()];
    let mut mean = vec![0.0; values.len()];
    for &row in rows {
        features.read(row, &mut values);
        mean.iter_mut()
            .zip(&values)
            .for_each(|(m, v)| *m += v * scale);
    }
    mean.iter_mut().for_each(|m| *m /= n);
    let mut rest = vec![0.0; mean.len()];
    for &row in rows {
        features.read(row, &mut values);
        for ((r, v), m) in rest.iter_mut().zip(&values).zip(&mean) {
            *r += v * scale - m;
        }
    }
    mean.iter_mut().zip(&rest).for_each(|(m, r)| *m += r / n);
    mean
}
