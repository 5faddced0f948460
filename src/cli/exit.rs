//! Exit codes.

use std::process::ExitCode;

use crate::{event::Verdict, run::dispatch::RunEnd};

/// What the process says when it ends. Documented in `docs/exit-codes.md`; the numbers never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything passed, or the question was answered.
    Pass = 0,
    /// The device failed.
    Fail = 1,
    /// Arguments, rig, device profile, plan, image or journal are wrong; nothing was touched.
    InvalidInput = 2,
    /// Inconclusive, or stopped before anything failed.
    Inconclusive = 3,
    /// The bench could not do its part.
    BenchError = 4,
    /// The safe state could not be confirmed.
    Unsafe = 5,
    /// A defect of hilbench.
    Bug = 70,
    /// Left at once because somebody insisted; the guard reaches the safe state.
    Forced = 130,
}

impl Exit {
    /// What a process of hilbench said when it ended; a code that it never says is a defect.
    #[must_use]
    pub fn of_code(code: i32) -> Self {
        let all = [
            Self::Pass,
            Self::Fail,
            Self::InvalidInput,
            Self::Inconclusive,
            Self::BenchError,
            Self::Unsafe,
            Self::Bug,
            Self::Forced,
        ];
        all.into_iter().find(|exit| *exit as i32 == code).unwrap_or(Self::Bug)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<RunEnd> for Exit {
    fn from(end: RunEnd) -> Self {
        match end {
            RunEnd { forced: true, .. } => Self::Forced,
            RunEnd { bug: true, .. } => Self::Bug,
            RunEnd { safe: false, .. } => Self::Unsafe,
            RunEnd { verdict: Verdict::Pass, .. } => Self::Pass,
            RunEnd { verdict: Verdict::Fail, .. } => Self::Fail,
            RunEnd { verdict: Verdict::None | Verdict::Inconclusive, .. } => Self::Inconclusive,
            RunEnd { verdict: Verdict::Error, .. } => Self::BenchError,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Exit, RunEnd, Verdict};

    #[test]
    fn an_unsafe_bench_is_said_before_any_verdict() {
        let end = |verdict, safe, forced, bug| Exit::from(RunEnd { verdict, safe, forced, bug });
        assert_eq!(end(Verdict::Pass, true, false, false), Exit::Pass);
        assert_eq!(end(Verdict::Fail, true, false, false), Exit::Fail);
        assert_eq!(end(Verdict::Inconclusive, true, false, false), Exit::Inconclusive);
        assert_eq!(end(Verdict::None, true, false, false), Exit::Inconclusive);
        assert_eq!(end(Verdict::Error, true, false, false), Exit::BenchError);
        assert_eq!(end(Verdict::Pass, false, false, false), Exit::Unsafe);
        assert_eq!(end(Verdict::Error, true, false, true), Exit::Bug);
        assert_eq!(end(Verdict::Error, false, true, false), Exit::Forced);
    }
}
