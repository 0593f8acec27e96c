//! The command as it was typed.

use std::ffi::OsString;
use std::path::Path;

/// The command of this process, quoted for a shell: what a result says it was made by.
pub fn typed() -> String {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    let program = Path::new(&program).file_stem().unwrap_or_default();
    let program = match program.to_str() {
        Some("xtask") => "cargo xtask".to_owned(),
        _ => quoted(program.to_os_string()),
    };
    let words: Vec<String> = [program].into_iter().chain(arguments.map(quoted)).collect();
    words.join(" ")
}

fn quoted(word: OsString) -> String {
    let word = word.to_string_lossy().into_owned();
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
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
            assert_eq!(quoted(word.into()), expected);
        }
    }
}
