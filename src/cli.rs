//! Arguments, wiring, exit codes. The only part that knows every other.

mod answer;
mod arguments;
mod bench_fault;
mod check;
mod crosscheck;
mod discover;
mod doctor;
mod exit;
mod fleet;
mod guard;
mod leases;
mod probe_worker;
mod prove;
mod run;
mod runs;
mod schema;
mod signals;
mod terminal;
mod tui;
mod wiring;

use std::{io::Write as _, process::ExitCode};

use clap::Parser as _;

pub use arguments::Arguments;
pub use exit::Exit;

use arguments::Command;

/// Runs the program with the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers, not errors; clap knows which stream is which.
            let code = if error.use_stderr() { Exit::InvalidInput } else { Exit::Pass };
            let _ = error.print();
            return code.into();
        }
    };
    trace(arguments.log.as_deref());
    let exit = match arguments.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Check(arguments) => check::check(&arguments),
        Command::Discover(arguments) => discover::discover(&arguments),
        Command::Doctor(arguments) => doctor::doctor(&arguments),
        Command::Leases(arguments) => leases::leases(&arguments),
        Command::Runs(arguments) => runs::list(&arguments),
        Command::Show(arguments) => runs::show(&arguments),
        Command::Recover(arguments) => runs::recover(&arguments),
        Command::Crosscheck(arguments) => crosscheck::check(&arguments),
        Command::Schema(arguments) => schema::schema(&arguments),
        Command::Answer(arguments) => answer::answer(&arguments),
        Command::Tui(arguments) => tui::tui(&arguments),
        Command::Prove(arguments) => prove::prove(&arguments),
        Command::Fleet(arguments) => fleet::fleet(&arguments),
        Command::Guard => guard::guard(),
        Command::ProbeWorker => probe_worker::work(),
    };
    exit.into()
}

/// Developer logs go to standard error, only when asked for.
fn trace(filter: Option<&str>) {
    if let Some(filter) = filter {
        let filter = tracing_subscriber::EnvFilter::new(filter);
        // Fails only if a subscriber is already set, which keeps the earlier one.
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
    }
}

/// Writes to standard output; a reader that went away is not an error.
fn out(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Writes a line to standard error.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
