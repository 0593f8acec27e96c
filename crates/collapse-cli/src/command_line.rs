//! The command as it was typed.

use std::path::Path;

use collapse_results::quoted;

/// The command of this process, quoted for a shell: what a result says it was made by.
pub fn typed() -> String {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    let program = Path::new(&program).file_stem().unwrap_or_default();
    let program = match program.to_str() {
        Some("xtask") => "cargo xtask".to_owned(),
        _ => quoted(&[program.to_string_lossy().into_owned()]),
    };
    let arguments: Vec<String> = arguments
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    format!("{program} {}", quoted(&arguments))
}
