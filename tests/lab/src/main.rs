//! `cargo lab`: see [`lab::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    lab::cli::main(std::env::args_os().skip(1).collect())
}
