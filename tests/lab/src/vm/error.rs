//! What can go wrong around the machine.

use std::{io, path::PathBuf};

/// Why the machine cannot be prepared or started. Each says what was being done, where, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// The host cannot have a lab at all; a developer's machine may skip, CI may not.
    #[error("no lab on this machine: {why}; {help}")]
    Unsupported {
        /// What is missing.
        why: String,
        /// What to do.
        help: &'static str,
    },
    /// A file operation failed.
    #[error(
        "cannot {doing} `{path}`: {source}; check its permissions and the free space, or choose another place with HILBENCH_LAB_CACHE"
    )]
    File {
        /// The operation, as a verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A tool ended with an error.
    #[error("cannot {doing}: `{command}` ended with {status}: {output}; run `cargo lab build` again when the cause is gone")]
    Tool {
        /// What it was for.
        doing: &'static str,
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// The end of what it printed.
        output: String,
    },
    /// A file of a package is not what the recipe expects.
    #[error("`{path}` is not as expected: {expected}; the package has changed, so the recipe in tests/lab/src/vm has to follow")]
    Format {
        /// The file.
        path: PathBuf,
        /// What was expected.
        expected: String,
    },
}

impl VmError {
    /// Makes the error of a file operation, for `map_err`.
    pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { doing, path, source }
    }
}
