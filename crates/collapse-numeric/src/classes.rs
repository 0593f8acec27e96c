//! Rows by their labels.

use crate::error::{Error, Result};

/// Checks that there is one label for each of `n_rows` rows, and that every label is below `n_classes`.
///
/// # Errors
/// [`Error::LabelCount`], and [`Error::LabelOutOfRange`] for the first label that is too large.
pub fn check_labels(labels: &[usize], n_rows: usize, n_classes: usize) -> Result<()> {
    if labels.len() != n_rows {
        return Err(Error::LabelCount {
            rows: n_rows,
            labels: labels.len(),
        });
    }
    match labels.iter().position(|label| *label >= n_classes) {
        None => Ok(()),
        Some(row) => Err(Error::LabelOutOfRange {
            row,
            label: labels[row],
            n_classes,
        }),
    }
}

/// Indices of the rows of each class, ascending, for `labels` `[N]` of `n_rows` = N rows.
///
/// # Errors
/// As [`check_labels`].
pub fn rows_by_class(labels: &[usize], n_rows: usize, n_classes: usize) -> Result<Vec<Vec<usize>>> {
    check_labels(labels, n_rows, n_classes)?;
    let mut members = vec![Vec::new(); n_classes];
    for (row, &label) in labels.iter().enumerate() {
        members[label].push(row);
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_grouped_and_bad_labels_named() {
        let members = rows_by_class(&[2, 0, 2], 3, 4);
        assert_eq!(members, Ok(vec![vec![1], vec![], vec![0, 2], vec![]]));
        let message = |labels: &[usize]| rows_by_class(labels, 2, 4).unwrap_err().to_string();
        assert_eq!(
            message(&[1, 4]),
            "label 4 of row 1 is not one of the 4 classes: labels count from 0 to 3"
        );
        assert_eq!(
            message(&[1]),
            "2 rows but 1 labels: give one label for each row"
        );
    }
}
