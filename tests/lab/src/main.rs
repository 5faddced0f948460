//! `cargo lab`: see [`lab::cli`].
//!
//! `probe-worker`, which is for tests only, is what `hilbench probe-worker` is: tests of the probe driver need a program that does its operations.

use std::{
    io::{stdin, stdout},
    process::ExitCode,
};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments == ["probe-worker"] {
        let ended = hilbench::driver::probe::serve(&mut stdin().lock(), stdout());
        return if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    lab::cli::main(arguments)
}
