//! Rows by their labels.

use crate::error::{Error, Result};

/// Indices of the rows of each class, ascending, for `labels` `[N]` of `n_rows` = N rows.
///
/// # Errors
/// [`Error::LabelCount`], and [`Error::LabelOutOfRange`] for the first label outside `0..n_classes`.
pub fn rows_by_class(labels: &[usize], n_rows: usize, n_classes: usize) -> Result<Vec<Vec<usize>>> {
    if labels.len() != n_rows {
        return Err(Error::LabelCount {
            rows: n_rows,
            labels: labels.len(),
        });
    }
    let mut members = vec![Vec::new(); n_classes];
    for (row, &label) in labels.iter().enumerate() {
        let class = members.get_mut(label).ok_or(Error::LabelOutOfRange {
            row,
            label,
            n_classes,
        })?;
        class.push(row);
    }
    Ok(members)
}
