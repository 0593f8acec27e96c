//! The program `collapse`.

use std::process::ExitCode;

fn main() -> ExitCode {
    collapse_cli::main()
}
