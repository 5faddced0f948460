//! Commands of the host.

use std::{
    env,
    process::{Command, Stdio},
};

use super::VmError;

/// How much of a failed command's output its error shows.
const SHOWN: usize = 2000;

/// Whether `name` is in the path.
pub(super) fn exists(name: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|directory| directory.join(name).is_file()))
}

/// Runs a command to its end and gives its standard output.
pub(super) fn output(doing: &'static str, command: &mut Command) -> Result<Vec<u8>, VmError> {
    // Some output is read by this program, so it must not depend on the user's language.
    let result = command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null()).output();
    let failed =
        |status: String, output: &[u8]| VmError::Tool { doing, command: format!("{command:?}"), status, output: tail(output) };
    match result {
        Ok(result) if result.status.success() => Ok(result.stdout),
        Ok(result) => Err(failed(result.status.to_string(), &[result.stdout, result.stderr].concat())),
        Err(error) => Err(failed(error.to_string(), &[])),
    }
}

/// The last part of some output, as text.
pub(super) fn tail(output: &[u8]) -> String {
    let text = &output[output.len().saturating_sub(SHOWN)..];
    String::from_utf8_lossy(text).trim().to_owned()
}
