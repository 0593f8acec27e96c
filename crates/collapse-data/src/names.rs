//! Names of sets: they become parts of file names, columns of tables and keys of results.

use std::collections::BTreeMap;

use crate::Error;

/// Fails for a name that cannot be a part of a file name on every system or would break a table: empty, longer than 100
/// bytes, with a slash, a backslash or a control character, with white space at an end, or one that begins with a dot.
///
/// # Errors
/// [`Error::SetName`].
pub fn check_set_name(name: &str) -> Result<(), Error> {
    const LONGEST: usize = 100;
    let detail = if name.is_empty() {
        "it is empty"
    } else if name.len() > LONGEST {
        "it is longer than 100 bytes"
    } else if name.contains(['/', '\\']) {
        "it contains a slash, and results are kept in files of this name"
    } else if name.chars().any(char::is_control) {
        "it contains a control character"
    } else if name.starts_with('.') {
        "it begins with a dot"
    } else if name.trim() != name {
        "it begins or ends with white space"
    } else {
        return Ok(());
    };
    Err(Error::SetName {
        name: name.to_string(),
        detail: detail.to_string(),
    })
}

/// Fails unless every name can be used and no two are the same, in whatever case: some file systems know none.
///
/// # Errors
/// [`Error::SetName`].
pub(crate) fn check_set_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<(), Error> {
    let mut seen = BTreeMap::new();
    for name in names {
        check_set_name(name)?;
        if let Some(before) = seen.insert(name.to_lowercase(), name) {
            let detail = if before == name {
                "two sets share this name".to_string()
            } else {
                format!("it differs from {before:?} in case alone")
            };
            return Err(Error::SetName {
                name: name.to_string(),
                detail,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_break_files_or_tables_are_refused() {
        for good in [
            "svhn",
            "my photos, 2024",
            "été",
            "a..b",
            "x=y",
            "\"quoted\"",
        ] {
            check_set_name(good).unwrap();
        }
        let long = "x".repeat(101);
        for bad in [
            "", ".", "..", "../x", "a/b", "a\\b", "a\nb", "a\0b", " a", "a\t", ".hidden", &long,
        ] {
            let error = check_set_name(bad).unwrap_err();
            assert!(error.to_string().contains("another name"), "{error}");
        }
    }

    #[test]
    fn names_are_distinct_in_whatever_case() {
        check_set_names(["a", "b"]).unwrap();
        let twice = check_set_names(["a", "b", "a"]).unwrap_err();
        assert!(twice.to_string().contains("share this name"), "{twice}");
        let case = check_set_names(["mine", "Mine"]).unwrap_err();
        assert!(case.to_string().contains("in case alone"), "{case}");
    }
}
