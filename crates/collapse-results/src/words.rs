//! Commands as text.

/// Words for a POSIX shell, quoted where it would split or change them: how
/// [`Provenance::command`](crate::Provenance::command) holds the command that was typed.
#[must_use]
pub fn quoted(words: &[String]) -> String {
    let quoted = |word: &String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_split_or_change_them() {
        for (word, expected) in [
            ("--out=a/b-1", "--out=a/b-1"),
            ("", "''"),
            ("my sets", "'my sets'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
        ] {
            assert_eq!(quoted(&[word.to_owned()]), expected);
        }
    }
}
