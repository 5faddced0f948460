//! What an examination of a channel finds.

use super::link::{LinkError, Opened};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Fine,
    /// It works, with a limit that somebody should know of.
    Warning,
    /// The channel cannot be used like this.
    Problem,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was found, with the identity of the instrument.
    pub what: String,
    /// What to do about it; may have several lines, such as a rule to paste.
    pub advice: Option<String>,
    /// Whether the instrument is not there at all. A part of the bench that is fed by a supply may be away while that is down.
    pub absent: bool,
}

impl Finding {
    /// As it should be.
    pub fn fine(what: impl Into<String>) -> Self {
        Self { severity: Severity::Fine, what: what.into(), advice: None, absent: false }
    }

    /// Something to know.
    pub fn warning(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, what: what.into(), advice: Some(advice.into()), absent: false }
    }

    /// Something to mend, and how.
    pub fn problem(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { severity: Severity::Problem, what: what.into(), advice: Some(advice.into()), absent: false }
    }

    /// The instrument is not there.
    pub fn absent(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { absent: true, ..Self::problem(what, advice) }
    }

    /// Whether the channel cannot be used like this.
    #[must_use]
    pub fn is_problem(&self) -> bool {
        self.severity == Severity::Problem
    }
}

impl From<LinkError> for Finding {
    fn from(error: LinkError) -> Self {
        Self { severity: Severity::Problem, what: error.to_string(), advice: None, absent: false }
    }
}

impl std::fmt::Display for Finding {
    /// In one line, for messages.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)?;
        self.advice.as_ref().map_or(Ok(()), |advice| write!(f, "; {}", advice.replace('\n', " ")))
    }
}

/// What an opened channel tells without being used; it is closed again.
pub async fn look_at(opened: Result<Opened, LinkError>) -> Vec<Finding> {
    match opened {
        Err(error) => vec![error.into()],
        Ok(Opened::Supply(mut supply)) => vec![match supply.is_up().await {
            Ok(Some(up)) => Finding::fine(format!("opens, and reads back {}", if up { "up" } else { "down" })),
            Ok(None) => Finding::warning(
                "opens, and has no read-back",
                "nothing proves that it switches: no verdict that rests on it can be `pass`",
            ),
            Err(error) => error.into(),
        }],
        Ok(_) => vec![Finding::fine("opens and closes")],
    }
}
