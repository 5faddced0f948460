//! The `hilbench` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    hilbench::cli::main()
}
